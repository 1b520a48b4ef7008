/*
 * PCI functions that a process can drive. A record is made at boot for each function that can be given away; what a
 * driver gets is a capability to it, and with CLAIM an IOMMU domain of its own.
 *
 * What holds at all times: bus mastering is on only while a domain is attached; a frame that a device can reach is held
 * until its entry is gone from the tables and the IOMMU has said that it forgot it.
 */
#ifndef KERNEL_DEVICE_H
#define KERNEL_DEVICE_H

#include <kernel/iommu.h>
#include <kernel/pci.h>
#include <kernel/process.h>
#include <keuos/device.h>

struct dma_range {
	uint64_t iova;
	uint32_t pages;      /* 0: free */
	uint32_t capability; /* the holder's index of the object that it shows */
};

struct device {
	const struct pci_function *function;
	uint32_t id;
	struct process *holder; /* who has claimed it */
	uint32_t capability;    /* the holder's index of it */
	uint32_t original;      /* the first process's */
	struct iommu_domain domain;
	struct dma_range ranges[KEUOS_DMA_RANGES];
	int slots[KEUOS_DEVICE_VECTORS]; /* of each vector that is on; else -1 */
	uint32_t mapped_bars;            /* into the holder, in part or whole: a bit each */
	uint32_t masked;                 /* vectors that have fired and wait for DEVICE_WAIT */
	uint32_t blocked;                /* and have fired all the same, so that their slots are unbound till then */
	bool mastering;
	bool quarantined;
	uint64_t resetting_until; /* ns; 0: it is not being reset */
	uint64_t faults, faults_since_reset, interrupts;
};

/* BAR b of the device that capability i names lies at window i, b bar windows on. */
extern const uint64_t device_window, device_window_bytes, bar_window_bytes;
extern struct device devices[KEUOS_DEVICES];
extern uint32_t device_count;

void devices_init(void);                     /* finds them, switches the IOMMU on: before any process runs */
void devices_grant(struct process *process); /* all of them, to the first process */

int device_claim(struct process *process, uint32_t index, struct device *device);
void device_release(struct device *device); /* its driver has gone or lost it; safe if it has none */
int device_master(struct device *device, bool on);
int device_reset(struct device *device);
/* 0, or EAGAIN while a reset takes its time; then the function is set up again. */
int device_ready(struct device *device);
int device_interrupt_on(struct device *device, uint32_t vector);
int device_interrupt_off(struct device *device, uint32_t vector);
void device_interrupts_arm(struct device *device);
int device_map(struct device *device, uint32_t bar, uint64_t offset, uint32_t pages, uint64_t *address);
void device_describe(const struct device *device, struct keuos_device_info *info);

/* DMA (dev/dma.c). `frames` are those of the object, from the first page to show on. */
int dma_map(struct device *device, uint32_t capability, const uint64_t *frames, uint32_t pages, uint64_t iova,
	bool writable);
int dma_unmap(struct device *device, uint64_t iova);
void dma_unmap_all(struct device *device);
/* A process loses the capability at an index: what it showed to its devices through it goes first. */
void dma_capability_cleared(const struct process *process, uint32_t index);

/* Called by the architecture, with the kernel lock held. */
void device_interrupt(uint32_t slot);
void device_fault(uint16_t requester, enum keuos_dma_fault kind, uint64_t address, uint32_t reason);
void stray_interrupt(uint32_t vector);
extern uint64_t stray_interrupts;

#endif
