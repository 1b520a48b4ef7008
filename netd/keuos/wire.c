/* The NIC of wire.h. */
#include "wire.h"

#include <user.h>
#include <virtio_pci.h>

enum { IOVA = 0x40000000, BUDGET = 64 };

static struct virtio_pci pci;

static int64_t map_ranges(uint32_t device, uint32_t memory)
{
	for (uint32_t i = 0; i < VIRTIO_NET_RANGES; i++) {
		const struct virtio_net_range *range = &virtio_net_ranges[i];
		int64_t error = sys_dma_map(device, memory, range->first_page, range->pages,
			IOVA + (uint64_t)range->first_page * VIRTIO_PAGE_BYTES, range->writable);

		if (error < 0)
			return error;
	}
	return 0;
}

static bool failed(const char *what, int64_t error)
{
	if (error < 0)
		user_log("%s: error %ld", what, (long)-error);
	return error < 0;
}

bool wire_open(struct wire *wire, uint16_t mtu)
{
	int64_t device = virtio_pci_find(VIRTIO_PCI_NET), memory, at;

	if (device < 0) {
		user_log("no virtio network device was granted: spawn netd from the console, on a machine with a NIC");
		return false;
	}
	wire->device = (uint32_t)device;
	at = virtio_pci_open(&pci, wire->device);
	if (at == -KEUOS_ENOSYS)
		user_log("this machine has no IOMMU, so no driver may have the NIC");
	if (failed("the NIC can't be claimed", at))
		return false;
	memory = sys_memory_create(VIRTIO_NET_PAGES);
	if (failed("no memory for the NIC; it needs a quota for it", memory))
		return false;
	at = sys_memory_map((uint32_t)memory, 1);
	if (failed("the NIC's memory can't be mapped", at) ||
		failed("the NIC can't be given its memory", map_ranges(wire->device, (uint32_t)memory)))
		return false;
	enum virtio_fault fault =
		virtio_net_start(&wire->net, &wire->nic, &pci.bus, (void *)(uintptr_t)at, IOVA, VIRTIO_PCI_VECTOR);

	if (fault) {
		user_log("the NIC does not start: fault %u (enum virtio_fault)", (unsigned)fault);
		return false;
	}
	if (mtu && mtu < wire->nic.mtu)
		wire->nic.mtu = mtu;
	return true;
}

void wire_run(struct wire *wire)
{
	failed("the NIC can't be let at its memory", sys_device_control(wire->device, KEUOS_DEVICE_MASTER, 1));
	virtio_net_run(&wire->net);
}

bool wire_poll(struct wire *wire)
{
	return virtio_net_poll(&wire->net, BUDGET) > 0;
}

void wire_flush(struct wire *wire)
{
	virtio_net_flush(&wire->net);
}

uint64_t wire_sleep(struct wire *wire, uint64_t deadline_ns)
{
	uint64_t bits;

	if (virtio_net_arm(&wire->net)) {
		virtio_net_disarm(&wire->net);
		return 0;
	}
	bits = sys_device_wait(wire->device, UINT64_MAX, deadline_ns);
	virtio_net_disarm(&wire->net);
	if (sys_is_error((int64_t)bits))
		return 0;
	if (bits & sys_bit(wire->device))
		virtio_net_look(&wire->net);
	return bits;
}

bool wire_broken(const struct wire *wire)
{
	return !wire->net.running;
}
