/*
 * TLB shootdowns (Intel SDM vol. 3, 4.10.5), and the caches that x86 keeps coherent by itself.
 *
 * Only user pages ever need one. A process is loaded on its own core only, and no entry survives a change of tables.
 */
#include "machine.h"
#include <kernel/process.h>

static void flush_all(void)
{
	WRITE_CR(3, READ_CR(3));
}

void flush_if_requested(void)
{
	struct cpu *cpu = arch_this_cpu();
	if (!__atomic_load_n(&cpu->arch.flush_requested, __ATOMIC_ACQUIRE))
		return;
	flush_all();
	__atomic_store_n(&cpu->arch.flush_requested, 0, __ATOMIC_RELEASE);
}

/* The other core may be waiting for the kernel lock: it answers from there. */
void arch_flush(struct process *process)
{
	struct cpu *cpu = &cpus[process->core];
	if (cpu->space != &process->space)
		return;
	if (cpu == arch_this_cpu()) {
		flush_all();
		return;
	}
	__atomic_store_n(&cpu->arch.flush_requested, 1, __ATOMIC_RELEASE);
	apic_send(cpu->arch.apic_id, VECTOR_FLUSH);
	while (__atomic_load_n(&cpu->arch.flush_requested, __ATOMIC_ACQUIRE))
		arch_pause();
}

void arch_wait_turn(void)
{
	flush_if_requested();
	arch_pause();
}

/* Intel SDM vol. 3, 12.6: a return to user mode serialises, and instruction caches snoop. */
void arch_code_written(__attribute__((unused)) const void *address, __attribute__((unused)) size_t bytes)
{
}
