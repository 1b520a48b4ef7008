/* The tables of capabilities, and the tree that grants make of them. */
#include <kernel/channel.h>
#include <kernel/device.h>
#include <kernel/event.h>
#include <kernel/memory.h>

uint32_t capability_count;
static uint32_t next_serial = 1;

/* Revocation follows grants of grants, on the kernel's stack. */
enum { GRANT_DEPTH_MAX = 8 };

/* Bit 63 of a notification would look like an error, so indices that map to it are not used. */
static bool usable(uint32_t index)
{
	return index % 64 != 63;
}

int capability_add(struct process *process, enum keuos_capability_type type, uint32_t rights, void *object)
{
	for (uint32_t i = KEUOS_CAP_SYSTEM_INDEX + 1; i < KEUOS_CAPABILITIES; i++) {
		if (process->capabilities[i].type != KEUOS_CAP_NONE || !usable(i))
			continue;
		process->capabilities[i] = (struct capability){
			.type = (uint8_t)type, .rights = (uint8_t)rights, .serial = next_serial++, .object = object};
		capability_count++;
		return (int)i;
	}
	return -KEUOS_EQUOTA;
}

struct capability *capability_get(
	struct process *process, uint64_t index, enum keuos_capability_type type, uint32_t rights, int *error)
{
	struct capability *capability = &process->capabilities[arch_bounded(index, KEUOS_CAPABILITIES)];
	if (index >= KEUOS_CAPABILITIES || capability->type != type) {
		*error = -KEUOS_EBADCAP;
		return NULL;
	}
	if ((capability->rights & rights) != rights) {
		*error = -KEUOS_EPERM;
		return NULL;
	}
	return capability;
}

int capability_grant(struct process *from, uint64_t index, struct process *to, uint32_t rights)
{
	if (index >= KEUOS_CAPABILITIES)
		return -KEUOS_EBADCAP;
	index = arch_bounded(index, KEUOS_CAPABILITIES);
	const struct capability *source = &from->capabilities[index];
	bool grantable = source->type == KEUOS_CAP_PROCESS || source->type == KEUOS_CAP_MEMORY ||
		source->type == KEUOS_CAP_DEVICE;
	if (!grantable)
		return -KEUOS_EBADCAP;
	if (!(source->rights & KEUOS_RIGHT_GRANT) || (rights & ~source->rights) != 0)
		return -KEUOS_EPERM;
	if (to->state == KEUOS_PROCESS_DEAD)
		return -KEUOS_ESTATE;
	/* A process that has not started could hold the last capability to itself, and nobody could start or end it. */
	if (source->type == KEUOS_CAP_PROCESS && to->state == KEUOS_PROCESS_SUSPENDED)
		return -KEUOS_ESTATE;
	if (source->depth == GRANT_DEPTH_MAX)
		return -KEUOS_EQUOTA;
	int made = capability_add(to, source->type, rights, source->object);
	if (made < 0)
		return made;
	struct capability *copy = &to->capabilities[made];
	copy->granted_pid = from->pid;
	copy->granted_index = (uint8_t)index;
	copy->depth = (uint8_t)(source->depth + 1);
	copy->granted_serial = source->serial;
	from->copied[index / 64] |= 1ull << (index % 64);
	if (source->type == KEUOS_CAP_PROCESS)
		process_hold(source->object);
	else if (source->type == KEUOS_CAP_MEMORY)
		((struct memory_object *)source->object)->references++;
	return made;
}

static bool take_copied(struct process *process, uint32_t index)
{
	uint64_t *word = &process->copied[index / 64], bit = 1ull << (index % 64);
	bool copied = *word & bit;
	*word &= ~bit;
	return copied;
}

/* Where a capability of `process` came from, past others of that process. */
static const struct capability *origin_of(const struct process *process, const struct capability *capability)
{
	while (capability->granted_pid == process->pid)
		capability = &process->capabilities[capability->granted_index];
	return capability;
}

/*
 * Copies of what a process is about to lose (capability `index`, or all) become copies of what it had that from: a
 * revocation there has to reach them although the one in between is gone.
 */
