/*
 * What every file of the kernel may use: printing, panics, memory functions, list of cores. It depends on nothing but
 * the architecture's arch/cpu.h.
 */
#ifndef KERNEL_BASE_H
#define KERNEL_BASE_H

#include <arch/cpu.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEUOS_VERSION "0.1.0"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ALIGN_UP(x, a) (((x) + (a)-1) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))

void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strnlen(const char *text, size_t most);
bool text_equal(const char *a, const char *b, size_t most);

/* %s %c %d %u %x %lu %ld %lx %p %%, with width and zero padding; writes at most `room` bytes with the final NUL. */
size_t format_text(char *to, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));
size_t format_text_v(char *to, size_t room, const char *format, va_list args);

/* A line or a piece of one on the console. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Stops every core, prints the message, the registers (if given) and a symbolised backtrace. */
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void panic_with_registers(const struct arch_regs *regs, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The name of the kernel function around an address and the offset in it; "?" if there is none. */
const char *symbol_name(uint64_t address, uint64_t *offset);

#define assert(condition)                                                                                              \
	do {                                                                                                           \
		if (unlikely(!(condition)))                                                                            \
			panic("assertion failed: %s (%s:%d)", #condition, __FILE__, __LINE__);                         \
	} while (0)

#endif
