/* A PCI function that KeuOS gave us, whatever it is: found among our capabilities, claimed, mapped, reset. */
#ifndef PCI_DEVICE_H
#define PCI_DEVICE_H

#include <keuos/device.h>
#include <stdint.h>

/* The caller's capability to a function of that make, or -KEUOS_ENOENT. */
int64_t pci_device_find(uint16_t vendor, uint16_t product);

/* Claims the function, waiting for a reset that is under way. Bus mastering stays off. 0 or an error of keuos/syscall.h. */
int64_t pci_device_claim(uint32_t device);

/* Maps bytes of a BAR, which may begin and end within pages; *at is where the first of them lies then. */
int64_t pci_device_map(uint32_t device, uint32_t bar, uint32_t offset, uint32_t bytes, volatile uint8_t **at);

/* Resets the function and waits until it is over. ENOSYS: PCI has no means for it. Bus mastering is off. */
int64_t pci_device_reset(uint32_t device);

#endif
