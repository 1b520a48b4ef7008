/*
 * Numbers in network byte order, and the Internet checksum. For the files of this folder only: nothing above it
 * indexes bytes.
 */
#ifndef NETD_WIRE_BYTES_H
#define NETD_WIRE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

static inline uint16_t get16(const uint8_t *at)
{
	uint16_t value;

	__builtin_memcpy(&value, at, sizeof(value));
	return __builtin_bswap16(value);
}

static inline uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	__builtin_memcpy(&value, at, sizeof(value));
	return __builtin_bswap32(value);
}

static inline void put16(uint8_t *at, uint16_t value)
{
	value = __builtin_bswap16(value);
	__builtin_memcpy(at, &value, sizeof(value));
}

static inline void put32(uint8_t *at, uint32_t value)
{
	value = __builtin_bswap32(value);
	__builtin_memcpy(at, &value, sizeof(value));
}

#endif
