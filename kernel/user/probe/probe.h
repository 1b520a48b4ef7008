/*
 * What the host tells the probe and what it reads back. Every operation that a hostile or broken program could attempt
 * has a number here; the host takes numbers and layouts from the debug information of probe.elf.
 */
#ifndef KEUOS_PROBE_H
#define KEUOS_PROBE_H

#include <keuos/syscall.h>
#include <stdint.h>

enum probe_op {
	PROBE_NOTHING = 0,
	PROBE_READ = 1,        /* `width` bytes at `address` -> value */
	PROBE_WRITE = 2,       /* `value`, `width` bytes, to `address` */
	PROBE_EXECUTE = 3,     /* calls `address`, which may be non-canonical */
	PROBE_INSTRUCTION = 4, /* the enum probe_instruction in `number` */
	PROBE_BREAKPOINT = 6,
	PROBE_ALIGNMENT_CHECK = 9, /* a misaligned access with alignment checks switched on */
	PROBE_SIMD_HOLD = 10,      /* fills all SIMD registers from the seed `value`, spins `repeat` times, compares */
	PROBE_SIMD_READ = 11,      /* all SIMD registers as found at the start -> simd */
	PROBE_SYSCALL = 12,        /* `number` with `args`, `repeat` times -> value, second, registers */
	PROBE_HOSTILE_STACK = 13,  /* a null system call, then `repeat` turns, with the stack pointer at `address` */
	PROBE_STACK_OVERFLOW = 15, /* recurses until the guard page stops it */
};

/*
 * Instructions that user mode must not have, or that must not tell user mode anything about the kernel. Named by what x86
 * has them for; behind each what is attempted on x86, and on arm64.
 */
enum probe_instruction {
	PROBE_I_UNDEFINED = 0,             /* ud2; udf */
	PROBE_I_HALT = 1,                  /* hlt; wfi */
	PROBE_I_DISABLE_INTERRUPTS = 2,    /* cli; msr daifset */
	PROBE_I_ENABLE_INTERRUPTS = 3,     /* sti; msr daifclr */
	PROBE_I_READ_SYSTEM_REGISTER = 4,  /* rdmsr; mrs vbar_el1 */
	PROBE_I_WRITE_SYSTEM_REGISTER = 5, /* wrmsr; msr vbar_el1 */
	PROBE_I_READ_CONTROL = 6,          /* mov from cr0; mrs sctlr_el1 */
	PROBE_I_WRITE_CONTROL = 7,         /* mov to cr3; msr ttbr0_el1 */
	PROBE_I_INVALIDATE_TLB = 8,        /* invlpg; tlbi */
	PROBE_I_PORT_IN = 9,               /* in; the physical counter */
	PROBE_I_PORT_OUT = 10,             /* out; the timer's comparator */
	PROBE_I_LOAD_GDT = 11,             /* lgdt; msr tcr_el1 */
	PROBE_I_LOAD_IDT = 12,             /* lidt; msr elr_el1 */
	PROBE_I_STORE_GDT = 13,            /* this and the next four: UMIP; mrs ttbr1_el1 */
	PROBE_I_STORE_IDT = 14,            /* mrs id_aa64mmfr0_el1 */
	PROBE_I_STORE_LDT = 15,            /* mrs ctr_el0 */
	PROBE_I_STORE_TASK = 16,           /* mrs tpidr_el1 */
	PROBE_I_STORE_MACHINE_STATUS = 17, /* mrs CurrentEL */
	PROBE_I_SWAP_GS = 18,              /* swapgs; msr spsel */
	PROBE_I_READ_COUNTER = 19,         /* rdpmc; mrs pmccntr_el0 */
	PROBE_I_RETURN_TO_USER = 20,       /* sysretq; eret */
	PROBE_I_INTERRUPT_DOUBLE_FAULT =
		21, /* software interrupts with vectors that belong to the machine; hvc, and what follows */
	PROBE_I_INTERRUPT_PAGE_FAULT = 22, /* smc */
	PROBE_I_INTERRUPT_TIMER = 23,      /* dc zva */
	PROBE_I_INTERRUPT_80 = 24,         /* dc civac */
	PROBE_I_INTERRUPT_LAST = 25,       /* an interrupt for another core */
	PROBE_I_COUNT = 26,
};

enum probe_limit {
	PROBE_ENDS = 4,
	PROBE_REGISTERS = 16,
	PROBE_SIMD_WORDS = 64, /* x86: 16 registers of 32 bytes, the upper halves zero where they can't be used */
};

struct probe_params {
	uint32_t op;      /* enum probe_op */
	uint32_t width;   /* of an access: 1, 2, 4 or 8 bytes */
	uint64_t address; /* relative to the base of end `end` if `ends` is not 0 */
	uint64_t value;
	uint64_t number;
	uint64_t args[6];
	uint64_t repeat; /* turns; 0 counts as 1 */
	uint32_t yields; /* PROBE_SIMD_HOLD: nonzero: each turn yields to others */
	uint32_t ends;   /* how many channel ends to accept before anything else */
	uint32_t end;    /* which of them `address` is relative to, in the order in which they came */
	uint32_t hold;   /* nonzero: having survived, wait for ever instead of leaving */
};

enum probe_stage {
	PROBE_NOT_STARTED = 0,
	PROBE_ACCEPTING = 1,
	PROBE_ATTEMPTING = 2,
	PROBE_SURVIVED = 3,
};

struct probe_results {
	uint32_t stage;      /* enum probe_stage */
	uint32_t ends;       /* accepted */
	uint32_t mismatches; /* PROBE_SIMD_HOLD: words that changed; PROBE_SYSCALL: kept registers that changed */
	uint32_t wide;       /* nonzero: 32-byte SIMD registers were used */
	uint64_t value;
	uint64_t second; /* PROBE_SYSCALL: the second result */
	uint64_t registers
		[PROBE_REGISTERS]; /* PROBE_SYSCALL: those that a call destroys, afterwards: ARCH/ names them */
	uint64_t simd[PROBE_SIMD_WORDS];
	struct keuos_endpoint endpoints[PROBE_ENDS];
};

/* What the probe leaves with if the attempt was survived, failed, or made no sense. */
enum probe_exit { PROBE_EXIT_SURVIVED = 0, PROBE_EXIT_DIFFERENT = 1, PROBE_EXIT_SENSELESS = 2 };

/* The operations that differ between architectures: probe/ARCH/. What one has alone is among its attempts (attempts.S). */
void probe_instruction(uint64_t which);
void probe_breakpoint(void);
void probe_alignment_check(void);
void probe_simd_hold(const volatile struct probe_params *params, volatile struct probe_results *results);
void probe_simd_read(volatile struct probe_results *results);
void probe_syscall(const volatile struct probe_params *params, volatile struct probe_results *results);
void probe_hostile_stack(uint64_t stack, uint64_t repeat);

#endif
