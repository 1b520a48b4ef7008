/*
 * The IOMMU of Arm machines (System Memory Management Unit version 3, Arm IHI0070; its sections in brackets): a stream
 * table of two levels [5.2], stage 1 with one context descriptor a stream [5.4], 4 KiB pages in three levels, the command
 * queue [4], the event queue [7]. With the translation service (its.c) it implements kernel/iommu.h.
 *
 * One unit, the first in the device tree. A stream's entry is invalid until a driver's domain is attached, so that what its
 * function sends ends as an event. Its messages are translated like anything else that it writes: each domain has the
 * doorbell's page, and nothing else that is not its driver's, in the interrupt window.
 */
#include "machine.h"
#include <kernel/device.h>
#include <kernel/iommu_tables.h>

enum smmu_register {
	SMMU_ID_0 = 0x00,
	SMMU_ID_1 = 0x04,
	SMMU_ID_5 = 0x14,
	SMMU_CONTROL_0 = 0x20,
	SMMU_CONTROL_0_DONE = 0x24,
	SMMU_CONTROL_1 = 0x28,
	SMMU_CONTROL_2 = 0x2c,
	SMMU_BYPASS = 0x44,
	SMMU_INTERRUPTS = 0x50,
	SMMU_INTERRUPTS_DONE = 0x54,
	SMMU_ERROR = 0x60,
	SMMU_ERROR_SEEN = 0x64,
	SMMU_STREAMS = 0x80,
	SMMU_STREAMS_FORMAT = 0x88,
	SMMU_COMMANDS = 0x90,
	SMMU_COMMANDS_PRODUCED = 0x98,
	SMMU_COMMANDS_CONSUMED = 0x9c,
	SMMU_EVENTS = 0xa0,
	SMMU_EVENTS_MESSAGE = 0xb0,
	SMMU_EVENTS_PRODUCED = 0x100a8,
	SMMU_EVENTS_CONSUMED = 0x100ac,
	SMMU_BYTES = 0x20000,
};

/* [6.3.1 and on] */
#define ID_STAGE_1(id0) ((id0) >> 1 & 1)
#define ID_AARCH64(id0) ((id0) >> 3 & 1)
#define ID_COHERENT(id0) ((id0) >> 4 & 1)
#define ID_HYPERVISOR(id0) ((id0) >> 9 & 1)
#define ID_STALL(id0) ((id0) >> 24 & 3)
#define ID_TWO_LEVELS(id0) ((id0) >> 27 & 3)
#define ID_STREAM_BITS(id1) ((id1)&63)
#define ID_EVENTS_BITS(id1) ((id1) >> 16 & 31)
#define ID_COMMANDS_BITS(id1) ((id1) >> 21 & 31)
#define ID_FIXED_PLACES(id1) ((id1) >> 29 & 3) /* tables or queues are where the machine's maker put them */
#define ID_PAGES_4K(id5) ((id5) >> 4 & 1)
#define ID_OUTPUT(id5) ((id5)&7)

enum {
	CONTROL_ON = 1,
	CONTROL_EVENTS = 1 << 2,
	CONTROL_COMMANDS = 1 << 3,
	CONTROL_1_CACHED = 0xd75,          /* queues and tables: write-back, inner shareable */
	CONTROL_2_RECORD_STREAMS = 1 << 1, /* events of streams that have no entry */
	CONTROL_2_PRIVATE = 1 << 2,        /* the cores' TLB broadcasts are not for it */
	BYPASS_ABORT = 1 << 20,
	INTERRUPT_EVENTS = 1 << 2,
	ERROR_COMMAND = 1,
	STALL_FORCED = 2,
};
#define BYPASS_UPDATE (1u << 31)
#define OVERFLOW (1u << 31)
#define ALLOCATE (1ull << 62)

enum command {
	FORGET_STREAM = 0x03,
	FORGET_ALL_STREAMS = 0x04,
	FORGET_CONTEXTS = 0x06,
	FORGET_DOMAIN = 0x11,
	FORGET_HYPERVISORS = 0x20,
	FORGET_ALL = 0x30,
	SYNC = 0x46,
};

enum {
	STREAM_BITS = 15, /* as many as a page of first-level entries covers */
	STREAM_SPLIT = 6, /* as many entries of 64 bytes as a page holds */
	STREAM_WORDS = 8,
	COMMANDS_BITS = 8,
	EVENTS_BITS = 7,
	EVENT_WORDS = 4,
	ANSWER_MS = 1000,
};

