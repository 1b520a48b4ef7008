/* The NIC of nic_device.h. */
#include "nic_device.h"

#include <pci_device.h>
#include <user.h>

enum { INTEL = 0x8086, INTEL_82574L = 0x10d3, INTEL_82574LA = 0x10f6, REGISTER_BAR = 0, VECTOR = 0 };

static uint32_t read_register(void *context, uint32_t offset)
{
	return *(volatile uint32_t *)((volatile uint8_t *)context + offset);
}

static void write_register(void *context, uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)((volatile uint8_t *)context + offset) = value;
}

static uint64_t time_now(void *context)
{
	(void)context;
	return sys_time();
}

int64_t nic_device_find(struct nic_device *device)
{
	static const struct {
		uint16_t vendor, product;
		enum nic_device_model model;
	} known[] = {
		{VIRTIO_PCI_VENDOR, VIRTIO_PCI_NET, NIC_DEVICE_VIRTIO},
		{INTEL, INTEL_82574L, NIC_DEVICE_E1000E},
		{INTEL, INTEL_82574LA, NIC_DEVICE_E1000E},
	};

	for (uint32_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		int64_t found = pci_device_find(known[i].vendor, known[i].product);

		if (found < 0)
			continue;
		device->model = known[i].model;
		device->device = (uint32_t)found;
		return 0;
	}
	return -KEUOS_ENOENT;
}

static int64_t claim_e1000e(struct nic_device *device)
{
	volatile uint8_t *registers;
	int64_t error = pci_device_claim(device->device);

	if (error >= 0)
		error = pci_device_map(device->device, REGISTER_BAR, 0, E1000E_REGISTER_BYTES, &registers);
	if (error >= 0)
		error = sys_device_control(device->device, KEUOS_DEVICE_INTERRUPT, VECTOR);
	if (error < 0)
		return error;
	device->bus = (struct e1000e_bus){
		.read = read_register, .write = write_register, .time_ns = time_now, .context = (void *)registers};
	return 0;
}

static int64_t map_ranges(const struct nic_device *device, const struct nic_range *ranges, uint32_t count)
{
	int64_t error = 0;

	for (uint32_t i = 0; i < count && error >= 0; i++)
		error = sys_dma_map(device->device, device->memory, ranges[i].first_page, ranges[i].pages,
			NIC_DEVICE_IOVA + (uint64_t)ranges[i].first_page * NIC_PAGE_BYTES, ranges[i].writable);
	return error;
}

int64_t nic_device_open(struct nic_device *device, const char **what)
{
	bool virtio = device->model == NIC_DEVICE_VIRTIO;
	int64_t result = virtio ? virtio_pci_open(&device->pci, device->device) : claim_e1000e(device);

	*what = "the NIC can't be claimed";
	if (result < 0)
		return result;
	*what = "no memory for the NIC; it needs a quota for it";
	result = sys_memory_create(virtio ? VIRTIO_NET_PAGES : E1000E_PAGES);
	if (result < 0)
		return result;
	device->memory = (uint32_t)result;
	*what = "the NIC's memory can't be mapped";
	result = sys_memory_map(device->memory, 1);
	if (result < 0)
		return result;
	device->memory_at = (uint64_t)result;
	*what = "the NIC can't be given its memory";
	return virtio ? map_ranges(device, virtio_net_ranges, VIRTIO_NET_RANGES)
		      : map_ranges(device, e1000e_ranges, E1000E_RANGES);
}

uint32_t nic_device_start(struct nic_device *device, struct netd_nic *nic)
{
	void *memory = (void *)(uintptr_t)device->memory_at;

	if (device->model == NIC_DEVICE_VIRTIO)
		return virtio_net_start(
			&device->virtio, nic, &device->pci.bus, memory, NIC_DEVICE_IOVA, VIRTIO_PCI_VECTOR);
	return e1000e_start(&device->e1000e, nic, &device->bus, memory, NIC_DEVICE_IOVA, VECTOR);
}

