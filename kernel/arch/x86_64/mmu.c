/*
 * Page tables (Intel SDM vol. 3, 4.5: four levels), the kernel's address space and the processes'.
 *
 *   0x0000000000001000 .. 0x00007ffffffff000   the process
 *   0xffff800000000000 ..                      direct map of all memory, never executable; the kernel's image is read-only here too
 *   0xffffff0000000000 ..                      device registers, uncached
 *   0xffffff8000000000 ..                      kernel stacks, each above an unmapped guard page
 *   0xffffffff80000000 ..                      the kernel's image: text r-x, rodata r--, data rw-
 *
 * The upper half is made once at boot and shared by every process; after that it does not change, so only user pages
 * ever need a TLB shootdown.
 */
#include "machine.h"
#include <kernel/frame.h>
#include <kernel/pci.h>
#include <kernel/process.h>

enum entry {
	ENTRY_PRESENT = 1,
	ENTRY_WRITE = 2,
	ENTRY_USER = 4,
	ENTRY_WRITE_THROUGH = 8,
	ENTRY_NO_CACHE = 16,
	ENTRY_LARGE = 128,
};
#define ENTRY_NX (1ull << 63)
#define ENTRY_ADDRESS 0x000ffffffffff000ull

#define DEVICE_WINDOW 0xffffff0000000000ull
#define STACK_WINDOW 0xffffff8000000000ull
#define LARGE_PAGE 0x200000ull

enum { TABLE_ENTRIES = 512, KERNEL_HALF = 256 };

const uint64_t arch_user_base = 0x1000, arch_user_end = 0x00007ffffffff000;
struct space kernel_space;
extern char kernel_start[], kernel_text_end[], kernel_rodata_end[], kernel_end[];
static uint64_t device_next = DEVICE_WINDOW, stack_next = STACK_WINDOW;
static bool nx;

void *arch_direct(uint64_t physical)
{
	return (void *)(DIRECT_MAP + physical);
}

uint64_t arch_direct_physical(const void *address)
{
	uint64_t value = (uint64_t)address;
	return value >= KERNEL_VIRTUAL ? value - KERNEL_VIRTUAL : value - DIRECT_MAP;
}

/* The entry for an address at a level (1: 4 KiB pages, 2: 2 MiB), making tables on the way if asked; NULL if it can't. */
static uint64_t *entry_of(struct space *space, uint64_t address, int level, bool make)
{
	uint64_t *table = arch_direct(space->root);
	for (int at = 4; at > level; at--) {
		uint64_t *entry = &table[address >> (12 + 9 * (at - 1)) & (TABLE_ENTRIES - 1)];
		if (!(*entry & ENTRY_PRESENT)) {
			bool paid = make && (space->charged == NULL || *space->charged < *space->limit);
			uint64_t frame = paid ? frame_alloc(FRAME_TABLE, space->owner) : 0;
			if (frame == 0)
				return NULL;
			if (space->charged)
				(*space->charged)++;
			*entry = frame | ENTRY_PRESENT | ENTRY_WRITE | (space == &kernel_space ? 0 : ENTRY_USER);
		}
		if (*entry & ENTRY_LARGE)
			return NULL;
		table = arch_direct(*entry & ENTRY_ADDRESS);
	}
	return &table[address >> (12 + 9 * (level - 1)) & (TABLE_ENTRIES - 1)];
}

static uint64_t entry_bits(uint32_t protection)
{
	uint64_t bits = ENTRY_PRESENT;
	bits |= protection & PROTECTION_WRITE ? ENTRY_WRITE : 0;
	bits |= protection & PROTECTION_USER ? ENTRY_USER : 0;
	bits |= protection & PROTECTION_DEVICE ? ENTRY_NO_CACHE | ENTRY_WRITE_THROUGH : 0;
	bits |= !(protection & PROTECTION_EXECUTE) && nx ? ENTRY_NX : 0;
	return bits;
}

bool arch_map(struct space *space, uint64_t address, uint64_t physical, uint32_t protection)
{
	assert((protection & (PROTECTION_WRITE | PROTECTION_EXECUTE)) != (PROTECTION_WRITE | PROTECTION_EXECUTE));
	uint64_t *entry = entry_of(space, address, 1, true);
	if (entry == NULL)
		return false;
	assert(!(*entry & ENTRY_PRESENT));
	*entry = physical | entry_bits(protection);
	return true;
}

uint64_t arch_unmap(struct space *space, uint64_t address)
{
	uint64_t *entry = entry_of(space, address, 1, false);
	if (entry == NULL || !(*entry & ENTRY_PRESENT))
		return 0;
	uint64_t physical = *entry & ENTRY_ADDRESS;
	*entry = 0;
	return physical;
}

