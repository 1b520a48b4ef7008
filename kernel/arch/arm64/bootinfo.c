/*
 * What the loader handed over: a device tree. It is read while the tables of boot.S, which map the image alone, are in
 * force; what it says of memory is mapped into them, so that the portable kernel can begin.
 */
#include "machine.h"
#include <keuos/channel.h>

enum { BLOCK_BYTES = 2 << 20, EARLY_TABLES = 10, TABLE_ENTRIES = 512 };
enum entry {
	ENTRY_BLOCK = 1,
	ENTRY_TABLE = 3,
	ENTRY_READ_ONLY = 1 << 7,
	ENTRY_SHARED = 3 << 8,
	ENTRY_ACCESSED = 1 << 10
};
#define ENTRY_NO_EXECUTION (3ull << 53)

struct boot_info boot_info;
struct machine machine;
uint64_t image_start;

extern uint64_t boot_high_0[TABLE_ENTRIES];
extern char kernel_start[];

static uint64_t early_tables[EARLY_TABLES][TABLE_ENTRIES] __attribute__((aligned(4096)));
static uint32_t early_tables_used;

uint64_t image_physical(const void *address)
{
	return (uint64_t)address - (uint64_t)kernel_start + image_start;
}

/* The table behind an entry, made if need be; NULL: there are no more. */
static uint64_t *table_of(uint64_t *entry)
{
	if (*entry == 0) {
		if (early_tables_used == EARLY_TABLES)
			return NULL;
		*entry = image_physical(early_tables[early_tables_used++]) | ENTRY_TABLE;
	}
	/* All tables here are the image's own. */
	return (uint64_t *)((*entry & 0x0000fffffffff000ull) - image_start + (uint64_t)kernel_start);
}

/* Adds a block of 2 MiB to the tables of boot.S. */
static bool map_block(uint64_t address, uint64_t physical, uint64_t bits)
{
	uint64_t *middle = table_of(&boot_high_0[address >> 39 & (TABLE_ENTRIES - 1)]);
	uint64_t *low = middle ? table_of(&middle[address >> 30 & (TABLE_ENTRIES - 1)]) : NULL;
	if (low == NULL)
		return false;
	low[address >> 21 & (TABLE_ENTRIES - 1)] =
		physical | bits | ENTRY_BLOCK | ENTRY_ACCESSED | ENTRY_SHARED | ENTRY_NO_EXECUTION;
	__asm__ volatile("dsb ishst\n\tisb" ::: "memory");
	return true;
}

static bool map_memory(uint64_t physical)
{
	return map_block(DIRECT_MAP + physical, physical, ATTRIBUTE_NORMAL << 2);
}

void *boot_map_device(uint64_t physical)
{
	map_block(DEVICE_WINDOW, ALIGN_DOWN(physical, (uint64_t)BLOCK_BYTES), ATTRIBUTE_DEVICE << 2);
	return (void *)(DEVICE_WINDOW + physical % BLOCK_BYTES);
}

static void reserve(uint64_t base, uint64_t bytes)
{
	if (boot_info.reserved_count == BOOT_RESERVED_MAX)
		panic("the device tree reserves more than %u parts of memory", BOOT_RESERVED_MAX);
	boot_info.reserved[boot_info.reserved_count++] = (struct memory_range){base, bytes};
}

/* In order, and in whole blocks of 2 MiB: what is smaller at an edge is left alone, or mapping it would map what lies behind. */
static void add_range(uint64_t base, uint64_t end)
{
	base = ALIGN_UP(base, (uint64_t)BLOCK_BYTES);
	end = ALIGN_DOWN(end, (uint64_t)BLOCK_BYTES);
	if (base >= end || boot_info.ranges_count == BOOT_RANGES_MAX)
		return;
	uint32_t at = boot_info.ranges_count++;
	for (; at > 0 && boot_info.ranges[at - 1].base > base; at--)
		boot_info.ranges[at] = boot_info.ranges[at - 1];
	boot_info.ranges[at] = (struct memory_range){base, end - base};
}

