/* The probe's operations on x86-64 that are one instruction or a few; simd.c has the vector registers. */
#include "../probe.h"

#include <stddef.h>

struct __attribute__((packed)) table_register {
	uint16_t limit;
	uint64_t base;
};

void probe_instruction(uint64_t which)
{
	struct table_register table = {0};
	uint64_t word = 0;
	uint32_t low, high;

	switch ((enum probe_instruction)which) {
	case PROBE_I_UNDEFINED:
		__asm__ volatile("ud2");
		break;
	case PROBE_I_HALT:
		__asm__ volatile("hlt");
		break;
	case PROBE_I_DISABLE_INTERRUPTS:
		__asm__ volatile("cli");
		break;
	case PROBE_I_ENABLE_INTERRUPTS:
		__asm__ volatile("sti");
		break;
	case PROBE_I_READ_SYSTEM_REGISTER:
		__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xc0000082)); /* LSTAR: the kernel's entry */
		break;
	case PROBE_I_WRITE_SYSTEM_REGISTER:
		__asm__ volatile("wrmsr" : : "a"(0), "d"(0), "c"(0xc0000082));
		break;
	case PROBE_I_READ_CONTROL:
		__asm__ volatile("mov %%cr0, %0" : "=r"(word));
		break;
	case PROBE_I_WRITE_CONTROL:
		__asm__ volatile("mov %0, %%cr3" : : "r"(word));
		break;
	case PROBE_I_INVALIDATE_TLB:
		__asm__ volatile("invlpg (%0)" : : "r"(&word));
		break;
	case PROBE_I_PORT_IN:
		__asm__ volatile("inb $0x64, %%al" : "=a"(low));
		break;
	case PROBE_I_PORT_OUT:
		__asm__ volatile("outb %%al, $0x64" : : "a"(0xfe)); /* would pulse the reset line */
		break;
	case PROBE_I_LOAD_GDT:
		__asm__ volatile("lgdt %0" : : "m"(table));
		break;
	case PROBE_I_LOAD_IDT:
		__asm__ volatile("lidt %0" : : "m"(table));
		break;
	case PROBE_I_STORE_GDT:
		__asm__ volatile("sgdt %0" : "=m"(table));
		break;
	case PROBE_I_STORE_IDT:
		__asm__ volatile("sidt %0" : "=m"(table));
		break;
	case PROBE_I_STORE_LDT:
		__asm__ volatile("sldt %0" : "=r"(word));
		break;
	case PROBE_I_STORE_TASK:
		__asm__ volatile("str %0" : "=r"(word));
		break;
	case PROBE_I_STORE_MACHINE_STATUS:
		__asm__ volatile("smsw %0" : "=r"(word));
		break;
	case PROBE_I_SWAP_GS:
		__asm__ volatile("swapgs");
		break;
	case PROBE_I_READ_COUNTER:
		__asm__ volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(0));
		break;
	case PROBE_I_RETURN_TO_USER:
		__asm__ volatile("sysretq" : : : "rcx", "r11");
		break;
	case PROBE_I_INTERRUPT_DOUBLE_FAULT:
		__asm__ volatile("int $8");
		break;
	case PROBE_I_INTERRUPT_PAGE_FAULT:
		__asm__ volatile("int $14");
		break;
	case PROBE_I_INTERRUPT_TIMER:
		__asm__ volatile("int $32");
		break;
	case PROBE_I_INTERRUPT_80:
		__asm__ volatile("int $0x80");
		break;
	case PROBE_I_INTERRUPT_LAST:
		__asm__ volatile("int $255");
		break;
	case PROBE_I_COUNT:
		break;
	}
}

void probe_breakpoint(void)
{
	__asm__ volatile("int3");
}

void probe_alignment_check(void)
{
	uint64_t words[2] = {0};
	uint64_t value;

	__asm__ volatile("pushfq\n\t"
			 "orq $0x40000, (%%rsp)\n\t"
			 "popfq\n\t"
			 "movq 1(%1), %0\n\t"
			 "pushfq\n\t"
			 "andq $-0x40001, (%%rsp)\n\t"
			 "popfq"
			 : "=&r"(value)
			 : "r"(words)
			 : "cc", "memory");
}

/*
 * The registers that the kernel keeps are filled with a pattern and compared afterwards; those that it destroys are
 * filled as well, and stored as they came back, so that the host can look for kernel data in them.
 */
