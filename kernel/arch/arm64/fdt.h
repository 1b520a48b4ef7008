/*
 * Reading a flattened device tree (Devicetree specification 0.4, chapter 5), token by token. The tree is a loader's: every
 * offset and length in it is checked, and nothing outside its bytes is ever read. No part of the kernel is used here, so
 * that the same source is tested on a host.
 */
#ifndef ARM64_FDT_H
#define ARM64_FDT_H

#include <stdbool.h>
#include <stdint.h>

struct fdt {
	const uint8_t *bytes;
	uint32_t size;
	uint32_t structure, structure_end; /* offsets */
	uint32_t strings, strings_end;
	uint32_t reservations;
};

enum fdt_token { FDT_NODE, FDT_NODE_END, FDT_PROPERTY, FDT_FINISHED, FDT_DAMAGED };

/* What is at the cursor. Names end with a zero within the tree. */
struct fdt_item {
	const char *name;     /* of a node or a property */
	const uint8_t *value; /* of a property */
	uint32_t bytes;
};

enum { FDT_BYTES_MAX = 2 << 20, FDT_HEADER_BYTES = 40 };

uint32_t fdt_read32(const uint8_t *at); /* big-endian */
uint64_t fdt_read64(const uint8_t *at);

/* How long the tree at `bytes` says it is, of whose header FDT_HEADER_BYTES can be read; 0: that is no tree. */
uint32_t fdt_size(const uint8_t *bytes);
/* False: damaged. `bytes` has `size` bytes, as fdt_size said. */
bool fdt_open(struct fdt *fdt, const uint8_t *bytes, uint32_t size);
/* The token at *cursor, an offset that starts with fdt->structure and moves behind it. */
enum fdt_token fdt_next(const struct fdt *fdt, uint32_t *cursor, struct fdt_item *item);
/* The memory reservation at *cursor, which starts with fdt->reservations; false behind the last. */
bool fdt_reservation(const struct fdt *fdt, uint32_t *cursor, uint64_t *base, uint64_t *bytes);

#endif