/* [5.2] */
#define STREAM_VALID 1ull
#define STREAM_STAGE_1 (5ull << 1)
#define STREAM_CACHED (1ull << 2 | 1ull << 4 | 3ull << 6)
#define STREAM_SHARING_KEPT (1ull << 44)
/* [5.4] 39 bits of addresses, from one table; faults are recorded, and end the access. */
enum { IOVA_BITS = 39, TABLE_LEVELS = 3 };
#define CONTEXT_TRANSLATION ((64ull - IOVA_BITS) | 1ull << 8 | 1ull << 10 | 3ull << 12)
#define CONTEXT_LOWER_HALF_ONLY (1ull << 30)
#define CONTEXT_VALID (1ull << 31)
#define CONTEXT_OUTPUT(bits) ((uint64_t)(bits) << 32)
#define CONTEXT_AARCH64 (1ull << 41)
#define CONTEXT_RECORD (1ull << 45)
#define CONTEXT_ABORT (1ull << 46)
#define CONTEXT_OWN_ASID (1ull << 47)
#define CONTEXT_DOMAIN(number) ((uint64_t)(number) << 48)
#define CONTEXT_ATTRIBUTES 0xff04ull /* of memory, by index: 0 a device's, 1 write-back, as the cores' tables have it */

/* Stage 1 entries are the cores' own format (Arm ARM D8.3); a device is an unprivileged reader and writer. */
enum {
	PAGE_VALID = 1,
	PAGE_TABLE = 2,
	PAGE_MEMORY = 1 << 2,
	PAGE_UNPRIVILEGED = 1 << 6,
	PAGE_READ_ONLY = 1 << 7,
	PAGE_SHARED = 3 << 8,
	PAGE_ACCESSED = 1 << 10,
	PAGE_NOT_GLOBAL = 1 << 11,
	PAGE_DEVICES = PAGE_VALID | PAGE_TABLE | PAGE_UNPRIVILEGED | PAGE_ACCESSED | PAGE_NOT_GLOBAL,
};
#define PAGE_NO_CODE (3ull << 53)
#define ADDRESS 0x0000fffffffff000ull

/* [7.3] */
enum { EVENT_TRANSLATION = 0x10, EVENT_PERMISSION = 0x13 };
#define EVENT_TYPE(words) ((uint32_t)(words)[0] & 0xff)
#define EVENT_STREAM(words) ((uint32_t)((words)[0] >> 32))
#define EVENT_IS_READ(words) ((words)[1] >> 35 & 1)

static volatile uint8_t *registers;
static uint64_t *stream_table;    /* first level */
static uint64_t *stream_contexts; /* a context descriptor for each domain, by its number */
static uint64_t *commands, *events;
static uint32_t commands_produced, events_consumed; /* with the bit above that tells the turns apart */
static uint32_t output_bits;

static uint32_t read32(uint32_t at)
{
	return *(volatile uint32_t *)(registers + at);
}

static void write32(uint32_t at, uint32_t value)
{
	*(volatile uint32_t *)(registers + at) = value;
}

static void write64(uint32_t at, uint64_t value)
{
	*(volatile uint64_t *)(registers + at) = value;
}

static void publish(const void *at, size_t bytes)
{
	(void)at;
	(void)bytes; /* it reads through the caches */
	DSB(ishst);
}

static bool becomes(uint32_t at, uint32_t mask, uint32_t value)
{
	uint64_t until = arch_counter() + arch_counter_hz / 1000 * ANSWER_MS;
	while ((read32(at) & mask) != value) {
		if (arch_counter() > until)
			return false;
		arch_pause();
	}
	return true;
}

static void control(uint32_t value)
{
	write32(SMMU_CONTROL_0, value);
	if (!becomes(SMMU_CONTROL_0_DONE, UINT32_MAX, value))
		panic("the SMMU does not take control word %x: it has %x", value, read32(SMMU_CONTROL_0_DONE));
}

static void enqueue(uint64_t low, uint64_t high)
{
	enum { TURNS = 2 << COMMANDS_BITS, ENTRIES = 1 << COMMANDS_BITS };
	uint64_t *entry = commands + commands_produced % ENTRIES * 2;
	entry[0] = low;
	entry[1] = high;
	commands_produced = (commands_produced + 1) % TURNS;
}

