/*
 * GICv3's interrupt translation service (Arm IHI0069, chapters 5 and 12.19): what a PCI function writes to the doorbell
 * becomes an interrupt if the function, told by its requester id, has that event in its table. So nobody raises another's.
 *
 * Events are numbered as slots are, and a slot's interrupt is LPI_FIRST + slot; each core is a collection. Tables are as
 * large as one page each lets them be; the service must read them through the caches.
 */
#include "machine.h"
#include <kernel/device.h>
#include <kernel/frame.h>
#include <kernel/iommu_tables.h>

enum its_register {
	ITS_CONTROL = 0x0,
	ITS_TYPE = 0x8,
	ITS_QUEUE = 0x80,
	ITS_QUEUE_WRITE = 0x88,
	ITS_QUEUE_READ = 0x90,
	ITS_TABLES = 0x100,
	ITS_DOORBELL_PAGE = 0x10000,
};

enum redistributor { R_CONTROL = 0x0, R_TYPE = 0x8, R_PROPERTIES = 0x70, R_PENDING = 0x78 };

enum command {
	COMMAND_SYNC = 0x05,
	COMMAND_MAP_DEVICE = 0x08,
	COMMAND_MAP_COLLECTION = 0x09,
	COMMAND_MAP_EVENT = 0x0a,
	COMMAND_INVALIDATE_ALL = 0x0d,
	COMMAND_DISCARD = 0x0f,
};

enum {
	ENABLED = 1,
	TYPE_PHYSICAL = 1,
	TABLES = 8,
	TABLE_DEVICES = 1,
	TABLE_COLLECTIONS = 4,
	EVENT_BITS = 5,
	INTERRUPT_BITS = 14, /* the fewest there can be */
	LPI_COUNT = 1 << (INTERRUPT_BITS - 1),
	LPI_ENABLED_PRIORITY = 0xa1,
	COMMAND_WORDS = 4,
	QUEUE_BYTES = KEUOS_PAGE_BYTES,
	PENDING_ALIGNMENT = 0x10000,
	ANSWER_MS = 1000,
};
_Static_assert(1 << EVENT_BITS > INTERRUPT_SLOTS, "a slot is an event");

#define VALID (1ull << 63)
#define INDIRECT (1ull << 62)
#define ADDRESS 0x0000fffffffff000ull
/* Write-back, inner shareable: in the queue's and the tables' registers, and in the redistributors'. */
#define SHAREABLE (1ull << 10)
#define CACHED (7ull << 59 | SHAREABLE)
#define REDISTRIBUTOR_CACHED (7ull << 7 | SHAREABLE)
/* GITS_TYPER: how many bits events and devices are numbered by. */
#define TYPE_EVENT_BITS(type) (((type) >> 8 & 31) + 1)
#define TYPE_DEVICE_BITS(type) (((type) >> 13 & 31) + 1)
#define QUIESCENT (1u << 31)
#define TABLE_TYPE(value) ((value) >> 56 & 7)
#define TABLE_ENTRY_BYTES(value) (((value) >> 48 & 31) + 1)
#define TABLE_PAGE_SIZE (3ull << 8) /* 0: 4 KiB */

static volatile uint8_t *registers;
static uint64_t type;
static uint64_t *queue;
static uint32_t queue_at; /* bytes */
static uint64_t *device_table;
static uint32_t devices_a_page;
static bool indirect;
static uint8_t lpi_properties[LPI_COUNT] __attribute__((aligned(KEUOS_PAGE_BYTES)));

static uint64_t read64(volatile const uint8_t *at)
{
	return *(volatile const uint64_t *)at;
}

static void write64(volatile uint8_t *at, uint64_t value)
{
	*(volatile uint64_t *)at = value;
}

static uint32_t read32(volatile const uint8_t *at)
{
	return *(volatile const uint32_t *)at;
}

