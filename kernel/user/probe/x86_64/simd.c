/*
 * The probe's operations on the vector registers of x86-64. All sixteen are loaded, kept through the turns and stored
 * inside one asm statement, because the compiler may use any of them between two.
 */
#include "../probe.h"

#include <stddef.h>

enum {
	REGISTERS = 16,
	WORDS_NARROW = 2, /* of a register: 16 bytes */
	WORDS_WIDE = 4,
	MXCSR_TOWARDS_ZERO = 0x7f80, /* not the value at reset, so that a state which was not restored shows */
};

#define ALL(step)                                                                                                      \
	step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8) step(9) step(10) step(11) step(12)     \
		step(13) step(14) step(15)
#define LOAD_NARROW(n) "movups " #n "*16(%[from]), %%xmm" #n "\n\t"
#define STORE_NARROW(n) "movups %%xmm" #n ", " #n "*16(%[to])\n\t"
#define LOAD_WIDE(n) "vmovups " #n "*32(%[from]), %%ymm" #n "\n\t"
#define STORE_WIDE(n) "vmovups %%ymm" #n ", " #n "*32(%[to])\n\t"

/* Turns until rbx is 0: with a yield in each if r12 is not 0 (1 is KEUOS_SYS_YIELD), else a pause. */
#define TURNS                                                                                                          \
	"1: testq %%r12, %%r12\n\t"                                                                                    \
	"jz 2f\n\t"                                                                                                    \
	"movl $1, %%eax\n\t"                                                                                           \
	"syscall\n\t"                                                                                                  \
	"jmp 3f\n\t"                                                                                                   \
	"2: pause\n\t"                                                                                                 \
	"3: decq %%rbx\n\t"                                                                                            \
	"jnz 1b\n\t"

_Static_assert(KEUOS_SYS_YIELD == 1, "TURNS yields by this number");

/* Whether the kernel has switched on, and so saves, the 32-byte registers: CPUID.1:ECX.OSXSAVE and .AVX, then XCR0. */
static int wide_usable(void)
{
	uint32_t a = 1, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if ((c & (1U << 27)) == 0 || (c & (1U << 28)) == 0)
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (a & 6) == 6;
}

static uint64_t pattern(uint64_t seed, size_t word)
{
	return (seed + word + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

void probe_simd_hold(const volatile struct probe_params *params, volatile struct probe_results *results)
{
	uint64_t want[PROBE_SIMD_WORDS], got[PROBE_SIMD_WORDS] = {0};
	int wide = wide_usable();
	size_t words = REGISTERS * (size_t)(wide ? WORDS_WIDE : WORDS_NARROW);
	uint32_t control = MXCSR_TOWARDS_ZERO, control_before, control_after;
	register uint64_t turns __asm__("rbx") = params->repeat ? params->repeat : 1;
	register uint64_t yields __asm__("r12") = params->yields;
	register uint64_t *from __asm__("r13") = want;
	register uint64_t *to __asm__("r14") = got;

	for (size_t i = 0; i < words; i++)
		want[i] = pattern(params->value, i);
	__asm__ volatile("stmxcsr %0" : "=m"(control_before));
	__asm__ volatile("ldmxcsr %0" : : "m"(control));
	if (wide)
		__asm__ volatile(ALL(LOAD_WIDE) TURNS ALL(STORE_WIDE) "vzeroupper"
				 : [turns] "+r"(turns)
				 : [from] "r"(from), [to] "r"(to), [yields] "r"(yields)
				 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0",
				 "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
				 "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	else
		__asm__ volatile(ALL(LOAD_NARROW) TURNS ALL(STORE_NARROW)
				 : [turns] "+r"(turns)
				 : [from] "r"(from), [to] "r"(to), [yields] "r"(yields)
				 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0",
				 "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
				 "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	__asm__ volatile("stmxcsr %0" : "=m"(control_after));
	__asm__ volatile("ldmxcsr %0" : : "m"(control_before));

	results->wide = (uint32_t)wide;
	results->mismatches = control_after != control;
	for (size_t i = 0; i < words; i++) {
		results->simd[i] = got[i];
		results->mismatches += got[i] != want[i];
	}
}

void probe_simd_read(volatile struct probe_results *results)
{
	volatile uint64_t *to = results->simd;

	/*
	 * XCR0 is read first, and by general registers alone: nothing of what the kernel handed over is lost by it. A
	 * register's words lie 32 bytes apart in the wide case and 16 in the narrow one, as PROBE_SIMD_HOLD has them.
	 */
	if (wide_usable()) {
		__asm__ volatile(ALL(STORE_WIDE) : : [to] "r"(to) : "memory");
		results->wide = 1;
	} else {
		__asm__ volatile(ALL(STORE_NARROW) : : [to] "r"(to) : "memory");
	}
}
