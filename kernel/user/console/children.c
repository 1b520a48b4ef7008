/* The bookkeeping of children.h. */
#include "children.h"

#include <stddef.h>
#include <user.h>

/* Each entry holds a capability, so there can't be more entries in use than capabilities. */
static struct child children[KEUOS_CAPABILITIES];

struct child *child_spawn(const struct keuos_spawn *spawn, enum child_owner owner, int64_t *error)
{
	struct keuos_process_info info;
	int64_t capability = sys_spawn(spawn);

	*error = capability;
	if (capability < 0)
		return NULL;
	*error = sys_process_info((uint32_t)capability, &info);
	if (*error < 0) {
		sys_process_kill((uint32_t)capability);
		sys_cap_drop((uint32_t)capability);
		return NULL;
	}
	for (size_t i = 0; i < KEUOS_CAPABILITIES; i++) {
		if (children[i].owner == CHILD_OF_NOBODY) {
			children[i] =
				(struct child){.owner = owner, .capability = (uint32_t)capability, .pid = info.pid};
			return &children[i];
		}
	}
	*error = -KEUOS_EQUOTA;
	sys_process_kill((uint32_t)capability);
	sys_cap_drop((uint32_t)capability);
	return NULL;
}

struct child *child_find(uint32_t pid)
{
	for (size_t i = 0; i < KEUOS_CAPABILITIES; i++) {
		if (children[i].owner != CHILD_OF_NOBODY && children[i].pid == pid)
			return &children[i];
	}
	return NULL;
}

int64_t child_drop(struct child *child)
{
	int64_t result = sys_cap_drop(child->capability);

	child->owner = CHILD_OF_NOBODY;
	return result;
}

uint64_t children_mask(void)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < KEUOS_CAPABILITIES; i++) {
		if (children[i].owner != CHILD_OF_NOBODY && !children[i].dead)
			mask |= sys_bit(children[i].capability);
	}
	return mask;
}

int children_reap(void (*report)(struct child *child, const struct keuos_process_info *info))
{
	int reaped = 0;

	/* Several capabilities share a notification bit, so the bits can't say who died: everyone alive is asked. */
	for (size_t i = 0; i < KEUOS_CAPABILITIES; i++) {
		struct keuos_process_info info;

		if (children[i].owner == CHILD_OF_NOBODY || children[i].dead)
			continue;
		if (sys_process_info(children[i].capability, &info) < 0 || info.state != KEUOS_PROCESS_DEAD)
			continue;
		children[i].dead = 1;
		reaped++;
		report(&children[i], &info);
	}
	return reaped;
}

uint32_t child_default_core(void)
{
	struct keuos_system_info info;

	return sys_system_info(&info) >= 0 && info.cores > 1 ? 1 : 0;
}
