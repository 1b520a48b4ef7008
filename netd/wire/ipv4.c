#include "ipv4.h"

#include "bytes.h"
#include "checksum.h"

enum {
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_LSRR = 131,
	OPTION_SSRR = 137,
	FLAG_DF = 0x4000,
	FLAG_MF = 0x2000,
	OFFSET_MASK = 0x1fff,
};

/*
 * RFC 1122, 3.2.1.8: unknown options are ignored. One whose length is impossible ends the search: what follows can't
 * be told from data.
 */
static bool has_open_source_route(const uint8_t *options, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		uint8_t kind = options[at];

		if (kind == OPTION_END)
			return false;
		if (kind == OPTION_NOP) {
			at++;
			continue;
		}
		if (bytes - at < 2 || options[at + 1] < 2 || options[at + 1] > bytes - at)
			return false;
		/* RFC 791, 3.1: the route is used up when the pointer is greater than the length. */
		if ((kind == OPTION_LSRR || kind == OPTION_SSRR) &&
			(options[at + 1] < 3 || options[at + 2] <= options[at + 1]))
			return true;
		at += options[at + 1];
	}
	return false;
}

static bool parse_header(struct wire_ipv4 *ip, const uint8_t *data, size_t bytes)
{
	uint16_t fragment;

	if (bytes < WIRE_IPV4_HEADER || data[0] >> 4 != 4)
		return false;
	ip->header_bytes = (data[0] & 15) * 4;
	if (ip->header_bytes < WIRE_IPV4_HEADER || ip->header_bytes > bytes)
		return false;
	fragment = get16(data + 6);
	ip->header = data;
	ip->payload = data + ip->header_bytes;
	ip->tos = data[1];
	ip->id = get16(data + 4);
	ip->dont_fragment = fragment & FLAG_DF;
	ip->more_fragments = fragment & FLAG_MF;
	ip->offset = (fragment & OFFSET_MASK) * 8;
	ip->ttl = data[8];
	ip->protocol = data[9];
	ip->source = get32(data + 12);
	ip->destination = get32(data + 16);
	ip->source_routed = has_open_source_route(data + WIRE_IPV4_HEADER, ip->header_bytes - WIRE_IPV4_HEADER);
	return true;
}

enum wire_ipv4_result wire_ipv4_parse(struct wire_ipv4 *ip, const uint8_t *data, size_t bytes)
{
	struct wire_sum sum = {0};
	uint16_t total;

	if (!parse_header(ip, data, bytes))
		return WIRE_IPV4_MALFORMED;
	total = get16(data + 2);
	if (total < ip->header_bytes || total > bytes)
		return WIRE_IPV4_MALFORMED;
	ip->payload_bytes = total - ip->header_bytes;
	wire_sum_add(&sum, data, ip->header_bytes);
	return wire_sum_finish(&sum) ? WIRE_IPV4_CHECKSUM : WIRE_IPV4_OK;
}

bool wire_ipv4_parse_quoted(struct wire_ipv4 *ip, uint16_t *total_bytes, const uint8_t *data, size_t bytes)
{
	if (!parse_header(ip, data, bytes))
		return false;
	*total_bytes = get16(data + 2);
	if (*total_bytes < ip->header_bytes)
		return false;
	if (bytes > *total_bytes)
		bytes = *total_bytes;
	ip->payload_bytes = (uint16_t)(bytes - ip->header_bytes);
	return true;
}

void wire_ipv4_emit(uint8_t data[static WIRE_IPV4_HEADER], const struct wire_ipv4 *ip)
{
	struct wire_sum sum = {0};

	data[0] = 0x45;
	data[1] = ip->tos;
	put16(data + 2, WIRE_IPV4_HEADER + ip->payload_bytes);
	put16(data + 4, ip->id);
	put16(data + 6, (ip->dont_fragment ? FLAG_DF : 0) | (ip->more_fragments ? FLAG_MF : 0) | ip->offset / 8);
	data[8] = ip->ttl;
	data[9] = ip->protocol;
	put16(data + 10, 0);
	put32(data + 12, ip->source);
	put32(data + 16, ip->destination);
	wire_sum_add(&sum, data, WIRE_IPV4_HEADER);
	put16(data + 10, wire_sum_finish(&sum));
}
