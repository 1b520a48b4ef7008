/*
 * The IOMMU of Intel machines (Virtualization Technology for Directed I/O, architecture specification 4.0; its sections
 * in brackets): translation in legacy mode with 4 KiB second-level pages [3.4, 3.7], interrupt remapping [5.1], queued
 * invalidation [6.5.2], primary fault logging [7.3]. It implements kernel/iommu.h.
 *
 * All units of a machine share one root table and one interrupt table: a function's requester id finds its entry in them
 * whichever unit it lies behind, and every invalidation goes to all units. Nothing is passed through, firmware's own
 * regions (RMRR) included.
 */
#include "machine.h"
#include <kernel/device.h>
#include <kernel/iommu_tables.h>

enum vtd_register {
	VTD_CAPABILITIES = 0x08,
	VTD_EXTENDED = 0x10,
	VTD_COMMAND = 0x18,
	VTD_STATUS = 0x1c,
	VTD_ROOT = 0x20,
	VTD_FAULT_STATUS = 0x34,
	VTD_FAULT_CONTROL = 0x38,
	VTD_FAULT_DATA = 0x3c,
	VTD_FAULT_ADDRESS = 0x40,
	VTD_FAULT_ADDRESS_HIGH = 0x44,
	VTD_PROTECTED_MEMORY = 0x64,
	VTD_QUEUE_TAIL = 0x88,
	VTD_QUEUE = 0x90,
	VTD_INTERRUPT_TABLE = 0xb8,
};

/* [11.4.4] The same bits in the status register, which takes part of them back when it is written. */
enum vtd_command {
	GO_TRANSLATE = 1u << 31,
	GO_ROOT = 1u << 30,
	GO_FLUSH_BUFFER = 1u << 27,
	GO_QUEUE = 1u << 26,
	GO_REMAP = 1u << 25,
	GO_INTERRUPT_TABLE = 1u << 24,
	GO_ONE_SHOT = GO_ROOT | 1u << 29 | GO_FLUSH_BUFFER | GO_INTERRUPT_TABLE,
	GO_COMPATIBILITY = 1u << 23, /* interrupts in the old format pass: never set */
};

enum { FAULT_OVERFLOW = 1, FAULT_QUEUE_ERROR = 1 << 4 | 1 << 5 | 1 << 6, FAULT_MASKED = 1u << 31 };

#define CAP_DOMAINS(capabilities) (1u << (4 + 2 * ((capabilities)&7)))
#define CAP_WRITE_BUFFER (1ull << 4)
#define CAP_PAGED(capabilities) ((capabilities) >> 8 & 0x1f) /* bit 1: three levels, bit 2: four */
#define CAP_FAULTS_AT(capabilities) (((capabilities) >> 24 & 0x3ff) * 16)
#define CAP_FAULTS(capabilities) (((capabilities) >> 40 & 0xff) + 1)
#define CAP_WIDTH(capabilities) (((capabilities) >> 16 & 0x3f) + 1)
#define EXT_COHERENT 1ull
#define EXT_QUEUE 2ull
#define EXT_REMAP 8ull

/* [9.1, 9.3, 9.8] */
#define ENTRY_PRESENT 1ull
#define PAGE_READ 1ull
#define PAGE_WRITE 2ull
#define PAGE_ADDRESS 0x000ffffffffff000ull

/* [6.5.2] Descriptors of the invalidation queue. */
#define INVALIDATE_CONTEXT (1ull | 1ull << 4)            /* all of them */
#define INVALIDATE_DOMAIN (2ull | 2ull << 4 | 3ull << 6) /* its translations, with reads and writes drained */
#define INVALIDATE_TRANSLATIONS (2ull | 1ull << 4 | 3ull << 6)
#define INVALIDATE_INTERRUPTS 4ull
#define INVALIDATE_WAIT (5ull | 1ull << 5 | 1ull << 6)

/* [9.9] An interrupt table entry: fixed delivery, edge, one core; only the requester named may raise it. */
#define REMAP_SOURCE(requester) ((uint64_t)(requester) | 1ull << 18)
#define REMAP_ANYBODY 0ull

/* [5.1.2.2] A message in remappable format: the index of its entry lies in the address. */
#define MESSAGE_BASE 0xfee00000u
#define MESSAGE_REMAPPABLE 0x10u

enum {
	CONTEXTS = 256,
	QUEUE_ENTRIES = 256, /* one page */
	REMAP_SIZE = 7,      /* 2^(7+1) entries: one page */
	REMAP_SERIAL = 0,    /* the serial line's entry; those of slots follow */
	REMAP_FIRST_SLOT = 1,
	REASON_REMAP_FIRST = 0x20, /* [7.1.3] reasons from here on are interrupts' */
	ANSWER_MS = 1000,
};

