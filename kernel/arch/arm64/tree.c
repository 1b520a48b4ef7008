/* See tree.h. */
#include "tree.h"

enum { DEPTH_MAX = 12, ADDRESS_CELLS = 2, SIZE_CELLS = 1, INTERRUPT_CELLS = 3, GIC_SHARED = 32, GIC_PRIVATE = 16 };

struct value {
	const uint8_t *bytes; /* NULL: no such property */
	uint32_t count;
};

/* A node on the way from the root to the cursor, with those of its properties that matter to anybody here. */
struct node {
	const char *name;
	bool done; /* it was looked at: its properties were complete */
	bool no_map, coherent;
	struct value compatible, status, type, reg, ranges, interrupts, interrupt_names, method, bus_range, streams,
		messages;
	uint32_t address_cells, size_cells; /* of its children */
	uint32_t interrupt_cells, regions, shift, width, phandle, streams_mask, messages_mask;
	uint64_t stride;
};

struct reader {
	struct machine *machine;
	struct node path[DEPTH_MAX];
	uint32_t depth; /* nodes in `path` */
	const char *console;
	uint32_t console_bytes;
	bool console_found;
	uint32_t interrupt_cells; /* of the GIC */
	struct value timer, serial, smmu, smmu_names;
};

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Whether a node is called `name`, with or without an address behind. */
static bool called(const struct node *node, const char *name)
{
	const char *at = node->name;
	while (*name && *at == *name) {
		at++;
		name++;
	}
	return *name == 0 && (*at == 0 || *at == '@');
}

/* Whether one of a property's zero-terminated strings is `text`. */
static bool holds(const struct value *value, const char *text)
{
	uint32_t at = 0;
	while (at < value->count) {
		uint32_t i = 0;
		while (at + i < value->count && text[i] && value->bytes[at + i] == (uint8_t)text[i])
			i++;
		if (text[i] == 0 && at + i < value->count && value->bytes[at + i] == 0)
			return true;
		while (at < value->count && value->bytes[at] != 0)
			at++;
		at++;
	}
	return false;
}

static uint32_t word(const struct fdt_item *item, uint32_t otherwise)
{
	return item->bytes == 4 ? fdt_read32(item->value) : otherwise;
}

static void keep_property(struct node *node, const struct fdt_item *item)
{
	struct value value = {item->value, item->bytes};
	if (same(item->name, "compatible"))
		node->compatible = value;
	else if (same(item->name, "status"))
		node->status = value;
	else if (same(item->name, "device_type"))
		node->type = value;
	else if (same(item->name, "reg"))
		node->reg = value;
	else if (same(item->name, "ranges"))
		node->ranges = value;
	else if (same(item->name, "interrupts"))
		node->interrupts = value;
	else if (same(item->name, "method"))
		node->method = value;
	else if (same(item->name, "bus-range"))
		node->bus_range = value;
	else if (same(item->name, "interrupt-names"))
		node->interrupt_names = value;
	else if (same(item->name, "iommu-map"))
		node->streams = value;
	else if (same(item->name, "iommu-map-mask"))
		node->streams_mask = word(item, UINT32_MAX);
	else if (same(item->name, "msi-map"))
		node->messages = value;
	else if (same(item->name, "msi-map-mask"))
		node->messages_mask = word(item, UINT32_MAX);
	else if (same(item->name, "phandle"))
		node->phandle = word(item, 0);
	else if (same(item->name, "dma-coherent"))
		node->coherent = true;
	else if (same(item->name, "no-map"))
		node->no_map = true;
	else if (same(item->name, "#address-cells"))
		node->address_cells = word(item, ADDRESS_CELLS);
	else if (same(item->name, "#size-cells"))
		node->size_cells = word(item, SIZE_CELLS);
	else if (same(item->name, "#interrupt-cells"))
		node->interrupt_cells = word(item, INTERRUPT_CELLS);
	else if (same(item->name, "#redistributor-regions"))
		node->regions = word(item, 1);
	else if (same(item->name, "redistributor-stride"))
		node->stride = item->bytes == 8 ? fdt_read64(item->value) : word(item, 0);
	else if (same(item->name, "reg-shift"))
		node->shift = word(item, 0);
	else if (same(item->name, "reg-io-width"))
		node->width = word(item, 1);
}

/* Takes a number of one or two cells from a property. */
static bool take(struct value *from, uint32_t cells, uint64_t *number)
{
	if (cells == 0 || cells > 2 || from->count < 4 * cells)
		return false;
	*number = cells == 1 ? fdt_read32(from->bytes) : fdt_read64(from->bytes);
	from->bytes += 4 * cells;
	from->count -= 4 * cells;
	return true;
}

