/* A fuzzer's input, read byte by byte; behind its end there are zeros. */
#ifndef NETD_FUZZ_INPUT_H
#define NETD_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint8_t take(struct input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

static inline uint16_t take16(struct input *input)
{
	uint16_t high = take(input);

	return (uint16_t)(high << 8 | take(input));
}

#endif
