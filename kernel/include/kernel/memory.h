/* Memory objects: a run of zeroed frames that processes map by capability. */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include <kernel/process.h>

enum { MEMORY_PAGES_MAX = 256, MEMORY_OBJECTS = 256, MEMORY_OBJECTS_EACH = 16 };

struct memory_object {
	uint32_t references; /* capabilities; 0: free */
	uint32_t pages;
	struct process *payer; /* who made it, or has inherited it */
	uint64_t frames[MEMORY_PAGES_MAX];
};

extern struct memory_object memory_objects[MEMORY_OBJECTS];

int memory_create(struct process *process, uint32_t pages); /* a capability, or an error */
/* The address of an object in a process follows from its capability's index alone: a window each. */
extern const uint64_t memory_window, memory_window_bytes;
uint64_t memory_address(uint32_t capability_index);
int memory_map(struct process *process, uint32_t index, struct memory_object *object, bool write);
void memory_unmap(struct process *process, uint32_t index, struct memory_object *object);
void memory_release(struct memory_object *object);
void memory_payer_died(struct process *process);

#endif
