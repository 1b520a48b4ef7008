/*
 * One core, made ready: descriptor tables, stacks, protections, the system-call entry; and how the first core brings up
 * the others and what a process's state is on this machine.
 */
#include "machine.h"
#include <kernel/frame.h>
#include <kernel/lock.h>
#include <kernel/process.h>

/* Intel SDM vol. 3, 8.7. The CPU wants no padding; a leading word of ours puts the 64-bit fields on their boundaries. */
struct arch_tss {
	uint32_t ours;
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, io_map;
};

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

struct pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

enum {
	TSS_BYTES = 104,
	GDT_ENTRIES = 7,
	IDT_ENTRIES = 256,
	IDT_STUBS = VECTOR_STRAY + 1, /* the last of them serves all vectors from there on */
	IST_DEBUG = 1,
	IST_NMI = 2,
	IST_DOUBLE_FAULT = 3,
	IST_MACHINE_CHECK = 4,
	KERNEL_STACK_PAGES = 4,
	EXCEPTION_STACK_PAGES = 2
};

static uint64_t gdt[KEUOS_CORES_MAX][GDT_ENTRIES];
static struct arch_tss tss[KEUOS_CORES_MAX] __attribute__((aligned(64)));
static struct gate idt[IDT_ENTRIES];
uint32_t arch_features;
const struct feature_name arch_feature_names[] = {{KEUOS_FEATURE_NX, "NX"}, {KEUOS_FEATURE_WP, "WP"},
	{KEUOS_FEATURE_SMEP, "SMEP"}, {KEUOS_FEATURE_SMAP, "SMAP"}, {KEUOS_FEATURE_UMIP, "UMIP"}, {0, NULL}};
const char arch_random_wanted[] = "a CPU with RDRAND is needed; QEMU: -cpu max";
uint8_t smap_on;
static bool xsave_on;
static uint32_t extended_bytes;
static uint32_t cores_started;
static uint32_t core_starting;

extern const uint64_t trap_stubs[IDT_STUBS];
extern const uint64_t trap_debug_entry, trap_nmi_entry, trap_double_fault_entry, trap_machine_check_entry;
extern char syscall_entry[], ap_trampoline[], ap_trampoline_end[];
extern uint64_t boot_pml4[512];

static void set_gate(uint32_t vector, uint64_t handler, uint8_t ist)
{
	bool from_user = vector == 3; /* int3; every other software interrupt is a general protection fault */
	idt[vector] = (struct gate){.offset_low = (uint16_t)handler,
		.selector = SELECTOR_KERNEL_CODE,
		.ist = ist,
		.type = from_user ? 0xee : 0x8e,
		.offset_middle = (uint16_t)(handler >> 16),
		.offset_high = (uint32_t)(handler >> 32)};
}

static void make_idt(void)
{
	for (uint32_t i = 0; i < IDT_ENTRIES; i++)
		set_gate(i, trap_stubs[i < VECTOR_STRAY ? i : VECTOR_STRAY], 0);
	set_gate(1, trap_debug_entry, IST_DEBUG);
	set_gate(2, trap_nmi_entry, IST_NMI);
	set_gate(8, trap_double_fault_entry, IST_DOUBLE_FAULT);
	set_gate(18, trap_machine_check_entry, IST_MACHINE_CHECK);
}

static void load_idt(void)
{
	struct pointer idt_pointer = {sizeof(idt) - 1, (uint64_t)idt};
	__asm__ volatile("lidt %0" : : "m"(idt_pointer));
}