/* What is in the queue is carried out when this returns, and no access that used what is forgotten is under way [4.7]. */
static void finish(void)
{
	enum { INDEX = (2 << COMMANDS_BITS) - 1 };
	enqueue(SYNC, 0);
	DSB(ishst); /* commands, and the tables that they are about, before the index */
	write32(SMMU_COMMANDS_PRODUCED, commands_produced);
	if (!becomes(SMMU_COMMANDS_CONSUMED, INDEX, commands_produced))
		panic("the SMMU does not carry out its commands: it is at %x of %x, errors %x",
			read32(SMMU_COMMANDS_CONSUMED), commands_produced, read32(SMMU_ERROR));
	DSB(ishld); /* the index, then what the device has written up to there */
}

static bool stream_of(uint16_t requester, uint32_t *stream)
{
	return tree_id_of(&machine.pci_streams, machine.smmu_phandle, requester, stream);
}

static uint64_t *stream_entry(uint32_t stream)
{
	uint64_t second_level = stream_table[stream >> STREAM_SPLIT] & ADDRESS;
	return (uint64_t *)arch_direct(second_level) + stream % (1 << STREAM_SPLIT) * STREAM_WORDS;
}

static uint64_t *context_of(uint32_t domain)
{
	return stream_contexts + domain * STREAM_WORDS;
}

/* A device that runs over a page has an event for every few bytes: those that go up the page are one fault. */
static void take_event(const uint64_t *words)
{
	static uint64_t last_address, last_kind;
	uint64_t kind = words[0] & (0xffffffffull << 32 | 0xff), address = words[2];
	bool read = EVENT_IS_READ(words);
	bool has_address = EVENT_TYPE(words) >= EVENT_TRANSLATION && EVENT_TYPE(words) <= EVENT_PERMISSION;
	bool goes_on = has_address && (kind | (uint64_t)read << 8) == last_kind && address > last_address &&
		ALIGN_DOWN(address, KEUOS_PAGE_BYTES) == ALIGN_DOWN(last_address, KEUOS_PAGE_BYTES);
	last_kind = kind | (uint64_t)read << 8;
	last_address = address;
	if (goes_on)
		return;
	for (uint32_t i = 0; i < pci_function_count; i++) {
		uint32_t stream;
		if (stream_of(pci_functions[i].requester, &stream) && stream == EVENT_STREAM(words))
			device_fault(pci_functions[i].requester, read ? KEUOS_DMA_FAULT_READ : KEUOS_DMA_FAULT_WRITE,
				has_address ? address & ADDRESS : 0, EVENT_TYPE(words));
	}
}

/*
 * Devices may make events as fast as they are taken: one interrupt takes as many as the queue holds. The SMMU tells only
 * that an empty queue is not empty any more [3.18.2]: of what is left it would say nothing, so that is asked for here.
 */
void smmu_interrupt(void)
{
	enum { TURNS = 2 << EVENTS_BITS, ENTRIES = 1 << EVENTS_BITS };
	if (events == NULL)
		return;
	uint32_t produced = read32(SMMU_EVENTS_PRODUCED);
	for (uint32_t i = 0; i < ENTRIES && produced % TURNS != events_consumed; i++) {
		DSB(ishld); /* the index first, then what it covers */
		take_event(events + events_consumed % ENTRIES * EVENT_WORDS);
		events_consumed = (events_consumed + 1) % TURNS;
		DMB(sy); /* what it covered has been read before its place is free */
		write32(SMMU_EVENTS_CONSUMED, events_consumed | (produced & OVERFLOW));
		produced = read32(SMMU_EVENTS_PRODUCED);
	}
	if (produced % TURNS != events_consumed)
		gic_ask_again(machine.smmu_interrupt);
	/* A full queue is an error that stays until it is seen; a refused command is not, and finish() tells of it. */
	uint32_t error = read32(SMMU_ERROR), seen = read32(SMMU_ERROR_SEEN);
	write32(SMMU_ERROR_SEEN, (error & ~(uint32_t)ERROR_COMMAND) | (seen & ERROR_COMMAND));
}

