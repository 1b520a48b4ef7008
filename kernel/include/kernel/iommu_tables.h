/*
 * Page tables of IOMMU domains: 512 entries of 64 bits, three levels of them or four, paid for by the domain's driver. What
 * the bits of an entry mean is the architecture's, which fills in `iommu_tables` before the first of them is made.
 */
#ifndef KERNEL_IOMMU_TABLES_H
#define KERNEL_IOMMU_TABLES_H

#include <kernel/iommu.h>

struct iommu_tables {
	uint32_t levels;
	uint64_t present; /* an entry with none of these bits leads nowhere */
	uint64_t table;   /* the bits of an entry that leads to another table */
	uint64_t address; /* which bits of an entry are one */
	void (*publish)(
		const void *at, size_t bytes); /* what was written there is seen by the IOMMU when this returns */
};

extern struct iommu_tables iommu_tables;

uint64_t iommu_page(uint16_t owner);                  /* zeroed, for the IOMMU to read; 0: there is no memory */
bool iommu_tables_begin(struct iommu_domain *domain); /* an empty top table; false: no memory or quota */
void iommu_tables_end(struct iommu_domain *domain);   /* gives the tables back, and no frame that they lead to */
bool iommu_tables_map(struct iommu_domain *domain, uint64_t iova, uint64_t entry);
uint64_t iommu_tables_unmap(struct iommu_domain *domain, uint64_t iova); /* the frame that was there, or 0 */

#endif