static void load_descriptors(struct cpu *cpu)
{
	uint64_t *table = gdt[cpu->index];
	uint64_t base = (uint64_t)&cpu->arch.tss->reserved0;
	table[SELECTOR_KERNEL_CODE / 8] = 0x00af9a000000ffff;
	table[SELECTOR_KERNEL_DATA / 8] = 0x00cf92000000ffff;
	table[SELECTOR_USER_DATA / 8] = 0x00cff2000000ffff;
	table[SELECTOR_USER_CODE / 8] = 0x00affa000000ffff;
	table[SELECTOR_TSS / 8] = (TSS_BYTES - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	table[SELECTOR_TSS / 8 + 1] = base >> 32;

	struct pointer gdt_pointer = {sizeof(gdt[0]) - 1, (uint64_t)table};
	load_idt();
	__asm__ volatile("lgdt %0\n\t"
			 "pushq %1\n\t"
			 "leaq 1f(%%rip), %%rax\n\t"
			 "pushq %%rax\n\t"
			 "lretq\n"
			 "1:\tmovl %2, %%eax\n\t"
			 "movl %%eax, %%ss\n\t"
			 "xorl %%eax, %%eax\n\t"
			 "movl %%eax, %%ds\n\t"
			 "movl %%eax, %%es\n\t"
			 "movl %%eax, %%fs\n\t"
			 "movl %%eax, %%gs\n\t"
			 "lldt %%ax\n\t" /* INIT leaves one at address 0: a process could write it */
			 "movw %3, %%ax\n\t"
			 "ltr %%ax"
			 :
			 : "m"(gdt_pointer), "i"(SELECTOR_KERNEL_CODE), "i"(SELECTOR_KERNEL_DATA), "i"(SELECTOR_TSS)
			 : "rax", "memory");
}

enum cr0_bits {
	CR0_MP = 1 << 1,
	CR0_EM = 1 << 2,
	CR0_TS = 1 << 3,
	CR0_NE = 1 << 5, /* x87 errors are exceptions, not a line to a controller that is masked */
	CR0_AM = 1 << 18,
	CR0_NW = 1 << 29,
	CR0_CD = 1 << 30,
};

enum cr4_bits {
	CR4_PAE = 1 << 5,
	CR4_MCE = 1 << 6,
	CR4_OSFXSR = 1 << 9,
	CR4_OSXMMEXCPT = 1 << 10,
	CR4_UMIP = 1 << 11,
	CR4_OSXSAVE = 1 << 18,
	CR4_SMEP = 1 << 20,
	CR4_SMAP = 1 << 21,
};

/* What the CPU can do for us is switched on, on every core alike; what it lacks is told by its absence in the features. */
static void protect_core(void)
{
	/* An exact value: what firmware left on (FSGSBASE, PCE, PKE) would be the processes' to use. */
	uint64_t cr4 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	struct cpuid_result basic = cpuid(1, 0), more = cpuid(7, 0);
	uint32_t features = KEUOS_FEATURE_WP;
	features |= read_msr(MSR_EFER) & 0x800 ? KEUOS_FEATURE_NX : 0;
	if (more.b & 1 << 7) {
		cr4 |= CR4_SMEP;
		features |= KEUOS_FEATURE_SMEP;
	}
	if (more.b & 1 << 20) {
		cr4 |= CR4_SMAP;
		features |= KEUOS_FEATURE_SMAP;
		smap_on = 1;
	}
	if (more.c & 1 << 2) {
		cr4 |= CR4_UMIP;
		features |= KEUOS_FEATURE_UMIP;
	}
	if (basic.c & 1 << 26)
		cr4 |= CR4_OSXSAVE;
	WRITE_CR(4, cr4);
	/* A core comes out of INIT with its caches off. No emulation, no lazy switching of SIMD state; monitor coprocessor. */
	WRITE_CR(0, (READ_CR(0) & ~(uint64_t)(CR0_CD | CR0_NW | CR0_EM | CR0_TS)) | CR0_MP | CR0_NE | CR0_AM);
	if (basic.c & 1 << 26) {
		/* x87, SSE, AVX and no more: what user programs here may use */
		xsave_on = true;
		__asm__ volatile("xsetbv" : : "a"(cpuid(0xd, 0).a & 7), "d"(0), "c"(0));
		extended_bytes = cpuid(0xd, 0).b;
	} else {
		extended_bytes = 512;
	}
	assert(extended_bytes <= KEUOS_PAGE_BYTES);
	arch_features |= features;
}

void arch_init_core(struct cpu *cpu)
{
	cpu->arch.self = (uint64_t)cpu;
	cpu->arch.tss = &tss[cpu->index];
	cpu->arch.trap_stack = tss[cpu->index].rsp;
	cpu->arch.kernel_stack = make_stack(KERNEL_STACK_PAGES);
	for (int i = IST_DEBUG; i <= IST_MACHINE_CHECK; i++)
		tss[cpu->index].ist[i - 1] = make_stack(EXCEPTION_STACK_PAGES);
	tss[cpu->index].io_map = TSS_BYTES;
	load_descriptors(cpu);
	write_msr(MSR_GS_BASE, (uint64_t)cpu);
	write_msr(MSR_KERNEL_GS_BASE, 0);
	protect_core();
	cpu->arch.has_xsave = xsave_on;
	write_msr(MSR_EFER, read_msr(MSR_EFER) | 1);
	write_msr(MSR_STAR, (uint64_t)(SELECTOR_USER_DATA - 8) << 48 | (uint64_t)SELECTOR_KERNEL_CODE << 32);
	write_msr(MSR_LSTAR, (uint64_t)syscall_entry);
	/* Cleared on entry: TF, IF, DF, NT, AC and the I/O privilege level. */
	write_msr(MSR_FMASK, 0x47700);
	if (cpu->index > 0)
		apic_init_core();
	cpu->arch.apic_id = apic_id();
}

void arch_init_memory(void)
{
	space_init_kernel();
	apic_init();
	uint64_t random;
	if (arch_random(&random))
		arch_features |= KEUOS_FEATURE_ENTROPY;
}

void arch_start(uint32_t magic, uint32_t address);
void arch_start_secondary(void);

/* From boot.S: paging on, one core, nothing else. */
void arch_start(uint32_t magic, uint32_t address)
{
	/* A panic needs this much: to know its core, and to be reached by a fault. */
	cpus[0].arch.self = (uint64_t)&cpus[0];
	write_msr(MSR_GS_BASE, (uint64_t)&cpus[0]);
	make_idt();
	load_idt();
	clock_begin();
	arch_serial_init();
	boot_info_read(magic, address);
	acpi_init();
	kernel_main();
}

static bool core_came(void)
{
	return __atomic_load_n(&cores_started, __ATOMIC_ACQUIRE) > core_starting;
}

/* Intel SDM vol. 3, 9.4.4.1: INIT, 10 ms, then up to two start-up interrupts. The 10 ms are used to calibrate the clocks. */
void arch_start_cores(void)
{
	enum { INIT = 0x4500, STARTUP = 0x4600 };
	memcpy(arch_direct(AP_TRAMPOLINE), ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	bool alone = acpi.cores == 1;
	if (!alone)
		apic_broadcast(INIT);
	clock_calibrate();
	uint32_t self = apic_id();
	for (uint32_t i = 0; i < acpi.cores; i++) {
		if (acpi.apic_ids[i] == self)
			continue;
		core_starting = cores_started;
		for (int attempt = 0; attempt < 2 && !core_came(); attempt++) {
			apic_send(acpi.apic_ids[i], STARTUP | AP_TRAMPOLINE >> 12);
			uint64_t until = arch_counter() + arch_counter_hz / (attempt == 0 ? 100 : 1);
			while (!core_came() && arch_counter() < until)
				arch_pause();
		}
		if (!core_came()) {
			apic_send(acpi.apic_ids[i], INIT); /* or it might come later, into tables that are gone */
			print("core with APIC id %u does not start; going on without it\n", acpi.apic_ids[i]);
		}
	}
	/* Nobody uses the loader's writable view of the kernel from here on. */
	memset(boot_pml4, 0, sizeof(boot_pml4));
}

void arch_start_secondary(void)
{
	struct cpu *cpu = &cpus[cpu_count];
	cpu->index = cpu_count;
	arch_load_root(kernel_space.root);
	arch_init_core(cpu);
	cpu->space = &kernel_space;
	cpu_count++;
	__atomic_store_n(&cores_started, cores_started + 1, __ATOMIC_RELEASE);
	/* The boot stack is the next core's now: leave it at once. */
	arch_call_on_stack(kernel_main_secondary);
}

bool arch_random(uint64_t *value)
{
	if (!(cpuid(1, 0).c & 1 << 30))
		return false;
	for (int attempt = 0; attempt < 16; attempt++) {
		uint8_t good;
		__asm__ volatile("rdrand %0; setc %1" : "=r"(*value), "=qm"(good) : : "cc");
		if (good)
			return true;
	}
	return false;
}

bool arch_extended_state_init(struct process *process)
{
	process->extended_state_frame = frame_alloc(FRAME_STATE, (uint16_t)process->pid);
	if (process->extended_state_frame == 0)
		return false;
	uint8_t *area = arch_direct(process->extended_state_frame);
	process->extended_state = area;
	/* All exceptions masked, rounding to nearest: the ABI's start (x87 control word at 0, MXCSR at 24; XSTATE_BV at 512). */
	area[0] = 0x7f;
	area[1] = 0x03;
	area[24] = 0x80;
	area[25] = 0x1f;
	area[512] = xsave_on ? 3 : 0;
	return true;
}

void arch_process_init(
	struct process *process, uint64_t entry, uint64_t stack, uint64_t argument, uint64_t argument_bytes)
{
	process->regs = (struct arch_regs){.rip = entry,
		.cs = SELECTOR_USER_CODE,
		.rflags = 0x202,
		.rsp = stack,
		.ss = SELECTOR_USER_DATA,
		.rdi = argument,
		.rsi = argument_bytes};
	process->entered_by_trap = 1;
}

uint64_t arch_program_counter(const struct process *process)
{
	return process->regs.rip;
}

_Noreturn void arch_resume(void)
{
	__asm__ volatile("movq %0, %%rsp\n\t"
			 "jmp return_to_user"
			 :
			 : "r"(arch_this_cpu()->arch.kernel_stack)
			 : "memory");
	__builtin_unreachable();
}

_Noreturn void arch_call_on_stack(void (*function)(void))
{
	__asm__ volatile("movq %0, %%rsp\n\t"
			 "xorl %%ebp, %%ebp\n\t"
			 "pushq $0\n\t"
			 "jmp *%1"
			 :
			 : "r"(arch_this_cpu()->arch.kernel_stack), "r"(function)
			 : "memory");
	__builtin_unreachable();
}

_Noreturn void arch_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

_Noreturn void arch_reboot(uint32_t kind)
{
	if (kind == KEUOS_REBOOT_POWER_OFF && acpi.sleep_known) {
		outw(acpi.pm1_control, (uint16_t)(acpi.sleep_type << 10 | 1 << 13));
		/* The machine may take its time; only then is it one that can't. */
		for (uint64_t until = arch_time_ns() + 1000000000; arch_time_ns() < until;)
			arch_pause();
		print("the machine does not power off; resetting it\n");
	}
	outb(0xcf9, 2);
	outb(0xcf9, 6);
	outb(0x64, 0xfe);
	arch_halt();
}
