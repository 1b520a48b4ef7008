/*
 * PCI functions as a driver in user space sees them: what a function is, what its driver may ask of the kernel, and what
 * the IOMMU reports. docs/syscall-abi.md, "Devices", has the contracts.
 *
 * Configuration space, the MSI-X table and the IOMMU are the kernel's. A driver gets the registers behind the BARs (but
 * no page that holds an MSI-X table), reads configuration space, and names the pages that its device may reach.
 */
#ifndef KEUOS_DEVICE_H
#define KEUOS_DEVICE_H

#include <stdint.h>

enum keuos_device_limit {
	KEUOS_DEVICES = 16,
	KEUOS_DEVICE_BARS = 6,
	KEUOS_DEVICE_VECTORS = 8,         /* interrupt vectors of one function that can be switched on */
	KEUOS_DEVICE_MAP_PAGES_MAX = 256, /* of one DEVICE_MAP */
	KEUOS_DMA_RANGES = 64,            /* mapped for one device at a time */
	KEUOS_DMA_FAULTS_MAX = 64,        /* so many faults without a reset cost a device its bus mastering */
};

/* DEVICE_CONTROL. All but CLAIM want the caller to have claimed the device. */
enum keuos_device_op {
	KEUOS_DEVICE_CLAIM = 0,   /* become its driver: an empty IOMMU domain, bus mastering off; ESTATE: it has one */
	KEUOS_DEVICE_RELEASE = 1, /* give it back: off, reset, nothing mapped any more */
	KEUOS_DEVICE_MASTER = 2,  /* (on): may it access memory? */
	KEUOS_DEVICE_RESET = 3,   /* bus mastering off and the function reset; what is mapped stays mapped */
	KEUOS_DEVICE_INTERRUPT = 4,    /* (vector): MSI-X vector on: it notifies the capability's bit */
	KEUOS_DEVICE_NO_INTERRUPT = 5, /* (vector) */
};

enum keuos_device_state {
	KEUOS_DEVICE_CLAIMED = 1,
	KEUOS_DEVICE_MASTERING = 2,
	KEUOS_DEVICE_QUARANTINED = 4, /* too many faults: RESET it first */
	KEUOS_DEVICE_RESETTING = 8,   /* for up to 100 ms; calls answer EAGAIN */
};

enum keuos_bar_kind {
	KEUOS_BAR_NONE = 0,
	KEUOS_BAR_MEMORY = 1,
	KEUOS_BAR_IO = 2, /* never mapped */
};

struct keuos_device_bar {
	uint64_t bytes;
	uint32_t kind; /* enum keuos_bar_kind */
	uint32_t reserved;
};

struct keuos_device_info {
	uint32_t device;     /* number, from 1 on */
	uint32_t capability; /* the caller's index of it; 0: none */
	uint16_t requester;  /* bus << 8 | device << 3 | function */
	uint16_t vendor;
	uint16_t product;
	uint16_t subsystem;
	uint32_t class_code; /* class << 16 | subclass << 8 | interface */
	uint32_t state;      /* enum keuos_device_state, or-ed */
	uint32_t holder;     /* pid of its driver; 0: none */
	uint32_t vectors;    /* MSI-X vectors that it has */
	uint32_t dma_pages;  /* mapped now */
	uint32_t dma_ranges;
	uint64_t iova_end;   /* IOVAs lie below; 0: there is no IOMMU, and the device can't be claimed */
	uint64_t faults;     /* since boot */
	uint64_t interrupts; /* since boot */
	struct keuos_device_bar bars[KEUOS_DEVICE_BARS];
};

/* KEUOS_EVENT_DMA_FAULT: verdict is one of these, pid the holder, channel the device's number, generation its requester
 * id, detail the IOVA (or the index of an interrupt), address the hardware's own reason code. */
enum keuos_dma_fault {
	KEUOS_DMA_FAULT_READ = 1,
	KEUOS_DMA_FAULT_WRITE = 2,
	KEUOS_DMA_FAULT_INTERRUPT = 3,
};

_Static_assert(sizeof(struct keuos_device_info) == 160, "device information");

#endif
