#include "udp.h"

#include "bytes.h"
#include "checksum.h"

bool wire_udp_parse_quoted(struct wire_udp *udp, const struct wire_ipv4 *ip)
{
	if (ip->payload_bytes < WIRE_UDP_HEADER)
		return false;
	udp->source = get16(ip->payload);
	udp->destination = get16(ip->payload + 2);
	udp->payload = ip->payload + WIRE_UDP_HEADER;
	udp->payload_bytes = 0;
	return true;
}

bool wire_udp_parse(struct wire_udp *udp, const struct wire_ipv4 *ip)
{
	struct wire_sum sum = {0};
	uint16_t length;

	if (!wire_udp_parse_quoted(udp, ip))
		return false;
	length = get16(ip->payload + 4);
	if (length < WIRE_UDP_HEADER || length > ip->payload_bytes)
		return false;
	udp->payload_bytes = length - WIRE_UDP_HEADER;
	if (get16(ip->payload + 6)) {
		wire_sum_pseudo(&sum, ip->source, ip->destination, WIRE_PROTOCOL_UDP, length);
		wire_sum_add(&sum, ip->payload, length);
		return !wire_sum_finish(&sum);
	}
	return true;
}

void wire_udp_emit(uint8_t data[static WIRE_UDP_HEADER], const struct wire_udp *udp, const struct wire_ipv4 *ip)
{
	struct wire_sum sum = {0};
	uint16_t length = WIRE_UDP_HEADER + udp->payload_bytes, checksum;

	put16(data, udp->source);
	put16(data + 2, udp->destination);
	put16(data + 4, length);
	put16(data + 6, 0);
	wire_sum_pseudo(&sum, ip->source, ip->destination, WIRE_PROTOCOL_UDP, length);
	wire_sum_add(&sum, data, WIRE_UDP_HEADER);
	wire_sum_add(&sum, udp->payload, udp->payload_bytes);
	checksum = wire_sum_finish(&sum);
	put16(data + 6, checksum ? checksum : UINT16_MAX); /* RFC 768: zero stands for "none" */
}
