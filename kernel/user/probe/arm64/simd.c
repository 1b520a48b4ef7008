/*
 * The probe's operations on the vector registers of arm64. All 32 are loaded, kept through the turns and stored inside one
 * asm statement, because the compiler may use any of them between two.
 */
#include "../probe.h"

#include <stddef.h>

enum { FPCR_TOWARDS_ZERO = 3 << 22 }; /* not the value at reset, so that a state which was not restored shows */

#define PAIRS(step)                                                                                                    \
	step(0, 1) step(2, 3) step(4, 5) step(6, 7) step(8, 9) step(10, 11) step(12, 13) step(14, 15) step(16, 17)     \
		step(18, 19) step(20, 21) step(22, 23) step(24, 25) step(26, 27) step(28, 29) step(30, 31)
#define LOAD(m, n) "ldp q" #m ", q" #n ", [%[from], #" #m "*16]\n\t"
#define STORE(m, n) "stp q" #m ", q" #n ", [%[to], #" #m "*16]\n\t"

_Static_assert(KEUOS_SYS_YIELD == 1, "the turns yield by this number");

static uint64_t pattern(uint64_t seed, size_t word)
{
	return (seed + word + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

void probe_simd_hold(const volatile struct probe_params *params, volatile struct probe_results *results)
{
	uint64_t want[PROBE_SIMD_WORDS], got[PROBE_SIMD_WORDS];
	uint64_t control = FPCR_TOWARDS_ZERO, control_before, control_after;
	register uint64_t turns __asm__("x19") = params->repeat ? params->repeat : 1;
	register uint64_t yields __asm__("x20") = params->yields;
	register uint64_t *from __asm__("x21") = want;
	register uint64_t *to __asm__("x22") = got;

	for (size_t i = 0; i < PROBE_SIMD_WORDS; i++)
		want[i] = pattern(params->value, i);
	__asm__ volatile("mrs %0, fpcr" : "=r"(control_before));
	__asm__ volatile("msr fpcr, %0" : : "r"(control));
	__asm__ volatile(PAIRS(LOAD) "1: cbz %[yields], 2f\n\t"
				     "mov x8, #1\n\t"
				     "svc #0\n\t"
				     "b 3f\n\t"
				     "2: yield\n\t"
				     "3: subs %[turns], %[turns], #1\n\t"
				     "b.ne 1b\n\t" PAIRS(STORE)
			 : [turns] "+r"(turns)
			 : [from] "r"(from), [to] "r"(to), [yields] "r"(yields)
			 : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
			 "x14", "x15", "x16", "x17", "memory", "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7",
			 "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21",
			 "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
	__asm__ volatile("mrs %0, fpcr" : "=r"(control_after));
	__asm__ volatile("msr fpcr, %0" : : "r"(control_before));

	results->mismatches = control_after != control;
	for (size_t i = 0; i < PROBE_SIMD_WORDS; i++) {
		results->simd[i] = got[i];
		results->mismatches += got[i] != want[i];
	}
}

void probe_simd_read(volatile struct probe_results *results)
{
	volatile uint64_t *to = results->simd;

	__asm__ volatile(PAIRS(STORE) : : [to] "r"(to) : "memory");
}
