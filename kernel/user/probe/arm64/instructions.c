/* The probe's operations on arm64 that are one instruction or a few; simd.c has the vector registers. */
#include "../probe.h"

#include <stddef.h>

_Static_assert(
	offsetof(struct probe_results, value) == 16 && offsetof(struct probe_results, second) == 24, "attempts.S");

#define READ(name) __asm__ volatile("mrs %0, " #name : "=r"(word))
#define WRITE(name) __asm__ volatile("msr " #name ", %0" : : "r"(word))

void probe_instruction(uint64_t which)
{
	uint64_t word = 0;

	switch ((enum probe_instruction)which) {
	case PROBE_I_UNDEFINED:
		__asm__ volatile("udf #0");
		break;
	case PROBE_I_HALT:
		__asm__ volatile("wfi");
		break;
	case PROBE_I_DISABLE_INTERRUPTS:
		__asm__ volatile("msr daifset, #2");
		break;
	case PROBE_I_ENABLE_INTERRUPTS:
		__asm__ volatile("msr daifclr, #2");
		break;
	case PROBE_I_READ_SYSTEM_REGISTER:
		READ(vbar_el1);
		break;
	case PROBE_I_WRITE_SYSTEM_REGISTER:
		WRITE(vbar_el1);
		break;
	case PROBE_I_READ_CONTROL:
		READ(sctlr_el1);
		break;
	case PROBE_I_WRITE_CONTROL:
		WRITE(ttbr0_el1);
		break;
	case PROBE_I_INVALIDATE_TLB:
		__asm__ volatile("tlbi vmalle1");
		break;
	case PROBE_I_PORT_IN:
		READ(cntpct_el0);
		break;
	case PROBE_I_PORT_OUT:
		WRITE(cntv_cval_el0);
		break;
	case PROBE_I_LOAD_GDT:
		WRITE(tcr_el1);
		break;
	case PROBE_I_LOAD_IDT:
		WRITE(elr_el1);
		break;
	case PROBE_I_STORE_GDT:
		READ(ttbr1_el1);
		break;
	case PROBE_I_STORE_IDT:
		READ(id_aa64mmfr0_el1);
		break;
	case PROBE_I_STORE_LDT:
		READ(ctr_el0);
		break;
	case PROBE_I_STORE_TASK:
		READ(tpidr_el1);
		break;
	case PROBE_I_STORE_MACHINE_STATUS:
		READ(CurrentEL);
		break;
	case PROBE_I_SWAP_GS:
		__asm__ volatile("msr spsel, #1");
		break;
	case PROBE_I_READ_COUNTER:
		READ(pmccntr_el0);
		break;
	case PROBE_I_RETURN_TO_USER:
		__asm__ volatile("eret");
		break;
	case PROBE_I_INTERRUPT_DOUBLE_FAULT:
		__asm__ volatile("hvc #0");
		break;
	case PROBE_I_INTERRUPT_PAGE_FAULT:
		__asm__ volatile("smc #0");
		break;
	case PROBE_I_INTERRUPT_TIMER:
		__asm__ volatile("dc zva, %0" : : "r"(&word) : "memory");
		break;
	case PROBE_I_INTERRUPT_80:
		__asm__ volatile("dc civac, %0" : : "r"(&word) : "memory");
		break;
	case PROBE_I_INTERRUPT_LAST:
		WRITE(S3_0_C12_C11_5); /* ICC_SGI1R_EL1 */
		break;
	case PROBE_I_COUNT:
		break;
	}
}

void probe_breakpoint(void)
{
	__asm__ volatile("brk #0");
}

void probe_alignment_check(void)
{
	uint64_t words[2] = {0}, value;

	__asm__ volatile("ldr %0, [%1]" : "=r"(value) : "r"((uintptr_t)words + 1) : "memory");
}

enum { KEPT = 12, DESTROYED = 16 };

/*
 * The registers that the kernel keeps (x18 to x29) are filled with a pattern and compared afterwards; those that it
 * destroys (x2 to x17) are filled as well, and stored as they came back, so that the host can look for kernel data in them.
 */
