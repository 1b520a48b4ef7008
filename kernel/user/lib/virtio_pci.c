/* The bus of virtio_pci.h. */
#include "virtio_pci.h"

#include <pci_device.h>
#include <string.h>
#include <user.h>

/* 4.1.4: a vendor-specific capability (PCI 3.0, 6.7) of 16 bytes, 20 for the notify kind. */
enum {
	PCI_CAPABILITIES = 0x34,
	CAP_VENDOR = 9,
	CAP_KIND = 3,
	CAP_BAR = 4,
	CAP_OFFSET = 8,
	CAP_LENGTH = 12,
	CAP_MULTIPLIER = 16,
	KIND_COMMON = 1,
	KIND_NOTIFY = 2,
	KIND_DEVICE = 4,
	COMMON_BYTES = 56,
	CAPABILITIES_MAX = 48, /* a list that is a ring ends all the same */
	PAGE = 4096,
};

static volatile uint8_t *place_of(struct virtio_pci *pci, enum virtio_space space, uint32_t offset, uint32_t width)
{
	uint32_t room = space == VIRTIO_COMMON ? pci->common_bytes : pci->specific_bytes;

	if (offset + width > room)
		return NULL;
	return (space == VIRTIO_COMMON ? pci->common : pci->specific) + offset;
}

static uint32_t read_register(void *context, enum virtio_space space, uint32_t offset, uint32_t width)
{
	volatile uint8_t *at = place_of(context, space, offset, width);

	if (!at)
		return 0;
	return width == 1 ? *at : width == 2 ? *(volatile uint16_t *)at : *(volatile uint32_t *)at;
}

static void write_register(void *context, enum virtio_space space, uint32_t offset, uint32_t width, uint32_t value)
{
	volatile uint8_t *at = place_of(context, space, offset, width);

	if (!at)
		return;
	if (width == 1)
		*at = (uint8_t)value;
	else if (width == 2)
		*(volatile uint16_t *)at = (uint16_t)value;
	else
		*(volatile uint32_t *)at = value;
}

static void notify_queue(void *context, uint16_t queue, uint16_t notify_offset)
{
	struct virtio_pci *pci = context;
	uint64_t at = (uint64_t)notify_offset * pci->notify_multiplier;

	if (at + 2 <= pci->notify_bytes)
		*(volatile uint16_t *)(pci->notify + at) = queue;
}

static uint64_t time_now(void *context)
{
	(void)context;
	return sys_time();
}

int64_t virtio_pci_find(uint16_t product)
{
	return pci_device_find(VIRTIO_PCI_VENDOR, product);
}

static int64_t take_capability(struct virtio_pci *pci, uint32_t at)
{
	uint32_t kind = (uint32_t)sys_device_config(pci->device, at + CAP_KIND, 1);
	uint32_t bar = (uint32_t)sys_device_config(pci->device, at + CAP_BAR, 1);
	uint32_t offset = (uint32_t)sys_device_config(pci->device, at + CAP_OFFSET, 4);
	uint32_t bytes = (uint32_t)sys_device_config(pci->device, at + CAP_LENGTH, 4);

	/* The first of a kind counts (4.1.4.1). */
	if (kind == KIND_COMMON && !pci->common) {
		pci->common_bytes = bytes;
		return pci_device_map(pci->device, bar, offset, bytes, &pci->common);
	}
	if (kind == KIND_DEVICE && !pci->specific) {
		pci->specific_bytes = bytes < PAGE ? bytes : PAGE;
		return pci_device_map(pci->device, bar, offset, pci->specific_bytes, &pci->specific);
	}
	if (kind == KIND_NOTIFY && !pci->notify) {
		enum { NOTIFY_MAX = 16 * PAGE };

		pci->notify_bytes = bytes < NOTIFY_MAX ? bytes : NOTIFY_MAX;
		pci->notify_multiplier = (uint32_t)sys_device_config(pci->device, at + CAP_MULTIPLIER, 4);
		return pci_device_map(pci->device, bar, offset, pci->notify_bytes, &pci->notify);
	}
	return 0;
}

static int64_t find_registers(struct virtio_pci *pci)
{
	int64_t at = sys_device_config(pci->device, PCI_CAPABILITIES, 1);

	for (int seen = 0; at >= 0x40 && seen < CAPABILITIES_MAX; seen++) {
		at &= ~3;
		if (sys_device_config(pci->device, (uint64_t)at, 1) == CAP_VENDOR) {
			int64_t error = take_capability(pci, (uint32_t)at);

			if (error < 0)
				return error;
		}
		at = sys_device_config(pci->device, (uint64_t)at + 1, 1);
	}
	if (at < 0)
		return at;
	return pci->common_bytes >= COMMON_BYTES && pci->notify && pci->specific ? 0 : -KEUOS_EINVAL;
}

int64_t virtio_pci_open(struct virtio_pci *pci, uint32_t device)
{
	memset(pci, 0, sizeof(*pci));
	pci->device = device;
	pci->bus = (struct virtio_bus){.read = read_register,
		.write = write_register,
		.notify = notify_queue,
		.time_ns = time_now,
		.context = pci};
	int64_t error = pci_device_claim(device);

	if (error < 0)
		return error;
	error = find_registers(pci);
	if (error >= 0)
		error = sys_device_control(device, KEUOS_DEVICE_INTERRUPT, VIRTIO_PCI_VECTOR);
	if (error < 0)
		sys_device_control(device, KEUOS_DEVICE_RELEASE, 0);
	return error;
}

int64_t virtio_pci_reset(struct virtio_pci *pci)
{
	int64_t error = pci_device_reset(pci->device);

	return error == -KEUOS_ENOSYS && virtio_reset(&pci->bus) == VIRTIO_FAULT_NONE ? 0 : error;
}
