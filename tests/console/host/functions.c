/*
 * Runs the console's pure functions, and the user library's, on bytes from standard input. A test sends
 * {operation u8, length u32, bytes} and gets {length u32, bytes}, little-endian. Inputs and outputs stand in blocks of
 * exactly their size, so that ASan sees a read or write one byte too far.
 */
#include "cbor.h"
#include "format.h"
#include "frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* kernel/user/lib/string.c, renamed on the command line because a host has functions of these names. */
void *user_memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *user_memmove(void *to, const void *from, size_t bytes);
void *user_memset(void *to, int value, size_t bytes);
int user_memcmp(const void *a, const void *b, size_t bytes);
int user_strncmp(const char *a, const char *b, size_t limit);
size_t user_strnlen(const char *text, size_t limit);
void *user_memchr(const void *in, int value, size_t bytes);

struct buffer {
	uint8_t *data;
	size_t bytes;
};

static struct buffer answer;

static void add(const void *data, size_t bytes)
{
	answer.data = realloc(answer.data, answer.bytes + bytes + 1);
	memcpy(answer.data + answer.bytes, data, bytes);
	answer.bytes += bytes;
}

static void add_u32(uint32_t value)
{
	add(&value, sizeof(value));
}

static void add_u64(uint64_t value)
{
	add(&value, sizeof(value));
}

static void add_exactly(const uint8_t *data, size_t capacity, size_t bytes)
{
	if (bytes > capacity)
		abort();
	add(data, bytes);
}

static uint64_t take_u64(struct buffer *in)
{
	uint64_t value;

	if (in->bytes < sizeof(value))
		abort();
	memcpy(&value, in->data, sizeof(value));
	in->data += sizeof(value);
	in->bytes -= sizeof(value);
	return value;
}

static void run_splitter(const struct buffer *in, int reset)
{
	static struct frame_splitter splitter;

	if (reset)
		memset(&splitter, 0, sizeof(splitter));
	for (size_t i = 0; i < in->bytes; i++) {
		switch (frame_feed(&splitter, in->data[i])) {
		case FRAME_TEXT:
			add("T", 1);
			add(&in->data[i], 1);
			break;
		case FRAME_MESSAGE:
			add("M", 1);
			add_u32((uint32_t)splitter.bytes);
			add(splitter.data, splitter.bytes);
			break;
		case FRAME_PENDING:
			break;
		}
	}
}

/* {key length u64, key, message} -> {valid u8, count u64, kind u8, value u64, content} */
static void run_find(struct buffer *in)
{
	size_t key_length = take_u64(in), bytes = in->bytes - key_length;
	char *key = calloc(1, key_length + 1);
	uint8_t *message = malloc(bytes ? bytes : 1), kind;
	struct cbor_map map;
	struct cbor_item item;

	memcpy(key, in->data, key_length);
	memcpy(message, in->data + key_length, bytes);
	if (cbor_parse_map(&map, message, bytes)) {
		add("\0", 1);
	} else {
		add("\1", 1);
		item = cbor_find(&map, key);
		kind = (uint8_t)item.kind;
		add_u64(map.count);
		add(&kind, 1);
		add_u64(item.value);
		if (item.data)
			add(item.data, item.value);
	}
	free(message);
	free(key);
}

/* {capacity u64, kind u64, value u64, content}: kind 2 and 3 with content, 7 as a truth value, else a head alone */
static void run_put(struct buffer *in)
{
	size_t capacity = take_u64(in);
	uint64_t kind = take_u64(in), value = take_u64(in);
	uint8_t *data = malloc(capacity ? capacity : 1);
	struct cbor_writer writer = {.data = data, .capacity = capacity};
	char *text;

	switch (kind) {
	case CBOR_BYTES:
		cbor_put_bytes(&writer, in->data, in->bytes);
		break;
	case CBOR_TEXT:
		text = calloc(1, in->bytes + 1);
		memcpy(text, in->data, in->bytes);
		cbor_put_text(&writer, text);
		free(text);
		break;
	case CBOR_SIMPLE:
		cbor_put_bool(&writer, value != 0);
		break;
	default:
		cbor_put_head(&writer, (enum cbor_kind)kind, value);
	}
	add(writer.overflow ? "\1" : "\0", 1);
	add_exactly(data, capacity, writer.bytes);
	free(data);
}

