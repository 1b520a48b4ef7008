#include "checksum.h"

#include "bytes.h"

/* End-around carries are what makes the sum independent of the width in which it is taken (RFC 1071, 2). */
static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum = a + b;

	return sum + (sum < b);
}

static uint16_t fold(uint64_t sum)
{
	sum = (sum >> 32) + (sum & UINT32_MAX);
	sum = (sum >> 16 & UINT32_MAX) + (sum & UINT16_MAX) + (sum >> 48);
	sum = (sum >> 16) + (sum & UINT16_MAX);
	sum = (sum >> 16) + (sum & UINT16_MAX);
	return (uint16_t)sum;
}

/* Sums are kept in the byte order of memory; swapping happens once, at the end. */
void wire_sum_add(struct wire_sum *sum, const void *data, size_t bytes)
{
	const uint8_t *at = data;
	uint64_t part = 0, word = 0;
	size_t left = bytes;

	for (; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
		__builtin_memcpy(&word, at, sizeof(word));
		part = add(part, word);
	}
	word = 0;
	for (size_t i = 0; i < left; i++)
		word |= (uint64_t)at[i] << 8 * i;
	part = fold(add(part, word));
	if (sum->bytes & 1)
		part = __builtin_bswap16((uint16_t)part);
	sum->sum += part;
	sum->bytes += bytes;
}

void wire_sum_pseudo(struct wire_sum *sum, uint32_t source, uint32_t destination, uint8_t protocol, uint16_t bytes)
{
	uint8_t header[12];

	put32(header, source);
	put32(header + 4, destination);
	put16(header + 8, protocol);
	put16(header + 10, bytes);
	wire_sum_add(sum, header, sizeof(header));
}

uint16_t wire_sum_finish(const struct wire_sum *sum)
{
	return (uint16_t)~__builtin_bswap16(fold(sum->sum));
}
