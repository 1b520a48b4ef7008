/*
 * The processes that the console has spawned, for a person or for the host, and the capabilities it holds to them.
 * Here lives the bookkeeping alone; who is told of a death, and how, is main.c's affair.
 */
#ifndef KEUOS_CONSOLE_CHILDREN_H
#define KEUOS_CONSOLE_CHILDREN_H

#include <keuos/syscall.h>
#include <stdint.h>

enum child_owner {
	CHILD_OF_NOBODY = 0, /* a free entry */
	CHILD_OF_PROMPT,     /* reported in words, then dropped */
	CHILD_OF_HOST,       /* reported by an event; kept, readable, until the host drops it */
};

struct child {
	enum child_owner owner;
	uint32_t capability;
	uint32_t pid;
	int dead; /* reported */
};

/* Spawns, and files the process under its pid. Returns the child, or NULL with the kernel's error in *error. */
struct child *child_spawn(const struct keuos_spawn *spawn, enum child_owner owner, int64_t *error);

/* The child of that pid, or NULL. */
struct child *child_find(uint32_t pid);

/* Gives up the capability: a dead process is freed, a live one goes on unobserved. Returns what CAP_DROP said. */
int64_t child_drop(struct child *child);

/* The notification bits of all children alive. */
uint64_t children_mask(void);

/* Calls `report` for each child that has died since the last call. Returns how many there were. */
int children_reap(void (*report)(struct child *child, const struct keuos_process_info *info));

/* The core for a process whose spawner named none: away from the console's where there are two. */
uint32_t child_default_core(void);

#endif