void probe_syscall(const volatile struct probe_params *params, volatile struct probe_results *results)
{
	struct frame {
		uint64_t number, args[6];
		uint64_t pattern[6]; /* rbx, rbp, r12 to r15 */
		uint64_t value, second, destroyed[7], kept[6];
		uint64_t stack;
	} frame;

	for (size_t i = 0; i < 6; i++)
		frame.pattern[i] = UINT64_C(0x5a5a000000000000) + i;
	for (uint64_t turn = 0; turn < (params->repeat ? params->repeat : 1); turn++) {
		frame.number = params->number;
		for (size_t i = 0; i < 6; i++)
			frame.args[i] = params->args[i];
		/* The frame's address waits on the stack, and the call may change no register that finds it again: rsp. */
		__asm__ volatile(
			"pushq %%rbx\n\tpushq %%rbp\n\tpushq %%rax\n\t"
			"movq %c[pattern](%%rax), %%rbx\n\t"
			"movq %c[pattern]+8(%%rax), %%rbp\n\t"
			"movq %c[pattern]+16(%%rax), %%r12\n\t"
			"movq %c[pattern]+24(%%rax), %%r13\n\t"
			"movq %c[pattern]+32(%%rax), %%r14\n\t"
			"movq %c[pattern]+40(%%rax), %%r15\n\t"
			"movq %c[args](%%rax), %%rdi\n\t"
			"movq %c[args]+8(%%rax), %%rsi\n\t"
			"movq %c[args]+16(%%rax), %%rdx\n\t"
			"movq %c[args]+24(%%rax), %%r10\n\t"
			"movq %c[args]+32(%%rax), %%r8\n\t"
			"movq %c[args]+40(%%rax), %%r9\n\t"
			"movq %c[number](%%rax), %%rax\n\t"
			"syscall\n\t"
			"xchgq %%rax, (%%rsp)\n\t"
			"movq %%rdx, %c[second](%%rax)\n\t"
			"movq %%rcx, %c[destroyed](%%rax)\n\t"
			"movq %%r11, %c[destroyed]+8(%%rax)\n\t"
			"movq %%rsi, %c[destroyed]+16(%%rax)\n\t"
			"movq %%rdi, %c[destroyed]+24(%%rax)\n\t"
			"movq %%r8, %c[destroyed]+32(%%rax)\n\t"
			"movq %%r9, %c[destroyed]+40(%%rax)\n\t"
			"movq %%r10, %c[destroyed]+48(%%rax)\n\t"
			"movq %%rbx, %c[kept](%%rax)\n\t"
			"movq %%rbp, %c[kept]+8(%%rax)\n\t"
			"movq %%r12, %c[kept]+16(%%rax)\n\t"
			"movq %%r13, %c[kept]+24(%%rax)\n\t"
			"movq %%r14, %c[kept]+32(%%rax)\n\t"
			"movq %%r15, %c[kept]+40(%%rax)\n\t"
			"popq %c[value](%%rax)\n\t"
			"popq %%rbp\n\tpopq %%rbx"
			:
			: "a"(&frame), [number] "i"(offsetof(struct frame, number)),
			[args] "i"(offsetof(struct frame, args)), [pattern] "i"(offsetof(struct frame, pattern)),
			[second] "i"(offsetof(struct frame, second)), [value] "i"(offsetof(struct frame, value)),
			[destroyed] "i"(offsetof(struct frame, destroyed)), [kept] "i"(offsetof(struct frame, kept))
			: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory",
			"cc");
		results->value = frame.value;
		results->second = frame.second;
		for (size_t i = 0; i < 7; i++)
			results->registers[i] = frame.destroyed[i];
		for (size_t i = 0; i < 6; i++)
			results->mismatches += frame.kept[i] != frame.pattern[i];
	}
}

void probe_hostile_stack(uint64_t stack, uint64_t repeat)
{
	/* Interrupts and the system call must find a stack of the kernel's own: this one belongs to nobody. */
	__asm__ volatile("movq %%rsp, %%rbx\n\t"
			 "movq %[stack], %%rsp\n\t"
			 "xorl %%eax, %%eax\n\t"
			 "syscall\n\t"
			 "1: pause\n\t"
			 "decq %[repeat]\n\t"
			 "jnz 1b\n\t"
			 "movq %%rbx, %%rsp"
			 : [repeat] "+r"(repeat)
			 : [stack] "r"(stack)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
}