/* What the unit lacks, or NULL. */
static const char *unusable(void)
{
	uint32_t id0 = read32(SMMU_ID_0), id1 = read32(SMMU_ID_1), id5 = read32(SMMU_ID_5);
	if (!ID_STAGE_1(id0) || !ID_AARCH64(id0) || !ID_PAGES_4K(id5))
		return "no stage 1 with the cores' 64-bit tables of 4 KiB pages";
	if (!ID_COHERENT(id0) || !machine.smmu_coherent)
		return "it does not read memory through the caches";
	if (ID_STALL(id0) == STALL_FORCED)
		return "it stalls what faults instead of ending it";
	if (ID_FIXED_PLACES(id1) || !ID_TWO_LEVELS(id0) || ID_STREAM_BITS(id1) < STREAM_BITS ||
		ID_COMMANDS_BITS(id1) < COMMANDS_BITS || ID_EVENTS_BITS(id1) < EVENTS_BITS)
		return "its stream table or queues can't be what the kernel wants";
	return machine.smmu_interrupt ? NULL : "the device tree names no interrupt of its event queue";
}

static void *kernel_page(void)
{
	uint64_t frame = iommu_page(0);
	if (frame == 0)
		panic("no memory for the IOMMU's tables");
	return arch_direct(frame);
}

/* All of the kernel's own tables are made now: what a driver takes later, it gives back. What the unit lacks, or NULL. */
static const char *begin_streams(void)
{
	if (!pci_told_apart(&machine.pci_streams, machine.smmu_phandle))
		return "a PCI function has no stream there, or another's";
	stream_table = kernel_page();
	stream_contexts = kernel_page();
	for (uint32_t i = 0; i < pci_function_count; i++) {
		uint32_t stream;
		if (!stream_of(pci_functions[i].requester, &stream) || stream >> STREAM_BITS != 0)
			return "a PCI function's stream is beyond its table";
		uint64_t *first = &stream_table[stream >> STREAM_SPLIT];
		if (*first == 0)
			*first = arch_direct_physical(kernel_page()) | (STREAM_SPLIT + 1);
		stream_entry(stream)[1] = STREAM_CACHED | STREAM_SHARING_KEPT;
	}
	return NULL;
}

/* What comes while it is off is ended, from before it goes off [6.3, SMMU_GBPA]: it takes one change at a time. */
static void let_nothing_by(void)
{
	bool ready = becomes(SMMU_BYPASS, BYPASS_UPDATE, 0);
	write32(SMMU_BYPASS, read32(SMMU_BYPASS) | BYPASS_UPDATE | BYPASS_ABORT);
	if (!ready || !becomes(SMMU_BYPASS, BYPASS_UPDATE, 0))
		panic("the SMMU does not stop passing everything: its word for that is %x", read32(SMMU_BYPASS));
}

static void start(void)
{
	let_nothing_by();
	control(0);
	write32(SMMU_INTERRUPTS, 0);
	if (!becomes(SMMU_INTERRUPTS_DONE, UINT32_MAX, 0))
		panic("the SMMU does not switch its interrupts off");
	write64(SMMU_EVENTS_MESSAGE, 0); /* by its line: a message would go to wherever that was left pointing [6.3] */
	write32(SMMU_CONTROL_1, CONTROL_1_CACHED);
	write32(SMMU_CONTROL_2, CONTROL_2_RECORD_STREAMS | CONTROL_2_PRIVATE);
	write64(SMMU_STREAMS, arch_direct_physical(stream_table) | ALLOCATE);
	write32(SMMU_STREAMS_FORMAT, 1u << 16 | STREAM_SPLIT << 6 | STREAM_BITS);
	write64(SMMU_COMMANDS, arch_direct_physical(commands) | ALLOCATE | COMMANDS_BITS);
	write32(SMMU_COMMANDS_PRODUCED, 0);
	write32(SMMU_COMMANDS_CONSUMED, 0);
	control(CONTROL_COMMANDS);
	enqueue(FORGET_ALL_STREAMS, 31);
	if (ID_HYPERVISOR(read32(SMMU_ID_0)))
		enqueue(FORGET_HYPERVISORS, 0);
	enqueue(FORGET_ALL, 0);
	finish();
	write64(SMMU_EVENTS, arch_direct_physical(events) | ALLOCATE | EVENTS_BITS);
	write32(SMMU_EVENTS_PRODUCED, 0);
	write32(SMMU_EVENTS_CONSUMED, 0);
	control(CONTROL_COMMANDS | CONTROL_EVENTS);
	write32(SMMU_ERROR_SEEN, read32(SMMU_ERROR));
	write32(SMMU_INTERRUPTS, INTERRUPT_EVENTS);
	if (!becomes(SMMU_INTERRUPTS_DONE, UINT32_MAX, INTERRUPT_EVENTS))
		panic("the SMMU does not switch its interrupt on");
	gic_enable(machine.smmu_interrupt, machine.smmu_interrupt_edge);
	control(CONTROL_COMMANDS | CONTROL_EVENTS | CONTROL_ON);
}

