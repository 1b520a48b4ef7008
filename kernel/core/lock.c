/* The kernel lock's slow path, and TLB shootdowns, which it must not block. */
#include <kernel/arch.h>
#include <kernel/cpu.h>
#include <kernel/lock.h>

struct kernel_lock kernel_lock;

static void wait_for_turn(uint32_t ticket)
{
	while (__atomic_load_n(&kernel_lock.owner, __ATOMIC_ACQUIRE) != ticket) {
		tlb_flush_if_requested();
		arch_pause();
	}
}

void kernel_lock_take(void)
{
	wait_for_turn(__atomic_fetch_add(&kernel_lock.next, 1, __ATOMIC_ACQUIRE));
}

/* From traps.S, which has drawn the ticket already and keeps the registers of a system call. */
void kernel_lock_contended(uint32_t ticket);

void kernel_lock_contended(uint32_t ticket)
{
	wait_for_turn(ticket);
}

void tlb_flush_if_requested(void)
{
	struct cpu *cpu = arch_this_cpu();
	if (!__atomic_load_n(&cpu->flush_requested, __ATOMIC_ACQUIRE))
		return;
	arch_flush_all();
	__atomic_store_n(&cpu->flush_requested, 0, __ATOMIC_RELEASE);
}
