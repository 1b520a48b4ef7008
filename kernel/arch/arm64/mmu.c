/*
 * Page tables (Arm ARM D8: 4 KiB granule, four levels), the kernel's address space and the processes'.
 *
 *   0x0000000000001000 .. 0x00007ffffffff000   the process (TTBR0)
 *   0xffff800000000000 ..                      direct map of all memory, never executable; the image is read-only here too
 *   0xffffff0000000000 ..                      device registers
 *   0xffffff8000000000 ..                      kernel stacks, each above an unmapped guard
 *   0xffffffff80000000 ..                      the kernel's image: text r-x, rodata r--, data rw-
 *
 * TTBR0 covers 47 bits, so that a top table's lower half is the process's and its upper half would be the kernel's: the
 * kernel's own table serves in both registers, and a process's has nothing in its upper half. The kernel's half is made
 * once at boot and does not change after that. Entries of processes are told apart by ASIDs, so a change of tables costs
 * no flush, and an unmapped page is forgotten everywhere by one broadcast TLBI.
 */
#include "machine.h"
#include <kernel/frame.h>
#include <kernel/process.h>

enum entry {
	ENTRY_VALID = 1,
	ENTRY_TABLE = 2, /* a table; at the last level, a page */
	ENTRY_USER = 1 << 6,
	ENTRY_READ_ONLY = 1 << 7,
	ENTRY_SHARED = 3 << 8,
	ENTRY_ACCESSED = 1 << 10,
	ENTRY_NOT_GLOBAL = 1 << 11,
};
#define ENTRY_PXN (1ull << 53)
#define ENTRY_UXN (1ull << 54)
/* In the top table: no code of processes for the kernel, and nothing at all of the kernel for processes. */
#define TABLE_PXN (1ull << 59)
#define TABLE_UXN (1ull << 60)
#define TABLE_NO_USER (1ull << 61)
#define ENTRY_ADDRESS 0x0000fffffffff000ull

#define LARGE_PAGE 0x200000ull
#define STACK_BYTES (1ull << STACK_SHIFT)

enum {
	TABLE_ENTRIES = 512,
	KERNEL_HALF = 256,
	ASID_SHIFT = 48,
	ASIDS = 256,
	KERNEL_STACK_PAGES = STACK_BYTES / KEUOS_PAGE_BYTES,
};

const uint64_t arch_user_base = 0x1000, arch_user_end = 0x00007ffffffff000;
struct space kernel_space;
extern char kernel_start[], kernel_text_end[], kernel_rodata_end[], kernel_end[], boot_empty[], switch_tables[];
static uint64_t device_next = DEVICE_WINDOW, stack_next = STACK_WINDOW;
static bool asid_taken[ASIDS] = {[0] = true}; /* 0 is the kernel's own */

void *arch_direct(uint64_t physical)
{
	return (void *)(DIRECT_MAP + physical);
}

uint64_t arch_direct_physical(const void *address)
{
	uint64_t value = (uint64_t)address;
	return value >= KERNEL_VIRTUAL ? image_physical(address) : value - DIRECT_MAP;
}

static uint64_t *top_table(const struct space *space)
{
	return arch_direct(space->root & ENTRY_ADDRESS);
}

static uint64_t new_table(struct space *space, int level)
{
	bool paid = space->charged == NULL || *space->charged < *space->limit;
	uint64_t frame = paid ? frame_alloc(FRAME_TABLE, space->owner) : 0;
	if (frame == 0)
		return 0;
	if (space->charged)
		(*space->charged)++;
	uint64_t limits = space == &kernel_space ? TABLE_UXN | TABLE_NO_USER : TABLE_PXN;
	/* The table's zeroes must be there before anybody walks into it. */
	__asm__ volatile("dmb ishst" ::: "memory");
	return frame | ENTRY_VALID | ENTRY_TABLE | (level == 4 ? limits : 0);
}

/* The entry for an address at a level (1: 4 KiB pages, 2: 2 MiB), making tables on the way if asked; NULL if it can't. */
static uint64_t *entry_of(struct space *space, uint64_t address, int level, bool make)
{
	uint64_t *table = top_table(space);
	for (int at = 4; at > level; at--) {
		uint64_t *entry = &table[address >> (12 + 9 * (at - 1)) & (TABLE_ENTRIES - 1)];
		if (!(*entry & ENTRY_VALID)) {
			uint64_t made = make ? new_table(space, at) : 0;
			if (made == 0)
				return NULL;
			*entry = made;
		}
		if (!(*entry & ENTRY_TABLE))
			return NULL; /* a large page */
		table = arch_direct(*entry & ENTRY_ADDRESS);
	}
	return &table[address >> (12 + 9 * (level - 1)) & (TABLE_ENTRIES - 1)];
}

