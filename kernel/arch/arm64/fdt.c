/* See fdt.h. */
#include "fdt.h"

enum header {
	HEADER_MAGIC = 0,
	HEADER_SIZE = 4,
	HEADER_STRUCTURE = 8,
	HEADER_STRINGS = 12,
	HEADER_RESERVATIONS = 16,
	HEADER_COMPATIBLE_VERSION = 24,
	HEADER_STRINGS_BYTES = 32,
	HEADER_STRUCTURE_BYTES = 36,
};

enum { TOKEN_NODE = 1, TOKEN_NODE_END = 2, TOKEN_PROPERTY = 3, TOKEN_NOTHING = 4, TOKEN_END = 9 };

#define FDT_MAGIC 0xd00dfeedu

uint32_t fdt_read32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

uint64_t fdt_read64(const uint8_t *at)
{
	return (uint64_t)fdt_read32(at) << 32 | fdt_read32(at + 4);
}

uint32_t fdt_size(const uint8_t *bytes)
{
	uint32_t size = fdt_read32(bytes + HEADER_SIZE);
	if (fdt_read32(bytes + HEADER_MAGIC) != FDT_MAGIC || size < FDT_HEADER_BYTES || size > FDT_BYTES_MAX)
		return 0;
	return size;
}

static bool within(uint32_t size, uint32_t offset, uint32_t bytes)
{
	return offset <= size && bytes <= size - offset;
}

bool fdt_open(struct fdt *fdt, const uint8_t *bytes, uint32_t size)
{
	uint32_t structure = fdt_read32(bytes + HEADER_STRUCTURE);
	uint32_t structure_bytes = fdt_read32(bytes + HEADER_STRUCTURE_BYTES);
	uint32_t strings = fdt_read32(bytes + HEADER_STRINGS);
	uint32_t strings_bytes = fdt_read32(bytes + HEADER_STRINGS_BYTES);
	if (fdt_read32(bytes + HEADER_COMPATIBLE_VERSION) > 17 || !within(size, structure, structure_bytes) ||
		!within(size, strings, strings_bytes) || structure % 4 != 0)
		return false;
	*fdt = (struct fdt){.bytes = bytes,
		.size = size,
		.structure = structure,
		.structure_end = structure + structure_bytes,
		.strings = strings,
		.strings_end = strings + strings_bytes,
		.reservations = fdt_read32(bytes + HEADER_RESERVATIONS)};
	return true;
}

/* The string at an offset, if it ends before `end`; NULL if not. */
static const char *string_at(const struct fdt *fdt, uint32_t offset, uint32_t end, uint32_t *length)
{
	for (uint32_t i = offset; i < end; i++)
		if (fdt->bytes[i] == 0) {
			*length = i - offset;
			return (const char *)fdt->bytes + offset;
		}
	return 0;
}

static bool read_node(const struct fdt *fdt, uint32_t *cursor, struct fdt_item *item)
{
	uint32_t length;
	item->name = string_at(fdt, *cursor, fdt->structure_end, &length);
	if (item->name == 0)
		return false;
	*cursor += (length + 1 + 3) & ~3u;
	return true;
}

static bool read_property(const struct fdt *fdt, uint32_t *cursor, struct fdt_item *item)
{
	uint32_t length;
	if (!within(fdt->structure_end, *cursor, 8))
		return false;
	item->bytes = fdt_read32(fdt->bytes + *cursor);
	uint32_t name = fdt_read32(fdt->bytes + *cursor + 4);
	*cursor += 8;
	if (!within(fdt->structure_end, *cursor, item->bytes) || name >= fdt->strings_end - fdt->strings)
		return false;
	item->name = string_at(fdt, fdt->strings + name, fdt->strings_end, &length);
	item->value = fdt->bytes + *cursor;
	*cursor += (item->bytes + 3) & ~3u;
	return item->name != 0;
}

enum fdt_token fdt_next(const struct fdt *fdt, uint32_t *cursor, struct fdt_item *item)
{
	while (within(fdt->structure_end, *cursor, 4)) {
		uint32_t token = fdt_read32(fdt->bytes + *cursor);
		*cursor += 4;
		switch (token) {
		case TOKEN_NODE:
			return read_node(fdt, cursor, item) ? FDT_NODE : FDT_DAMAGED;
		case TOKEN_NODE_END:
			return FDT_NODE_END;
		case TOKEN_PROPERTY:
			return read_property(fdt, cursor, item) ? FDT_PROPERTY : FDT_DAMAGED;
		case TOKEN_NOTHING:
			break;
		case TOKEN_END:
			return FDT_FINISHED;
		default:
			return FDT_DAMAGED;
		}
	}
	return FDT_DAMAGED;
}

bool fdt_reservation(const struct fdt *fdt, uint32_t *cursor, uint64_t *base, uint64_t *bytes)
{
	if (!within(fdt->size, *cursor, 16))
		return false;
	*base = fdt_read64(fdt->bytes + *cursor);
	*bytes = fdt_read64(fdt->bytes + *cursor + 8);
	*cursor += 16;
	return *base != 0 || *bytes != 0;
}
