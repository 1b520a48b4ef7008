/* The formatter of format.h: one pass over the format, bounded by the buffer. */
#include "format.h"

#include <stdint.h>
#include <string.h>

struct sink {
	char *out;
	size_t capacity;
	size_t length;
};

struct conversion {
	int left;
	int zero;
	int has_precision;
	size_t width;
	size_t precision;
	int is_long; /* 64-bit argument: l, ll and z are the same width here */
};

static void put(struct sink *sink, char c)
{
	if (sink->length + 1 < sink->capacity)
		sink->out[sink->length++] = c;
}

static void put_padded(struct sink *sink, const struct conversion *c, const char *text, size_t length, int sign)
{
	size_t total = length + (sign != 0);
	size_t fill = c->width > total ? c->width - total : 0;

	if (!c->left && !c->zero)
		for (size_t i = 0; i < fill; i++)
			put(sink, ' ');
	if (sign)
		put(sink, (char)sign);
	if (!c->left && c->zero)
		for (size_t i = 0; i < fill; i++)
			put(sink, '0');
	for (size_t i = 0; i < length; i++)
		put(sink, text[i]);
	if (c->left)
		for (size_t i = 0; i < fill; i++)
			put(sink, ' ');
}

static void put_number(struct sink *sink, const struct conversion *c, uint64_t value, unsigned base, int sign)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	put_padded(sink, c, digits + at, sizeof(digits) - at, sign);
}

static const char *parse_count(const char *f, size_t *count)
{
	*count = 0;
	for (; *f >= '0' && *f <= '9'; f++) {
		if (*count < 4096)
			*count = *count * 10 + (size_t)(*f - '0');
	}
	return f;
}

size_t user_vformat(char *out, size_t capacity, const char *format, va_list arguments)
{
	struct sink sink = {.out = out, .capacity = capacity};

	for (const char *f = format; *f; f++) {
		struct conversion c = {0};
		const char *start = f;

		if (*f != '%') {
			put(&sink, *f);
			continue;
		}
		f++;
		for (; *f == '-' || *f == '0'; f++) {
			c.left |= *f == '-';
			c.zero |= *f == '0';
		}
		if (*f == '*') {
			int width = va_arg(arguments, int);

			c.left |= width < 0;
			c.width = (size_t)(width < 0 ? -(int64_t)width : width);
			f++;
		} else {
			f = parse_count(f, &c.width);
		}
		if (*f == '.') {
			c.has_precision = 1;
			if (f[1] == '*') {
				int precision = va_arg(arguments, int);

				c.has_precision = precision >= 0;
				c.precision = precision >= 0 ? (size_t)precision : 0;
				f += 2;
			} else {
				f = parse_count(f + 1, &c.precision);
			}
		}
		for (; *f == 'l' || *f == 'z'; f++)
			c.is_long = 1;

		switch (*f) {
		case 's': {
			const char *text = va_arg(arguments, const char *);

			if (!text)
				text = "(null)";
			c.zero = 0;
			put_padded(&sink, &c, text, strnlen(text, c.has_precision ? c.precision : SIZE_MAX), 0);
			break;
		}
		case 'c': {
			char one = (char)va_arg(arguments, int);

			c.zero = 0;
			put_padded(&sink, &c, &one, 1, 0);
			break;
		}
		case 'd':
		case 'i': {
			int64_t value = c.is_long ? va_arg(arguments, long) : va_arg(arguments, int);

			put_number(&sink, &c, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, value < 0 ? '-' : 0);
			break;
		}
		case 'u':
		case 'x': {
			uint64_t value = c.is_long ? va_arg(arguments, unsigned long) : va_arg(arguments, unsigned);

			put_number(&sink, &c, value, *f == 'x' ? 16 : 10, 0);
			break;
		}
		case 'p':
			put(&sink, '0');
			put(&sink, 'x');
			put_number(&sink, &c, (uintptr_t)va_arg(arguments, void *), 16, 0);
			break;
		case '%':
			put(&sink, '%');
			break;
		default:
			for (; start < f; start++)
				put(&sink, *start);
			if (!*f)
				f--; /* the format ends inside a conversion: let the loop see the NUL */
			else
				put(&sink, *f);
		}
	}
	if (capacity)
		out[sink.length] = 0;
	return sink.length;
}

size_t user_format(char *out, size_t capacity, const char *format, ...)
{
	va_list arguments;
	size_t length;

	va_start(arguments, format);
	length = user_vformat(out, capacity, format, arguments);
	va_end(arguments);
	return length;
}
