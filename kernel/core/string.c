/* Memory and text functions. The compiler calls the first four on its own account. */
#include <kernel/base.h>

void *memcpy(void *to, const void *from, size_t bytes)
{
	uint8_t *t = to;
	const uint8_t *f = from;
	while (bytes >= 8) {
		uint64_t word;
		__builtin_memcpy(&word, f, 8);
		__builtin_memcpy(t, &word, 8);
		t += 8;
		f += 8;
		bytes -= 8;
	}
	while (bytes-- > 0)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int value, size_t bytes)
{
	uint8_t *t = to;
	uint64_t word = 0x0101010101010101ull * (uint8_t)value;
	while (bytes >= 32) { /* pages are what is cleared most */
		__builtin_memcpy(t, &word, 8);
		__builtin_memcpy(t + 8, &word, 8);
		__builtin_memcpy(t + 16, &word, 8);
		__builtin_memcpy(t + 24, &word, 8);
		t += 32;
		bytes -= 32;
	}
	while (bytes >= 8) {
		__builtin_memcpy(t, &word, 8);
		t += 8;
		bytes -= 8;
	}
	while (bytes-- > 0)
		*t++ = (uint8_t)value;
	return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
	uint8_t *t = to;
	const uint8_t *f = from;
	if (t <= f || t >= f + bytes)
		return memcpy(to, from, bytes);
	while (bytes-- > 0)
		t[bytes] = f[bytes];
	return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const uint8_t *x = a, *y = b;
	for (size_t i = 0; i < bytes; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

size_t strnlen(const char *text, size_t most)
{
	size_t n = 0;
	while (n < most && text[n])
		n++;
	return n;
}

bool text_equal(const char *a, const char *b, size_t most)
{
	for (size_t i = 0; i < most; i++) {
		if (a[i] != b[i])
			return false;
		if (a[i] == 0)
			return true;
	}
	return true;
}

struct output {
	char *at, *end;
	size_t wanted;
};

static void put(struct output *out, char c)
{
	if (out->at < out->end)
		*out->at++ = c;
	out->wanted++;
}

static void put_number(struct output *out, uint64_t value, uint32_t base, uint32_t width, char pad, bool negative)
{
	char digits[24];
	uint32_t count = 0;
	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value > 0);
	if (negative)
		digits[count++] = '-';
	while (width > count) {
		put(out, pad);
		width--;
	}
	while (count > 0)
		put(out, digits[--count]);
}

static void put_text(struct output *out, const char *text, uint32_t width, bool left)
{
	size_t bytes = strnlen(text, 256);
	for (size_t i = bytes; !left && i < width; i++)
		put(out, ' ');
	for (size_t i = 0; i < bytes; i++)
		put(out, text[i]);
	for (size_t i = bytes; left && i < width; i++)
		put(out, ' ');
}

size_t format_text_v(char *to, size_t room, const char *format, va_list args)
{
	struct output out = {to, to + (room > 0 ? room - 1 : 0), 0};
	for (; *format; format++) {
		if (*format != '%') {
			put(&out, *format);
			continue;
		}
		format++;
		bool left = *format == '-';
		format += left;
		char pad = *format == '0' ? '0' : ' ';
		uint32_t width = 0;
		while (*format >= '0' && *format <= '9')
			width = width * 10 + (uint32_t)(*format++ - '0');
		bool is_long = *format == 'l';
		format += is_long;
		switch (*format) {
		case 'd': {
			int64_t value = is_long ? va_arg(args, int64_t) : va_arg(args, int);
			put_number(&out, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, width, pad, value < 0);
			break;
		}
		case 'u':
			put_number(
				&out, is_long ? va_arg(args, uint64_t) : va_arg(args, uint32_t), 10, width, pad, false);
			break;
		case 'x':
			put_number(
				&out, is_long ? va_arg(args, uint64_t) : va_arg(args, uint32_t), 16, width, pad, false);
			break;
		case 'p':
			put_number(&out, (uint64_t)va_arg(args, void *), 16, 16, '0', false);
			break;
		case 's':
			put_text(&out, va_arg(args, const char *), width, left);
			break;
		case 'c':
			put(&out, (char)va_arg(args, int));
			break;
		default:
			put(&out, *format);
			break;
		}
	}
	if (room > 0)
		*out.at = 0;
	return out.wanted;
}

size_t format_text(char *to, size_t room, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	size_t wanted = format_text_v(to, room, format, args);
	va_end(args);
	return wanted;
}
