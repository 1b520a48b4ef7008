/* The reader and the writer of cbor.h. */
#include "cbor.h"

#include <string.h>

struct cursor {
	const uint8_t *data;
	size_t left;
};

enum {
	FOLLOWS_1 = 24, /* additional information: the argument follows in 1, 2, 4 or 8 bytes */
	FOLLOWS_8 = 27,
	FIRST_TWO_BYTE_SIMPLE = 32, /* RFC 8949 section 3.3: smaller ones must not be spelt with two bytes */
};

/* Reads an item's head and, of bytes and text, its content. Returns 0 or -1. */
static int take_item(struct cursor *c, struct cbor_item *item)
{
	uint8_t info;

	if (!c->left)
		return -1;
	item->kind = (enum cbor_kind)(c->data[0] >> 5);
	info = c->data[0] & 31;
	c->data++;
	c->left--;
	item->value = info;
	item->data = NULL;
	if (info >= FOLLOWS_1) {
		size_t width;

		if (info > FOLLOWS_8)
			return -1; /* reserved, or an indefinite length */
		width = (size_t)1 << (info - FOLLOWS_1);
		if (width > c->left)
			return -1;
		item->value = 0;
		for (size_t i = 0; i < width; i++)
			item->value = item->value << 8 | c->data[i];
		c->data += width;
		c->left -= width;
		if (item->kind == CBOR_SIMPLE) {
			if (width == 1 && item->value < FIRST_TWO_BYTE_SIMPLE)
				return -1;
			if (width > 1)
				item->value = 0; /* a float, whose bits must not be taken for false, true or null */
		}
	}
	if (item->kind == CBOR_BYTES || item->kind == CBOR_TEXT) {
		if (item->value > c->left)
			return -1;
		item->data = c->data;
		c->data += item->value;
		c->left -= (size_t)item->value;
	}
	return 0;
}

/* Reads an item with all that it holds, and gives its head. Counts what is still to come instead of recursing. */
static int take_tree(struct cursor *c, struct cbor_item *head)
{
	uint64_t pending = 1;
	int first = 1;

	while (pending) {
		struct cbor_item item;

		if (take_item(c, &item))
			return -1;
		pending--;
		if (first)
			*head = item;
		first = 0;
		/* Every member takes a byte at least, so a count beyond what is left is a lie, and sums can't wrap. */
		if (item.kind == CBOR_ARRAY || item.kind == CBOR_MAP) {
			if (item.value > c->left)
				return -1;
			pending += item.kind == CBOR_MAP ? 2 * item.value : item.value;
		} else if (item.kind == CBOR_TAG) {
			pending++;
		}
		if (pending > c->left)
			return -1;
	}
	return 0;
}

int cbor_parse_map(struct cbor_map *map, const uint8_t *data, size_t bytes)
{
	struct cursor c = {.data = data, .left = bytes};
	struct cbor_item item;

	if (take_item(&c, &item) || item.kind != CBOR_MAP)
		return -1;
	*map = (struct cbor_map){.members = c.data, .bytes = c.left, .count = item.value};
	for (uint64_t i = 0; i < map->count; i++) {
		if (take_item(&c, &item) || item.kind != CBOR_TEXT || take_tree(&c, &item))
			return -1;
	}
	return c.left ? -1 : 0;
}

struct cbor_item cbor_find(const struct cbor_map *map, const char *key)
{
	struct cursor c = {.data = map->members, .left = map->bytes};
	struct cbor_item found = {.kind = CBOR_ABSENT};
	size_t length = strlen(key);
	int times = 0;

	for (uint64_t i = 0; i < map->count; i++) {
		struct cbor_item name, value;

		/* The map was checked; were it not, this stops all the same. */
		if (take_item(&c, &name) || take_tree(&c, &value))
			break;
		if (name.kind == CBOR_TEXT && name.value == length && !memcmp(name.data, key, length)) {
			found = value;
			times++;
		}
	}
	if (times > 1)
		found = (struct cbor_item){.kind = CBOR_ABSENT};
	return found;
}

static void put(struct cbor_writer *w, const void *data, size_t bytes)
{
	if (w->overflow || bytes > w->capacity - w->bytes) {
		w->overflow = 1;
		return;
	}
	memcpy(w->data + w->bytes, data, bytes);
	w->bytes += bytes;
}

void cbor_put_head(struct cbor_writer *w, enum cbor_kind kind, uint64_t value)
{
	uint8_t head[9];
	unsigned power = 0; /* the argument takes 2^power bytes */
	size_t width;

	if (value < FOLLOWS_1) {
		head[0] = (uint8_t)((unsigned)kind << 5 | (unsigned)value);
		put(w, head, 1);
		return;
	}
	while (power < 3 && value >> (8U << power))
		power++;
	width = (size_t)1 << power;
	head[0] = (uint8_t)((unsigned)kind << 5 | (FOLLOWS_1 + power));
	for (size_t i = 0; i < width; i++)
		head[1 + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
	put(w, head, 1 + width);
}

void cbor_put_unsigned(struct cbor_writer *w, uint64_t value)
{
	cbor_put_head(w, CBOR_UNSIGNED, value);
}

void cbor_put_bool(struct cbor_writer *w, int value)
{
	cbor_put_head(w, CBOR_SIMPLE, value ? 21 : 20);
}

void cbor_put_bytes(struct cbor_writer *w, const void *data, size_t bytes)
{
	cbor_put_head(w, CBOR_BYTES, bytes);
	put(w, data, bytes);
}

void cbor_put_text(struct cbor_writer *w, const char *text)
{
	size_t bytes = strlen(text);

	cbor_put_head(w, CBOR_TEXT, bytes);
	for (; *text; text++) {
		/* A CBOR text is UTF-8, or the reader drops the message; ASCII always is. */
		char byte = *text;

		if (byte < ' ' || byte > '~')
			byte = '?';
		put(w, &byte, 1);
	}
}
