/*
 * PCI functions: enumeration, bridges, BARs. What firmware assigned stays; what it left (qboot assigns nothing) is placed
 * here. Who may drive a function is device.c's business.
 */
#include <kernel/arch.h>
#include <kernel/pci.h>

/* PCI Local Bus Specification 3.0, 6.1 and appendix H; PCI Express Base Specification 4.0, 7.5. */
enum pci_register {
	PCI_VENDOR = 0x00,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08, /* and the class code behind it */
	PCI_HEADER = 0x0e,
	PCI_BAR_0 = 0x10,
	PCI_BUSES = 0x18, /* of a bridge: primary, secondary, subordinate */
	PCI_BRIDGE_MEMORY = 0x20,
	PCI_BRIDGE_PREFETCHABLE = 0x24,
	PCI_SUBSYSTEM = 0x2e,
	PCI_CAPABILITIES = 0x34,
};

enum pci_command {
	PCI_DECODE_IO = 1,
	PCI_DECODE_MEMORY = 2,
	PCI_MASTER = 4,
	PCI_NO_LINE_INTERRUPT = 1 << 10,
};

enum pci_capability { CAP_POWER = 0x01, CAP_EXPRESS = 0x10, CAP_MSIX = 0x11 };

enum {
	STATUS_HAS_CAPABILITIES = 0x10,
	HEADER_TYPE = 0x7f,
	HEADER_MULTI_FUNCTION = 0x80,
	EXPRESS_TYPE_SHIFT = 4,
	EXPRESS_TO_PCI = 7,
	EXPRESS_DEVICE = 4,          /* device capabilities */
	EXPRESS_CONTROL = 8,         /* device control */
	EXPRESS_CAN_RESET = 1 << 28, /* function level reset */
	EXPRESS_RESET = 1 << 15,
	POWER_CONTROL = 4,
	POWER_NO_SOFT_RESET = 1 << 3,
	POWER_D3_HOT = 3,
	MSIX_CONTROL = 2,
	MSIX_VECTORS = 0x7ff,
	MSIX_ALL_MASKED = 1 << 14,
	MSIX_ON = 1 << 15,
	ACS_ID = 0x0d, /* extended capability: access control services */
	ACS_CONTROL = 6,
	ACS_WANTED =
		1 << 0 | 1 << 2 | 1 << 3 | 1 << 4, /* source validation; redirect requests, completions; upstream */
	EXTENDED_FIRST = 0x100,
	CONFIG_BYTES = 4096,
	BUS_BYTES = 1 << 20,
	BUSES = 256,
	DEVICES_A_BUS = 32,
	FUNCTIONS_A_DEVICE = 8,
	BRIDGE_UNIT = 1 << 20, /* of a bridge's memory window */
	DEPTH_MAX = 8,
};

struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
uint32_t pci_function_count;
static struct pci_host host;
static volatile uint8_t *bus_config[BUSES];
static uint32_t last_bus_used;
static uint64_t next_address; /* in the host's window */

uint32_t pci_read(const struct pci_function *function, uint32_t offset, uint32_t width)
{
	volatile const uint8_t *at = function->config + offset;
	return width == 1 ? *at : width == 2 ? *(volatile const uint16_t *)at : *(volatile const uint32_t *)at;
}

static void write8(const struct pci_function *function, uint32_t offset, uint8_t value)
{
	function->config[offset] = value;
}

void pci_write16(const struct pci_function *function, uint32_t offset, uint16_t value)
{
	*(volatile uint16_t *)(function->config + offset) = value;
}

static void write32(const struct pci_function *function, uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(function->config + offset) = value;
}

static void set_command(const struct pci_function *function, uint16_t clear, uint16_t set)
{
	uint16_t command = (uint16_t)pci_read(function, PCI_COMMAND, 2);
	pci_write16(function, PCI_COMMAND, (uint16_t)((command & ~clear) | set));
}

