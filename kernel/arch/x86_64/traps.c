/* What each exception and interrupt means. Entry and exit are in traps.S. */
#include "machine.h"
#include <kernel/device.h>
#include <kernel/lock.h>
#include <kernel/process.h>

_Static_assert(offsetof(struct arch_regs, rip) == REGS_RIP && offsetof(struct arch_regs, rax) == REGS_RAX &&
		offsetof(struct arch_regs, vector) == REGS_VECTOR && offsetof(struct arch_regs, ss) == REGS_SS &&
		sizeof(struct arch_regs) == REGS_BYTES,
	"asm_offsets.h: registers");
_Static_assert(offsetof(struct process, entered_by_trap) == PROCESS_ENTERED_BY_TRAP &&
		offsetof(struct process, syscalls) == PROCESS_SYSCALLS,
	"asm_offsets.h: process");
_Static_assert(offsetof(struct arch_cpu, current) == CPU_CURRENT &&
		offsetof(struct arch_cpu, kernel_stack) == CPU_KERNEL_STACK &&
		offsetof(struct arch_cpu, scratch) == CPU_SCRATCH && offsetof(struct arch_cpu, self) == CPU_SELF &&
		offsetof(struct arch_cpu, attention) == CPU_ATTENTION,
	"asm_offsets.h: core");

extern char user_copy_begin[], user_copy_end[], user_copy_fault[];

void trap_from_user(struct arch_regs *regs);
void trap_from_kernel(struct arch_regs *regs);
_Noreturn void trap_fatal(struct arch_regs *regs);

enum exception {
	DIVIDE = 0,
	DEBUG = 1,
	BREAKPOINT = 3,
	STACK = 12,
	PROTECTION = 13,
	PAGE_FAULT = 14,
	X87 = 16,
	ALIGNMENT = 17,
	SIMD = 19
};
enum page_fault { FAULT_WRITE = 2, FAULT_FETCH = 16 };

static const char *exception_name(uint64_t vector)
{
	static const char *const names[] = {"divide error", "debug", "NMI", "breakpoint", "overflow", "bound range",
		"invalid opcode", "no coprocessor", "double fault", "coprocessor overrun", "invalid TSS",
		"segment not present", "stack fault", "general protection", "page fault", "vector 15", "x87 error",
		"alignment check", "machine check", "SIMD error"};
	return vector < sizeof(names) / sizeof(names[0]) ? names[vector] : "unknown exception";
}

static enum keuos_exit_reason exit_reason(const struct arch_regs *regs)
{
	switch (regs->vector) {
	case PAGE_FAULT:
		return regs->error & FAULT_FETCH    ? KEUOS_EXIT_FAULT_EXECUTE
			: regs->error & FAULT_WRITE ? KEUOS_EXIT_FAULT_WRITE
						    : KEUOS_EXIT_FAULT_READ;
	case DIVIDE:
	case X87:
	case SIMD:
		return KEUOS_EXIT_ARITHMETIC;
	case DEBUG:
	case BREAKPOINT:
		return KEUOS_EXIT_DEBUG;
	case ALIGNMENT:
		return KEUOS_EXIT_ALIGNMENT;
	default:
		return KEUOS_EXIT_ILLEGAL;
	}
}

_Static_assert((int)VECTOR_DEVICE + INTERRUPT_SLOTS <= VECTOR_SPURIOUS, "vectors of devices");

/* A vector that nobody bound is acknowledged all the same, or it would keep lesser ones from this core for ever. */
static bool other_interrupt(uint64_t vector)
{
	if (vector < VECTOR_TIMER)
		return false;
	apic_end_of_interrupt();
	if (vector >= VECTOR_DEVICE && vector < VECTOR_DEVICE + INTERRUPT_SLOTS)
		device_interrupt((uint32_t)vector - VECTOR_DEVICE);
	else
		stray_interrupt((uint32_t)vector);
	return true;
}

