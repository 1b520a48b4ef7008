/* Text formatting into a caller's buffer, for log lines and the prompt. No floating point, no allocation. */
#ifndef KEUOS_USER_FORMAT_H
#define KEUOS_USER_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/*
 * printf's %s %c %d %i %u %x %p %%, with the flags - and 0, a width or *, a precision for %s, and l, ll or z.
 * Writes at most capacity - 1 bytes and a NUL (nothing if capacity is 0); returns the bytes written, without the NUL.
 * An unknown conversion is copied as it stands.
 */
size_t user_vformat(char *out, size_t capacity, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));
size_t user_format(char *out, size_t capacity, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