/* A range of memory without the parts that must not be mapped, from the i-th on. */
static void add_memory(uint64_t base, uint64_t end, uint32_t i)
{
	for (; i < machine.reserved_count; i++) {
		const struct tree_range *hole = &machine.reserved[i].range;
		if (!machine.reserved[i].no_map || hole->base >= end || hole->base + hole->bytes <= base)
			continue;
		add_memory(base, hole->base > base ? hole->base : base, i + 1);
		base = hole->base + hole->bytes;
		if (base >= end)
			return;
	}
	add_range(base, end);
}

static void map_ranges(void)
{
	boot_info.mapped_end = UINT64_MAX;
	for (uint32_t i = 0; i < boot_info.ranges_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];
		for (uint64_t at = range->base; at < range->base + range->bytes; at += BLOCK_BYTES)
			if (!map_memory(at)) {
				boot_info.mapped_end = at;
				return;
			}
	}
}

static const uint8_t *map_tree(uint64_t tree, uint32_t *bytes)
{
	const uint8_t *at = arch_direct(tree);
	uint64_t first = ALIGN_DOWN(tree, (uint64_t)BLOCK_BYTES);
	if (tree % 8 != 0 || !map_memory(first) || !map_memory(first + BLOCK_BYTES))
		panic("no device tree at %lx", tree);
	*bytes = fdt_size(at);
	if (*bytes == 0)
		panic("no device tree at %lx: x0 has to hold its address", tree);
	return at;
}

/* `initrd=ADDRESS,BYTES`, both hexadecimal, for loaders that can't write it into the tree. */
static uint64_t read_hexadecimal(const char **at)
{
	uint64_t value = 0;
	if ((*at)[0] == '0' && (*at)[1] == 'x')
		*at += 2;
	for (;; (*at)++) {
		char c = **at;
		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return value;
	}
}

static void read_initrd_argument(void)
{
	for (const char *at = boot_info.arguments; *at; at++) {
		if ((at != boot_info.arguments && at[-1] != ' ') || !text_equal(at, "initrd=", 7))
			continue;
		at += 7;
		boot_info.initrd = read_hexadecimal(&at);
		if (*at != ',')
			return;
		at++;
		boot_info.initrd_bytes = read_hexadecimal(&at);
		return;
	}
}

/* Bytes of the archive that are not in memory which is mapped would fault. */
static void check_initrd(void)
{
	for (uint32_t i = 0; i < boot_info.ranges_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];
		if (boot_info.initrd >= range->base && boot_info.initrd - range->base <= range->bytes &&
			boot_info.initrd_bytes <= range->bytes - (boot_info.initrd - range->base))
			return;
	}
	if (boot_info.initrd != 0)
		panic("the initrd at %lx, %lu bytes, is not in memory", boot_info.initrd, boot_info.initrd_bytes);
}

void boot_info_read(uint64_t tree)
{
	struct fdt fdt;
	uint32_t bytes;
	boot_info.how = "device-tree";
	const uint8_t *at = map_tree(tree, &bytes);
	bool good = fdt_open(&fdt, at, bytes) && tree_read(&fdt, &machine);
	if (machine.serial != SERIAL_NONE)
		arch_serial_init();
	if (!good)
		panic("the device tree at %lx is damaged", tree);
	for (uint32_t i = 0; i < machine.memory_count; i++)
		add_memory(machine.memory[i].base, machine.memory[i].base + machine.memory[i].bytes, 0);
	if (boot_info.ranges_count == 0)
		panic("the device tree names no memory");
	map_ranges();
	reserve(tree, bytes);
	for (uint32_t i = 0; i < machine.reserved_count; i++)
		reserve(machine.reserved[i].range.base, machine.reserved[i].range.bytes);
	memcpy(boot_info.arguments, machine.arguments, sizeof(boot_info.arguments));
	boot_info.initrd = machine.initrd;
	boot_info.initrd_bytes = machine.initrd_end - machine.initrd;
	if (boot_info.initrd == 0)
		read_initrd_argument();
	check_initrd();
	if (machine.seed != 0) {
		/* Who can read the tree could compute what comes of the seed. */
		uint8_t *seed = (uint8_t *)arch_direct(tree) + machine.seed;
		random_seed(seed, machine.seed_bytes);
		memset(seed, 0, machine.seed_bytes);
	}
}