static void write32(volatile uint8_t *at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

static void enqueue(uint64_t first, uint64_t second, uint64_t third)
{
	uint64_t *entry = queue + queue_at / sizeof(uint64_t);
	entry[0] = first;
	entry[1] = second;
	entry[2] = third;
	entry[3] = 0;
	queue_at = (queue_at + COMMAND_WORDS * sizeof(uint64_t)) % QUEUE_BYTES;
}

/* What is in the queue is carried out when this returns: the last of it is a SYNC. */
static void finish(void)
{
	DSB(ishst); /* commands, and the tables that they are about, before the index */
	write64(registers + ITS_QUEUE_WRITE, queue_at);
	uint64_t until = arch_counter() + arch_counter_hz / 1000 * ANSWER_MS;
	while (read64(registers + ITS_QUEUE_READ) != queue_at) {
		if (arch_counter() > until)
			panic("the ITS does not carry out its commands: it is at %lx of %x",
				read64(registers + ITS_QUEUE_READ), queue_at);
		arch_pause();
	}
}

/* How commands name a core's redistributor (GITS_TYPER.PTA): by its address, or by its number. */
static uint64_t redistributor_of(const struct cpu *cpu)
{
	bool by_address = type >> 19 & 1;
	uint64_t number = read64(cpu->arch.redistributor + R_TYPE) >> 8 & 0xffff;
	return by_address ? cpu->arch.redistributor_physical : number << 16;
}

static void sync(const struct cpu *cpu)
{
	enqueue(COMMAND_SYNC, 0, redistributor_of(cpu));
	finish();
}

static bool begin_core(const struct cpu *cpu)
{
	volatile uint8_t *own = cpu->arch.redistributor;
	uint64_t pending = frame_alloc_aligned(FRAME_IOMMU, 0, PENDING_ALIGNMENT);
	bool has_lpis = read64(own + R_TYPE) & TYPE_PHYSICAL;
	bool taken = read32(own + R_CONTROL) & ENABLED; /* it can't be switched off everywhere */
	if (pending == 0 || !has_lpis || taken)
		return false;
	write64(own + R_PROPERTIES, image_physical(lpi_properties) | REDISTRIBUTOR_CACHED | (INTERRUPT_BITS - 1));
	write64(own + R_PENDING, pending | REDISTRIBUTOR_CACHED | 1ull << 62 /* all zero */);
	if (!(read64(own + R_PROPERTIES) & SHAREABLE))
		return false;
	DSB(ishst); /* properties and pending bits, then who reads them */
	write32(own + R_CONTROL, read32(own + R_CONTROL) | ENABLED);
	return true;
}

/* A page for one of the service's tables. */
static uint64_t *begin_table(uint32_t index, bool in_two_levels, bool *got_two_levels)
{
	volatile uint8_t *at = registers + ITS_TABLES + 8 * index;
	uint64_t kept = read64(at) & (7ull << 56 | 31ull << 48), page = iommu_page(0);
	if (page == 0)
		return NULL;
	write64(at, kept | VALID | (in_two_levels ? INDIRECT : 0) | CACHED | page);
	uint64_t now = read64(at);
	*got_two_levels = now & INDIRECT;
	return now & TABLE_PAGE_SIZE || !(now & SHAREABLE) || !(now & VALID) ? NULL : arch_direct(page);
}

static bool begin_tables(void)
{
	bool collections = (type >> 24 & 0xff) >= KEUOS_CORES_MAX, two_levels; /* so many it keeps in itself */
	for (uint32_t i = 0; i < TABLES; i++) {
		uint64_t value = read64(registers + ITS_TABLES + 8 * i);
		if (TABLE_TYPE(value) == TABLE_COLLECTIONS) {
			collections = begin_table(i, false, &two_levels) != NULL;
		} else if (TABLE_TYPE(value) == TABLE_DEVICES) {
			device_table = begin_table(i, true, &indirect);
			devices_a_page = (uint32_t)(KEUOS_PAGE_BYTES / TABLE_ENTRY_BYTES(value));
		}
	}
	return collections && device_table != NULL;
}

/* As many devices as its numbers have bits for, and as its table, a page of entries or a page of such pages, holds. */
static bool has_place(uint32_t id)
{
	uint64_t in_table = (uint64_t)devices_a_page * (indirect ? KEUOS_PAGE_BYTES / sizeof(uint64_t) : 1);
	return (uint64_t)id >> TYPE_DEVICE_BITS(type) == 0 && id < in_table;
}

static bool begin_device(uint32_t id)
{
	if (indirect) {
		uint32_t part = id / devices_a_page;
		if (!(device_table[part] & VALID)) {
			uint64_t page = iommu_page(0);
			if (page == 0)
				return false;
			device_table[part] = page | VALID;
		}
	}
	uint64_t entries = iommu_page(0);
	if (entries == 0)
		return false;
	enqueue(COMMAND_MAP_DEVICE | (uint64_t)id << 32, EVENT_BITS - 1, entries | VALID);
	sync(&cpus[0]);
	return true;
}

static bool id_of(uint16_t requester, uint32_t *id)
{
	return tree_id_of(&machine.pci_messages, machine.its_phandle, requester, id);
}

/* Off, and at rest (GITS_CTLR.Quiescent): until then it may still read and write the tables that it had. */
static bool switch_off(void)
{
	write32(registers + ITS_CONTROL, 0);
	uint64_t until = arch_counter() + arch_counter_hz / 1000 * ANSWER_MS;
	while (!(read32(registers + ITS_CONTROL) & QUIESCENT)) {
		if (arch_counter() > until)
			return false;
		arch_pause();
	}
	return true;
}

/* What the machine lacks, or NULL. */
static const char *begin(void)
{
	registers = arch_map_device(machine.its.base, ITS_DOORBELL_PAGE);
	type = read64(registers + ITS_TYPE);
	if (!switch_off())
		return "it does not come to rest when it is switched off";
	if (TYPE_EVENT_BITS(type) < EVENT_BITS)
		return "it has fewer events for a function than there are interrupts for drivers";
	if (!pci_told_apart(&machine.pci_messages, machine.its_phandle))
		return "a PCI function has no number there, or another's";
	uint64_t page = iommu_page(0);
	if (page == 0)
		return "no memory for its queue";
	queue = arch_direct(page);
	write64(registers + ITS_QUEUE, page | VALID | CACHED);
	write64(registers + ITS_QUEUE_WRITE, 0);
	if (!(read64(registers + ITS_QUEUE) & SHAREABLE) || !(type & TYPE_PHYSICAL))
		return "it does not read memory through the caches";
	if (!begin_tables())
		return "its tables can't be pages of 4 KiB";
	memset(lpi_properties, LPI_ENABLED_PRIORITY, INTERRUPT_SLOTS);
	for (uint32_t i = 0; i < cpu_count; i++)
		if (!begin_core(&cpus[i]))
			return "a core's redistributor can't take its interrupts";
	write32(registers + ITS_CONTROL, ENABLED);
	for (uint32_t i = 0; i < cpu_count; i++) {
		enqueue(COMMAND_MAP_COLLECTION, 0, redistributor_of(&cpus[i]) | VALID | i);
		enqueue(COMMAND_INVALIDATE_ALL, 0, i);
		sync(&cpus[i]);
	}
	for (uint32_t i = 0; i < pci_function_count; i++) {
		uint32_t id;
		if (!id_of(pci_functions[i].requester, &id) || !has_place(id))
			return "a PCI function's number there is beyond those it has, or beyond its table";
		if (!begin_device(id))
			return "no memory for every PCI function's events";
	}
	return NULL;
}

bool its_init(void)
{
	if (machine.gic != GIC_V3 || machine.its.bytes < ITS_DOORBELL_PAGE + KEUOS_PAGE_BYTES)
		return false;
	const char *lack = begin();
	if (lack != NULL)
		print("ITS at %lx can't be used: %s\n", machine.its.base, lack);
	return lack == NULL;
}

uint64_t its_doorbell(void)
{
	return machine.its.base + ITS_DOORBELL_PAGE;
}

/* The core whose collection an event of a slot was mapped to. */
static const struct cpu *event_core[INTERRUPT_SLOTS];
static uint32_t event_device[INTERRUPT_SLOTS];

void arch_interrupt_bind(uint32_t slot, uint16_t requester, const struct cpu *cpu, struct interrupt_message *message)
{
	uint32_t id;
	if (!id_of(requester, &id))
		panic("requester %x has no number at the ITS", requester);
	arch_interrupt_unbind(slot);
	enqueue(COMMAND_MAP_EVENT | (uint64_t)id << 32, slot | (uint64_t)(LPI_FIRST + slot) << 32, cpu->index);
	sync(cpu);
	event_core[slot] = cpu;
	event_device[slot] = id;
	*message = (struct interrupt_message){.address = INTERRUPT_WINDOW + ITS_MESSAGE, .data = slot};
}

void arch_interrupt_unbind(uint32_t slot)
{
	const struct cpu *cpu = event_core[slot];
	if (cpu == NULL)
		return;
	enqueue(COMMAND_DISCARD | (uint64_t)event_device[slot] << 32, slot, 0);
	sync(cpu);
	event_core[slot] = NULL;
}