uint64_t arch_next_mapped(const struct space *space, uint64_t from, uint64_t end)
{
	while (from < end) {
		const uint64_t *entry = entry_of((struct space *)space, from, 1, false);
		if (entry != NULL && *entry & ENTRY_PRESENT)
			return from;
		from = entry ? from + KEUOS_PAGE_BYTES : ALIGN_DOWN(from, LARGE_PAGE) + LARGE_PAGE;
	}
	return end;
}

uint64_t arch_translate(const struct space *space, uint64_t address, bool write)
{
	uint64_t *entry = entry_of((struct space *)space, address, 1, false);
	uint64_t need = ENTRY_PRESENT | ENTRY_USER | (write ? ENTRY_WRITE : 0);
	if (entry == NULL || (*entry & (need | ENTRY_NO_CACHE)) != need)
		return 0; /* a device's registers are no memory: the kernel has no view of them */
	return (*entry & ENTRY_ADDRESS) | (address & 4095);
}

bool arch_space_init(struct space *space)
{
	space->root = frame_alloc(FRAME_TABLE, space->owner);
	if (space->root == 0)
		return false;
	if (space->charged)
		(*space->charged)++;
	memcpy((uint64_t *)arch_direct(space->root) + KERNEL_HALF,
		(uint64_t *)arch_direct(kernel_space.root) + KERNEL_HALF, KERNEL_HALF * sizeof(uint64_t));
	return true;
}

static void destroy_table(struct space *space, uint64_t physical, int level, int entries)
{
	uint64_t *table = arch_direct(physical);
	for (int i = 0; i < entries; i++) {
		if (!(table[i] & ENTRY_PRESENT))
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
	if (space->root != 0)
		destroy_table(space, space->root, 4, KERNEL_HALF);
	space->root = 0;
}

static void map_kernel(uint64_t address, uint64_t physical, uint32_t protection)
{
	if (!arch_map(&kernel_space, address, physical, protection))
		panic("no memory for the kernel's own page tables");
}

/* Text and rodata stay read-only in the direct map too, or it would be a writable second view of code. */
static void map_direct_page(uint64_t physical)
{
	bool constant =
		physical >= arch_direct_physical(kernel_start) && physical < arch_direct_physical(kernel_rodata_end);
	map_kernel(DIRECT_MAP + physical, physical, constant ? PROTECTION_READ : PROTECTION_WRITE);
}

static void map_direct(uint64_t end)
{
	uint64_t image = ALIGN_DOWN(arch_direct_physical(kernel_start), LARGE_PAGE);
	uint64_t image_end = ALIGN_UP(arch_direct_physical(kernel_rodata_end), LARGE_PAGE);
	for (uint64_t at = 0; at < end; at += LARGE_PAGE) {
		if (at >= image && at < image_end) {
			for (uint64_t page = at; page < at + LARGE_PAGE; page += KEUOS_PAGE_BYTES)
				map_direct_page(page);
			continue;
		}
		uint64_t *entry = entry_of(&kernel_space, DIRECT_MAP + at, 2, true);
		if (entry == NULL)
			panic("no memory for the kernel's own page tables");
		*entry = at | entry_bits(PROTECTION_WRITE) | ENTRY_LARGE;
	}
}

void space_init_kernel(void)
{
	nx = read_msr(MSR_EFER) & 0x800;
	kernel_space.root = frame_alloc(FRAME_TABLE, 0);
	assert(kernel_space.root != 0 && kernel_space.root < 1ull << 32);

	for (char *at = kernel_start; at < kernel_end; at += KEUOS_PAGE_BYTES)
		map_kernel((uint64_t)at, arch_direct_physical(at),
			at < kernel_text_end             ? PROTECTION_EXECUTE
				: at < kernel_rodata_end ? PROTECTION_READ
							 : PROTECTION_WRITE);
	map_direct(ALIGN_UP(frames_count * KEUOS_PAGE_BYTES, LARGE_PAGE));

	/* Every process copies the upper half of the top table: make all of it exist now. */
	uint64_t *top = arch_direct(kernel_space.root);
	for (int i = KERNEL_HALF; i < TABLE_ENTRIES; i++)
		if ((i == (int)(DEVICE_WINDOW >> 39 & 511) || i == (int)(STACK_WINDOW >> 39 & 511)) && top[i] == 0)
			top[i] = frame_alloc(FRAME_TABLE, 0) | ENTRY_PRESENT | ENTRY_WRITE;
	arch_load_root(kernel_space.root);
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

uint64_t make_stack(uint32_t pages)
{
	stack_next += KEUOS_PAGE_BYTES; /* the guard */
	for (uint32_t i = 0; i < pages; i++) {
		uint64_t frame = frame_alloc(FRAME_KERNEL, 0);
		if (frame == 0)
			panic("no memory for a kernel stack");
		map_kernel(stack_next, frame, PROTECTION_WRITE);
		stack_next += KEUOS_PAGE_BYTES;
	}
	return stack_next;
}

bool in_stack_guard(uint64_t address)
{
	return address >= STACK_WINDOW && address < stack_next && !entry_of(&kernel_space, address, 1, false)[0];
}
