/*
 * The part of CBOR (RFC 8949) that the HIL protocol uses: a checked view of one map, and a writer. Definite lengths
 * only. Pure functions over bytes: nothing is copied, nothing recurses, every input is hostile.
 */
#ifndef KEUOS_CONSOLE_CBOR_H
#define KEUOS_CONSOLE_CBOR_H

#include <stddef.h>
#include <stdint.h>

enum cbor_kind {
	CBOR_UNSIGNED = 0, /* the values are RFC 8949's major types */
	CBOR_NEGATIVE = 1, /* value n stands for -1 - n */
	CBOR_BYTES = 2,
	CBOR_TEXT = 3,
	CBOR_ARRAY = 4,
	CBOR_MAP = 5,
	CBOR_TAG = 6,
	CBOR_SIMPLE = 7, /* value 20 false, 21 true, 22 null; floats keep their bits */
	CBOR_ABSENT = 8, /* not of the RFC: cbor_find() found no such key */
};

struct cbor_item {
	enum cbor_kind kind;
	uint64_t value;      /* the number, or the count of bytes or members */
	const uint8_t *data; /* of bytes and text: where they stand */
};

/* A whole message that has been checked: well formed, one map, every key a text, nothing behind it. */
struct cbor_map {
	const uint8_t *members;
	size_t bytes;
	uint64_t count; /* pairs */
};

/* Checks a message and fills the view. Returns 0, or -1 if it is not such a map. */
int cbor_parse_map(struct cbor_map *map, const uint8_t *data, size_t bytes);

/*
 * Finds a key. Returns its value, or an item of kind CBOR_ABSENT; a key given twice counts as absent, because nobody
 * can say which was meant.
 */
struct cbor_item cbor_find(const struct cbor_map *map, const char *key);

/* Writes items one behind the other. Past the end nothing is written, and `overflow` stays set. */
struct cbor_writer {
	uint8_t *data;
	size_t capacity;
	size_t bytes;
	int overflow;
};

void cbor_put_head(struct cbor_writer *writer, enum cbor_kind kind, uint64_t value);
void cbor_put_unsigned(struct cbor_writer *writer, uint64_t value);
void cbor_put_bool(struct cbor_writer *writer, int value);
void cbor_put_bytes(struct cbor_writer *writer, const void *data, size_t bytes);
void cbor_put_text(struct cbor_writer *writer, const char *text); /* a byte that is not printable ASCII becomes '?' */

#endif
