/* The HIL build's machine-dependent part. */
#include <kernel/arch.h>

_Noreturn void arch_triple_fault(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} empty = {0, 0};
	__asm__ volatile("lidt %0; int3" : : "m"(empty));
	arch_halt();
}
