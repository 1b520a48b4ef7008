#include "tcp.h"

#include "bytes.h"
#include "checksum.h"

enum {
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_MSS = 2,
	OPTION_SCALE = 3,
	OPTION_SACK_PERMITTED = 4,
	OPTION_SACK = 5,
	OPTION_TIMESTAMPS = 8,
};

static void parse_sack(struct wire_tcp *tcp, const uint8_t *at, size_t bytes)
{
	if (tcp->sacks || (bytes - 2) % 8)
		return;
	for (at += 2, bytes -= 2; bytes && tcp->sacks < WIRE_TCP_SACKS; at += 8, bytes -= 8)
		tcp->sack[tcp->sacks++] = (struct wire_tcp_range){get32(at), get32(at + 4)};
}

/* RFC 9293, 3.1 (MUST-5, MUST-6, MUST-7, MUST-64): in any segment, at any alignment; unknown ones are skipped; an impossible
 * length ends the list. */
static void parse_options(struct wire_tcp *tcp, const uint8_t *at, size_t left)
{
	while (left && *at != OPTION_END) {
		uint8_t length;

		if (*at == OPTION_NOP) {
			at++, left--;
			continue;
		}
		if (left < 2)
			return;
		length = at[1];
		if (length < 2 || length > left)
			return;
		switch (*at) {
		case OPTION_MSS:
			if (length == 4 && !tcp->mss)
				tcp->mss = get16(at + 2);
			break;
		case OPTION_SCALE:
			if (length == 3 && tcp->shift < 0)
				tcp->shift = at[2] > INT8_MAX ? INT8_MAX : (int8_t)at[2];
			break;
		case OPTION_SACK_PERMITTED:
			if (length == 2)
				tcp->sack_allowed = true;
			break;
		case OPTION_SACK:
			parse_sack(tcp, at, length);
			break;
		case OPTION_TIMESTAMPS:
			if (length == 10 && !tcp->timestamps) {
				tcp->timestamps = true;
				tcp->timestamp = get32(at + 2);
				tcp->timestamp_echo = get32(at + 6);
			}
			break;
		default:
			break;
		}
		at += length;
		left -= length;
	}
}

bool wire_tcp_parse_quoted(struct wire_tcp *tcp, const struct wire_ipv4 *ip)
{
	if (ip->payload_bytes < 8)
		return false;
	tcp->source = get16(ip->payload);
	tcp->destination = get16(ip->payload + 2);
	tcp->sequence = get32(ip->payload + 4);
	return true;
}

enum wire_tcp_result wire_tcp_parse(struct wire_tcp *tcp, const struct wire_ipv4 *ip)
{
	struct wire_sum sum = {0};
	const uint8_t *data = ip->payload;
	size_t header;

	if (ip->payload_bytes < WIRE_TCP_HEADER)
		return WIRE_TCP_MALFORMED;
	header = (size_t)(data[12] >> 4) * 4;
	if (header < WIRE_TCP_HEADER || header > ip->payload_bytes)
		return WIRE_TCP_MALFORMED;
	wire_sum_pseudo(&sum, ip->source, ip->destination, WIRE_PROTOCOL_TCP, ip->payload_bytes);
	wire_sum_add(&sum, data, ip->payload_bytes);
	if (wire_sum_finish(&sum))
		return WIRE_TCP_CHECKSUM;
	wire_tcp_parse_quoted(tcp, ip);
	tcp->acknowledgment = get32(data + 8);
	tcp->flags = data[13];
	tcp->window = get16(data + 14);
	tcp->urgent = get16(data + 18);
	tcp->mss = 0;
	tcp->shift = -1;
	tcp->sack_allowed = tcp->timestamps = false;
	tcp->sacks = 0;
	parse_options(tcp, data + WIRE_TCP_HEADER, header - WIRE_TCP_HEADER);
	tcp->payload = data + header;
	tcp->payload_bytes = (uint32_t)(ip->payload_bytes - header);
	return WIRE_TCP_OK;
}

size_t wire_tcp_emit(uint8_t data[static WIRE_TCP_HEADER_LIMIT], const struct wire_tcp *tcp)
{
	uint8_t *at = data + WIRE_TCP_HEADER;
	unsigned room;

	put16(data, tcp->source);
	put16(data + 2, tcp->destination);
	put32(data + 4, tcp->sequence);
	put32(data + 8, tcp->acknowledgment);
	data[13] = tcp->flags;
	put16(data + 14, tcp->window);
	put16(data + 16, 0);
	put16(data + 18, tcp->urgent);
	if (tcp->mss) {
		put32(at, (uint32_t)OPTION_MSS << 24 | 4u << 16 | tcp->mss);
		at += 4;
	}
	if (tcp->sack_allowed) {
		put32(at, (uint32_t)OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_SACK_PERMITTED << 8 | 2);
		at += 4;
	}
	if (tcp->timestamps) { /* the layout of RFC 7323, appendix A */
		put32(at, (uint32_t)OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_TIMESTAMPS << 8 | 10);
		put32(at + 4, tcp->timestamp);
		put32(at + 8, tcp->timestamp_echo);
		at += WIRE_TCP_TIMESTAMP_BYTES;
	}
	if (tcp->shift >= 0) {
		put32(at, (uint32_t)OPTION_NOP << 24 | OPTION_SCALE << 16 | 3u << 8 | (uint8_t)tcp->shift);
		at += 4;
	}
	room = (unsigned)(data + WIRE_TCP_HEADER_LIMIT - at);
	if (tcp->sacks && room >= 12) {
		unsigned fit = (room - 4) / 8, count = tcp->sacks < fit ? tcp->sacks : fit;

		put32(at, (uint32_t)OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_SACK << 8 | (2 + 8 * count));
		at += 4;
		for (unsigned i = 0; i < count; i++, at += 8) {
			put32(at, tcp->sack[i].start);
			put32(at + 4, tcp->sack[i].end);
		}
	}
	data[12] = (uint8_t)((at - data) / 4 << 4);
	return (size_t)(at - data);
}

void wire_tcp_seal(uint8_t *header, size_t header_bytes, const struct wire_ipv4 *ip, const void *first,
	size_t first_bytes, const void *second, size_t second_bytes)
{
	struct wire_sum sum = {0};

	wire_sum_pseudo(&sum, ip->source, ip->destination, WIRE_PROTOCOL_TCP,
		(uint16_t)(header_bytes + first_bytes + second_bytes));
	wire_sum_add(&sum, header, header_bytes);
	wire_sum_add(&sum, first, first_bytes);
	wire_sum_add(&sum, second, second_bytes);
	put16(header + 16, wire_sum_finish(&sum));
}