/* A list that a broken device made into a ring ends all the same. */
static uint8_t find_capability(const struct pci_function *function, uint8_t wanted)
{
	if (!(pci_read(function, PCI_STATUS, 2) & STATUS_HAS_CAPABILITIES))
		return 0;
	uint8_t at = (uint8_t)(pci_read(function, PCI_CAPABILITIES, 1) & ~3u);
	for (uint32_t seen = 0; at >= 0x40 && seen < 48; seen++) {
		if (pci_read(function, at, 1) == wanted)
			return at;
		at = (uint8_t)(pci_read(function, at + 1u, 1) & ~3u);
	}
	return 0;
}

static bool memory_bar(const struct pci_bar *bar)
{
	return bar->kind == KEUOS_BAR_MEMORY;
}

/* With decoding off: the writable bits of a BAR are its size. */
static uint32_t size_bar(struct pci_function *function, uint32_t index, uint32_t bars)
{
	struct pci_bar *bar = &function->bars[index];
	uint32_t at = PCI_BAR_0 + 4 * index;
	uint32_t low = pci_read(function, at, 4);
	write32(function, at, UINT32_MAX);
	uint32_t mask = pci_read(function, at, 4);
	write32(function, at, low);
	if (mask == 0)
		return 1;
	if (low & 1) {
		*bar = (struct pci_bar){
			.address = low & ~3u, .bytes = (~(mask & ~3u) & 0xffff) + 1u, .kind = KEUOS_BAR_IO};
		return 1;
	}
	*bar = (struct pci_bar){
		.address = low & ~15u, .kind = KEUOS_BAR_MEMORY, .wide = (low >> 1 & 3) == 2 && index + 1 < bars};
	uint64_t size = 0xffffffff00000000u | (mask & ~15u);
	if (bar->wide) {
		uint32_t high = pci_read(function, at + 4, 4);
		write32(function, at + 4, UINT32_MAX);
		size = (uint64_t)pci_read(function, at + 4, 4) << 32 | (mask & ~15u);
		write32(function, at + 4, high);
		bar->address |= (uint64_t)high << 32;
	}
	bar->bytes = ~size + 1;
	return bar->wide ? 2 : 1;
}

static void size_bars(struct pci_function *function)
{
	uint32_t bars = function->header == 0 ? KEUOS_DEVICE_BARS : function->header == 1 ? 2 : 0;
	for (uint32_t i = 0; i < bars;)
		i += size_bar(function, i, bars);
}

/* Nothing may move until somebody says so: no memory decoded, no bus mastering, no line interrupt. */
static struct pci_function *add_function(volatile uint8_t *config, uint16_t requester, bool isolated)
{
	if (pci_function_count == PCI_FUNCTIONS_MAX) {
		print("pci: more than %u functions; %x and what follows stays unused\n", PCI_FUNCTIONS_MAX, requester);
		return NULL;
	}
	struct pci_function *function = &pci_functions[pci_function_count++];
	*function = (struct pci_function){.config = config, .requester = requester, .isolated = isolated};
	uint32_t id = pci_read(function, PCI_VENDOR, 4);
	function->vendor = (uint16_t)id;
	function->product = (uint16_t)(id >> 16);
	function->class_code = pci_read(function, PCI_REVISION, 4) >> 8;
	function->header = pci_read(function, PCI_HEADER, 1) & HEADER_TYPE;
	function->express = find_capability(function, CAP_EXPRESS);
	if (function->header == 0) {
		function->subsystem = (uint16_t)pci_read(function, PCI_SUBSYSTEM, 2);
		function->power = find_capability(function, CAP_POWER);
		function->msix = find_capability(function, CAP_MSIX);
		/* The chipset's own functions go on decoding; they are nobody's to drive. */
		bool chipset = function->class_code >> 16 == 6;
		if (!chipset)
			set_command(function, PCI_DECODE_IO | PCI_DECODE_MEMORY | PCI_MASTER, PCI_NO_LINE_INTERRUPT);
	}
	if (function->header == 1 || function->class_code >> 16 != 6)
		size_bars(function);
	return function;
}

static volatile uint8_t *config_of_bus(uint32_t bus)
{
	if (bus_config[bus] == NULL)
		bus_config[bus] =
			arch_map_device(host.config + (uint64_t)(bus - host.first_bus) * BUS_BYTES, BUS_BYTES);
	return bus_config[bus];
}