static uint64_t entry_bits(uint32_t protection)
{
	uint64_t bits = ENTRY_VALID | ENTRY_ACCESSED;
	bits |= protection & PROTECTION_WRITE ? 0 : ENTRY_READ_ONLY;
	bits |= protection & PROTECTION_DEVICE ? ATTRIBUTE_DEVICE << 2 : ATTRIBUTE_NORMAL << 2 | ENTRY_SHARED;
	if (protection & PROTECTION_USER)
		bits |= ENTRY_USER | ENTRY_NOT_GLOBAL | ENTRY_PXN | (protection & PROTECTION_EXECUTE ? 0 : ENTRY_UXN);
	else
		bits |= ENTRY_UXN | (protection & PROTECTION_EXECUTE ? 0 : ENTRY_PXN);
	return bits;
}

bool arch_map(struct space *space, uint64_t address, uint64_t physical, uint32_t protection)
{
	assert((protection & (PROTECTION_WRITE | PROTECTION_EXECUTE)) != (PROTECTION_WRITE | PROTECTION_EXECUTE));
	uint64_t *entry = entry_of(space, address, 1, true);
	if (entry == NULL)
		return false;
	assert(!(*entry & ENTRY_VALID));
	*entry = physical | entry_bits(protection) | ENTRY_TABLE;
	/* An access may come next, here or, once it is told, on another core (D8.2.6: what was invalid is cached nowhere). */
	__asm__ volatile("dsb ishst\n\tisb" ::: "memory");
	return true;
}

uint64_t arch_unmap(struct space *space, uint64_t address)
{
	uint64_t *entry = entry_of(space, address, 1, false);
	if (entry == NULL || !(*entry & ENTRY_VALID))
		return 0;
	uint64_t physical = *entry & ENTRY_ADDRESS;
	*entry = 0;
	return physical;
}

uint64_t arch_next_mapped(const struct space *space, uint64_t from, uint64_t end)
{
	while (from < end) {
		const uint64_t *entry = entry_of((struct space *)space, from, 1, false);
		if (entry != NULL && *entry & ENTRY_VALID)
			return from;
		from = entry ? from + KEUOS_PAGE_BYTES : ALIGN_DOWN(from, LARGE_PAGE) + LARGE_PAGE;
	}
	return end;
}

uint64_t arch_translate(const struct space *space, uint64_t address, bool write)
{
	uint64_t *entry = entry_of((struct space *)space, address, 1, false);
	uint64_t need = ENTRY_VALID | ENTRY_USER | ATTRIBUTE_NORMAL << 2;
	if (entry == NULL || (*entry & need) != need || (write && *entry & ENTRY_READ_ONLY))
		return 0; /* a device's registers are no memory: the kernel has no view of them */
	return (*entry & ENTRY_ADDRESS) | (address & 4095);
}

bool arch_space_init(struct space *space)
{
	uint64_t asid = 1; /* there are fewer processes than ASIDs */
	while (asid_taken[asid])
		asid++;
	uint64_t table = frame_alloc(FRAME_TABLE, space->owner);
	if (table == 0)
		return false;
	if (space->charged)
		(*space->charged)++;
	asid_taken[asid] = true;
	space->root = table | asid << ASID_SHIFT;
	return true;
}

static void flush_asid(uint64_t asid)
{
	__asm__ volatile("dsb ishst\n\t"
			 "tlbi aside1is, %0\n\t"
			 "dsb ish\n\t"
			 "isb"
			 :
			 : "r"(asid << ASID_SHIFT)
			 : "memory");
}

void arch_flush(struct process *process)
{
	flush_asid(process->space.root >> ASID_SHIFT);
}

void arch_wait_turn(void)
{
	arch_pause();
}

static void destroy_table(struct space *space, uint64_t physical, int level, int entries)
{
	uint64_t *table = arch_direct(physical);
	for (int i = 0; i < entries; i++) {
		if (!(table[i] & ENTRY_VALID))
			continue;
		if (level == 1)
			frame_release(table[i] & ENTRY_ADDRESS);
		else
			destroy_table(space, table[i] & ENTRY_ADDRESS, level - 1, TABLE_ENTRIES);
	}
	if (space->charged)
		(*space->charged)--;
	frame_release(physical);
}

void arch_space_destroy(struct space *space)
{
	if (space->root == 0)
		return;
	/* Nobody runs on these tables any more, but what was cached of them bears an ASID that the next process may get. */
	flush_asid(space->root >> ASID_SHIFT);
	asid_taken[space->root >> ASID_SHIFT] = false;
	destroy_table(space, space->root & ENTRY_ADDRESS, 4, KERNEL_HALF);
	space->root = 0;
}

