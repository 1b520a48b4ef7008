/*
 * How a message's bytes get into a ring and out of it. Inlined, so that a length that the compiler knows leaves nothing but
 * loads and stores; no call, and no memory but that of the message and the ring, is touched.
 */
#ifndef KEUOS_COPY_H
#define KEUOS_COPY_H

#include <stdint.h>
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define KEUOS_INLINE static inline __attribute__((always_inline, unused))

KEUOS_INLINE void keuos_copy_64(uint8_t *to, const uint8_t *from)
{
#if defined(__aarch64__)
	/* Up to four SIMD registers with one instruction; by itself the compiler takes pairs, which need two. */
	vst1q_u8_x4(to, vld1q_u8_x4(from));
#else
	__builtin_memcpy(to, from, 64);
#endif
}

KEUOS_INLINE void keuos_copy(void *to, const void *from, uint32_t bytes)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	for (; bytes >= 64; bytes -= 64, t += 64, f += 64)
		keuos_copy_64(t, f);
	if (!bytes)
		return;
#if defined(__aarch64__)
	if ((bytes & 48) == 48) { /* with 8 more, a slot's payload */
		vst1q_u8_x3(t, vld1q_u8_x3(f));
		bytes -= 48, t += 48, f += 48;
	}
#endif
	if (bytes & 32)
		__builtin_memcpy(t, f, 32), t += 32, f += 32;
	if (bytes & 16)
		__builtin_memcpy(t, f, 16), t += 16, f += 16;
	if (bytes & 8)
		__builtin_memcpy(t, f, 8), t += 8, f += 8;
	if (bytes & 4)
		__builtin_memcpy(t, f, 4), t += 4, f += 4;
	if (bytes & 2)
		__builtin_memcpy(t, f, 2), t += 2, f += 2;
	if (bytes & 1)
		*t = *f;
}

/* Into a data ring of so many bytes (a power of two), from a free-running offset on; around its end if need be. */
KEUOS_INLINE void keuos_copy_in(uint8_t *ring, uint32_t ring_bytes, uint32_t start, const void *from, uint32_t bytes)
{
	uint32_t first = ring_bytes - (start & (ring_bytes - 1));

	if (__builtin_expect(bytes <= first, 1)) {
		keuos_copy(ring + ring_bytes - first, from, bytes);
	} else {
		keuos_copy(ring + ring_bytes - first, from, first);
		keuos_copy(ring, (const uint8_t *)from + first, bytes - first);
	}
}

/* Out of it, likewise. */
KEUOS_INLINE void keuos_copy_out(const uint8_t *ring, uint32_t ring_bytes, uint32_t start, void *to, uint32_t bytes)
{
	uint32_t first = ring_bytes - (start & (ring_bytes - 1));

	if (__builtin_expect(bytes <= first, 1)) {
		keuos_copy(to, ring + ring_bytes - first, bytes);
	} else {
		keuos_copy(to, ring + ring_bytes - first, first);
		keuos_copy((uint8_t *)to + first, ring, bytes - first);
	}
}

/* Asks for a line that is going to be written as a whole. Processors of x86-64 that lack the instruction take it for a nop. */
KEUOS_INLINE void keuos_prefetch_write(const void *line)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
	__builtin_prefetch(line, 1);
#endif
}

#endif
