/*
 * Numbers as few bytes: each word of 32 bits as its difference from the one before, modulo 2^32 and taken as signed,
 * zigzag, then LEB128: what Protocol Buffers call sint32. Samples that vary little take one or two bytes.
 */
#ifndef KEUOS_CONSOLE_WORDS32_H
#define KEUOS_CONSOLE_WORDS32_H

#include <stddef.h>
#include <stdint.h>

enum { WORD32_BYTES_MAX = 5 };

/*
 * Encodes words until all are done or one more might not fit into `room` bytes. `*previous` is the word before the
 * first, and then the last that was encoded. Returns how many were; `*bytes` is what they took.
 */
size_t words32_encode(const uint32_t *words, size_t count, uint32_t *previous, uint8_t *to, size_t room, size_t *bytes);

#endif