/* Arm ARM B2.2.5: clean data to the point of unification, then forget instructions, everywhere. CTR_EL0 has line sizes. */
void arch_code_written(const void *address, size_t bytes)
{
	uint64_t type = READ_SYSTEM(ctr_el0);
	uint64_t data_line = 4ull << (type >> 16 & 15), code_line = 4ull << (type & 15);
	uint64_t start = (uint64_t)address, end = start + bytes;
	for (uint64_t at = ALIGN_DOWN(start, data_line); at < end; at += data_line)
		__asm__ volatile("dc cvau, %0" : : "r"(at) : "memory");
	__asm__ volatile("dsb ish" ::: "memory");
	/* An instruction cache that goes by virtual addresses may hold the frame under another one (CTR_EL0.L1Ip). */
	bool physical = (type >> 14 & 3) == 3;
	if (!physical)
		__asm__ volatile("ic ialluis" ::: "memory");
	for (uint64_t at = ALIGN_DOWN(start, code_line); physical && at < end; at += code_line)
		__asm__ volatile("ic ivau, %0" : : "r"(at) : "memory");
	__asm__ volatile("dsb ish\n\tisb" ::: "memory");
}

static void map_kernel(uint64_t address, uint64_t physical, uint32_t protection)
{
	if (!arch_map(&kernel_space, address, physical, protection))
		panic("no memory for the kernel's own page tables");
}

/* Text and rodata stay read-only in the direct map too, or it would be a writable second view of code. */
static void map_direct_page(uint64_t physical)
{
	bool constant = physical >= image_start && physical < image_physical(kernel_rodata_end);
	map_kernel(DIRECT_MAP + physical, physical, constant ? PROTECTION_READ : PROTECTION_WRITE);
}

/* Ranges are multiples of large pages (bootinfo.c). */
static void map_direct(const struct memory_range *range)
{
	uint64_t image_end = ALIGN_UP(image_physical(kernel_rodata_end), LARGE_PAGE);
	for (uint64_t at = range->base; at < range->base + range->bytes; at += LARGE_PAGE) {
		if (at >= image_start && at < image_end) {
			for (uint64_t page = at; page < at + LARGE_PAGE; page += KEUOS_PAGE_BYTES)
				map_direct_page(page);
			continue;
		}
		uint64_t *entry = entry_of(&kernel_space, DIRECT_MAP + at, 2, true);
		if (entry == NULL)
			panic("no memory for the kernel's own page tables");
		*entry = at | entry_bits(PROTECTION_WRITE);
	}
}

void space_init_kernel(void)
{
	kernel_space.root = frame_alloc(FRAME_TABLE, 0);
	assert(kernel_space.root != 0);
	for (char *at = kernel_start; at < kernel_end; at += KEUOS_PAGE_BYTES)
		map_kernel((uint64_t)at, image_physical(at),
			at < kernel_text_end             ? PROTECTION_EXECUTE
				: at < kernel_rodata_end ? PROTECTION_READ
							 : PROTECTION_WRITE);
	for (uint32_t i = 0; i < boot_info.ranges_count; i++)
		map_direct(&boot_info.ranges[i]);
	space_init_core();
}

/* The lower half still maps the code that boots, which is where the upper half can be taken away from under it. */
void space_init_core(void)
{
	void (*change)(uint64_t, uint64_t) = (void (*)(uint64_t, uint64_t))image_physical(switch_tables);
	change(kernel_space.root, image_physical(boot_empty));
	arch_load_root(kernel_space.root);
	/* No page that can be written can be executed from here on, whatever its entry says. */
	WRITE_SYSTEM(sctlr_el1, READ_SYSTEM(sctlr_el1) | SCTLR_WXN);
	__asm__ volatile("isb\n\ttlbi vmalle1\n\tdsb nsh\n\tisb" ::: "memory");
}

void *arch_map_device(uint64_t physical, uint64_t bytes)
{
	uint64_t offset = physical & (KEUOS_PAGE_BYTES - 1);
	uint64_t at = device_next;
	for (uint64_t page = physical - offset; page < physical + bytes; page += KEUOS_PAGE_BYTES) {
		map_kernel(device_next, page, PROTECTION_WRITE | PROTECTION_DEVICE);
		device_next += KEUOS_PAGE_BYTES;
	}
	return (void *)(at + offset);
}

/* Stacks lie at multiples of twice their size: traps.S tells by one bit of the stack pointer whether there is room. */
uint64_t make_stack(void)
{
	stack_next += 2 * STACK_BYTES;
	for (uint64_t page = 0; page < KERNEL_STACK_PAGES; page++) {
		uint64_t frame = frame_alloc(FRAME_KERNEL, 0);
		if (frame == 0)
			panic("no memory for a kernel stack");
		map_kernel(stack_next + page * KEUOS_PAGE_BYTES, frame, PROTECTION_WRITE);
	}
	return stack_next + STACK_BYTES;
}
