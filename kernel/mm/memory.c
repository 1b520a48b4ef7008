/* Memory objects. */
#include <kernel/frame.h>
#include <kernel/memory.h>

const uint64_t memory_window = 0x0000200000000000ull, memory_window_bytes = 1ull << 24;

struct memory_object memory_objects[MEMORY_OBJECTS];

uint64_t memory_address(uint32_t capability_index)
{
	return memory_window + capability_index * memory_window_bytes;
}

static void free_frames(struct memory_object *object)
{
	for (uint32_t i = 0; i < object->pages; i++)
		if (object->frames[i])
			frame_release(object->frames[i]);
	if (object->payer)
		process_refund_pages(object->payer, object->pages);
	memset(object, 0, sizeof(*object));
}

int memory_create(struct process *process, uint32_t pages)
{
	if (pages == 0 || pages > MEMORY_PAGES_MAX)
		return -KEUOS_EINVAL;
	struct memory_object *object = NULL;
	uint32_t own = 0;
	for (uint32_t i = 0; i < MEMORY_OBJECTS; i++) {
		own += memory_objects[i].payer == process;
		if (memory_objects[i].references == 0 && object == NULL)
			object = &memory_objects[i];
	}
	if (own >= MEMORY_OBJECTS_EACH) /* it may have inherited more */
		return -KEUOS_EQUOTA;
	if (object == NULL || !process_charge_pages(process, pages))
		return -KEUOS_EQUOTA;
	object->pages = pages;
	object->payer = process;
	for (uint32_t i = 0; i < pages; i++) {
		object->frames[i] = frame_alloc(FRAME_MEMORY, (uint16_t)process->pid);
		if (object->frames[i] == 0) {
			free_frames(object);
			return -KEUOS_ENOMEM;
		}
	}
	int index = capability_add(process, KEUOS_CAP_MEMORY,
		KEUOS_RIGHT_READ | KEUOS_RIGHT_WRITE | KEUOS_RIGHT_GRANT | KEUOS_RIGHT_CONTROL, object);
	if (index < 0)
		free_frames(object);
	else
		object->references = 1;
	return index;
}

int memory_map(struct process *process, uint32_t index, struct memory_object *object, bool write)
{
	uint64_t base = memory_address(index);
	if (arch_translate(&process->space, base, false) != 0)
		return -KEUOS_ESTATE;
	for (uint32_t i = 0; i < object->pages; i++) {
		if (!arch_map(&process->space, base + i * KEUOS_PAGE_BYTES, object->frames[i],
			    PROTECTION_USER | (write ? PROTECTION_WRITE : 0))) {
			memory_unmap(process, index, object);
			return -KEUOS_ENOMEM;
		}
		frame_hold(object->frames[i]);
	}
	return 0;
}

/* Mappings go first, then every core's memory of them, and only then the frames. */
void memory_unmap(struct process *process, uint32_t index, struct memory_object *object)
{
	uint64_t base = memory_address(index);
	uint32_t mapped = 0;
	while (mapped < object->pages && arch_unmap(&process->space, base + mapped * KEUOS_PAGE_BYTES) != 0)
		mapped++;
	if (mapped > 0)
		arch_flush(process);
	for (uint32_t i = 0; i < mapped; i++)
		frame_release(object->frames[i]);
}

void memory_release(struct memory_object *object)
{
	if (--object->references == 0)
		free_frames(object);
}

void memory_payer_died(struct process *process)
{
	for (uint32_t i = 0; i < MEMORY_OBJECTS; i++)
		if (memory_objects[i].payer == process) {
			process_inherit_pages(process, memory_objects[i].pages);
			memory_objects[i].payer = process_heir(process);
		}
}
