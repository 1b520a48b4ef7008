/* See call_text.h. */
#define _GNU_SOURCE
#include "call_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char answer[CALL_MESSAGE];

void ok(const char *format, ...)
{
	va_list arguments;
	int at = snprintf(answer, sizeof answer, "ok");
	va_start(arguments, format);
	vsnprintf(answer + at, sizeof answer - (size_t)at, format, arguments);
	va_end(arguments);
	reply(answer);
}

const char *error_name(int error)
{
	const char *name = strerrorname_np(error);
	return name != NULL ? name : "EIO";
}

void no(int error)
{
	snprintf(answer, sizeof answer, "no %s", error_name(error));
	reply(answer);
}

int split_request(char *request, char *word[CALL_WORDS])
{
	static char none[] = "-";
	char *rest = NULL;
	int words = 0;
	for (char *part = strtok_r(request, " ", &rest); part != NULL && words < CALL_WORDS;
		part = strtok_r(NULL, " ", &rest))
		word[words++] = part;
	for (int at = words; at < CALL_WORDS; at++)
		word[at] = none;
	return words;
}

/* The pattern -------------------------------------------------------------------------------------------------- */

const struct stream fresh_stream = {.bad = -1, .crc = 0xFFFFFFFFu};

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(7 * at + 3 * (at >> 8) + 31 * (at >> 16) + 101 * (at >> 24));
}

static uint32_t crc32_table[256];

static void make_crc32_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
		crc32_table[i] = c;
	}
}

void write_pattern(const struct stream *stream, uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at < size; at++)
		bytes[at] = pattern(stream->sent + at);
}

void take_pattern(struct stream *stream, const uint8_t *bytes, size_t size)
{
	if (crc32_table[1] == 0)
		make_crc32_table();
	for (size_t at = 0; at < size; at++) {
		stream->crc = stream->crc >> 8 ^ crc32_table[(stream->crc ^ bytes[at]) & 0xFF];
		if (stream->bad < 0 && bytes[at] != pattern(stream->received + at))
			stream->bad = (int64_t)(stream->received + at);
	}
	stream->received += size;
}

void ok_received(const struct stream *stream, uint64_t count, int end)
{
	ok(" %llu %d %llu %lld %u", (unsigned long long)count, end, (unsigned long long)stream->received,
		(long long)stream->bad, ~stream->crc);
}

/* Bytes as text -------------------------------------------------------------------------------------------------- */

size_t from_hex(const char *text, uint8_t *bytes, size_t room)
{
	size_t n = 0;
	unsigned value;
	if (strcmp(text, "-") == 0)
		return 0;
	for (; n < room && sscanf(text + 2 * n, "%2x", &value) == 1; n++)
		bytes[n] = (uint8_t)value;
	return n;
}

const char *to_hex(const uint8_t *bytes, size_t size)
{
	static char text[2 * CALL_BYTES + 1];
	if (size == 0)
		return "-";
	for (size_t at = 0; at < size && at < CALL_BYTES; at++)
		snprintf(text + 2 * at, 3, "%02x", bytes[at]);
	return text;
}
