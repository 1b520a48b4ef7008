/*
 * The kernel lock. One lock guards every kernel object: whoever is in the kernel holds it, with interrupts off, so that
 * object code has no lock order to get wrong and no state to re-check after waiting. The data plane never enters the
 * kernel, hence never takes it. A ticket lock, so that no core starves.
 *
 * A core that waits for it still does what the holder may be waiting for (arch_wait_turn).
 */
#ifndef KERNEL_LOCK_H
#define KERNEL_LOCK_H

#include <kernel/base.h>

struct kernel_lock {
	uint32_t owner;
	uint32_t next; /* the architecture's assembly takes the ticket and compares by itself */
};

extern struct kernel_lock kernel_lock;

void kernel_lock_take(void);

static inline void kernel_lock_release(void)
{
	__atomic_store_n(&kernel_lock.owner, kernel_lock.owner + 1, __ATOMIC_RELEASE);
}

#endif
