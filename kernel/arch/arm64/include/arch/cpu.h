/*
 * What the portable part of the kernel may know about an arm64 core: registers of a process, a few instructions, and the
 * per-core block that TPIDR_EL1 points to. Everything else about the machine stays in arch/arm64.
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <stdbool.h>
#include <stdint.h>

#define ARCH_NAME "arm64"
#define ARCH_ELF_MACHINE 183

/* A process's registers, or those of an interrupted kernel; asm_offsets.h repeats the order for assembly. */
struct arch_regs {
	uint64_t x[31];
	uint64_t sp, pc, pstate;
	uint64_t esr, far; /* of the exception */
	uint64_t zero[2];  /* what the registers that a system call destroys are loaded with */
} __attribute__((aligned(16)));

struct process;

/* The head of struct cpu, as assembly reads it through TPIDR_EL1. */
struct arch_cpu {
	struct process *current;
	uint64_t attention;              /* nonzero: schedule_attend before going on */
	uint64_t kernel_stack;           /* top of this core's kernel stack */
	uint64_t emergency_stack;        /* for the report that the other has overflown */
	uint64_t affinity;               /* of MPIDR_EL1 */
	uint32_t gic_target;             /* GICv2: this core's bit */
	volatile uint8_t *redistributor; /* GICv3: its registers ... */
	uint64_t redistributor_physical; /* ... and where they are */
};

/* A call that may block saves more: traps.S has a stub before each. */
#define ARCH_MAY_BLOCK(call) blocking_##call

static inline struct cpu *arch_this_cpu(void)
{
	struct cpu *cpu;
	__asm__("mrs %0, tpidr_el1" : "=r"(cpu));
	return cpu;
}

static inline struct process *arch_current(void)
{
	struct process *process;
	__asm__ volatile("mrs %0, tpidr_el1\n\tldr %0, [%0]" : "=r"(process));
	return process;
}

static inline void arch_regs_set_result(struct arch_regs *regs, uint64_t value, uint64_t second)
{
	regs->x[0] = value;
	regs->x[1] = second;
}

void arch_save_state(void *to); /* SIMD registers and the thread pointer */
void arch_restore_state(const void *from);

/* From one process to another. `save` is NULL if nobody's SIMD registers are in the core. */
static inline void arch_switch(struct arch_cpu *cpu, void *save, void *restore, struct arch_regs *regs)
{
	(void)cpu;
	(void)regs;
	if (save)
		arch_save_state(save);
	arch_restore_state(restore);
}

/* value if it is below limit, else 0, without a branch: holds on a mispredicted path too (Spectre v1). */
static inline uint64_t arch_bounded(uint64_t value, uint64_t limit)
{
	uint64_t bounded;
	__asm__("cmp %1, %2\n\tcsel %0, %1, xzr, lo\n\thint #20" /* CSDB */
		: "=r"(bounded)
		: "r"(value), "r"(limit)
		: "cc");
	return bounded;
}

/* Makes the tables of `root` the core's for the lower half; entries of others are told apart by the tag in it (ASID). */
static inline void arch_load_root(uint64_t root)
{
	__asm__ volatile("msr ttbr0_el1, %0\n\tisb" : : "r"(root) : "memory");
}

static inline void arch_pause(void)
{
	__asm__ volatile("yield" ::: "memory");
}

static inline void arch_fence(void)
{
	__asm__ volatile("dmb ish" ::: "memory");
}

static inline uint64_t arch_counter(void)
{
	uint64_t ticks;
	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
	return ticks;
}

static inline void arch_interrupts_off(void)
{
	__asm__ volatile("msr daifset, #15" ::: "memory");
}

/* Waits for one interrupt, takes it, and comes back with interrupts off: WFI ends for a masked one too. */
static inline void arch_idle(void)
{
	__asm__ volatile("dsb sy\n\twfi\n\tmsr daifclr, #2\n\tisb\n\tmsr daifset, #2" ::: "memory");
}

#endif