/* From the addresses of the children of path[level] to those of its parent: by its `ranges`. */
static bool translate_once(const struct reader *reader, uint32_t level, uint64_t *address)
{
	const struct node *bus = &reader->path[level];
	struct value ranges = bus->ranges;
	if (ranges.bytes == 0)
		return false; /* a bus of its own */
	if (ranges.count == 0)
		return true; /* the same addresses */
	uint64_t child, parent, bytes;
	while (take(&ranges, bus->address_cells, &child) &&
		take(&ranges, reader->path[level - 1].address_cells, &parent) && take(&ranges, bus->size_cells, &bytes))
		if (*address >= child && *address - child < bytes) {
			*address = parent + (*address - child);
			return true;
		}
	return false;
}

/* Takes the next range of `reg` of the node at the end of the path, as the cores see it. */
static bool take_range(const struct reader *reader, struct value *reg, struct tree_range *range)
{
	uint32_t level = reader->depth - 2; /* its parent */
	const struct node *parent = &reader->path[level];
	if (!take(reg, parent->address_cells, &range->base))
		return false;
	range->bytes = 0;
	if (parent->size_cells != 0 && !take(reg, parent->size_cells, &range->bytes))
		return false;
	for (; level > 0; level--)
		if (!translate_once(reader, level, &range->base))
			return false;
	return range->base + range->bytes >= range->base;
}

static void read_memory(struct reader *reader, struct node *node)
{
	struct machine *machine = reader->machine;
	struct tree_range range;
	while (machine->memory_count < TREE_MEMORY_MAX && take_range(reader, &node->reg, &range))
		if (range.bytes != 0)
			machine->memory[machine->memory_count++] = range;
}

static void read_reserved(struct reader *reader, struct node *node)
{
	struct machine *machine = reader->machine;
	struct tree_range range;
	while (machine->reserved_count < TREE_RESERVED_MAX && take_range(reader, &node->reg, &range))
		if (range.bytes != 0)
			machine->reserved[machine->reserved_count++] = (struct tree_reserved){range, node->no_map};
}

static void read_core(struct reader *reader, struct node *node)
{
	struct machine *machine = reader->machine;
	uint64_t affinity;
	if (machine->cores < TREE_CORES_MAX &&
		take(&node->reg, reader->path[reader->depth - 2].address_cells, &affinity))
		machine->affinity[machine->cores++] = affinity;
}

static void read_gic(struct reader *reader, struct node *node, enum tree_gic version)
{
	struct machine *machine = reader->machine;
	if (machine->gic != GIC_NONE)
		return;
	machine->gic = version;
	while (machine->gic_ranges_count < TREE_GIC_RANGES_MAX &&
		take_range(reader, &node->reg, &machine->gic_ranges[machine->gic_ranges_count]))
		machine->gic_ranges_count++;
	machine->gic_redistributors = node->regions;
	machine->gic_stride = node->stride;
	reader->interrupt_cells = node->interrupt_cells;
}

/* The node's path, compared with what `stdout-path` says; an alias was resolved before. */
static bool is_console(const struct reader *reader)
{
	uint32_t at = 0;
	for (uint32_t level = 1; level < reader->depth; level++) {
		const char *name = reader->path[level].name;
		if (at >= reader->console_bytes || reader->console[at++] != '/')
			return false;
		for (; *name; name++)
			if (at >= reader->console_bytes || reader->console[at++] != *name)
				return false;
	}
	return at == reader->console_bytes;
}

/* The one that the loader used, or else the first that is known. */
static void read_serial(struct reader *reader, struct node *node, enum tree_serial kind)
{
	struct machine *machine = reader->machine;
	bool chosen = is_console(reader);
	struct tree_range range;
	if ((machine->serial != SERIAL_NONE && (reader->console_found || !chosen)) ||
		!take_range(reader, &node->reg, &range))
		return;
	machine->serial = kind;
	machine->serial_range = range;
	/* Those whose bindings leave no choice say nothing of it. */
	bool free = kind == SERIAL_8250 || kind == SERIAL_DW_APB;
	uint32_t shift = free ? node->shift : kind == SERIAL_BCM2835_AUX ? 2 : 0;
	machine->serial_shift = shift <= 3 ? shift : 0;
	machine->serial_width = !free || node->width == 4 ? 4 : 1;
	reader->console_found = chosen;
	reader->serial = node->interrupts;
}

