/*
 * The memory and string functions of ISO C that user programs need; nothing that allocates. The names are the
 * standard's, so that a source which includes <string.h> compiles for a host as well. Compilers emit calls to the
 * first four by themselves.
 */
#ifndef KEUOS_USER_STRING_H
#define KEUOS_USER_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
void *memchr(const void *in, int value, size_t bytes);
size_t strlen(const char *text);
size_t strnlen(const char *text, size_t limit);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t limit);

/* Freestanding code has no built-in functions by name; a copy of constant size should still become plain moves. */
#ifndef KEUOS_STRING_NO_BUILTINS
#define memcpy(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define memmove(to, from, bytes) __builtin_memmove(to, from, bytes)
#define memset(to, value, bytes) __builtin_memset(to, value, bytes)
#define memcmp(a, b, bytes) __builtin_memcmp(a, b, bytes)
#define strlen(text) __builtin_strlen(text)
#endif

#endif