bool arch_iommu_init(void)
{
	if (machine.smmu.bytes < SMMU_BYTES || pci_function_count == 0)
		return false;
	iommu_tables = (struct iommu_tables){.levels = TABLE_LEVELS,
		.present = PAGE_VALID,
		.table = PAGE_VALID | PAGE_TABLE,
		.address = ADDRESS,
		.publish = publish};
	registers = arch_map_device(machine.smmu.base, SMMU_BYTES);
	const char *lack = unusable();
	if (lack == NULL)
		lack = begin_streams();
	if (lack != NULL) {
		print("IOMMU: SMMUv3 at %lx can't be used: %s\n", machine.smmu.base, lack);
		return false;
	}
	if (!its_init()) {
		print("IOMMU: SMMUv3 without an ITS is not used: functions could raise each other's interrupts\n");
		return false;
	}
	output_bits = ID_OUTPUT(read32(SMMU_ID_5)) < 5 ? ID_OUTPUT(read32(SMMU_ID_5)) : 5;
	commands = kernel_page();
	events = kernel_page();
	start();
	print("IOMMU: SMMUv3, stage 1 of %u bits, interrupts by an ITS\n", IOVA_BITS);
	return true;
}

uint64_t arch_iommu_end(void)
{
	return 1ull << IOVA_BITS;
}

static void forget_stream(uint32_t stream)
{
	enqueue(FORGET_CONTEXTS | (uint64_t)stream << 32, 0);
	enqueue(FORGET_STREAM | (uint64_t)stream << 32, 1);
	finish();
}

bool arch_iommu_attach(uint16_t requester, struct iommu_domain *domain)
{
	uint32_t stream;
	if (!stream_of(requester, &stream) || !iommu_tables_begin(domain))
		return false;
	if (!iommu_tables_map(domain, INTERRUPT_WINDOW, its_doorbell() | PAGE_DEVICES | PAGE_NO_CODE)) {
		iommu_tables_end(domain);
		return false;
	}
	uint64_t *context = context_of(domain->number), *entry = stream_entry(stream);
	context[1] = domain->root;
	context[3] = CONTEXT_ATTRIBUTES;
	context[0] = CONTEXT_TRANSLATION | CONTEXT_LOWER_HALF_ONLY | CONTEXT_VALID | CONTEXT_OUTPUT(output_bits) |
		CONTEXT_AARCH64 | CONTEXT_RECORD | CONTEXT_ABORT | CONTEXT_OWN_ASID | CONTEXT_DOMAIN(domain->number);
	DSB(ishst); /* the context, then what leads to it: it may be fetched at any time [3.21.3]. All else stays as it is. */
	entry[0] = arch_direct_physical(context) | STREAM_STAGE_1 | STREAM_VALID;
	forget_stream(stream);
	arch_iommu_flush(domain);
	return true;
}

void arch_iommu_detach(uint16_t requester, struct iommu_domain *domain)
{
	uint32_t stream;
	if (!stream_of(requester, &stream))
		panic("requester %x has no stream", requester);
	uint64_t *context = context_of(domain->number), *entry = stream_entry(stream);
	entry[0] = 0;
	forget_stream(stream); /* what is kept of the entry leads to the context, too [3.21.3] */
	context[0] = 0;
	arch_iommu_flush(domain);
	iommu_tables_end(domain);
}

bool arch_iommu_map(struct iommu_domain *domain, uint64_t iova, uint64_t physical, bool writable)
{
	uint64_t bits = PAGE_DEVICES | PAGE_MEMORY | PAGE_SHARED | PAGE_NO_CODE | (writable ? 0 : PAGE_READ_ONLY);
	return iommu_tables_map(domain, iova, physical | bits);
}

uint64_t arch_iommu_unmap(struct iommu_domain *domain, uint64_t iova)
{
	return iommu_tables_unmap(domain, iova);
}

void arch_iommu_flush(struct iommu_domain *domain)
{
	enqueue(FORGET_DOMAIN | (uint64_t)domain->number << 48, 0);
	finish();
}
