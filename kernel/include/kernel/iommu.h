/*
 * The seam between devices and an architecture's IOMMU and message-signalled interrupts: VT-d on x86-64,
 * SMMUv3 and the GIC's translation service on arm64. kernel/dev knows no register of any of them.
 *
 * From arch_iommu_init on, a function reaches nothing until a domain is attached to it, and then only what is mapped
 * there; its interrupts arrive only through a slot bound for it.
 */
#ifndef KERNEL_IOMMU_H
#define KERNEL_IOMMU_H

#include <kernel/base.h>

struct cpu;
struct process;

struct iommu_domain {
	uint64_t root; /* physical address of its top table; 0: there is no domain */
	uint32_t number;
	struct process *payer; /* for the tables */
};

/* True: translation and interrupt remapping are on and everything is blocked. False: there is none that can do both. */
bool arch_iommu_init(void);
uint64_t arch_iommu_end(void); /* IOVAs lie below */
/*
 * No memory is shown there: to write there is to interrupt. On x86-64 it is so whatever the tables say (VT-d 4.0, 3.14); on
 * arm64 the page that takes messages is mapped there.
 */
#define INTERRUPT_WINDOW 0xfee00000ull
#define INTERRUPT_WINDOW_BYTES 0x100000ull
bool arch_iommu_attach(uint16_t requester, struct iommu_domain *domain); /* an empty one; false: no memory or quota */
/* Blocks the function again, waits until that holds, frees the tables. Every page has been unmapped. */
void arch_iommu_detach(uint16_t requester, struct iommu_domain *domain);
bool arch_iommu_map(struct iommu_domain *domain, uint64_t iova, uint64_t physical, bool writable);
uint64_t arch_iommu_unmap(struct iommu_domain *domain, uint64_t iova); /* the frame that was there, or 0 */
void arch_iommu_flush(struct iommu_domain *domain); /* returns when no access through a removed entry is under way */

/* Message-signalled interrupts: what a function must write to raise the interrupt of a slot on a core. */
enum { INTERRUPT_SLOTS = 23 };

struct interrupt_message {
	uint64_t address;
	uint32_t data;
};

/* Only this function may raise it. The architecture calls device_interrupt(slot). */
void arch_interrupt_bind(uint32_t slot, uint16_t requester, const struct cpu *cpu, struct interrupt_message *message);
void arch_interrupt_unbind(uint32_t slot);

#endif
