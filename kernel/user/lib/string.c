/* The functions of string.h. Copies move 16 bytes at a time: emulators count each step of a rep instruction. */
#define KEUOS_STRING_NO_BUILTINS
#include "string.h"

#include <stdint.h>

struct block {
	unsigned char bytes[16];
};

static void move_block(unsigned char *to, const unsigned char *from)
{
	struct block block;

	__builtin_memcpy(&block, from, sizeof(block));
	__builtin_memcpy(to, &block, sizeof(block));
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	for (; bytes >= sizeof(struct block); bytes -= sizeof(struct block)) {
		move_block(t, f);
		t += sizeof(struct block);
		f += sizeof(struct block);
	}
	while (bytes--)
		*t++ = *f++;
	return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
	unsigned char *t = to;
	const unsigned char *f = from;

	/* Each block is read whole before it is written, so going up is safe whenever the target lies below. */
	if ((uintptr_t)t - (uintptr_t)f >= bytes) {
		for (; bytes >= sizeof(struct block); bytes -= sizeof(struct block)) {
			move_block(t, f);
			t += sizeof(struct block);
			f += sizeof(struct block);
		}
		while (bytes--)
			*t++ = *f++;
		return to;
	}
	for (; bytes >= sizeof(struct block); bytes -= sizeof(struct block))
		move_block(t + bytes - sizeof(struct block), f + bytes - sizeof(struct block));
	while (bytes--)
		t[bytes] = f[bytes];
	return to;
}

void *memset(void *to, int value, size_t bytes)
{
	unsigned char *t = to;
	uint64_t word = UINT64_C(0x0101010101010101) * (unsigned char)value;

	for (; bytes >= sizeof(word); bytes -= sizeof(word)) {
		__builtin_memcpy(t, &word, sizeof(word));
		t += sizeof(word);
	}
	while (bytes--)
		*t++ = (unsigned char)value;
	return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const unsigned char *x = a, *y = b;

	for (; bytes; bytes--, x++, y++) {
		if (*x != *y)
			return *x < *y ? -1 : 1;
	}
	return 0;
}

void *memchr(const void *in, int value, size_t bytes)
{
	const unsigned char *x = in;

	for (; bytes; bytes--, x++) {
		if (*x == (unsigned char)value)
			return (void *)(uintptr_t)x;
	}
	return NULL;
}

size_t strnlen(const char *text, size_t limit)
{
	size_t length = 0;

	while (length < limit && text[length])
		length++;
	return length;
}

size_t strlen(const char *text)
{
	return strnlen(text, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t limit)
{
	for (; limit; limit--, a++, b++) {
		if (*a != *b)
			return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
		if (!*a)
			break;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}
