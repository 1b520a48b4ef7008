/*
 * Devices: claimed by a driver, given back, reset, and their interrupts. What a device may reach in memory is in dma.c.
 *
 * An interrupt masks its own vector until the driver asks for more (DEVICE_WAIT). A device that was told to write the
 * message itself is not held back by that mask: the second interrupt of a vector unbinds its slot as well, until then. So
 * a device that signals without end costs its driver's core two interrupts for each such call.
 */
#include <kernel/device.h>
#include <kernel/event.h>
#include <kernel/memory.h>

/* Where a device lies in a process follows from its capability's index; each BAR has 4 GiB of addresses. */
const uint64_t device_window = 0x0000300000000000ull, device_window_bytes = 1ull << 35, bar_window_bytes = 1ull << 32;

enum {
	RESET_NS = 100000000, /* PCI Express Base Specification 4.0, 6.6.2 */
	VECTOR_CONTROL = 3,   /* word of an MSI-X table entry; bit 0 masks it */
	CLASS_BRIDGE = 6,
	NO_SLOT = -1,
};

struct device devices[KEUOS_DEVICES];
uint32_t device_count;
uint64_t stray_interrupts;
static struct device *slot_device[INTERRUPT_SLOTS];
static uint32_t slot_vector[INTERRUPT_SLOTS];

/* Bridges and the chipset are the kernel's; what has no registers in memory, or no requester id of its own, nobody's. */
static bool can_be_driven(const struct pci_function *function)
{
	bool registers = false;
	for (uint32_t i = 0; i < KEUOS_DEVICE_BARS; i++)
		registers |= function->bars[i].kind == KEUOS_BAR_MEMORY && function->bars[i].address != 0;
	return function->header == 0 && function->class_code >> 16 != CLASS_BRIDGE && function->isolated && registers;
}

void devices_init(void)
{
	pci_init();
	if (arch_iommu_init())
		arch_features |= KEUOS_FEATURE_IOMMU;
	for (uint32_t i = 0; i < pci_function_count && device_count < KEUOS_DEVICES; i++) {
		if (!can_be_driven(&pci_functions[i]))
			continue;
		struct device *device = &devices[device_count++];
		*device = (struct device){.function = &pci_functions[i], .id = device_count};
		for (uint32_t vector = 0; vector < KEUOS_DEVICE_VECTORS; vector++)
			device->slots[vector] = NO_SLOT;
	}
	print("pci: %u functions, %u of them for drivers%s\n", pci_function_count, device_count,
		arch_features & KEUOS_FEATURE_IOMMU ? "" : "; without an IOMMU nobody gets them");
}

void devices_grant(struct process *process)
{
	for (uint32_t i = 0; i < device_count; i++) {
		int index = capability_add(process, KEUOS_CAP_DEVICE,
			KEUOS_RIGHT_READ | KEUOS_RIGHT_CONTROL | KEUOS_RIGHT_GRANT, &devices[i]);
		devices[i].original = index < 0 ? 0 : (uint32_t)index;
	}
}

static void begin_reset(struct device *device)
{
	device->mastering = false;
	if (!pci_can_reset(device->function)) {
		pci_master(device->function, false);
		return;
	}
	pci_reset_begin(device->function);
	device->resetting_until = arch_time_ns() + RESET_NS;
}

int device_claim(struct process *process, uint32_t index, struct device *device)
{
	if (!(arch_features & KEUOS_FEATURE_IOMMU))
		return -KEUOS_ENOSYS;
	if (device->holder)
		return -KEUOS_ESTATE;
	int error = device_ready(device);
	if (error)
		return error;
	device->domain = (struct iommu_domain){.number = device->id, .payer = process};
	if (!arch_iommu_attach(device->function->requester, &device->domain))
		return -KEUOS_EQUOTA;
	device->holder = process;
	device->capability = index;
	device->quarantined = false;
	device->faults_since_reset = 0;
	return 0;
}

static uint64_t bar_window(const struct device *device, uint32_t bar)
{
	return device_window + device->capability * device_window_bytes + bar * bar_window_bytes;
}

static void unmap_registers(struct device *device)
{
	for (uint32_t bar = 0; bar < KEUOS_DEVICE_BARS; bar++) {
		uint64_t bytes = device->function->bars[bar].bytes;
		bytes = bytes < bar_window_bytes ? bytes : bar_window_bytes;
		if (device->function->bars[bar].kind != KEUOS_BAR_MEMORY || !(device->mapped_bars >> bar & 1))
			continue;
		struct space *space = &device->holder->space;
		uint64_t end = bar_window(device, bar) + bytes;
		for (uint64_t at = bar_window(device, bar); (at = arch_next_mapped(space, at, end)) < end;)
			arch_unmap(space, at);
	}
	device->mapped_bars = 0;
	arch_flush(device->holder);
}