static void scan_bus(uint32_t bus, bool isolated, uint32_t depth);

/* A conventional PCI bus behind it has no requester ids of its own: what lies there can't be told apart. */
static bool keeps_requesters(const struct pci_function *bridge)
{
	if (bridge->express == 0)
		return false;
	return (pci_read(bridge, bridge->express + 2u, 2) >> EXPRESS_TYPE_SHIFT & 15) != EXPRESS_TO_PCI;
}

/* Requests between functions below go up to the IOMMU instead of straight across. */
static void redirect_peers(const struct pci_function *bridge)
{
	if (bridge->express == 0)
		return;
	uint32_t at = EXTENDED_FIRST;
	for (uint32_t seen = 0; at >= EXTENDED_FIRST && seen < 96; seen++) {
		uint32_t head = pci_read(bridge, at, 4);
		if (head == 0 || head == UINT32_MAX)
			return;
		if ((head & 0xffff) == ACS_ID) {
			uint32_t can = pci_read(bridge, at + 4, 2);
			pci_write16(bridge, at + ACS_CONTROL, (uint16_t)(can & ACS_WANTED));
			return;
		}
		at = head >> 20 & ~3u;
	}
}

static void scan_bridge(struct pci_function *bridge, bool isolated, uint32_t depth)
{
	uint32_t buses = pci_read(bridge, PCI_BUSES, 4);
	uint32_t secondary = buses >> 8 & 0xff;
	bool ours = secondary == 0;
	if (ours) {
		if (last_bus_used >= host.last_bus)
			return;
		secondary = ++last_bus_used;
		/* Wide open while what lies below is counted. */
		write32(bridge, PCI_BUSES,
			(buses & 0xff000000) | host.last_bus << 16 | secondary << 8 | bridge->requester >> 8);
	}
	if (secondary <= bridge->requester >> 8 || secondary > host.last_bus || depth == DEPTH_MAX)
		return; /* what firmware wrote makes no tree */
	last_bus_used = secondary > last_bus_used ? secondary : last_bus_used;
	redirect_peers(bridge);
	scan_bus(secondary, isolated && keeps_requesters(bridge), depth + 1);
	if (ours)
		write8(bridge, PCI_BUSES + 2, (uint8_t)last_bus_used);
}

static void scan_bus(uint32_t bus, bool isolated, uint32_t depth)
{
	volatile uint8_t *config = config_of_bus(bus);
	for (uint32_t device = 0; device < DEVICES_A_BUS; device++) {
		uint32_t functions = 1;
		for (uint32_t number = 0; number < functions; number++) {
			uint32_t place = device << 3 | number;
			volatile uint8_t *at = config + place * CONFIG_BYTES;
			if (*(volatile uint16_t *)at == UINT16_MAX)
				continue;
			if (number == 0 && at[PCI_HEADER] & HEADER_MULTI_FUNCTION)
				functions = FUNCTIONS_A_DEVICE;
			struct pci_function *function = add_function(at, (uint16_t)(bus << 8 | place), isolated);
			if (function && function->header == 1)
				scan_bridge(function, isolated, depth);
		}
	}
}

static bool overlaps(uint64_t base, uint64_t bytes, uint64_t other, uint64_t other_bytes)
{
	return base < other + other_bytes && other < base + bytes;
}

/* Moves past what firmware has put into the window already. */
static uint64_t find_place(uint64_t bytes)
{
	uint64_t at = ALIGN_UP(next_address, bytes);
	for (uint32_t i = 0; i < pci_function_count * KEUOS_DEVICE_BARS; i++) {
		const struct pci_bar *other = &pci_functions[i / KEUOS_DEVICE_BARS].bars[i % KEUOS_DEVICE_BARS];
		if (memory_bar(other) && other->address != 0 && overlaps(at, bytes, other->address, other->bytes)) {
			at = ALIGN_UP(other->address + other->bytes, bytes);
			i = UINT32_MAX; /* from the first one again */
		}
	}
	return at;
}

