/*
 * Lengths and checksums put right where they stand in bytes that a fuzzer made up, so that what lies behind them is reached:
 * a random datagram passes IPv4's checksum once in 65,536 times, and TCP's behind it never.
 */
#ifndef NETD_FUZZ_MEND_H
#define NETD_FUZZ_MEND_H

#include "../../wire/bytes.h"
#include "../../wire/checksum.h"
#include "../../wire/ipv4.h"

/* The checksum at `field` over `bytes` of `data`, behind a sum that was begun. */
static inline void mend_sum(struct wire_sum sum, uint8_t *data, size_t bytes, size_t field)
{
	if (bytes < field + 2)
		return;
	put16(data + field, 0);
	wire_sum_add(&sum, data, bytes);
	put16(data + field, wire_sum_finish(&sum));
}

/* A payload's, by its protocol; of a fragment it would be wrong, and stays as it is. */
static inline void mend_payload(const struct wire_ipv4 *ip, uint8_t *data, size_t bytes)
{
	struct wire_sum sum = {0};

	if (ip->offset || ip->more_fragments)
		return;
	if (ip->protocol == WIRE_PROTOCOL_ICMP) {
		mend_sum(sum, data, bytes, 2);
		return;
	}
	if (ip->protocol == WIRE_PROTOCOL_UDP && bytes >= 8 && get16(data + 4) <= bytes && get16(data + 4) >= 8)
		bytes = get16(data + 4);
	wire_sum_pseudo(&sum, ip->source, ip->destination, ip->protocol, (uint16_t)bytes);
	mend_sum(sum, data, bytes, ip->protocol == WIRE_PROTOCOL_TCP ? 16 : 6);
}

/* A whole datagram: a total length that can't be is made what there is. */
static inline void mend_datagram(uint8_t *data, size_t bytes)
{
	struct wire_ipv4 ip;
	size_t header;

	if (bytes < WIRE_IPV4_HEADER)
		return;
	header = (data[0] & 15) * 4u;
	if (data[0] >> 4 != 4 || header < WIRE_IPV4_HEADER || header > bytes)
		return;
	if (get16(data + 2) < header || get16(data + 2) > bytes)
		put16(data + 2, (uint16_t)bytes);
	mend_sum((struct wire_sum){0}, data, header, 10);
	if (wire_ipv4_parse(&ip, data, bytes) == WIRE_IPV4_OK)
		mend_payload(&ip, data + header, ip.payload_bytes);
}

#endif