void probe_syscall(const volatile struct probe_params *params, volatile struct probe_results *results)
{
	struct frame {
		uint64_t number, args[6];
		uint64_t pattern[KEPT], value, second, destroyed[DESTROYED], kept[KEPT];
	} frame;

	for (size_t i = 0; i < KEPT; i++)
		frame.pattern[i] = UINT64_C(0x5a5a000000000000) + i;
	for (uint64_t turn = 0; turn < (params->repeat ? params->repeat : 1); turn++) {
		register uint64_t at __asm__("x0") = (uintptr_t)&frame;

		frame.number = params->number;
		for (size_t i = 0; i < 6; i++)
			frame.args[i] = params->args[i];
		/* The frame's address waits on the stack: no register that finds it again is left alone. */
		__asm__ volatile(
			"stp x29, x19, [sp, #-32]!\n\t"
			"str x0, [sp, #16]\n\t"
			"str x18, [sp, #24]\n\t"
			"add x9, x0, %[pattern]\n\t"
			"ldp x18, x19, [x9]\n\t"
			"ldp x20, x21, [x9, #16]\n\t"
			"ldp x22, x23, [x9, #32]\n\t"
			"ldp x24, x25, [x9, #48]\n\t"
			"ldp x26, x27, [x9, #64]\n\t"
			"ldp x28, x29, [x9, #80]\n\t"
			"ldr x8, [x0, %[number]]\n\t"
			"add x9, x0, %[args]\n\t"
			"mov x6, x29\n\tmov x7, x29\n\tmov x10, x29\n\tmov x11, x29\n\t"
			"mov x12, x29\n\tmov x13, x29\n\tmov x14, x29\n\tmov x15, x29\n\t"
			"mov x16, x29\n\tmov x17, x29\n\t"
			"ldp x0, x1, [x9]\n\t"
			"ldp x2, x3, [x9, #16]\n\t"
			"ldp x4, x5, [x9, #32]\n\t"
			"svc #0\n\t"
			"str x30, [sp, #-16]!\n\t"
			"ldr x30, [sp, #32]\n\t"
			"str x0, [x30, %[value]]\n\t"
			"str x1, [x30, %[second]]\n\t"
			"add x0, x30, %[destroyed]\n\t"
			"stp x2, x3, [x0]\n\t"
			"stp x4, x5, [x0, #16]\n\t"
			"stp x6, x7, [x0, #32]\n\t"
			"stp x8, x9, [x0, #48]\n\t"
			"stp x10, x11, [x0, #64]\n\t"
			"stp x12, x13, [x0, #80]\n\t"
			"stp x14, x15, [x0, #96]\n\t"
			"stp x16, x17, [x0, #112]\n\t"
			"add x0, x30, %[kept]\n\t"
			"stp x18, x19, [x0]\n\t"
			"stp x20, x21, [x0, #16]\n\t"
			"stp x22, x23, [x0, #32]\n\t"
			"stp x24, x25, [x0, #48]\n\t"
			"stp x26, x27, [x0, #64]\n\t"
			"stp x28, x29, [x0, #80]\n\t"
			"ldr x30, [sp], #16\n\t"
			"ldr x18, [sp, #24]\n\t"
			"ldp x29, x19, [sp], #32"
			: "+r"(at)
			: [number] "i"(offsetof(struct frame, number)), [args] "i"(offsetof(struct frame, args)),
			[pattern] "i"(offsetof(struct frame, pattern)), [second] "i"(offsetof(struct frame, second)),
			[value] "i"(offsetof(struct frame, value)), [destroyed] "i"(offsetof(struct frame, destroyed)),
			[kept] "i"(offsetof(struct frame, kept))
			: "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
			"x15", "x16", "x17", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "memory",
			"cc");
		results->value = frame.value;
		results->second = frame.second;
		for (size_t i = 0; i < DESTROYED; i++)
			results->registers[i] = frame.destroyed[i];
		for (size_t i = 0; i < KEPT; i++)
			results->mismatches += frame.kept[i] != frame.pattern[i];
	}
}

void probe_hostile_stack(uint64_t stack, uint64_t repeat)
{
	/* Interrupts and the system call must find a stack of the kernel's own: this one belongs to nobody. */
	__asm__ volatile("mov x19, sp\n\t"
			 "mov sp, %[stack]\n\t"
			 "mov x8, #0\n\t"
			 "svc #0\n\t"
			 "1: yield\n\t"
			 "subs %[repeat], %[repeat], #1\n\t"
			 "b.ne 1b\n\t"
			 "mov sp, x19"
			 : [repeat] "+r"(repeat)
			 : [stack] "r"(stack)
			 : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
			 "x14", "x15", "x16", "x17", "x19", "memory", "cc");
}
