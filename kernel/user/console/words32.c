#include "words32.h"

size_t words32_encode(const uint32_t *words, size_t count, uint32_t *previous, uint8_t *to, size_t room, size_t *bytes)
{
	size_t at = 0, done = 0;

	for (; done < count && room - at >= WORD32_BYTES_MAX; done++) {
		uint32_t difference = words[done] - *previous;
		uint32_t left = difference << 1 ^ (difference >> 31 ? UINT32_MAX : 0);

		*previous = words[done];
		for (; left > 0x7f; left >>= 7)
			to[at++] = (uint8_t)(left | 0x80);
		to[at++] = (uint8_t)left;
	}
	*bytes = at;
	return done;
}
