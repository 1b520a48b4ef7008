/* See chacha.h. */
#include "chacha.h"

static uint32_t rotate(uint32_t value, uint32_t by)
{
	return value << by | value >> (32 - by);
}

static void quarter(uint32_t *state, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	state[a] += state[b];
	state[d] = rotate(state[d] ^ state[a], 16);
	state[c] += state[d];
	state[b] = rotate(state[b] ^ state[c], 12);
	state[a] += state[b];
	state[d] = rotate(state[d] ^ state[a], 8);
	state[c] += state[d];
	state[b] = rotate(state[b] ^ state[c], 7);
}

void chacha20_block(
	const uint32_t key[CHACHA_KEY_WORDS], uint32_t counter, const uint32_t nonce[3], uint32_t block[CHACHA_WORDS])
{
	uint32_t start[CHACHA_WORDS] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
	for (uint32_t i = 0; i < CHACHA_KEY_WORDS; i++)
		start[4 + i] = key[i];
	start[12] = counter;
	for (uint32_t i = 0; i < 3; i++)
		start[13 + i] = nonce[i];
	for (uint32_t i = 0; i < CHACHA_WORDS; i++)
		block[i] = start[i];
	for (int round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < 4; i++)
			quarter(block, i, 4 + i, 8 + i, 12 + i);
		for (uint32_t i = 0; i < 4; i++)
			quarter(block, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
	}
	for (uint32_t i = 0; i < CHACHA_WORDS; i++)
		block[i] += start[i];
}

/* The next key, and numbers. */
static void refill(struct chacha_generator *generator)
{
	static const uint32_t nonce[3];
	uint32_t block[CHACHA_WORDS];
	chacha20_block(generator->key, 0, nonce, block);
	for (uint32_t i = 0; i < CHACHA_KEY_WORDS; i++)
		generator->key[i] = block[i];
	for (uint32_t i = 0; i < CHACHA_NUMBERS; i++)
		generator->numbers[i] =
			(uint64_t)block[CHACHA_KEY_WORDS + 2 * i + 1] << 32 | block[CHACHA_KEY_WORDS + 2 * i];
	generator->left = CHACHA_NUMBERS;
}

void chacha_absorb(struct chacha_generator *generator, const uint8_t *bytes, uint32_t count)
{
	enum { KEY_BYTES = 4 * CHACHA_KEY_WORDS };
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = i % KEY_BYTES;
		generator->key[at / 4] ^= (uint32_t)bytes[i] << 8 * (at % 4);
		if (at == KEY_BYTES - 1 || i == count - 1)
			refill(generator);
	}
	generator->left = 0;
}

uint64_t chacha_next(struct chacha_generator *generator)
{
	if (generator->left == 0)
		refill(generator);
	uint64_t number = generator->numbers[--generator->left];
	generator->numbers[generator->left] = 0;
	return number;
}
