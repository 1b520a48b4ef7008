/*
 * PCI Express as the device tree has it, and what stands between its functions and memory: no IOMMU is driven on arm64,
 * so nobody can claim a function, and none ever becomes a master. The rest of iommu.h is not reached without one.
 */
#include "machine.h"
#include <kernel/iommu.h>

bool arch_pci_host(struct pci_host *host)
{
	if (machine.pci_ecam.bytes == 0)
		return false;
	*host = (struct pci_host){
		.config = machine.pci_ecam.base, .first_bus = machine.pci_first_bus, .last_bus = machine.pci_last_bus};
	for (uint32_t i = 0; i < machine.pci_windows_count; i++) {
		const struct tree_pci_window *window = &machine.pci_windows[i];
		if (window->pci + window->bytes > 1ull << 32 || window->pci != window->physical)
			continue;
		host->window = window->physical;
		host->window_end = window->physical + window->bytes;
		break;
	}
	return host->last_bus < 256 && host->first_bus <= host->last_bus;
}

bool arch_iommu_init(void)
{
	return false;
}

uint64_t arch_iommu_end(void)
{
	return 0;
}

#define WITHOUT_IOMMU(name) panic("%s without an IOMMU", name)
#define UNUSED __attribute__((unused))

bool arch_iommu_range(UNUSED uint64_t iova, UNUSED uint64_t bytes)
{
	WITHOUT_IOMMU(__func__);
}

bool arch_iommu_attach(UNUSED uint16_t requester, UNUSED struct iommu_domain *domain)
{
	WITHOUT_IOMMU(__func__);
}

void arch_iommu_detach(UNUSED uint16_t requester, UNUSED struct iommu_domain *domain)
{
	WITHOUT_IOMMU(__func__);
}

bool arch_iommu_map(
	UNUSED struct iommu_domain *domain, UNUSED uint64_t iova, UNUSED uint64_t physical, UNUSED bool writable)
{
	WITHOUT_IOMMU(__func__);
}

uint64_t arch_iommu_unmap(UNUSED struct iommu_domain *domain, UNUSED uint64_t iova)
{
	WITHOUT_IOMMU(__func__);
}

void arch_iommu_flush(UNUSED struct iommu_domain *domain)
{
	WITHOUT_IOMMU(__func__);
}

void arch_interrupt_bind(UNUSED uint32_t slot, UNUSED uint16_t requester, UNUSED const struct cpu *cpu,
	UNUSED struct interrupt_message *message)
{
	WITHOUT_IOMMU(__func__);
}

void arch_interrupt_unbind(UNUSED uint32_t slot)
{
	WITHOUT_IOMMU(__func__);
}
