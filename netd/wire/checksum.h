/*
 * The Internet checksum (RFC 1071) over data in pieces. A sum is started at zero (or by a pseudo header), pieces are
 * added in order, whatever their lengths, and finished: over data that holds its right checksum the result is 0.
 */
#ifndef NETD_WIRE_CHECKSUM_H
#define NETD_WIRE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

struct wire_sum {
	uint64_t sum;
	size_t bytes; /* added so far: a piece behind an odd number of bytes counts the other way round */
};

void wire_sum_add(struct wire_sum *sum, const void *data, size_t bytes);

/* The pseudo header of TCP and UDP (RFC 9293, 3.1; RFC 768): `bytes` is the length of header and payload. */
void wire_sum_pseudo(struct wire_sum *sum, uint32_t source, uint32_t destination, uint8_t protocol, uint16_t bytes);

/* The value to store in a checksum field that was zero, or 0 if the field was there and right. */
uint16_t wire_sum_finish(const struct wire_sum *sum);

#endif
