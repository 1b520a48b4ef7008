/*
 * What the kernel wants of a device tree: the machine's memory, cores and few devices (bindings of the Linux kernel's
 * Documentation/devicetree). Addresses are physical, translated through the buses' `ranges`. Like fdt.h it uses no part of
 * the kernel.
 */
#ifndef ARM64_TREE_H
#define ARM64_TREE_H

#include "fdt.h"

struct tree_range {
	uint64_t base, bytes;
};

enum tree_limit {
	TREE_MEMORY_MAX = 32,
	TREE_RESERVED_MAX = 24,
	TREE_CORES_MAX = 16,
	TREE_GIC_RANGES_MAX = 8,
	TREE_PCI_WINDOWS_MAX = 4,
	TREE_ID_RANGES_MAX = 4,
	TREE_ARGUMENTS_BYTES = 512,
	TREE_PATH_BYTES = 128,
	TREE_SEED_BYTES = 256,
};

enum tree_conduit { CONDUIT_NONE, CONDUIT_HVC, CONDUIT_SMC };
enum tree_gic { GIC_NONE, GIC_V2, GIC_V3 };
enum tree_serial { SERIAL_NONE, SERIAL_PL011, SERIAL_8250, SERIAL_DW_APB, SERIAL_BCM2835_AUX };

struct tree_reserved {
	struct tree_range range;
	bool no_map; /* the kernel may not even map it */
};

/* PCI's memory window: what the buses call `pci` and the cores `physical`. */
struct tree_pci_window {
	uint64_t pci, physical, bytes;
};

/* By what numbers a controller (named by its phandle) knows PCI's requesters: bindings pci-iommu and pci-msi. */
struct tree_id_range {
	uint32_t requester, controller, id, count;
};

struct tree_id_map {
	uint32_t mask; /* of requesters, before they are looked up */
	uint32_t count;
	struct tree_id_range ranges[TREE_ID_RANGES_MAX];
};

struct machine {
	uint32_t memory_count, reserved_count, cores;
	struct tree_range memory[TREE_MEMORY_MAX];
	struct tree_reserved reserved[TREE_RESERVED_MAX];
	uint64_t affinity[TREE_CORES_MAX]; /* MPIDR_EL1's */
	enum tree_conduit conduit;

	enum tree_gic gic;
	uint32_t gic_ranges_count; /* GICv2: distributor, CPU interface; GICv3: distributor, redistributors */
	struct tree_range gic_ranges[TREE_GIC_RANGES_MAX];
	uint32_t gic_redistributors; /* how many of the ranges are regions of them */
	uint64_t gic_stride;         /* between redistributors; 0: as each says */

	uint32_t timer_interrupt; /* the virtual timer's, as the GIC numbers it; 0: unknown */

	enum tree_serial serial;
	struct tree_range serial_range;
	uint32_t serial_interrupt; /* 0: unknown */
	bool serial_interrupt_edge;
	uint32_t serial_shift; /* between registers, as a power of two; the PL011 goes by offsets */
	uint32_t serial_width; /* of an access, in bytes */

	struct tree_range pci_ecam; /* PCIe's configuration space; 0 bytes: none */
	uint32_t pci_first_bus, pci_last_bus;
	uint32_t pci_windows_count;
	struct tree_pci_window pci_windows[TREE_PCI_WINDOWS_MAX];
	struct tree_id_map pci_streams, pci_messages; /* of the IOMMU, and of who takes interrupts as messages */

	struct tree_range smmu; /* SMMUv3; 0 bytes: none */
	uint32_t smmu_phandle;
	uint32_t smmu_interrupt; /* of its event queue; 0: unknown */
	bool smmu_interrupt_edge;
	bool smmu_coherent;

	struct tree_range its; /* GICv3's interrupt translation service; 0 bytes: none */
	uint32_t its_phandle;

	uint64_t initrd, initrd_end; /* 0: none */
	char arguments[TREE_ARGUMENTS_BYTES];
	uint32_t seed; /* offset of rng-seed in the tree; 0: none */
	uint32_t seed_bytes;
};

/* False: the tree is damaged, and `machine` holds what came before the damage. */
bool tree_read(const struct fdt *fdt, struct machine *machine);
/* A requester's number at a controller; false: it is not connected there. */
bool tree_id_of(const struct tree_id_map *map, uint32_t controller, uint32_t requester, uint32_t *id);

#endif
