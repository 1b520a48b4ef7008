/*
 * One core, made ready: protections, stacks, what processes may do by themselves; how the first core brings up the others
 * (PSCI, Arm DEN0022), and what a process's state is on this machine.
 */
#include "machine.h"
#include <kernel/frame.h>
#include <kernel/lock.h>
#include <kernel/process.h>

enum psci_function { PSCI_CPU_ON = 0xc4000003, PSCI_SYSTEM_OFF = 0x84000008, PSCI_SYSTEM_RESET = 0x84000009 };

#define AFFINITY 0xff00ffffffull /* of MPIDR_EL1 */

enum { MMFR1_PAN = 20, PSTATE_EL0 = 0 };
#define PAN_ON (1ull << 22)

/* CPACR_EL1: SIMD registers are everybody's, no SVE or SME. CNTKCTL_EL1: EL0 reads the virtual counter and nothing else. */
enum { CPACR_SIMD = 3 << 20, CNTKCTL_VIRTUAL_COUNTER = 1 << 1, MDSCR_NO_DCC = 1 << 12 };

uint32_t arch_features;
/* Read-only pages are so for the kernel too, and the machine's registers are EL1's: nothing has to be switched on. */
const struct feature_name arch_feature_names[] = {{KEUOS_FEATURE_NX, "UXN"}, {KEUOS_FEATURE_SMEP, "PXN"},
	{KEUOS_FEATURE_WP, "WXN"}, {KEUOS_FEATURE_SMAP, "PAN"}, {0, NULL}};

static uint32_t cores_started;
extern char boot_other[], boot_tables[], boot_tables_end[];

void arch_start(uint64_t tree, uint64_t image);
void arch_start_secondary(void);
_Noreturn void stack_resume(uint64_t stack);
_Noreturn void stack_call(uint64_t stack, void (*function)(void));

int64_t psci(uint32_t function, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t x0 __asm__("x0") = function;
	register uint64_t x1 __asm__("x1") = a;
	register uint64_t x2 __asm__("x2") = b;
	register uint64_t x3 __asm__("x3") = c;
#define CALL(instruction)                                                                                              \
	__asm__ volatile(instruction                                                                                   \
			 : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)                                                      \
			 :                                                                                             \
			 : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", \
			 "memory")
	if (machine.conduit == CONDUIT_HVC)
		CALL("hvc #0");
	else if (machine.conduit == CONDUIT_SMC)
		CALL("smc #0");
	else
		return -1; /* NOT_SUPPORTED */
#undef CALL
	return (int64_t)x0;
}

static void protect_core(void)
{
	uint32_t features = KEUOS_FEATURE_NX | KEUOS_FEATURE_SMEP | KEUOS_FEATURE_WP | KEUOS_FEATURE_UMIP;
	WRITE_SYSTEM(cpacr_el1, CPACR_SIMD);
	WRITE_SYSTEM(cntkctl_el1, CNTKCTL_VIRTUAL_COUNTER);
	WRITE_SYSTEM(mdscr_el1, MDSCR_NO_DCC);
	WRITE_SYSTEM(tpidrro_el0, 0);
	if (ID_FIELD(id_aa64dfr0_el1, 8) - 1 < 14) /* there is a PMU, which is not the processes' */
		WRITE_SYSTEM(pmuserenr_el0, 0);
	if (ID_FIELD(id_aa64mmfr1_el1, MMFR1_PAN) != 0) {
		features |= KEUOS_FEATURE_SMAP;
		WRITE_SYSTEM(sctlr_el1, READ_SYSTEM(sctlr_el1) & ~(uint64_t)SCTLR_SPAN); /* on at every entry */
		WRITE_SYSTEM(S3_0_C4_C2_3, PAN_ON);
	}
	__asm__ volatile("isb" ::: "memory");
	arch_features |= features;
}

/* Protections are per core: one that a later core forgot would not show on the first. */
static void check_alike(const struct cpu *cpu)
{
	static struct {
		uint64_t control, translation, attributes, traps, clock;
	} first;
	uint64_t control = READ_SYSTEM(sctlr_el1), translation = READ_SYSTEM(tcr_el1);
	uint64_t attributes = READ_SYSTEM(mair_el1), traps = READ_SYSTEM(cpacr_el1), clock = READ_SYSTEM(cntkctl_el1);
	if (cpu->index == 0) {
		first.control = control;
		first.translation = translation;
		first.attributes = attributes;
		first.traps = traps;
		first.clock = clock;
		return;
	}
	if (control != first.control || translation != first.translation || attributes != first.attributes ||
		traps != first.traps || clock != first.clock)
		panic("core %u is not set up like core 0: SCTLR %lx, TCR %lx, MAIR %lx, CPACR %lx, CNTKCTL %lx",
			cpu->index, control, translation, attributes, traps, clock);
}