/* Four cells a range: first requester, controller, its number there, how many. */
static void read_id_map(struct value from, uint32_t mask, struct tree_id_map *map)
{
	map->mask = mask;
	uint64_t requester, controller, id, count;
	while (map->count < TREE_ID_RANGES_MAX && take(&from, 1, &requester) && take(&from, 1, &controller) &&
		take(&from, 1, &id) && take(&from, 1, &count))
		map->ranges[map->count++] = (struct tree_id_range){
			(uint32_t)requester, (uint32_t)controller, (uint32_t)id, (uint32_t)count};
}

bool tree_id_of(const struct tree_id_map *map, uint32_t controller, uint32_t requester, uint32_t *id)
{
	requester &= map->mask;
	for (uint32_t i = 0; i < map->count; i++) {
		const struct tree_id_range *range = &map->ranges[i];
		if (range->controller != controller || requester < range->requester ||
			requester - range->requester >= range->count)
			continue;
		*id = range->id + (requester - range->requester);
		return true;
	}
	return false;
}

/* Bindings arm,smmu-v3. */
static void read_smmu(struct reader *reader, struct node *node)
{
	struct machine *machine = reader->machine;
	if (machine->smmu.bytes != 0 || !take_range(reader, &node->reg, &machine->smmu))
		return;
	machine->smmu_phandle = node->phandle;
	machine->smmu_coherent = node->coherent;
	reader->smmu = node->interrupts;
	reader->smmu_names = node->interrupt_names;
}

/* Bindings arm,gic-v3-its: below the GIC's own node. */
static void read_its(struct reader *reader, struct node *node)
{
	struct machine *machine = reader->machine;
	if (machine->its.bytes == 0 && take_range(reader, &node->reg, &machine->its))
		machine->its_phandle = node->phandle;
}

/* Bindings of pci-host-ecam-generic: `ranges` has three cells for a PCI address, the first of which says its space. */
static void read_pci(struct reader *reader, struct node *node)
{
	enum { SPACE = 3 << 24, SPACE_MEMORY_32 = 2 << 24 };
	struct machine *machine = reader->machine;
	if (machine->pci_ecam.bytes != 0 || !take_range(reader, &node->reg, &machine->pci_ecam))
		return;
	machine->pci_last_bus = 255;
	if (node->bus_range.count == 8) {
		machine->pci_first_bus = fdt_read32(node->bus_range.bytes);
		machine->pci_last_bus = fdt_read32(node->bus_range.bytes + 4);
	}
	read_id_map(node->streams, node->streams_mask, &machine->pci_streams);
	read_id_map(node->messages, node->messages_mask, &machine->pci_messages);
	struct value ranges = node->ranges;
	uint64_t space;
	struct tree_pci_window window;
	while (machine->pci_windows_count < TREE_PCI_WINDOWS_MAX && take(&ranges, 1, &space) &&
		take(&ranges, 2, &window.pci) &&
		take(&ranges, reader->path[reader->depth - 2].address_cells, &window.physical) &&
		take(&ranges, node->size_cells, &window.bytes))
		if ((space & SPACE) >= SPACE_MEMORY_32)
			machine->pci_windows[machine->pci_windows_count++] = window;
}

static void read_device(struct reader *reader, struct node *node)
{
	static const char *const gic_2[] = {
		"arm,cortex-a15-gic", "arm,gic-400", "arm,cortex-a9-gic", "arm,cortex-a7-gic"};
	static const struct {
		const char *name;
		enum tree_serial kind;
	} serial[] = {
		/* what is more than its like stands before it */
		{"arm,pl011", SERIAL_PL011},
		{"brcm,bcm2835-aux-uart", SERIAL_BCM2835_AUX},
		{"snps,dw-apb-uart", SERIAL_DW_APB},
		{"ns16550a", SERIAL_8250},
		{"ns16550", SERIAL_8250},
	};
	const struct value *kind = &node->compatible;
	for (uint32_t i = 0; i < sizeof(gic_2) / sizeof(gic_2[0]); i++)
		if (holds(kind, gic_2[i]))
			read_gic(reader, node, GIC_V2);
	for (uint32_t i = 0; i < sizeof(serial) / sizeof(serial[0]); i++)
		if (holds(kind, serial[i].name)) {
			read_serial(reader, node, serial[i].kind);
			break;
		}
	if (holds(kind, "arm,gic-v3"))
		read_gic(reader, node, GIC_V3);
	else if (holds(kind, "arm,armv8-timer") || holds(kind, "arm,armv7-timer"))
		reader->timer = node->interrupts;
	else if (holds(kind, "arm,psci-0.2") || holds(kind, "arm,psci-1.0"))
		reader->machine->conduit = holds(&node->method, "hvc") ? CONDUIT_HVC
			: holds(&node->method, "smc")                  ? CONDUIT_SMC
								       : CONDUIT_NONE;
	else if (holds(kind, "pci-host-ecam-generic"))
		read_pci(reader, node);
	else if (holds(kind, "arm,smmu-v3"))
		read_smmu(reader, node);
	else if (holds(kind, "arm,gic-v3-its"))
		read_its(reader, node);
}