/* {capacity u64, type u64 (0 int, 1 unsigned, 2 long, 3 unsigned long, 4 text, 5 broken), value u64, format NUL, text NUL} */
#pragma clang diagnostic ignored "-Wformat-nonliteral"
#pragma clang diagnostic ignored "-Wformat-security"
static void run_format(struct buffer *in)
{
	size_t capacity = take_u64(in), length;
	uint64_t type = take_u64(in), value = take_u64(in);
	const char *format = (const char *)in->data, *text = format + strlen(format) + 1;
	char *out = malloc(capacity ? capacity : 1), *reference = malloc(capacity ? capacity : 1);

	memset(out, 0xee, capacity);
	switch (type) {
	case 0:
		length = user_format(out, capacity, format, (int)value);
		snprintf(reference, capacity, format, (int)value);
		break;
	case 1:
		length = user_format(out, capacity, format, (unsigned)value);
		snprintf(reference, capacity, format, (unsigned)value);
		break;
	case 2:
		length = user_format(out, capacity, format, (long)value);
		snprintf(reference, capacity, format, (long)value);
		break;
	case 3:
		length = user_format(out, capacity, format, (unsigned long)value);
		snprintf(reference, capacity, format, (unsigned long)value);
		break;
	case 4:
		length = user_format(out, capacity, format, text);
		snprintf(reference, capacity, format, text);
		break;
	default: /* a format that libc need not survive */
		length = user_format(out, capacity, format, (unsigned)value);
		memset(reference, 0, capacity);
	}
	add_u64(length);
	if (capacity) {
		add(out, strlen(out));
		add("\0", 1);
		add(reference, strlen(reference));
	}
	free(reference);
	free(out);
}

/* {which u64, to u64, from u64, bytes u64, content}: the function inside one block, overlaps and all, against libc's */
static void run_string(struct buffer *in)
{
	uint64_t which = take_u64(in), to = take_u64(in), from = take_u64(in), bytes = take_u64(in);
	size_t size = in->bytes;
	uint8_t *ours = malloc(size ? size : 1), *theirs = malloc(size ? size : 1);
	int equal = 1, x, y;

	if (to > size || from > size || bytes > size - to || bytes > size - from)
		abort();
	memcpy(ours, in->data, size);
	memcpy(theirs, in->data, size);
	switch (which) {
	case 0:
		if (to + bytes > from && from + bytes > to)
			break; /* overlapping: not memcpy's business */
		user_memcpy(ours + to, ours + from, bytes);
		memcpy(theirs + to, theirs + from, bytes);
		break;
	case 1:
		user_memmove(ours + to, ours + from, bytes);
		memmove(theirs + to, theirs + from, bytes);
		break;
	case 2:
		user_memset(ours + to, (int)from, bytes);
		memset(theirs + to, (int)from, bytes);
		break;
	case 3:
		x = user_memcmp(ours + to, ours + from, bytes);
		y = memcmp(theirs + to, theirs + from, bytes);
		equal = (x > 0) == (y > 0) && (x < 0) == (y < 0);
		break;
	case 4:
		x = user_strncmp((char *)ours + to, (char *)ours + from, bytes);
		y = strncmp((char *)theirs + to, (char *)theirs + from, bytes);
		equal = (x > 0) == (y > 0) && (x < 0) == (y < 0);
		break;
	case 5:
		equal = user_strnlen((char *)ours + to, bytes) == strnlen((char *)theirs + to, bytes);
		break;
	default:
		equal = (uint8_t *)user_memchr(ours + to, (int)from, bytes) - ours ==
				(uint8_t *)memchr(theirs + to, (int)from, bytes) - theirs ||
			(!user_memchr(ours + to, (int)from, bytes) && !memchr(theirs + to, (int)from, bytes));
	}
	add(equal && !memcmp(ours, theirs, size) ? "\1" : "\0", 1);
	free(theirs);
	free(ours);
}

static void run(uint8_t operation, struct buffer in)
{
	size_t capacity;
	uint8_t *block;
	ptrdiff_t length;

	switch (operation) {
	case 'c':
		add_u32(crc32(in.data, in.bytes));
		break;
	case 'e':
		capacity = in.bytes + in.bytes / 254 + 1;
		block = malloc(capacity);
		add_exactly(block, capacity, cobs_encode(block, in.data, in.bytes));
		free(block);
		break;
	case 'd':
		length = cobs_decode(in.data, in.bytes);
		add(length < 0 ? "\0" : "\1", 1);
		if (length >= 0)
			add_exactly(in.data, in.bytes, (size_t)length);
		break;
	case 'f':
		block = malloc(FRAME_WIRE_MAX);
		add_exactly(block, FRAME_WIRE_MAX, frame_encode(block, in.data, in.bytes));
		free(block);
		break;
	case 's':
		run_splitter(&in, 1);
		break;
	case 'm':
		run_find(&in);
		break;
	case 'w':
		run_put(&in);
		break;
	case 'p':
		run_format(&in);
		break;
	case 'y':
		run_string(&in);
		break;
	default:
		abort();
	}
}

int main(void)
{
	uint8_t operation;

	while (fread(&operation, 1, 1, stdin) == 1) {
		uint8_t *data;
		uint32_t length;

		if (fread(&length, sizeof(length), 1, stdin) != 1)
			return 1;
		data = malloc(length ? length : 1);
		if (fread(data, 1, length, stdin) != length)
			return 1;
		answer.bytes = 0;
		run(operation, (struct buffer){.data = data, .bytes = length});
		free(data);
		length = (uint32_t)answer.bytes;
		fwrite(&length, sizeof(length), 1, stdout);
		fwrite(answer.data, 1, answer.bytes, stdout);
		fflush(stdout);
	}
	free(answer.data);
	return 0;
}
