/*
 * PCI Express functions by their memory-mapped configuration space (PCI Express Base Specification 4.0, 7.2): found,
 * their BARs sized and placed, their capabilities kept from everybody but the kernel.
 */
#ifndef KERNEL_PCI_H
#define KERNEL_PCI_H

#include <kernel/base.h>
#include <keuos/device.h>

struct pci_host {
	uint64_t config; /* physical address of the first bus's configuration space */
	uint32_t first_bus, last_bus;
	uint64_t window, window_end; /* 32-bit addresses for BARs that firmware left unassigned */
};

struct pci_bar {
	uint64_t address; /* physical; 0: unassigned */
	uint64_t bytes;
	enum keuos_bar_kind kind;
	bool wide; /* takes two registers */
};

struct pci_function {
	volatile uint8_t *config; /* the kernel's view of its 4 KiB */
	uint16_t requester;
	uint16_t vendor, product, subsystem;
	uint32_t class_code;
	uint8_t header;           /* type: 0 for a function, 1 for a bridge */
	uint8_t express;          /* offset of the capability; 0: none */
	uint8_t power;            /* power management */
	uint8_t msix;             /* MSI-X */
	bool isolated;            /* its requests carry its own requester id */
	uint32_t vectors;         /* of MSI-X */
	volatile uint32_t *table; /* of MSI-X: four words for each vector */
	uint32_t table_bar, table_offset, table_bytes, pending_bar, pending_offset, pending_bytes;
	struct pci_bar bars[KEUOS_DEVICE_BARS];
};

enum { PCI_FUNCTIONS_MAX = 64 };
extern struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
extern uint32_t pci_function_count;

/* What the machine says; false: no memory-mapped configuration space. */
bool arch_pci_host(struct pci_host *host);
void *arch_map_device(uint64_t physical, uint64_t bytes); /* registers for the kernel, for good */

void pci_init(void); /* afterwards: memory decoded, bus mastering off, no line interrupts */
uint32_t pci_read(const struct pci_function *function, uint32_t offset, uint32_t width);
void pci_write16(const struct pci_function *function, uint32_t offset, uint16_t value);
void pci_master(const struct pci_function *function, bool on);
bool pci_can_reset(const struct pci_function *function);
void pci_reset_begin(const struct pci_function *function); /* 100 ms later: */
void pci_reset_end(
	const struct pci_function *function); /* what reset took away is written again; bus mastering is off */
void pci_msix_enable(const struct pci_function *function, bool on);

/* Whether a page of a BAR can be given away: nothing of the MSI-X table, nothing of another function. */
bool pci_page_is_free(const struct pci_function *function, uint32_t bar, uint64_t offset);

#endif