struct unit {
	volatile uint8_t *registers;
	uint64_t capabilities, extended;
	uint64_t *queue;
	volatile uint32_t *done; /* where a wait descriptor writes, in a page of its own */
	uint32_t tail;
	uint32_t turn;
};

static struct unit units[VTD_UNITS_MAX];
static uint32_t unit_count;
static uint64_t *root_table, *remap_table;
static bool coherent = true;

static uint32_t read32(const struct unit *unit, uint32_t at)
{
	return *(volatile uint32_t *)(unit->registers + at);
}

static uint64_t read64(const struct unit *unit, uint32_t at)
{
	return *(volatile uint64_t *)(unit->registers + at);
}

static void write32(const struct unit *unit, uint32_t at, uint32_t value)
{
	*(volatile uint32_t *)(unit->registers + at) = value;
}

static void write64(const struct unit *unit, uint32_t at, uint64_t value)
{
	*(volatile uint64_t *)(unit->registers + at) = value;
}

/* A unit may read tables past the caches [3.10]. */
static void publish(const void *at, size_t bytes)
{
	arch_fence();
	for (uint64_t line = (uint64_t)at & ~63ull; !coherent && line < (uint64_t)at + bytes; line += 64)
		__asm__ volatile("clflush (%0)" : : "r"(line) : "memory");
	arch_fence();
}

static bool wait_until(
	bool (*reached)(const struct unit *unit, uint32_t wanted), const struct unit *unit, uint32_t wanted)
{
	uint64_t until = arch_counter() + arch_counter_hz / 1000 * ANSWER_MS;
	while (!reached(unit, wanted)) {
		if (arch_counter() > until)
			return false;
		arch_pause();
	}
	return true;
}

static bool status_is_on(const struct unit *unit, uint32_t bits)
{
	return (read32(unit, VTD_STATUS) & bits) == bits;
}

static bool status_is_off(const struct unit *unit, uint32_t bits)
{
	return (read32(unit, VTD_STATUS) & bits) == 0;
}

static void command(const struct unit *unit, uint32_t set, uint32_t clear)
{
	uint32_t now = read32(unit, VTD_STATUS) & ~(uint32_t)(GO_ONE_SHOT | GO_COMPATIBILITY | clear);
	write32(unit, VTD_COMMAND, now | set);
	if (!(set ? wait_until(status_is_on, unit, set) : wait_until(status_is_off, unit, clear)))
		panic("the IOMMU does not carry out command %x: status %x", set ? set : clear,
			read32(unit, VTD_STATUS));
}

static bool queue_is_done(const struct unit *unit, uint32_t turn)
{
	return __atomic_load_n(unit->done, __ATOMIC_ACQUIRE) == turn;
}

static void enqueue(struct unit *unit, uint64_t low, uint64_t high)
{
	unit->queue[2 * unit->tail] = low;
	unit->queue[2 * unit->tail + 1] = high;
	publish(&unit->queue[2 * unit->tail], 16);
	unit->tail = (unit->tail + 1) % (QUEUE_ENTRIES);
	write64(unit, VTD_QUEUE_TAIL, (uint64_t)unit->tail << 4);
}

/* One request to every unit, and its completion: what it named is forgotten, and no access that used it is under way. */
static void invalidate(uint64_t low)
{
	for (uint32_t i = 0; i < unit_count; i++) {
		struct unit *unit = &units[i];
		unit->turn++;
		enqueue(unit, low, 0);
		enqueue(unit, INVALIDATE_WAIT | (uint64_t)unit->turn << 32,
			arch_direct_physical((const void *)unit->done));
		if (!wait_until(queue_is_done, unit, unit->turn))
			panic("the IOMMU does not finish an invalidation: fault status %x",
				read32(unit, VTD_FAULT_STATUS));
	}
}

/* Faults arrive as an interrupt of the unit's own, which is not remapped [5.1.6]. */
static void take_faults(struct unit *unit)
{
	uint32_t count = CAP_FAULTS(unit->capabilities), at = (uint32_t)CAP_FAULTS_AT(unit->capabilities);
	for (uint32_t i = 0; i < count; i++, at += 16) {
		uint64_t high = read64(unit, at + 8);
		if (!(high >> 63))
			continue;
		uint64_t address = read64(unit, at);
		uint32_t reason = high >> 32 & 0xff;
		bool interrupt = reason >= REASON_REMAP_FIRST && reason < REASON_REMAP_FIRST + 8;
		bool read = high >> 62 & 1;
		write32(unit, at + 12, 1u << 31);
		device_fault((uint16_t)high,
			interrupt      ? KEUOS_DMA_FAULT_INTERRUPT
				: read ? KEUOS_DMA_FAULT_READ
				       : KEUOS_DMA_FAULT_WRITE,
			interrupt ? address >> 48 : address & PAGE_ADDRESS, reason);
	}
	write32(unit, VTD_FAULT_STATUS, FAULT_OVERFLOW | FAULT_QUEUE_ERROR);
}

