/*
 * The program loader: static ELF-64 executables (System V ABI, chapters 4 and 5), checked field by field. A segment that
 * is writable and executable is refused: no process has such a page.
 */
#include <kernel/frame.h>
#include <kernel/initrd.h>
#include <kernel/process.h>

struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, segments, sections;
	uint32_t flags;
	uint16_t header_bytes, segment_bytes, segment_count, section_bytes, section_count, section_names;
};

struct elf_segment {
	uint32_t type, flags;
	uint64_t offset, address, physical, file_bytes, memory_bytes, alignment;
};

struct elf_section {
	uint32_t name, type;
	uint64_t flags, address, offset, bytes;
	uint32_t link, info;
	uint64_t alignment, entry_bytes;
};

enum { ELF_EXECUTABLE = 2, SEGMENT_LOAD = 1, SEGMENT_X = 1, SEGMENT_W = 2, SECTION_BITS = 1 };

/* Where a program's segments may lie: away from the null page and from the windows of channels and memory objects. */
#define PROGRAM_BASE 0x10000ull
#define PROGRAM_END (1ull << 40)

static bool within(const struct initrd_file *file, uint64_t offset, uint64_t bytes)
{
	return offset <= file->size && bytes <= file->size - offset;
}

static bool header_good(const struct initrd_file *file)
{
	const struct elf_header *header = (const void *)file->bytes;
	return file->size >= sizeof(*header) && memcmp(header->ident, "\177ELF\2\1\1", 7) == 0 &&
		header->type == ELF_EXECUTABLE && header->machine == ARCH_ELF_MACHINE &&
		header->segment_bytes == sizeof(struct elf_segment) &&
		within(file, header->segments, (uint64_t)header->segment_count * sizeof(struct elf_segment)) &&
		(header->section_count == 0 ||
			(header->section_bytes == sizeof(struct elf_section) &&
				within(file, header->sections,
					(uint64_t)header->section_count * sizeof(struct elf_section))));
}

static uint32_t protection_of(const struct elf_segment *segment)
{
	return PROTECTION_USER | (segment->flags & SEGMENT_W ? PROTECTION_WRITE : 0) |
		(segment->flags & SEGMENT_X ? PROTECTION_EXECUTE : 0);
}

/* A frame with a page of the file: its part of the segment, zeros around it. 0: there is no memory. */
static uint64_t load_page(
	struct process *process, const struct initrd_file *file, const struct elf_segment *segment, uint64_t page)
{
	bool constant = !(segment->flags & SEGMENT_W);
	uint64_t frame = constant ? frame_alloc(FRAME_PROGRAM, 0) : frame_alloc(FRAME_USER, (uint16_t)process->pid);
	uint64_t from = page > segment->address ? page : segment->address;
	uint64_t file_end = segment->address + segment->file_bytes;
	uint64_t to = page + KEUOS_PAGE_BYTES < file_end ? page + KEUOS_PAGE_BYTES : file_end;
	if (frame != 0 && from < to)
		memcpy((uint8_t *)arch_direct(frame) + (from - page),
			file->bytes + segment->offset + (from - segment->address), to - from);
	if (frame != 0 && segment->flags & SEGMENT_X)
		arch_code_written(arch_direct(frame), KEUOS_PAGE_BYTES);
	return frame;
}

/* `sibling` runs the same file, or is NULL: what no process can write is in memory once, and charged to each. */
static int map_page(struct process *process, const struct process *sibling, const struct initrd_file *file,
	const struct elf_segment *segment, uint64_t page)
{
	if (process->pages >= process->pages_max)
		return -KEUOS_EQUOTA;
	if (arch_translate(&process->space, page, false) != 0)
		return -KEUOS_ENOEXEC; /* two segments in one page */
	bool shared = sibling && !(segment->flags & SEGMENT_W);
	uint64_t frame =
		shared ? arch_translate(&sibling->space, page, false) : load_page(process, file, segment, page);
	if (frame == 0)
		return -KEUOS_ENOMEM;
	if (shared)
		frame_hold(frame);
	if (!arch_map(&process->space, page, frame, protection_of(segment))) {
		frame_release(frame);
		return -KEUOS_ENOMEM;
	}
	process->pages++;
	return 0;
}