/* In this order: it can't start an access any more, it can't reach anything any more, and only then do frames go. */
void device_release(struct device *device)
{
	if (device->holder == NULL)
		return;
	pci_master(device->function, false);
	for (uint32_t vector = 0; vector < KEUOS_DEVICE_VECTORS; vector++)
		device_interrupt_off(device, vector);
	dma_unmap_all(device);
	arch_iommu_detach(device->function->requester, &device->domain);
	unmap_registers(device);
	begin_reset(device);
	device->holder = NULL;
	/* Whoever started the driver may want to start another. */
	const struct capability *original = &first_process->capabilities[device->original];
	if (device->original != 0 && original->object == device)
		notify_process(first_process, notification_bit(device->original));
}

static void write_vector(struct device *device, uint32_t vector)
{
	struct interrupt_message message;
	volatile uint32_t *entry = device->function->table + 4 * vector;
	arch_interrupt_bind(
		(uint32_t)device->slots[vector], device->function->requester, &cpus[device->holder->core], &message);
	entry[VECTOR_CONTROL] = 1;
	entry[0] = (uint32_t)message.address;
	entry[1] = (uint32_t)(message.address >> 32);
	entry[2] = message.data;
	entry[VECTOR_CONTROL] = device->masked >> vector & 1;
	device->blocked &= ~(1u << vector);
}

int device_ready(struct device *device)
{
	if (device->resetting_until == 0)
		return 0;
	if (arch_time_ns() < device->resetting_until)
		return -KEUOS_EAGAIN;
	device->resetting_until = 0;
	pci_reset_end(device->function);
	bool any = false;
	for (uint32_t vector = 0; vector < KEUOS_DEVICE_VECTORS; vector++) {
		if (device->slots[vector] == NO_SLOT)
			continue;
		write_vector(device, vector);
		any = true;
	}
	if (any)
		pci_msix_enable(device->function, true);
	return 0;
}

int device_reset(struct device *device)
{
	begin_reset(device);
	device->quarantined = false;
	device->faults_since_reset = 0;
	return pci_can_reset(device->function) ? 0 : -KEUOS_ENOSYS;
}

int device_master(struct device *device, bool on)
{
	if (on && device->quarantined)
		return -KEUOS_ESTATE;
	pci_master(device->function, on);
	device->mastering = on;
	return 0;
}

int device_interrupt_on(struct device *device, uint32_t vector)
{
	if (vector >= KEUOS_DEVICE_VECTORS || vector >= device->function->vectors)
		return -KEUOS_EINVAL;
	if (device->slots[vector] != NO_SLOT)
		return 0;
	for (uint32_t slot = 0; slot < INTERRUPT_SLOTS; slot++) {
		if (slot_device[slot])
			continue;
		slot_device[slot] = device;
		slot_vector[slot] = vector;
		device->slots[vector] = (int)slot;
		device->masked &= ~(1u << vector);
		write_vector(device, vector);
		pci_msix_enable(device->function, true);
		return 0;
	}
	return -KEUOS_EQUOTA;
}

int device_interrupt_off(struct device *device, uint32_t vector)
{
	if (vector >= KEUOS_DEVICE_VECTORS)
		return -KEUOS_EINVAL;
	int slot = device->slots[vector];
	if (slot == NO_SLOT)
		return 0;
	if (device->resetting_until == 0)
		device->function->table[4 * vector + VECTOR_CONTROL] = 1;
	arch_interrupt_unbind((uint32_t)slot);
	slot_device[slot] = NULL;
	device->slots[vector] = NO_SLOT;
	return 0;
}

void device_interrupts_arm(struct device *device)
{
	for (uint32_t vector = 0; device->masked != 0 && vector < KEUOS_DEVICE_VECTORS; vector++) {
		if (!(device->masked >> vector & 1))
			continue;
		device->masked &= ~(1u << vector);
		if (device->slots[vector] == NO_SLOT || device->resetting_until != 0)
			continue;
		if (device->blocked >> vector & 1)
			write_vector(device, vector);
		else
			device->function->table[4 * vector + VECTOR_CONTROL] = 0;
	}
}

/* What was sent before the mask took effect has arrived once it can be read back: nothing of the device's own is lost. */
static void block(struct device *device, uint32_t vector)
{
	if (device->resetting_until == 0)
		(void)device->function->table[4 * vector + VECTOR_CONTROL];
	arch_interrupt_unbind((uint32_t)device->slots[vector]);
	device->blocked |= 1u << vector;
}

void device_interrupt(uint32_t slot)
{
	struct device *device = slot_device[slot];
	if (device == NULL) {
		stray_interrupt(slot);
		return;
	}
	uint32_t vector = slot_vector[slot];
	device->interrupts++;
	if (device->masked >> vector & 1)
		block(device, vector);
	device->masked |= 1u << vector;
	if (device->resetting_until == 0)
		device->function->table[4 * vector + VECTOR_CONTROL] = 1;
	notify_process(device->holder, notification_bit(device->capability));
}

