/* The frame allocator: a free list through the frames' records. */
#include <kernel/arch.h>
#include <kernel/frame.h>
#include <keuos/channel.h>

struct frame *frames;
uint64_t frames_count;
uint64_t frames_managed, frames_free;

static uint32_t free_head;
extern char kernel_start[], kernel_end[];

static bool overlaps(uint64_t base, uint64_t bytes, uint64_t other, uint64_t other_bytes)
{
	return base < other + other_bytes && other < base + bytes;
}

static bool reserved(uint64_t base, uint64_t bytes)
{
	uint64_t image = arch_direct_physical(kernel_start);
	uint64_t image_bytes = (uint64_t)(kernel_end - kernel_start);

	for (uint32_t i = 0; i < boot_info.reserved_count; i++)
		if (overlaps(base, bytes, boot_info.reserved[i].base, boot_info.reserved[i].bytes))
			return true;
	return base == 0 || overlaps(base, bytes, image, image_bytes) ||
		overlaps(base, bytes, boot_info.initrd, boot_info.initrd_bytes);
}

/* Finds room for the records themselves, where the boot tables map it. */
static uint64_t place_records(uint64_t bytes)
{
	for (uint32_t i = 0; i < boot_info.ranges_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];
		uint64_t at = ALIGN_UP(range->base, KEUOS_PAGE_BYTES);
		for (; at + bytes <= range->base + range->bytes && at + bytes <= boot_info.mapped_end;
			at += KEUOS_PAGE_BYTES)
			if (!reserved(at, bytes))
				return at;
	}
	panic("no room for the records of %lu frames: give the machine more memory", frames_count);
}

void frame_init(void)
{
	for (uint32_t i = 0; i < boot_info.ranges_count; i++) {
		uint64_t end = (boot_info.ranges[i].base + boot_info.ranges[i].bytes) / KEUOS_PAGE_BYTES;
		frames_count = end > frames_count ? end : frames_count;
	}
	uint64_t bytes = ALIGN_UP(frames_count * sizeof(struct frame), KEUOS_PAGE_BYTES);
	uint64_t records = place_records(bytes);
	frames = arch_direct(records);
	memset(frames, 0, bytes);

	/* From the top down, so that the list hands out low memory first. */
	for (uint32_t i = boot_info.ranges_count; i-- > 0;) {
		const struct memory_range *range = &boot_info.ranges[i];
		uint64_t low = ALIGN_UP(range->base, KEUOS_PAGE_BYTES);
		uint64_t at = ALIGN_DOWN(range->base + range->bytes, KEUOS_PAGE_BYTES);
		while (at >= low + KEUOS_PAGE_BYTES) {
			at -= KEUOS_PAGE_BYTES;
			struct frame *frame = &frames[at / KEUOS_PAGE_BYTES];
			if (frame->kind == FRAME_FREE || reserved(at, KEUOS_PAGE_BYTES) ||
				overlaps(at, KEUOS_PAGE_BYTES, records, bytes))
				continue;
			frame->kind = FRAME_FREE;
			frame->next = free_head;
			free_head = (uint32_t)(at / KEUOS_PAGE_BYTES);
			frames_free++;
		}
	}
	frames_managed = frames_free;
}

/* Takes the free frame that `link` leads to. */
static uint64_t take_frame(uint32_t *link, enum frame_kind kind, uint16_t owner)
{
	uint32_t index = *link;
	if (index == 0)
		return 0;
	struct frame *frame = &frames[index];
	assert(frame->kind == FRAME_FREE && frame->references == 0);
	*link = frame->next;
	*frame = (struct frame){.references = 1, .kind = (uint16_t)kind, .owner = owner};
	frames_free--;
	uint64_t physical = (uint64_t)index * KEUOS_PAGE_BYTES;
	memset(arch_direct(physical), 0, KEUOS_PAGE_BYTES);
	return physical;
}

uint64_t frame_alloc(enum frame_kind kind, uint16_t owner)
{
	return take_frame(&free_head, kind, owner);
}

uint64_t frame_alloc_aligned(enum frame_kind kind, uint16_t owner, uint64_t alignment)
{
	uint32_t *link = &free_head;
	while (*link != 0 && (uint64_t)*link * KEUOS_PAGE_BYTES % alignment != 0)
		link = &frames[*link].next;
	return take_frame(link, kind, owner);
}

static struct frame *frame_of(uint64_t physical)
{
	assert(physical / KEUOS_PAGE_BYTES < frames_count);
	struct frame *frame = &frames[physical / KEUOS_PAGE_BYTES];
	assert(frame->references > 0);
	return frame;
}

void frame_hold(uint64_t physical)
{
	frame_of(physical)->references++;
}

void frame_release(uint64_t physical)
{
	struct frame *frame = frame_of(physical);
	if (--frame->references > 0)
		return;
	*frame = (struct frame){.kind = FRAME_FREE, .next = free_head};
	free_head = (uint32_t)(physical / KEUOS_PAGE_BYTES);
	frames_free++;
}
