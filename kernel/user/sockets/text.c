/* The text of text.h. */
#include "text.h"

#include <string.h>

unsigned text_words(char *line, char **words, unsigned most)
{
	unsigned count = 0;

	while (count < most) {
		while (*line == ' ')
			line++;
		if (!*line)
			break;
		words[count++] = line;
		while (*line && *line != ' ')
			line++;
		if (!*line)
			break;
		*line++ = 0;
	}
	return count;
}

int64_t text_number(const char *word)
{
	int negative = *word == '-';
	uint64_t value = 0;

	for (word += negative; *word >= '0' && *word <= '9'; word++)
		value = value * 10 + (uint64_t)(*word - '0');
	return negative ? -(int64_t)value : (int64_t)value;
}

uint32_t text_address(const char *word)
{
	uint32_t address = 0, byte = 0;

	for (;; word++) {
		if (*word >= '0' && *word <= '9') {
			byte = byte * 10 + (uint32_t)(*word - '0');
			continue;
		}
		address = address << 8 | (byte & 255);
		byte = 0;
		if (*word != '.')
			return address;
	}
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t text_from_hex(const char *word, uint8_t *to, size_t room)
{
	size_t count = 0;

	for (; count < room && digit(word[0]) >= 0 && digit(word[1]) >= 0; word += 2)
		to[count++] = (uint8_t)(digit(word[0]) << 4 | digit(word[1]));
	return count;
}

size_t text_to_hex(char *to, const uint8_t *bytes, size_t count)
{
	static const char digits[] = "0123456789abcdef";

	if (!count) {
		to[0] = '-';
		to[1] = 0;
		return 1;
	}
	for (size_t i = 0; i < count; i++) {
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	*to = 0;
	return 2 * count;
}

int text_has(const char *word, char letter)
{
	return memchr(word, letter, strlen(word)) != NULL;
}