static bool interrupt(uint64_t vector)
{
	struct cpu *cpu = arch_this_cpu();
	cpu->interrupts += vector >= VECTOR_TIMER;
	switch (vector) {
	case VECTOR_TIMER:
		cpu->armed = 0;
		apic_end_of_interrupt();
		schedule_tick();
		return true;
	case VECTOR_SERIAL:
		apic_end_of_interrupt();
		serial_interrupt();
		return true;
	case VECTOR_RESCHEDULE:
	case VECTOR_FLUSH:
		apic_end_of_interrupt();
		flush_if_requested();
		return true;
	case VECTOR_SPURIOUS:
		return true;
	case VECTOR_IOMMU:
		apic_end_of_interrupt();
		vtd_interrupt();
		return true;
	default:
		return other_interrupt(vector);
	}
}

void trap_from_user(struct arch_regs *regs)
{
	struct process *process = current_process();
	assert(!smap_on || !(flags_here() & FLAG_AC)); /* or every wild pointer would reach the process */
	uint64_t address = READ_CR(2);
	if (interrupt(regs->vector)) {
		schedule_attend();
		return;
	}
	bool has_address = regs->vector == PAGE_FAULT;
	process_end(process, exit_reason(regs), has_address ? address : regs->rip);
	schedule_away();
}

void trap_from_kernel(struct arch_regs *regs)
{
	uint64_t rip = regs->rip;
	bool copying = rip >= (uint64_t)user_copy_begin && rip < (uint64_t)user_copy_end;
	if (copying && (regs->vector == PAGE_FAULT || regs->vector == PROTECTION || regs->vector == STACK)) {
		regs->rip = (uint64_t)user_copy_fault;
		return;
	}
	if (arch_this_cpu()->idle && regs->vector >= VECTOR_TIMER) {
		kernel_lock_take();
		interrupt(regs->vector);
		kernel_lock_release();
		return;
	}
	if (regs->vector == PAGE_FAULT)
		panic_with_registers(regs, "page fault in the kernel at %lx, error %lx", READ_CR(2), regs->error);
	panic_with_registers(regs, "%s in the kernel, error %lx", exception_name(regs->vector), regs->error);
}

static bool stopping;

_Noreturn void trap_fatal(struct arch_regs *regs)
{
	if (regs->vector == 2 && __atomic_load_n(&stopping, __ATOMIC_RELAXED))
		arch_halt();
	if (regs->vector == 8 && in_stack_guard(READ_CR(2)))
		panic_with_registers(regs, "kernel stack overflow at %lx", READ_CR(2));
	panic_with_registers(regs, "%s", exception_name(regs->vector));
}

void arch_stop_other_cores(void)
{
	__atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
	apic_broadcast_nmi();
}

void arch_print_registers(const struct arch_regs *r)
{
	print("rip %016lx  rsp %016lx  rflags %08lx  cs %lx\n", r->rip, r->rsp, r->rflags, r->cs);
	print("rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n", r->rax, r->rbx, r->rcx, r->rdx);
	print("rsi %016lx  rdi %016lx  rbp %016lx  r8  %016lx\n", r->rsi, r->rdi, r->rbp, r->r8);
	print("r9  %016lx  r10 %016lx  r11 %016lx  r12 %016lx\n", r->r9, r->r10, r->r11, r->r12);
	print("r13 %016lx  r14 %016lx  r15 %016lx\n", r->r13, r->r14, r->r15);
	print("cr0 %08lx  cr2 %016lx  cr3 %08lx  cr4 %08lx\n", READ_CR(0), READ_CR(2), READ_CR(3), READ_CR(4));
}

/* A return address is the instruction behind the call, which may be the next function's first. */
static void print_frame(uint64_t address, bool is_return)
{
	uint64_t offset;
	const char *name = symbol_name(address - is_return, &offset);
	print("  %016lx  %s+0x%lx\n", address, name, offset + is_return);
}

static bool kernel_address(uint64_t address)
{
	return address >= DIRECT_MAP && (address & 7) == 0;
}

void arch_print_backtrace(const struct arch_regs *regs)
{
	uint64_t frame = regs->rbp;
	print_frame(regs->rip, false);
	for (int depth = 0; depth < 24 && kernel_address(frame); depth++) {
		const uint64_t *at = (const uint64_t *)frame;
		if (at[1] == 0)
			break;
		print_frame(at[1], true);
		if (at[0] <= frame) /* stacks grow down: callers lie above */
			break;
		frame = at[0];
	}
}