/* A page is the least that is given out, so that no two functions share one. */
static void place_bars(struct pci_function *function)
{
	for (uint32_t i = 0; i < KEUOS_DEVICE_BARS; i++) {
		struct pci_bar *bar = &function->bars[i];
		if (!memory_bar(bar) || bar->address != 0)
			continue;
		uint64_t room = bar->bytes < KEUOS_PAGE_BYTES ? KEUOS_PAGE_BYTES : bar->bytes;
		uint64_t at = find_place(room);
		if (at + room > host.window_end || at + room < at) {
			print("pci: no room for %lu bytes of function %x\n", bar->bytes, function->requester);
			continue;
		}
		next_address = at + room;
		bar->address = at;
		write32(function, PCI_BAR_0 + 4 * i, (uint32_t)at);
		if (bar->wide)
			write32(function, PCI_BAR_0 + 4 * i + 4, (uint32_t)(at >> 32));
	}
}

static void place_bus(uint32_t bus, uint32_t depth);

static void place_behind(struct pci_function *bridge, uint32_t depth)
{
	uint32_t secondary = pci_read(bridge, PCI_BUSES, 4) >> 8 & 0xff;
	uint32_t window = pci_read(bridge, PCI_BRIDGE_MEMORY, 4);
	bool set_by_firmware = (window & 0xfff0) != 0 && (window >> 16 & 0xfff0) >= (window & 0xfff0);
	if (secondary == 0 || set_by_firmware)
		return;
	uint64_t start = next_address = ALIGN_UP(next_address, (uint64_t)BRIDGE_UNIT);
	place_bus(secondary, depth + 1);
	next_address = ALIGN_UP(next_address, (uint64_t)BRIDGE_UNIT);
	if (next_address > start) {
		uint32_t last = (uint32_t)(next_address - 1);
		write32(bridge, PCI_BRIDGE_MEMORY, (last & 0xfff00000) | (uint32_t)(start >> 16 & 0xfff0));
		write32(bridge, PCI_BRIDGE_PREFETCHABLE, 0x0000fff0); /* none: its base lies above its limit */
	}
	/* A bridge passes on what its functions send only as a master itself; they are held back one by one. */
	set_command(bridge, PCI_DECODE_IO, PCI_DECODE_MEMORY | PCI_MASTER | PCI_NO_LINE_INTERRUPT);
}

static void place_bus(uint32_t bus, uint32_t depth)
{
	for (uint32_t i = 0; i < pci_function_count; i++)
		if (pci_functions[i].requester >> 8 == bus)
			place_bars(&pci_functions[i]);
	for (uint32_t i = 0; i < pci_function_count && depth < DEPTH_MAX; i++)
		if (pci_functions[i].requester >> 8 == bus && pci_functions[i].header == 1)
			place_behind(&pci_functions[i], depth);
}

/* Finds the MSI-X table and keeps a view of it: the only one there will be. */
static void find_msix(struct pci_function *function)
{
	if (function->msix == 0)
		return;
	uint32_t table = pci_read(function, function->msix + 4u, 4);
	uint32_t pending = pci_read(function, function->msix + 8u, 4);
	uint32_t vectors = (pci_read(function, function->msix + (uint32_t)MSIX_CONTROL, 2) & MSIX_VECTORS) + 1;
	function->table_bar = table & 7;
	function->table_offset = table & ~7u;
	function->table_bytes = vectors * 16;
	function->pending_bar = pending & 7;
	function->pending_offset = pending & ~7u;
	function->pending_bytes = ALIGN_UP(vectors, 64u) / 8;
	const struct pci_bar *bar =
		function->table_bar < KEUOS_DEVICE_BARS ? &function->bars[function->table_bar] : NULL;
	if (bar == NULL || !memory_bar(bar) || bar->address == 0 ||
		function->table_offset + vectors * 16ul > bar->bytes)
		return;
	function->table = arch_map_device(bar->address + function->table_offset, vectors * 16ul);
	function->vectors = vectors;
}

