/*
 * The kernel lock. One lock guards every kernel object: whoever is in the kernel holds it, with interrupts off, so that
 * object code has no lock order to get wrong and no state to re-check after waiting. The data plane never enters the
 * kernel, hence never takes it. A ticket lock, so that no core starves.
 *
 * A core that waits for it still answers TLB shootdowns: the holder may be waiting for exactly that.
 */
#ifndef KERNEL_LOCK_H
#define KERNEL_LOCK_H

#include <kernel/base.h>

struct kernel_lock {
	uint32_t next; /* traps.S takes the ticket and compares by itself */
	uint32_t owner;
};

extern struct kernel_lock kernel_lock;

void kernel_lock_take(void);

static inline void kernel_lock_release(void)
{
	__atomic_store_n(&kernel_lock.owner, kernel_lock.owner + 1, __ATOMIC_RELEASE);
}

/* Answers a pending TLB shootdown of this core. */
void tlb_flush_if_requested(void);

#endif
