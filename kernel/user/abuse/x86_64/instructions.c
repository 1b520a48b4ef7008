/* The abuse program's operations on x86-64 that C can't say: far calls and the x87. */
#include "../abuse.h"

int abuse_has(uint32_t op)
{
	(void)op;
	return 1;
}

struct __attribute__((packed)) far_pointer {
	uint32_t offset;
	uint16_t selector;
};

/* A call gate's own address goes unused, so the offset is 0. The call pushes, and there may be a red zone below. */
void abuse_far_call(uint16_t selector)
{
	const struct far_pointer target = {.selector = selector};

	__asm__ volatile("movq %%rsp, %%rbx\n\t"
			 "subq $256, %%rsp\n\t"
			 "andq $-16, %%rsp\n\t"
			 "lcall *(%[target])\n\t"
			 "movq %%rbx, %%rsp"
			 :
			 : [target] "r"(&target)
			 : "rbx", "memory", "cc");
}

enum { X87_ALL_BUT_ZERO_DIVIDE = 0x37b }; /* the control word's masks: 64-bit precision, nearest, exceptions masked */

/* The division leaves the exception pending: the next x87 instruction that waits reports it. */
void abuse_x87_divide(void)
{
	const uint16_t control = X87_ALL_BUT_ZERO_DIVIDE;
	const float zero = 0;

	__asm__ volatile("fldcw %[control]\n\t"
			 "fld1\n\t"
			 "fdivs %[zero]"
			 :
			 : [control] "m"(control), [zero] "m"(zero)
			 : "st");
}

void abuse_x87_report(void)
{
	__asm__ volatile("fwait");
}
