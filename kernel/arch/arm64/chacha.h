/*
 * The ChaCha20 block function (RFC 8439, 2.3) and a generator of random numbers made of it by fast key erasure (Bernstein
 * 2017): each block's first half becomes the next key, so that numbers already given can't be computed from what is left.
 * No part of the kernel is used here: the same source is tested on a host.
 */
#ifndef ARM64_CHACHA_H
#define ARM64_CHACHA_H

#include <stdint.h>

enum { CHACHA_WORDS = 16, CHACHA_KEY_WORDS = 8, CHACHA_NUMBERS = 4 };

struct chacha_generator {
	uint32_t key[CHACHA_KEY_WORDS];
	uint64_t numbers[CHACHA_NUMBERS];
	uint32_t left; /* numbers not given yet */
};

void chacha20_block(
	const uint32_t key[CHACHA_KEY_WORDS], uint32_t counter, const uint32_t nonce[3], uint32_t block[CHACHA_WORDS]);
/* Mixes bytes into the key, however many there are. */
void chacha_absorb(struct chacha_generator *generator, const uint8_t *bytes, uint32_t count);
uint64_t chacha_next(struct chacha_generator *generator);

#endif
