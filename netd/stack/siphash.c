/* SipHash-2-4 (Aumasson, Bernstein, 2012): the pseudorandom function behind sequence numbers, ports, ids and cookies. */
#include "core.h"

static inline uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static void rounds(uint64_t v[4], int count)
{
	while (count-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

uint64_t stack_hash(const uint64_t key[2], const void *bytes, size_t count)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull, key[0] ^ 0x6c7967656e657261ull,
		key[1] ^ 0x7465646279746573ull};
	const uint8_t *at = bytes;

	for (size_t left = count;; left -= 8, at += 8) {
		bool last = left < 8;
		uint64_t word = last ? (uint64_t)count << 56 : 0;

		for (size_t i = 0; i < (last ? left : 8); i++)
			word |= (uint64_t)at[i] << 8 * i;
		v[3] ^= word;
		rounds(v, 2);
		v[0] ^= word;
		if (last)
			break;
	}
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