void vtd_interrupt(void)
{
	for (uint32_t i = 0; i < unit_count; i++)
		take_faults(&units[i]);
}

static bool usable(const struct unit *unit)
{
	return unit->extended & EXT_QUEUE && unit->extended & EXT_REMAP && CAP_PAGED(unit->capabilities) & 6 &&
		CAP_DOMAINS(unit->capabilities) > KEUOS_DEVICES; /* a domain's number is its device's, from 1 on */
}

static void set_remap(uint32_t index, uint64_t source, uint32_t vector, uint32_t apic)
{
	remap_table[2 * index] = 0;
	publish(&remap_table[2 * index], 16);
	remap_table[2 * index + 1] = source;
	publish(&remap_table[2 * index], 16);
	if (vector != 0)
		remap_table[2 * index] = ENTRY_PRESENT | (uint64_t)vector << 16 | (uint64_t)apic << 40;
	publish(&remap_table[2 * index], 16);
	invalidate(INVALIDATE_INTERRUPTS);
}

static void start_unit(struct unit *unit)
{
	/* What firmware left on is off before its tables go. */
	command(unit, 0, GO_TRANSLATE);
	command(unit, 0, GO_REMAP);
	command(unit, 0, GO_QUEUE);
	write32(unit, VTD_PROTECTED_MEMORY, 0);
	write64(unit, VTD_QUEUE_TAIL, 0);
	write64(unit, VTD_QUEUE, arch_direct_physical(unit->queue));
	command(unit, GO_QUEUE, 0);
	if (unit->capabilities & CAP_WRITE_BUFFER) {
		write32(unit, VTD_COMMAND, (read32(unit, VTD_STATUS) & ~(uint32_t)GO_ONE_SHOT) | GO_FLUSH_BUFFER);
		wait_until(status_is_off, unit, GO_FLUSH_BUFFER);
	}
	write64(unit, VTD_ROOT, arch_direct_physical(root_table));
	command(unit, GO_ROOT, 0);
	write64(unit, VTD_INTERRUPT_TABLE, arch_direct_physical(remap_table) | REMAP_SIZE);
	command(unit, GO_INTERRUPT_TABLE, 0);
	write32(unit, VTD_FAULT_DATA, VECTOR_IOMMU);
	write32(unit, VTD_FAULT_ADDRESS, MESSAGE_BASE | apic_id() << 12);
	write32(unit, VTD_FAULT_ADDRESS_HIGH, 0);
	take_faults(unit);
	write32(unit, VTD_FAULT_CONTROL, 0);
}

static bool find_units(void)
{
	iommu_tables = (struct iommu_tables){.present = PAGE_READ | PAGE_WRITE,
		.table = PAGE_READ | PAGE_WRITE,
		.address = PAGE_ADDRESS,
		.publish = publish};
	for (uint32_t i = 0; i < acpi.iommus; i++) {
		struct unit *unit = &units[i];
		unit->registers = arch_map_device(acpi.iommu[i], KEUOS_PAGE_BYTES);
		unit->capabilities = *(volatile uint64_t *)(unit->registers + VTD_CAPABILITIES);
		unit->extended = *(volatile uint64_t *)(unit->registers + VTD_EXTENDED);
		if (!usable(unit)) {
			print("IOMMU: VT-d at %lx can't be used (capabilities %lx, %lx): queued invalidation, interrupt remapping, "
			      "4 KiB pages and 64 domains are needed\n",
				acpi.iommu[i], unit->capabilities, unit->extended);
			return false;
		}
		coherent = coherent && unit->extended & EXT_COHERENT;
		uint32_t wanted = CAP_PAGED(unit->capabilities) & 2 ? 3 : 4;
		iommu_tables.levels = wanted > iommu_tables.levels ? wanted : iommu_tables.levels;
	}
	for (uint32_t i = 0; i < acpi.iommus; i++)
		if (!(CAP_PAGED(units[i].capabilities) & (iommu_tables.levels == 3 ? 2 : 4))) {
			print("IOMMU: the VT-d units have no depth of tables in common\n");
			return false;
		}
	return acpi.iommus > 0;
}

static void *kernel_page(void)
{
	uint64_t frame = iommu_page(0);
	if (frame == 0)
		panic("no memory for the IOMMU's tables");
	return arch_direct(frame);
}

