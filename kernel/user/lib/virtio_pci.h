/*
 * A virtio device as a PCI function that KeuOS gave us (Virtual I/O Device 1.2, 4.1): claimed, its registers found by the
 * capability list and mapped, interrupts on one vector. Modern devices only.
 */
#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include "virtio.h"

#include <keuos/device.h>

struct virtio_pci {
	struct virtio_bus bus; /* context: this structure */
	uint32_t device;       /* the capability */
	volatile uint8_t *common, *specific, *notify;
	uint32_t common_bytes, specific_bytes, notify_bytes;
	uint32_t notify_multiplier;
};

enum { VIRTIO_PCI_VENDOR = 0x1af4, VIRTIO_PCI_NET = 0x1041, VIRTIO_PCI_VECTOR = 0 };

/* The caller's capability to a PCI function of that make, or -KEUOS_ENOENT. */
int64_t virtio_pci_find(uint16_t product);

/*
 * Claims the device, waiting for a reset that is under way, and maps its registers. 0 or an error of keuos/syscall.h;
 * EINVAL: its capability list makes no sense. Bus mastering stays off, until the caller has mapped what the device needs.
 */
int64_t virtio_pci_open(struct virtio_pci *pci, uint32_t device);

/* Resets the function, by virtio's means if PCI has none for it, and waits until it is over. Registers stay mapped, bus mastering is off. */
int64_t virtio_pci_reset(struct virtio_pci *pci);

#endif