/* The node at the end of the path has no more properties to come. */
static void look_at(struct reader *reader)
{
	struct node *node = &reader->path[reader->depth - 1];
	if (node->done || reader->depth < 2)
		return;
	node->done = true;
	if (node->status.bytes != 0 && !holds(&node->status, "okay") && !holds(&node->status, "ok"))
		return;
	const struct node *parent = &reader->path[reader->depth - 2];
	if (reader->depth == 2 && holds(&node->type, "memory"))
		read_memory(reader, node);
	else if (reader->depth == 3 && called(parent, "reserved-memory"))
		read_reserved(reader, node);
	else if (reader->depth == 3 && called(parent, "cpus") && holds(&node->type, "cpu"))
		read_core(reader, node);
	else
		read_device(reader, node);
}

/* An interrupt specifier of the GIC (binding arm,gic): kind, number, flags. 0: none, or one that can't be. */
static uint32_t interrupt_of(const struct value *specifiers, uint32_t cells, uint32_t index)
{
	enum { KIND_PRIVATE = 1, SHARED_MAX = 988, PRIVATE_MAX = 16 };
	uint64_t at = 4ull * cells * index;
	if (cells < INTERRUPT_CELLS || cells > 8 || specifiers->count < at + 4 * cells)
		return 0;
	uint32_t kind = fdt_read32(specifiers->bytes + at), number = fdt_read32(specifiers->bytes + at + 4);
	if (kind == KIND_PRIVATE)
		return number < PRIVATE_MAX ? GIC_PRIVATE + number : 0;
	return kind == 0 && number < SHARED_MAX ? GIC_SHARED + number : 0;
}

/* The third cell's low bits: 1 is a rising edge, 4 a high level. */
static bool is_edge(const struct value *specifiers, uint32_t cells, uint32_t index)
{
	return interrupt_of(specifiers, cells, index) != 0 &&
		(fdt_read32(specifiers->bytes + 4ull * cells * index + 8) & 15) == 1;
}

/* Which of a list's strings is `text`; `otherwise` if none is. */
static uint32_t index_of(const struct value *list, const char *text, uint32_t otherwise)
{
	uint32_t index = 0;
	for (uint32_t at = 0; at < list->count; index++) {
		struct value rest = {list->bytes + at, 0};
		while (at < list->count && list->bytes[at] != 0)
			at++;
		at++;
		rest.count = (uint32_t)(list->bytes + (at < list->count ? at : list->count) - rest.bytes);
		if (holds(&rest, text))
			return index;
	}
	return otherwise;
}

static void find_smmu_interrupt(const struct reader *reader, struct machine *machine)
{
	uint32_t index = index_of(&reader->smmu_names, "eventq", index_of(&reader->smmu_names, "combined", 0));
	machine->smmu_interrupt = interrupt_of(&reader->smmu, reader->interrupt_cells, index);
	machine->smmu_interrupt_edge = is_edge(&reader->smmu, reader->interrupt_cells, index);
}

static void read_reservations(const struct fdt *fdt, struct machine *machine)
{
	uint32_t cursor = fdt->reservations;
	struct tree_range range;
	while (machine->reserved_count < TREE_RESERVED_MAX && fdt_reservation(fdt, &cursor, &range.base, &range.bytes))
		machine->reserved[machine->reserved_count++] = (struct tree_reserved){range, false};
}

/* A property of a node right below the root; its value's bytes are NULL if there is none. */
static struct value find(const struct fdt *fdt, const char *node, const char *property, uint32_t property_bytes)
{
	uint32_t cursor = fdt->structure, depth = 0;
	bool inside = false;
	struct fdt_item item;
	for (;;) {
		switch (fdt_next(fdt, &cursor, &item)) {
		case FDT_NODE:
			depth++;
			inside = depth == 2 ? same(item.name, node) : inside && depth > 2;
			break;
		case FDT_NODE_END:
			inside = false;
			depth--;
			break;
		case FDT_PROPERTY: {
			uint32_t i = 0;
			while (i < property_bytes && item.name[i] == property[i])
				i++;
			if (inside && depth == 2 && i == property_bytes && item.name[i] == 0)
				return (struct value){item.value, item.bytes};
			break;
		}
		default:
			return (struct value){0, 0};
		}
	}
}