uint64_t arch_iommu_end(void)
{
	uint64_t width = 12 + 9 * iommu_tables.levels;
	for (uint32_t i = 0; i < unit_count; i++)
		width = CAP_WIDTH(units[i].capabilities) < width ? CAP_WIDTH(units[i].capabilities) : width;
	return 1ull << width;
}

/* The context entry of a function, its table made on the way; NULL: no memory. */
static uint64_t *context_of(uint16_t requester)
{
	uint64_t *root = &root_table[2 * (requester >> 8)];
	if (!(*root & ENTRY_PRESENT)) {
		uint64_t table = iommu_page(0);
		if (table == 0)
			return NULL;
		*root = table | ENTRY_PRESENT;
		publish(root, 16);
	}
	uint64_t *contexts = arch_direct(*root & PAGE_ADDRESS);
	return &contexts[2 * (requester & (CONTEXTS - 1))];
}

bool arch_iommu_init(void)
{
	if (!find_units())
		return false;
	root_table = kernel_page();
	remap_table = kernel_page();
	for (uint32_t i = 0; i < acpi.iommus; i++) {
		units[i].queue = kernel_page();
		units[i].done = kernel_page();
		start_unit(&units[i]);
	}
	unit_count = acpi.iommus;
	/* All of the kernel's own tables are made now: what a driver takes later, it gives back. */
	for (uint32_t i = 0; i < pci_function_count; i++)
		if (context_of(pci_functions[i].requester) == NULL)
			panic("no memory for the IOMMU's tables");
	invalidate(INVALIDATE_CONTEXT);
	invalidate(INVALIDATE_TRANSLATIONS);
	invalidate(INVALIDATE_INTERRUPTS);
	/* The serial line's interrupt comes through the I/O APIC, and that is subject to remapping, too [5.1.2.1]. */
	uint64_t source = acpi.io_apic_requester ? REMAP_SOURCE(acpi.io_apic_requester) : REMAP_ANYBODY;
	set_remap(REMAP_SERIAL, source, VECTOR_SERIAL, apic_id());
	for (uint32_t i = 0; i < unit_count; i++) {
		command(&units[i], GO_TRANSLATE, 0);
		command(&units[i], GO_REMAP, 0);
	}
	io_apic_route_remapped(REMAP_SERIAL);
	print("IOMMU: VT-d, %u %s of %u bits, interrupt remapping\n", unit_count, unit_count == 1 ? "unit" : "units",
		12 + 9 * iommu_tables.levels);
	return true;
}

bool arch_iommu_attach(uint16_t requester, struct iommu_domain *domain)
{
	uint64_t *context = context_of(requester);
	if (context == NULL)
		return false;
	if (!iommu_tables_begin(domain))
		return false;
	uint64_t width = iommu_tables.levels - 2; /* 1 for three levels */
	context[1] = (uint64_t)domain->number << 8 | width;
	publish(context, 16);
	context[0] = domain->root | ENTRY_PRESENT;
	publish(context, 16);
	invalidate(INVALIDATE_CONTEXT);
	arch_iommu_flush(domain);
	return true;
}

void arch_iommu_detach(uint16_t requester, struct iommu_domain *domain)
{
	uint64_t *context = context_of(requester);
	context[0] = 0;
	publish(context, 16);
	invalidate(INVALIDATE_CONTEXT);
	arch_iommu_flush(domain);
	iommu_tables_end(domain);
}

bool arch_iommu_map(struct iommu_domain *domain, uint64_t iova, uint64_t physical, bool writable)
{
	return iommu_tables_map(domain, iova, physical | PAGE_READ | (writable ? PAGE_WRITE : 0));
}

uint64_t arch_iommu_unmap(struct iommu_domain *domain, uint64_t iova)
{
	return iommu_tables_unmap(domain, iova);
}

void arch_iommu_flush(struct iommu_domain *domain)
{
	invalidate(INVALIDATE_DOMAIN | (uint64_t)domain->number << 16);
}

void arch_interrupt_bind(uint32_t slot, uint16_t requester, const struct cpu *cpu, struct interrupt_message *message)
{
	uint32_t index = REMAP_FIRST_SLOT + slot;
	set_remap(index, REMAP_SOURCE(requester), VECTOR_DEVICE + slot, cpu->arch.apic_id);
	*message = (struct interrupt_message){.address = MESSAGE_BASE | MESSAGE_REMAPPABLE | index << 5, .data = 0};
}

void arch_interrupt_unbind(uint32_t slot)
{
	set_remap(REMAP_FIRST_SLOT + slot, 0, 0, 0);
}
