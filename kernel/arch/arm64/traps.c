/* What each exception and interrupt means. Entry and exit are in traps.S; classes are ESR_EL1.EC (Arm ARM D17.2.37). */
#include "machine.h"
#include <kernel/device.h>
#include <kernel/lock.h>
#include <kernel/process.h>

_Static_assert(offsetof(struct arch_regs, x[18]) == REGS_X18 && offsetof(struct arch_regs, x[29]) == REGS_X29 &&
		offsetof(struct arch_regs, sp) == REGS_SP && offsetof(struct arch_regs, pc) == REGS_PC &&
		offsetof(struct arch_regs, pstate) == REGS_PSTATE && offsetof(struct arch_regs, esr) == REGS_ESR &&
		offsetof(struct arch_regs, far) == REGS_FAR && offsetof(struct arch_regs, zero) == REGS_ZERO &&
		sizeof(struct arch_regs) == REGS_BYTES,
	"asm_offsets.h: registers");
_Static_assert(offsetof(struct process, entered_by_trap) == PROCESS_ENTERED_BY_TRAP &&
		offsetof(struct process, syscalls) == PROCESS_SYSCALLS,
	"asm_offsets.h: process");
_Static_assert(offsetof(struct arch_cpu, current) == CPU_CURRENT &&
		offsetof(struct arch_cpu, attention) == CPU_ATTENTION &&
		offsetof(struct arch_cpu, kernel_stack) == CPU_KERNEL_STACK &&
		offsetof(struct arch_cpu, emergency_stack) == CPU_EMERGENCY_STACK,
	"asm_offsets.h: core");
_Static_assert(offsetof(struct kernel_lock, owner) == 0 && offsetof(struct kernel_lock, next) == 4, "traps.S: lock");

extern char user_copy_begin[], user_copy_end[], user_copy_fault[];

void trap_from_user(struct arch_regs *regs, enum trap kind);
void trap_from_kernel(struct arch_regs *regs, enum trap kind);
_Noreturn void trap_not_saved(void);

enum exception_class {
	CLASS_FETCH_EL0 = 0x20,
	CLASS_FETCH_EL1 = 0x21,
	CLASS_PC_ALIGNMENT = 0x22,
	CLASS_DATA_EL0 = 0x24,
	CLASS_DATA_EL1 = 0x25,
	CLASS_SP_ALIGNMENT = 0x26,
	CLASS_FLOATING_POINT = 0x2c,
	CLASS_BREAKPOINT_EL0 = 0x30,
	CLASS_STEP_EL0 = 0x32,
	CLASS_WATCHPOINT_EL0 = 0x34,
	CLASS_BRK = 0x3c,
};

enum { ISS_WRITE = 1 << 6, ISS_STATUS = 0x3f, STATUS_ALIGNMENT = 0x21 };

static bool stopping;

static uint32_t class_of(const struct arch_regs *regs)
{
	return (uint32_t)(regs->esr >> 26 & 0x3f);
}

/* Faults have an address; the others' detail is that of the instruction. */
static enum keuos_exit_reason exit_reason(const struct arch_regs *regs)
{
	switch (class_of(regs)) {
	case CLASS_FETCH_EL0:
		return KEUOS_EXIT_FAULT_EXECUTE;
	case CLASS_DATA_EL0:
		return (regs->esr & ISS_STATUS) == STATUS_ALIGNMENT ? KEUOS_EXIT_ALIGNMENT
			: regs->esr & ISS_WRITE                     ? KEUOS_EXIT_FAULT_WRITE
								    : KEUOS_EXIT_FAULT_READ;
	case CLASS_PC_ALIGNMENT:
	case CLASS_SP_ALIGNMENT:
		return KEUOS_EXIT_ALIGNMENT;
	case CLASS_FLOATING_POINT:
		return KEUOS_EXIT_ARITHMETIC;
	case CLASS_BREAKPOINT_EL0:
	case CLASS_STEP_EL0:
	case CLASS_WATCHPOINT_EL0:
	case CLASS_BRK:
		return KEUOS_EXIT_DEBUG;
	default:
		return KEUOS_EXIT_ILLEGAL;
	}
}

