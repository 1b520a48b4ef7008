/* PCI Express as the device tree has it. */
#include "machine.h"

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

bool pci_told_apart(const struct tree_id_map *map, uint32_t controller)
{
	for (uint32_t i = 0; i < pci_function_count; i++) {
		uint32_t id, other;
		if (!tree_id_of(map, controller, pci_functions[i].requester, &id))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (tree_id_of(map, controller, pci_functions[j].requester, &other) && other == id)
				return false;
	}
	return true;
}
