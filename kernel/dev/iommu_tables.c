/* See kernel/iommu_tables.h. */
#include <kernel/frame.h>
#include <kernel/iommu_tables.h>
#include <kernel/process.h>

enum { TABLE_ENTRIES = 512 };

struct iommu_tables iommu_tables;

uint64_t iommu_page(uint16_t owner)
{
	uint64_t frame = frame_alloc(FRAME_IOMMU, owner);
	if (frame != 0)
		iommu_tables.publish(arch_direct(frame), KEUOS_PAGE_BYTES);
	return frame;
}

static uint64_t paid_table(struct iommu_domain *domain)
{
	if (!process_charge_pages(domain->payer, 1))
		return 0;
	uint64_t table = iommu_page((uint16_t)domain->payer->pid);
	if (table == 0)
		process_refund_pages(domain->payer, 1);
	return table;
}

bool iommu_tables_begin(struct iommu_domain *domain)
{
	domain->root = paid_table(domain);
	return domain->root != 0;
}

static void free_tables(struct iommu_domain *domain, uint64_t physical, uint32_t level)
{
	const uint64_t *table = arch_direct(physical);
	for (uint32_t i = 0; level > 1 && i < TABLE_ENTRIES; i++)
		if (table[i] & iommu_tables.present)
			free_tables(domain, table[i] & iommu_tables.address, level - 1);
	frame_release(physical);
	process_refund_pages(domain->payer, 1);
}

void iommu_tables_end(struct iommu_domain *domain)
{
	free_tables(domain, domain->root, iommu_tables.levels);
	domain->root = 0;
}

static uint64_t *entry_of(struct iommu_domain *domain, uint64_t iova, bool make)
{
	uint64_t *table = arch_direct(domain->root);
	for (uint32_t level = iommu_tables.levels; level > 1; level--) {
		uint64_t *entry = &table[iova >> (12 + 9 * (level - 1)) & (TABLE_ENTRIES - 1)];
		if (!(*entry & iommu_tables.present)) {
			uint64_t below = make ? paid_table(domain) : 0;
			if (below == 0)
				return NULL;
			*entry = below | iommu_tables.table;
			iommu_tables.publish(entry, sizeof(*entry));
		}
		table = arch_direct(*entry & iommu_tables.address);
	}
	return &table[iova >> 12 & (TABLE_ENTRIES - 1)];
}

bool iommu_tables_map(struct iommu_domain *domain, uint64_t iova, uint64_t value)
{
	uint64_t *entry = entry_of(domain, iova, true);
	if (entry == NULL)
		return false;
	*entry = value;
	iommu_tables.publish(entry, sizeof(*entry));
	return true;
}

uint64_t iommu_tables_unmap(struct iommu_domain *domain, uint64_t iova)
{
	uint64_t *entry = entry_of(domain, iova, false);
	if (entry == NULL || !(*entry & iommu_tables.present))
		return 0;
	uint64_t physical = *entry & iommu_tables.address;
	*entry = 0;
	iommu_tables.publish(entry, sizeof(*entry));
	return physical;
}