/* The IOMMU's ends it: it may come again without end, and the kernel's lock is let go in between. */
static void interrupt(void)
{
	struct cpu *cpu = arch_this_cpu();
	uint32_t taken, number = UINT32_MAX;
	while (number != machine.smmu_interrupt && gic_next(&taken, &number)) {
		cpu->interrupts++;
		if (number == machine.timer_interrupt) {
			clock_interrupt();
			cpu->armed = 0;
			schedule_tick();
		} else if (number == machine.serial_interrupt) {
			serial_interrupt();
		} else if (number >= LPI_FIRST + INTERRUPT_SLOTS) {
			stray_interrupt(number);
		} else if (number >= LPI_FIRST) {
			device_interrupt(number - LPI_FIRST);
		} else if (number == machine.smmu_interrupt) {
			smmu_interrupt();
		} else if (number == SGI_STOP && __atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
			arch_halt();
		}
		gic_end(taken);
	}
}

void trap_from_user(struct arch_regs *regs, enum trap kind)
{
	if (kind == TRAP_INTERRUPT) {
		interrupt();
		schedule_attend();
		return;
	}
	if (kind == TRAP_FATAL)
		panic_with_registers(regs, "SError or FIQ, syndrome %lx", regs->esr);
	enum keuos_exit_reason reason = exit_reason(regs);
	bool has_address = reason >= KEUOS_EXIT_FAULT_READ && reason <= KEUOS_EXIT_FAULT_EXECUTE;
	process_end(current_process(), reason, has_address ? regs->far : regs->pc);
	schedule_away();
}

void trap_from_kernel(struct arch_regs *regs, enum trap kind)
{
	bool copying = regs->pc >= (uint64_t)user_copy_begin && regs->pc < (uint64_t)user_copy_end;
	if (kind == TRAP_SYNCHRONOUS && copying && class_of(regs) == CLASS_DATA_EL1) {
		regs->pc = (uint64_t)user_copy_fault;
		return;
	}
	if (kind == TRAP_INTERRUPT && arch_this_cpu()->idle) {
		kernel_lock_take();
		interrupt();
		kernel_lock_release();
		return;
	}
	if (kind == TRAP_STACK)
		panic_with_registers(regs, "kernel stack overflow at %lx", regs->far);
	if (kind == TRAP_SYNCHRONOUS && (class_of(regs) == CLASS_DATA_EL1 || class_of(regs) == CLASS_FETCH_EL1))
		panic_with_registers(regs, "page fault in the kernel at %lx, syndrome %lx", regs->far, regs->esr);
	panic_with_registers(regs, "exception class %x in the kernel, syndrome %lx", class_of(regs), regs->esr);
}

_Noreturn void trap_not_saved(void)
{
	panic("process %u goes on after a call that is not marked as one that may block", current_process()->pid);
}

void arch_send_reschedule(struct cpu *cpu)
{
	gic_send(cpu, SGI_RESCHEDULE);
}

/* A core in the kernel has interrupts off: it stops when it comes out. */
void arch_stop_other_cores(void)
{
	__atomic_store_n(&stopping, true, __ATOMIC_RELAXED);
	gic_broadcast(SGI_STOP);
}

void arch_print_registers(const struct arch_regs *r)
{
	print("pc  %016lx  sp  %016lx  pstate %08lx\n", r->pc, r->sp, r->pstate);
	for (int i = 0; i < 31; i++)
		print("x%d%s %016lx%s", i, i < 10 ? " " : "", r->x[i], i % 4 == 3 || i == 30 ? "\n" : "  ");
	print("esr %08lx  far %016lx  ttbr0 %016lx  sctlr %08lx\n", r->esr, r->far, READ_SYSTEM(ttbr0_el1),
		READ_SYSTEM(sctlr_el1));
}

/* A return address is the instruction behind the call, which may be the next function's first. */
static void print_frame(uint64_t address, bool is_return)
{
	uint64_t offset;
	const char *name = symbol_name(address - is_return, &offset);
	print("  %016lx  %s+0x%lx\n", address, name, offset + is_return);
}

/* Frame records (AAPCS64, 6.4.6): the caller's x29, and the return address. */
void arch_print_backtrace(const struct arch_regs *regs)
{
	uint64_t frame = regs->x[29];
	print_frame(regs->pc, false);
	for (int depth = 0; depth < 24 && frame >= DIRECT_MAP && (frame & 7) == 0; depth++) {
		const uint64_t *at = (const uint64_t *)frame;
		if (at[1] == 0)
			break;
		print_frame(at[1], true);
		if (at[0] <= frame) /* stacks grow down: callers lie above */
			break;
		frame = at[0];
	}
}
