/* The calls of pci_device.h. */
#include "pci_device.h"

#include <user.h>

enum { PAGE = 4096, POLL_NS = 2000000 };

int64_t pci_device_find(uint16_t vendor, uint16_t product)
{
	for (uint32_t i = 0; i < KEUOS_CAPABILITIES; i++) {
		struct keuos_device_info info;

		if (sys_device_info(i, &info) >= 0 && info.vendor == vendor && info.product == product)
			return i;
	}
	return -KEUOS_ENOENT;
}

/* Sleeps through a reset: the kernel answers EAGAIN as long as it lasts. */
static int64_t until_ready(uint32_t device, enum keuos_device_op operation)
{
	int64_t result;

	while ((result = sys_device_control(device, operation, 0)) == -KEUOS_EAGAIN)
		sys_wait(0, sys_time() + POLL_NS);
	return result;
}

int64_t pci_device_claim(uint32_t device)
{
	return until_ready(device, KEUOS_DEVICE_CLAIM);
}

int64_t pci_device_map(uint32_t device, uint32_t bar, uint32_t offset, uint32_t bytes, volatile uint8_t **at)
{
	uint32_t from = offset & ~(uint32_t)(PAGE - 1);
	uint64_t pages = ((uint64_t)offset + bytes - from + PAGE - 1) / PAGE;
	int64_t address = sys_device_map(device, bar, from, pages);

	if (address < 0)
		return address;
	*at = (volatile uint8_t *)(uintptr_t)(address + (offset - from));
	return 0;
}

int64_t pci_device_reset(uint32_t device)
{
	int64_t error = sys_device_control(device, KEUOS_DEVICE_RESET, 0);

	return error < 0 ? error : until_ready(device, KEUOS_DEVICE_MASTER);
}