void arch_init_core(struct cpu *cpu)
{
	WRITE_SYSTEM(tpidr_el1, (uint64_t)cpu);
	cpu->arch.affinity = READ_SYSTEM(mpidr_el1) & AFFINITY;
	cpu->arch.kernel_stack = make_stack();
	cpu->arch.emergency_stack = make_stack();
	protect_core();
	gic_init_core(cpu);
	clock_init_core();
	if (hil_init_core)
		hil_init_core();
	check_alike(cpu);
}

void arch_init_memory(void)
{
	space_init_kernel();
	serial_map();
	gic_init();
	uint64_t random;
	if (arch_random(&random))
		arch_features |= KEUOS_FEATURE_ENTROPY;
}

/* From boot.S: the image mapped, one core, nothing else. */
void arch_start(uint64_t tree, uint64_t image)
{
	image_start = image;
	WRITE_SYSTEM(tpidr_el1, (uint64_t)&cpus[0]);
	clock_begin();
	boot_info_read(tree);
	kernel_main();
}

static bool core_came(uint32_t before)
{
	return __atomic_load_n(&cores_started, __ATOMIC_ACQUIRE) > before;
}

void arch_start_cores(void)
{
	enum { WAIT_NS = 1000000000 };
	for (uint32_t i = 0; i < machine.cores; i++) {
		uint64_t affinity = machine.affinity[i] & AFFINITY;
		if (affinity == cpus[0].arch.affinity)
			continue;
		uint32_t before = cores_started;
		int64_t result = psci(PSCI_CPU_ON, affinity, image_physical(boot_other), 0);
		for (uint64_t until = arch_time_ns() + WAIT_NS; result == 0 && !core_came(before);) {
			arch_pause();
			if (arch_time_ns() > until)
				panic("core %lx was started and never came",
					affinity); /* or into tables that are gone */
		}
		if (result != 0)
			print("core %lx does not start (PSCI CPU_ON: %ld); going on without it\n", affinity, result);
	}
	/* Nobody uses the writable view of the kernel that boot.S made from here on. */
	memset(boot_tables, 0, (size_t)(boot_tables_end - boot_tables));
}

void arch_start_secondary(void)
{
	struct cpu *cpu = &cpus[cpu_count];
	cpu->index = cpu_count;
	WRITE_SYSTEM(tpidr_el1, (uint64_t)cpu);
	space_init_core();
	arch_init_core(cpu);
	cpu->space = &kernel_space;
	cpu_count++;
	__atomic_store_n(&cores_started, cores_started + 1, __ATOMIC_RELEASE);
	/* The boot stack is the next core's now: leave it at once. */
	arch_call_on_stack(kernel_main_secondary);
}

bool arch_extended_state_init(struct process *process)
{
	_Static_assert(STATE_BYTES <= KEUOS_PAGE_BYTES, "SIMD registers");
	process->extended_state_frame = frame_alloc(FRAME_STATE, (uint16_t)process->pid);
	if (process->extended_state_frame == 0)
		return false;
	process->extended_state = arch_direct(process->extended_state_frame); /* all zero is the ABI's start */
	return true;
}

void arch_process_init(
	struct process *process, uint64_t entry, uint64_t stack, uint64_t argument, uint64_t argument_bytes)
{
	process->regs =
		(struct arch_regs){.x = {argument, argument_bytes}, .sp = stack, .pc = entry, .pstate = PSTATE_EL0};
	process->entered_by_trap = SAVED_ALL;
}

uint64_t arch_program_counter(const struct process *process)
{
	return process->regs.pc;
}

_Noreturn void arch_resume(void)
{
	stack_resume(arch_this_cpu()->arch.kernel_stack);
}

_Noreturn void arch_call_on_stack(void (*function)(void))
{
	stack_call(arch_this_cpu()->arch.kernel_stack, function);
}

_Noreturn void arch_halt(void)
{
	arch_interrupts_off();
	for (;;)
		__asm__ volatile("wfi");
}

_Noreturn void arch_reboot(uint32_t kind)
{
	if (kind == KEUOS_REBOOT_POWER_OFF) {
		psci(PSCI_SYSTEM_OFF, 0, 0, 0);
		print("the machine does not power off; resetting it\n");
	}
	psci(PSCI_SYSTEM_RESET, 0, 0, 0);
	print("the machine does not reset\n");
	arch_halt();
}
