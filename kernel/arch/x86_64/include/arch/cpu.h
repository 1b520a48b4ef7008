/*
 * What the portable part of the kernel may know about an x86-64 core: registers of a process, a few instructions, and
 * the per-core block that GS points to. Everything else about the machine stays in arch/x86_64.
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <stdbool.h>
#include <stdint.h>

#define ARCH_NAME "x86_64"
#define ARCH_ELF_MACHINE 62

/* A process's registers. The order is that in which traps.S pushes them; asm_offsets.h repeats it for assembly. */
struct arch_regs {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct process;

/* The head of struct cpu, as assembly reads it through GS. */
struct arch_cpu {
	struct process *current;
	uint64_t kernel_stack; /* top of this core's kernel stack */
	uint64_t scratch;      /* the user's stack pointer, for a few instructions */
	uint64_t self;         /* address of this block */
	uint32_t apic_id;
	struct arch_tss *tss;
};

static inline struct cpu *arch_this_cpu(void)
{
	struct cpu *cpu;
	__asm__("movq %%gs:24, %0" : "=r"(cpu));
	return cpu;
}

static inline void arch_pause(void)
{
	__asm__ volatile("pause" ::: "memory");
}

static inline void arch_fence(void)
{
	__asm__ volatile("mfence" ::: "memory");
}

static inline uint64_t arch_counter(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void arch_interrupts_off(void)
{
	__asm__ volatile("cli" ::: "memory");
}

/* Waits for one interrupt with interrupts on, atomically, and comes back with them off. */
static inline void arch_idle(void)
{
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

#endif