static int map_segment(struct process *process, const struct process *sibling, const struct initrd_file *file,
	const struct elf_segment *segment)
{
	enum { WRITABLE_CODE = SEGMENT_W | SEGMENT_X };
	if (!within(file, segment->offset, segment->file_bytes) || segment->file_bytes > segment->memory_bytes ||
		!user_range(segment->address, segment->memory_bytes) || segment->address < PROGRAM_BASE ||
		segment->address + segment->memory_bytes > PROGRAM_END ||
		(segment->flags & WRITABLE_CODE) == WRITABLE_CODE)
		return -KEUOS_ENOEXEC;
	for (uint64_t page = ALIGN_DOWN(segment->address, (uint64_t)KEUOS_PAGE_BYTES);
		page < segment->address + segment->memory_bytes; page += KEUOS_PAGE_BYTES) {
		int error = map_page(process, sibling, file, segment, page);
		if (error)
			return error;
	}
	return 0;
}

/* A section of templates, by name; an absent one is an empty one. */
static int find_templates(
	const struct initrd_file *file, const char *wanted, const struct keuos_template **templates, uint32_t *count)
{
	const struct elf_header *header = (const void *)file->bytes;
	const struct elf_section *sections = (const void *)(file->bytes + header->sections);
	*templates = NULL;
	*count = 0;
	if (header->section_count == 0)
		return 0;
	if (header->section_names >= header->section_count)
		return -KEUOS_ENOEXEC;
	const struct elf_section *names = &sections[header->section_names];
	size_t length = strnlen(wanted, 64) + 1;
	for (uint32_t i = 0; i < header->section_count; i++) {
		const struct elf_section *section = &sections[i];
		if (section->type != SECTION_BITS || section->name > names->bytes ||
			names->bytes - section->name < length || !within(file, names->offset, names->bytes) ||
			memcmp(file->bytes + names->offset + section->name, wanted, length) != 0)
			continue;
		if (!within(file, section->offset, section->bytes) || section->offset % 4 != 0 ||
			section->bytes % sizeof(struct keuos_template) != 0 ||
			section->bytes / sizeof(struct keuos_template) > KEUOS_TEMPLATES_MAX)
			return -KEUOS_ENOEXEC;
		*templates = (const void *)(file->bytes + section->offset);
		*count = (uint32_t)(section->bytes / sizeof(struct keuos_template));
		return 0;
	}
	return 0;
}

static const struct process *find_sibling(const struct initrd_file *file)
{
	for (uint32_t i = 0; i < KEUOS_PROCESSES; i++)
		if (processes[i].program == file->bytes)
			return &processes[i];
	return NULL;
}

int elf_load(struct process *process, const struct initrd_file *file, uint64_t *entry)
{
	if (!header_good(file))
		return -KEUOS_ENOEXEC;
	const struct elf_header *header = (const void *)file->bytes;
	const struct elf_segment *segments = (const void *)(file->bytes + header->segments);
	const struct process *sibling = find_sibling(file);
	process->program = file->bytes;
	for (uint32_t i = 0; i < header->segment_count; i++) {
		if (segments[i].type != SEGMENT_LOAD || segments[i].memory_bytes == 0)
			continue;
		int error = map_segment(process, sibling, file, &segments[i]);
		if (error)
			return error;
	}
	if (!user_range(header->entry, 1) || arch_translate(&process->space, header->entry, false) == 0)
		return -KEUOS_ENOEXEC;
	*entry = header->entry;
	int error = find_templates(file, ".keuos.proofs", &process->proofs, &process->proofs_count);
	return error ? error : find_templates(file, ".keuos.interface", &process->interface, &process->interface_count);
}
