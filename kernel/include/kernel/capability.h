/*
 * Capabilities: what a process may do, as entries of a table that only the kernel writes. A capability names an object
 * and rights; grants form a tree, so that revoking one takes back every copy made from it.
 */
#ifndef KERNEL_CAPABILITY_H
#define KERNEL_CAPABILITY_H

#include <kernel/base.h>
#include <keuos/syscall.h>

struct process;

struct capability {
	uint8_t type;          /* enum keuos_capability_type */
	uint8_t rights;        /* enum keuos_right */
	uint8_t depth;         /* how many grants away from the original */
	uint8_t granted_index; /* where it was copied from: index ... */
	uint32_t granted_pid;  /* ... and process; 0: an original */
	uint32_t granted_serial;
	uint32_t serial; /* unlike that of any other capability ever made */
	void *object;
};

/* Puts a capability into a free place; negative: KEUOS_EQUOTA. It does not take a reference to the object. */
int capability_add(struct process *process, enum keuos_capability_type type, uint32_t rights, void *object);
/* The capability at an index if it has that type and those rights; else NULL and the error. */
struct capability *capability_get(
	struct process *process, uint64_t index, enum keuos_capability_type type, uint32_t rights, int *error);
int capability_grant(struct process *from, uint64_t index, struct process *to, uint32_t rights);
int capability_revoke(struct process *process, uint64_t index);
int capability_drop(struct process *process, uint64_t index);
void capability_drop_all(struct process *process);
/* Removes the entry and lets go of its object. */
void capability_clear(struct process *process, struct capability *capability);
extern uint32_t capability_count;

static inline uint64_t notification_bit(uint32_t index)
{
	return 1ull << (index % 64);
}

#endif