static void hand_up_copies(const struct process *process, uint32_t index, bool all)
{
	for (uint32_t p = 0; p < KEUOS_PROCESSES; p++) {
		struct process *other = &processes[p];
		for (uint32_t i = 0; other->state != KEUOS_PROCESS_FREE && i < KEUOS_CAPABILITIES; i++) {
			struct capability *copy = &other->capabilities[i];
			if (copy->type == KEUOS_CAP_NONE || copy->granted_pid != process->pid ||
				(!all && copy->granted_index != index) || (all && other == process))
				continue;
			const struct capability *source = &process->capabilities[copy->granted_index];
			if (source->serial != copy->granted_serial)
				continue;
			if (all)
				source = origin_of(process, source);
			copy->granted_pid = source->granted_pid;
			copy->granted_index = source->granted_index;
			copy->granted_serial = source->granted_serial;
		}
	}
}

void capability_clear(struct process *process, struct capability *capability)
{
	uint32_t index = (uint32_t)(capability - process->capabilities);
	if (take_copied(process, index))
		hand_up_copies(process, index, false);
	struct capability gone = *capability;
	*capability = (struct capability){0};
	if (index == KEUOS_CAP_SELF || gone.type == KEUOS_CAP_NONE)
		return;
	capability_count--;
	switch (gone.type) {
	case KEUOS_CAP_PROCESS:
		process_release(gone.object);
		break;
	case KEUOS_CAP_MEMORY:
		dma_capability_cleared(process, index);
		memory_unmap(process, index, gone.object);
		memory_release(gone.object);
		break;
	case KEUOS_CAP_CHANNEL:
		channel_control_dropped(gone.object);
		break;
	case KEUOS_CAP_DEVICE: {
		struct device *device = gone.object;
		if (device->holder == process && device->capability == index)
			device_release(device);
		break;
	}
	default:
		break;
	}
}

/* Everything that was granted from this capability, directly or not, goes. */
static void revoke_copies(struct process *process, uint32_t index, uint32_t serial)
{
	if (!take_copied(process, index))
		return;
	for (uint32_t p = 0; p < KEUOS_PROCESSES; p++) {
		struct process *other = &processes[p];
		for (uint32_t i = 0; other->state != KEUOS_PROCESS_FREE && i < KEUOS_CAPABILITIES; i++) {
			struct capability *copy = &other->capabilities[i];
			if (copy->type == KEUOS_CAP_NONE || copy->granted_pid != process->pid ||
				copy->granted_index != index || copy->granted_serial != serial)
				continue;
			uint32_t copy_serial = copy->serial;
			revoke_copies(other, i, copy_serial);
			event_record((struct keuos_event){
				.kind = KEUOS_EVENT_REVOKE, .pid = other->pid, .peer = process->pid, .detail = i});
			capability_clear(other, copy);
		}
	}
}

int capability_revoke(struct process *process, uint64_t index)
{
	struct capability *capability = &process->capabilities[arch_bounded(index, KEUOS_CAPABILITIES)];
	if (index >= KEUOS_CAPABILITIES || capability->type == KEUOS_CAP_NONE)
		return -KEUOS_EBADCAP;
	if (capability->type == KEUOS_CAP_CHANNEL) {
		channel_revoke(capability->object);
		return 0;
	}
	revoke_copies(process, (uint32_t)index, capability->serial);
	process_end_doomed();
	return 0;
}

int capability_drop(struct process *process, uint64_t index)
{
	struct capability *capability = &process->capabilities[arch_bounded(index, KEUOS_CAPABILITIES)];
	if (index <= KEUOS_CAP_SYSTEM_INDEX || index >= KEUOS_CAPABILITIES || capability->type == KEUOS_CAP_NONE)
		return -KEUOS_EBADCAP;
	if (capability->type == KEUOS_CAP_PRODUCER || capability->type == KEUOS_CAP_CONSUMER) {
		struct channel *channel = capability->object;
		channel_unmap(
			channel, capability->type == KEUOS_CAP_PRODUCER ? &channel->producer : &channel->consumer);
		return 0;
	}
	capability_clear(process, capability);
	process_end_doomed();
	return 0;
}

void capability_drop_all(struct process *process)
{
	_Static_assert(sizeof(process->copied) == 2 * sizeof(uint64_t), "both words are looked at");
	if (process->copied[0] | process->copied[1])
		hand_up_copies(process, 0, true);
	memset(process->copied, 0, sizeof(process->copied));
	for (uint32_t i = 0; i < KEUOS_CAPABILITIES; i++)
		if (process->capabilities[i].type != KEUOS_CAP_NONE)
			capability_clear(process, &process->capabilities[i]);
	memory_payer_died(process);
}