static uint32_t length(const char *text)
{
	uint32_t count = 0;
	while (text[count])
		count++;
	return count;
}

static struct value chosen(const struct fdt *fdt, const char *property)
{
	return find(fdt, "chosen", property, length(property));
}

/* Up to the colon that parameters of the line stand behind. */
static uint32_t path_bytes(const struct value *text)
{
	uint32_t count = 0;
	while (count < text->count && text->bytes[count] != 0 && text->bytes[count] != ':')
		count++;
	return count;
}

static void find_console(const struct fdt *fdt, struct reader *reader)
{
	struct value path = chosen(fdt, "stdout-path");
	if (path.bytes != 0 && path.count > 0 && path.bytes[0] != '/')
		path = find(fdt, "aliases", (const char *)path.bytes, path_bytes(&path));
	if (path.bytes == 0)
		return;
	reader->console = (const char *)path.bytes;
	reader->console_bytes = path_bytes(&path);
}

static uint64_t number_of(const struct value *value)
{
	return value->count == 8 ? fdt_read64(value->bytes) : value->count == 4 ? fdt_read32(value->bytes) : 0;
}

static void read_chosen(const struct fdt *fdt, struct machine *machine)
{
	struct value arguments = chosen(fdt, "bootargs");
	for (uint32_t i = 0; i < arguments.count && i < TREE_ARGUMENTS_BYTES - 1 && arguments.bytes[i]; i++)
		machine->arguments[i] = (char)arguments.bytes[i];
	struct value start = chosen(fdt, "linux,initrd-start"), end = chosen(fdt, "linux,initrd-end");
	machine->initrd = number_of(&start);
	machine->initrd_end = number_of(&end);
	if (machine->initrd_end <= machine->initrd)
		machine->initrd = machine->initrd_end = 0;
	struct value seed = chosen(fdt, "rng-seed");
	if (seed.bytes != 0 && seed.count > 0) {
		machine->seed = (uint32_t)(seed.bytes - fdt->bytes);
		machine->seed_bytes = seed.count < TREE_SEED_BYTES ? seed.count : TREE_SEED_BYTES;
	}
}

bool tree_read(const struct fdt *fdt, struct machine *machine)
{
	static struct reader reader; /* once, at boot: the stack is small */
	*machine = (struct machine){0};
	reader = (struct reader){.machine = machine};
	read_reservations(fdt, machine);
	read_chosen(fdt, machine);
	find_console(fdt, &reader);

	uint32_t cursor = fdt->structure, too_deep = 0;
	struct fdt_item item;
	enum fdt_token token;
	while ((token = fdt_next(fdt, &cursor, &item)) != FDT_FINISHED) {
		if (token == FDT_DAMAGED)
			break;
		if (token == FDT_NODE) {
			if (reader.depth > 0)
				look_at(&reader);
			if (reader.depth == DEPTH_MAX || too_deep > 0)
				too_deep++; /* nothing that matters lies so deep */
			else
				reader.path[reader.depth++] = (struct node){.name = item.name,
					.address_cells = ADDRESS_CELLS,
					.size_cells = SIZE_CELLS,
					.interrupt_cells = INTERRUPT_CELLS,
					.regions = 1,
					.streams_mask = UINT32_MAX,
					.messages_mask = UINT32_MAX,
					.width = 1};
		} else if (token == FDT_NODE_END) {
			if (too_deep > 0) {
				too_deep--;
				continue;
			}
			if (reader.depth == 0)
				break;
			look_at(&reader);
			reader.depth--;
		} else if (reader.depth > 0 && too_deep == 0) {
			keep_property(&reader.path[reader.depth - 1], &item);
		}
	}
	/* Bindings arm,armv8-timer: secure, physical, virtual, hypervisor. */
	machine->timer_interrupt = interrupt_of(&reader.timer, reader.interrupt_cells, 2);
	machine->serial_interrupt = interrupt_of(&reader.serial, reader.interrupt_cells, 0);
	machine->serial_interrupt_edge = is_edge(&reader.serial, reader.interrupt_cells, 0);
	find_smmu_interrupt(&reader, machine);
	return token == FDT_FINISHED;
}