int64_t nic_device_run(struct nic_device *device)
{
	int64_t error = sys_device_control(device->device, KEUOS_DEVICE_MASTER, 1);

	if (error < 0)
		return error;
	if (device->model == NIC_DEVICE_VIRTIO)
		virtio_net_run(&device->virtio);
	else
		e1000e_run(&device->e1000e);
	return 0;
}

static void receive_into(struct nic_device *device, uint8_t *memory, uint64_t iova, uint32_t bytes)
{
	uint16_t buffers = (uint16_t)(bytes / NIC_BUFFER_BYTES);

	if (device->model == NIC_DEVICE_VIRTIO)
		virtio_net_receive_into(&device->virtio, memory, iova, buffers);
	else
		e1000e_receive_into(&device->e1000e, memory, iova, buffers);
}

int64_t nic_device_receive_into(struct nic_device *device, uint32_t end, uint8_t *memory, uint32_t bytes)
{
	uint32_t pages = bytes / NIC_PAGE_BYTES;
	/* What lies before stays out of the device's reach. */
	int64_t error = sys_dma_map(device->device, end, pages, pages, NIC_DEVICE_LENT_IOVA, 1);

	if (error < 0)
		return error;
	receive_into(device, memory, NIC_DEVICE_LENT_IOVA, bytes);
	if (nic_device_runs(device))
		return 0;
	sys_dma_unmap(device->device, NIC_DEVICE_LENT_IOVA);
	return -KEUOS_ESTATE;
}

int64_t nic_device_receive_own(struct nic_device *device)
{
	receive_into(device, NULL, 0, 0);
	return sys_dma_unmap(device->device, NIC_DEVICE_LENT_IOVA);
}

bool nic_device_lies_lent(const struct nic_device *device, const uint8_t *data, size_t bytes, uint32_t *offset)
{
	const struct nic_areas *areas =
		device->model == NIC_DEVICE_VIRTIO ? &device->virtio.areas : &device->e1000e.areas;

	return nic_areas_lies_lent(areas, data, bytes, offset);
}

int64_t nic_device_reset(struct nic_device *device)
{
	if (device->model == NIC_DEVICE_VIRTIO) {
		virtio_net_stop(&device->virtio, VIRTIO_FAULT_NONE);
		return virtio_pci_reset(&device->pci);
	}
	e1000e_stop(&device->e1000e, E1000E_FAULT_NONE);
	int64_t error = pci_device_reset(device->device);

	return error == -KEUOS_ENOSYS ? 0 : error; /* its own reset has been done */
}

unsigned nic_device_poll(struct nic_device *device, unsigned budget)
{
	return device->model == NIC_DEVICE_VIRTIO ? virtio_net_poll(&device->virtio, budget)
						  : e1000e_poll(&device->e1000e, budget);
}

void nic_device_flush(struct nic_device *device)
{
	if (device->model == NIC_DEVICE_VIRTIO)
		virtio_net_flush(&device->virtio);
	else
		e1000e_flush(&device->e1000e);
}

void nic_device_look(struct nic_device *device)
{
	if (device->model == NIC_DEVICE_VIRTIO)
		virtio_net_look(&device->virtio);
	else
		e1000e_look(&device->e1000e);
}

bool nic_device_arm(struct nic_device *device)
{
	return device->model == NIC_DEVICE_VIRTIO ? virtio_net_arm(&device->virtio) : e1000e_arm(&device->e1000e);
}

void nic_device_disarm(struct nic_device *device)
{
	if (device->model == NIC_DEVICE_VIRTIO)
		virtio_net_disarm(&device->virtio);
	else
		e1000e_disarm(&device->e1000e);
}

bool nic_device_runs(const struct nic_device *device)
{
	return device->model == NIC_DEVICE_VIRTIO ? device->virtio.running : device->e1000e.running;
}

uint32_t nic_device_fault(const struct nic_device *device)
{
	return device->model == NIC_DEVICE_VIRTIO ? (uint32_t)device->virtio.fault : (uint32_t)device->e1000e.fault;
}

const struct nic_counters *nic_device_counters(const struct nic_device *device)
{
	return device->model == NIC_DEVICE_VIRTIO ? &device->virtio.counters : &device->e1000e.counters;
}
