/*
 * What the loader handed over: PVH's hvm_start_info (Xen, public/arch-x86/hvm/start_info.h) or multiboot2's tags
 * (Multiboot2 specification 2.0, 3.6). All of it is copied before the first frame is handed out: GRUB puts its block
 * right behind the kernel.
 */
#include "machine.h"
#include <keuos/channel.h>

struct boot_info boot_info;

enum { PVH_MAGIC = 0x336ec578, MULTIBOOT2_MAGIC = 0x36d76289, MEMORY_USABLE = 1 };

struct pvh_info {
	uint32_t magic, version, flags, modules_count;
	uint64_t modules, arguments, rsdp, memory_map;
	uint32_t memory_map_entries, reserved;
};

struct pvh_module {
	uint64_t address, bytes, arguments, reserved;
};

struct pvh_memory {
	uint64_t base, bytes;
	uint32_t type, reserved;
};

struct tag {
	uint32_t type, bytes;
};

enum tag_type { TAG_END = 0, TAG_ARGUMENTS = 1, TAG_MODULE = 3, TAG_MEMORY = 6, TAG_RSDP_1 = 14, TAG_RSDP_2 = 15 };

struct tag_module {
	struct tag tag;
	uint32_t start, end;
};

struct tag_memory {
	struct tag tag;
	uint32_t entry_bytes, entry_version;
};

struct tag_memory_entry {
	uint64_t base, bytes;
	uint32_t type, reserved;
};

static void add_range(uint64_t base, uint64_t bytes, uint32_t type)
{
	if (type != MEMORY_USABLE || bytes < KEUOS_PAGE_BYTES || boot_info.ranges_count == BOOT_RANGES_MAX)
		return;
	/* In order: memory below 4 GiB is handed out first, which is all that the boot tables map. */
	uint32_t at = boot_info.ranges_count++;
	for (; at > 0 && boot_info.ranges[at - 1].base > base; at--)
		boot_info.ranges[at] = boot_info.ranges[at - 1];
	boot_info.ranges[at] = (struct memory_range){base, bytes};
}

static void set_arguments(const char *text)
{
	size_t bytes = strnlen(text, BOOT_ARGUMENTS_BYTES - 1);
	memcpy(boot_info.arguments, text, bytes);
	boot_info.arguments[bytes] = 0;
}

static void read_pvh(const struct pvh_info *info)
{
	boot_info.how = "pvh";
	if (info->arguments != 0)
		set_arguments(arch_direct(info->arguments));
	if (info->modules_count > 0) {
		const struct pvh_module *module = arch_direct(info->modules);
		boot_info.initrd = module->address;
		boot_info.initrd_bytes = module->bytes;
	}
	boot_info.rsdp = info->rsdp;
	const struct pvh_memory *memory = arch_direct(info->memory_map);
	for (uint32_t i = 0; info->version >= 1 && i < info->memory_map_entries; i++)
		add_range(memory[i].base, memory[i].bytes, memory[i].type);
}

static void read_tag(const struct tag *tag)
{
	switch (tag->type) {
	case TAG_ARGUMENTS:
		set_arguments((const char *)(tag + 1));
		break;
	case TAG_MODULE: {
		const struct tag_module *module = (const struct tag_module *)tag;
		if (boot_info.initrd == 0) {
			boot_info.initrd = module->start;
			boot_info.initrd_bytes = module->end - module->start;
		}
		break;
	}
	case TAG_MEMORY: {
		const struct tag_memory *map = (const struct tag_memory *)tag;
		for (uint32_t at = sizeof(*map); at + map->entry_bytes <= tag->bytes; at += map->entry_bytes) {
			const struct tag_memory_entry *entry = (const void *)((const char *)map + at);
			add_range(entry->base, entry->bytes, entry->type);
		}
		break;
	}
	case TAG_RSDP_1:
	case TAG_RSDP_2:
		/* The tag holds a copy of the RSDP; what counts is where it points, so the copy's address serves. */
		boot_info.rsdp = arch_direct_physical(tag + 1);
		break;
	default:
		break;
	}
}

static void read_multiboot2(const uint32_t *info)
{
	boot_info.how = "multiboot2";
	for (uint32_t at = 8; at < info[0];) {
		const struct tag *tag = (const void *)((const char *)info + at);
		if (tag->type == TAG_END)
			break;
		read_tag(tag);
		at += ALIGN_UP(tag->bytes, 8u);
	}
}

void boot_info_read(uint32_t magic, uint32_t address)
{
	const uint32_t *info = arch_direct(address);
	boot_info.mapped_end = 1ull << 32;
	boot_info.reserved[boot_info.reserved_count++] =
		(struct memory_range){0, 0x100000}; /* firmware's and the BIOS's */
	if (magic == MULTIBOOT2_MAGIC)
		read_multiboot2(info);
	else if (info[0] == PVH_MAGIC)
		read_pvh((const struct pvh_info *)info);
	else
		panic("started neither by PVH nor by multiboot2: boot information at %x begins with %x", address,
			info[0]);
	if (boot_info.ranges_count == 0)
		panic("the loader gave no memory map");
}