static void begin_decoding(struct pci_function *function)
{
	bool placed = false;
	for (uint32_t i = 0; i < KEUOS_DEVICE_BARS; i++)
		placed |= memory_bar(&function->bars[i]) && function->bars[i].address != 0;
	if (function->header == 0 && placed)
		set_command(function, 0, PCI_DECODE_MEMORY);
}

void pci_init(void)
{
	if (!arch_pci_host(&host))
		return;
	last_bus_used = host.first_bus;
	next_address = host.window;
	scan_bus(host.first_bus, true, 0);
	place_bus(host.first_bus, 0);
	for (uint32_t i = 0; i < pci_function_count; i++) {
		begin_decoding(&pci_functions[i]);
		find_msix(&pci_functions[i]);
	}
}

void pci_master(const struct pci_function *function, bool on)
{
	set_command(function, PCI_MASTER, on ? PCI_MASTER : 0);
	pci_read(function, PCI_COMMAND, 2); /* it has arrived there once this is answered */
}

void pci_msix_enable(const struct pci_function *function, bool on)
{
	uint32_t at = function->msix + (uint32_t)MSIX_CONTROL;
	uint32_t control = pci_read(function, at, 2) & ~(uint32_t)(MSIX_ON | MSIX_ALL_MASKED);
	pci_write16(function, at, (uint16_t)(control | (on ? MSIX_ON : 0)));
}

static bool has_function_reset(const struct pci_function *function)
{
	return function->express &&
		pci_read(function, function->express + (uint32_t)EXPRESS_DEVICE, 4) & EXPRESS_CAN_RESET;
}

static bool has_power_reset(const struct pci_function *function)
{
	return function->power &&
		!(pci_read(function, function->power + (uint32_t)POWER_CONTROL, 2) & POWER_NO_SOFT_RESET);
}

bool pci_can_reset(const struct pci_function *function)
{
	return has_function_reset(function) || has_power_reset(function);
}

void pci_reset_begin(const struct pci_function *function)
{
	pci_master(function, false);
	if (has_function_reset(function)) {
		uint32_t at = function->express + (uint32_t)EXPRESS_CONTROL;
		pci_write16(function, at, (uint16_t)(pci_read(function, at, 2) | EXPRESS_RESET));
	} else if (has_power_reset(function)) {
		pci_write16(function, function->power + (uint32_t)POWER_CONTROL, POWER_D3_HOT);
	}
}

void pci_reset_end(const struct pci_function *function)
{
	if (!has_function_reset(function) && has_power_reset(function))
		pci_write16(function, function->power + (uint32_t)POWER_CONTROL, 0);
	for (uint32_t i = 0; i < KEUOS_DEVICE_BARS; i++) {
		const struct pci_bar *bar = &function->bars[i];
		if (!memory_bar(bar) || bar->address == 0)
			continue;
		write32(function, PCI_BAR_0 + 4 * i, (uint32_t)bar->address);
		if (bar->wide)
			write32(function, PCI_BAR_0 + 4 * i + 4, (uint32_t)(bar->address >> 32));
	}
	set_command(function, PCI_DECODE_IO | PCI_MASTER, PCI_DECODE_MEMORY | PCI_NO_LINE_INTERRUPT);
}

static bool in_page(uint64_t page, uint64_t at, uint64_t bytes)
{
	return bytes > 0 && overlaps(page, KEUOS_PAGE_BYTES, at, bytes);
}

bool pci_page_is_free(const struct pci_function *function, uint32_t bar, uint64_t offset)
{
	uint64_t page = function->bars[bar].address + offset;
	if (page % KEUOS_PAGE_BYTES != 0)
		return false;
	if (function->table_bar == bar && in_page(offset, function->table_offset, function->table_bytes))
		return false;
	if (function->pending_bar == bar && in_page(offset, function->pending_offset, function->pending_bytes))
		return false;
	for (uint32_t i = 0; i < pci_function_count; i++)
		for (uint32_t j = 0; j < KEUOS_DEVICE_BARS; j++) {
			const struct pci_bar *other = &pci_functions[i].bars[j];
			bool itself = &pci_functions[i] == function && j == bar;
			if (!itself && memory_bar(other) && in_page(page, other->address, other->bytes))
				return false;
		}
	return true;
}
