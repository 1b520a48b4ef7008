/* The kernel lock's slow path. */
#include <kernel/arch.h>
#include <kernel/lock.h>

/* Not in .bss, which is long: assembly reaches what lies near the code by a shorter way. */
struct kernel_lock kernel_lock __attribute__((section(".data")));

static void wait_for_turn(uint32_t ticket)
{
	while (__atomic_load_n(&kernel_lock.owner, __ATOMIC_ACQUIRE) != ticket)
		arch_wait_turn();
}

void kernel_lock_take(void)
{
	wait_for_turn(__atomic_fetch_add(&kernel_lock.next, 1, __ATOMIC_ACQUIRE));
}

/* From assembly, which has drawn the ticket already and keeps the registers of a system call. */
void kernel_lock_contended(uint32_t ticket);

void kernel_lock_contended(uint32_t ticket)
{
	wait_for_turn(ticket);
}