static bool power_of_two(uint64_t x)
{
	return (x & (x - 1)) == 0;
}

/* The record keeps the 1st, 2nd, 4th, 8th ...: a storm must not push everything else out of it. */
void stray_interrupt(uint32_t vector)
{
	stray_interrupts++;
	if (power_of_two(stray_interrupts))
		event_record(
			(struct keuos_event){.kind = KEUOS_EVENT_STRAY, .detail = stray_interrupts, .address = vector});
}

void device_fault(uint16_t requester, enum keuos_dma_fault kind, uint64_t address, uint32_t reason)
{
	static uint64_t unknown;
	struct device *device = NULL;
	for (uint32_t i = 0; i < device_count; i++)
		if (devices[i].function->requester == requester)
			device = &devices[i];
	uint64_t count = device ? ++device->faults_since_reset : ++unknown;
	if (device)
		device->faults++;
	if (power_of_two(count))
		event_record((struct keuos_event){.kind = KEUOS_EVENT_DMA_FAULT,
			.verdict = kind,
			.pid = device && device->holder ? device->holder->pid : 0,
			.channel = device ? device->id : 0,
			.generation = requester,
			.detail = address,
			.address = reason});
	if (device && count == KEUOS_DMA_FAULTS_MAX) {
		pci_master(device->function, false);
		device->mastering = false;
		device->quarantined = true;
		if (device->holder)
			notify_process(device->holder, notification_bit(device->capability));
	}
}

int device_map(struct device *device, uint32_t bar, uint64_t offset, uint32_t pages, uint64_t *address)
{
	const struct pci_function *function = device->function;
	if (bar >= KEUOS_DEVICE_BARS || function->bars[bar].kind != KEUOS_BAR_MEMORY ||
		function->bars[bar].address == 0)
		return -KEUOS_EINVAL;
	uint64_t end = ALIGN_UP(function->bars[bar].bytes, (uint64_t)KEUOS_PAGE_BYTES);
	end = end < bar_window_bytes ? end : bar_window_bytes;
	uint64_t bytes = (uint64_t)pages * KEUOS_PAGE_BYTES;
	if (pages == 0 || pages > KEUOS_DEVICE_MAP_PAGES_MAX || offset % KEUOS_PAGE_BYTES != 0 || offset >= end ||
		bytes > end - offset)
		return -KEUOS_EINVAL;
	for (uint64_t at = offset; at < offset + bytes; at += KEUOS_PAGE_BYTES)
		if (!pci_page_is_free(function, bar, at))
			return -KEUOS_EPERM;
	struct space *space = &device->holder->space;
	device->mapped_bars |= 1u << bar;
	for (uint64_t at = offset; at < offset + bytes; at += KEUOS_PAGE_BYTES) {
		uint64_t there = bar_window(device, bar) + at;
		if (!arch_is_mapped(space, there) &&
			!arch_map(space, there, function->bars[bar].address + at,
				PROTECTION_USER | PROTECTION_WRITE | PROTECTION_DEVICE))
			return -KEUOS_ENOMEM; /* what is mapped so far goes with the device */
	}
	*address = bar_window(device, bar) + offset;
	return 0;
}

static uint32_t state_of(const struct device *device)
{
	return (device->holder ? KEUOS_DEVICE_CLAIMED : 0) | (device->mastering ? KEUOS_DEVICE_MASTERING : 0) |
		(device->quarantined ? KEUOS_DEVICE_QUARANTINED : 0) |
		(device->resetting_until ? KEUOS_DEVICE_RESETTING : 0);
}

void device_describe(const struct device *device, struct keuos_device_info *info)
{
	const struct pci_function *function = device->function;
	*info = (struct keuos_device_info){.device = device->id,
		.requester = function->requester,
		.vendor = function->vendor,
		.product = function->product,
		.subsystem = function->subsystem,
		.class_code = function->class_code,
		.state = state_of(device),
		.holder = device->holder ? device->holder->pid : 0,
		.vectors = function->vectors,
		.iova_end = arch_features & KEUOS_FEATURE_IOMMU ? arch_iommu_end() : 0,
		.faults = device->faults,
		.interrupts = device->interrupts};
	for (uint32_t i = 0; i < KEUOS_DMA_RANGES; i++) {
		info->dma_pages += device->ranges[i].pages;
		info->dma_ranges += device->ranges[i].pages != 0;
	}
	for (uint32_t i = 0; i < KEUOS_DEVICE_BARS; i++)
		info->bars[i] = (struct keuos_device_bar){
			.bytes = function->bars[i].bytes, .kind = (uint32_t)function->bars[i].kind};
}
