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
	uint64_t attention;    /* nonzero: schedule_attend before going on */
	uint64_t self;         /* address of this block */
	uint64_t *trap_stack;  /* TSS.rsp0: where a trap from user mode pushes */
	uint32_t apic_id;
	volatile uint32_t flush_requested; /* TLB shootdown: set by another core, cleared by this one */
	bool has_xsave;
	struct arch_tss *tss;
};

/* Every call saves all that it takes to go on later. */
#define ARCH_MAY_BLOCK(call) call

static inline struct cpu *arch_this_cpu(void)
{
	struct cpu *cpu;
	__asm__("movq %%gs:32, %0" : "=r"(cpu));
	return cpu;
}

static inline struct process *arch_current(void)
{
	struct process *process;
	__asm__ volatile("movq %%gs:0, %0" : "=r"(process));
	return process;
}

static inline void arch_regs_set_result(struct arch_regs *regs, uint64_t value, uint64_t second)
{
	regs->rax = value;
	regs->rdx = second;
}

/*
 * From one process to another: SIMD registers (x87, SSE, AVX: XCR0 names no more), segment selectors, which the next
 * process must not see, and where its traps push. `save` is NULL if nobody's registers are in the core.
 */
static inline void arch_switch(struct arch_cpu *cpu, void *save, void *restore, struct arch_regs *regs)
{
	if (__builtin_expect(cpu->has_xsave, 1)) {
		if (save)
			__asm__ volatile("xsave64 (%0)" : : "r"(save), "a"(7), "d"(0) : "memory");
		__asm__ volatile("xrstor64 (%0)" : : "r"(restore), "a"(7), "d"(0) : "memory");
	} else {
		if (save)
			__asm__ volatile("fxsave64 (%0)" : : "r"(save) : "memory");
		__asm__ volatile("fxrstor64 (%0)" : : "r"(restore) : "memory");
	}
	__asm__ volatile("movl %0, %%ds; movl %0, %%es; movl %0, %%fs\n\t"
			 "swapgs; movl %0, %%gs; swapgs"
			 :
			 : "r"(0));
	*cpu->trap_stack = (uint64_t)(regs + 1);
}

/* value if it is below limit, else 0, without a branch: holds on a mispredicted path too (Spectre v1). */
static inline uint64_t arch_bounded(uint64_t value, uint64_t limit)
{
	uint64_t mask;
	__asm__("cmpq %2, %1; sbbq %0, %0" : "=r"(mask) : "r"(value), "er"(limit) : "cc");
	return value & mask;
}

/* Makes the tables at this physical address the core's; no entry of others survives, since there are no global pages. */
static inline void arch_load_root(uint64_t root)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(root) : "memory");
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
