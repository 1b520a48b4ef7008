/* The HIL build's machine-dependent part. */
#include "machine.h"

enum { PMU_VERSION = 8, PMUSERENR_COUNTERS_READ = 3 << 2, PMCR_ON = 1, CYCLES = 1u << 31, EVENT_RETIRED = 8 };

/* There is no fault that a core can't take: nearest to it is a reset that nobody asked for. */
_Noreturn void arch_triple_fault(void)
{
	arch_reboot(KEUOS_REBOOT_RESET);
}

/*
 * Programs may read the PMU's cycle counter, and in counter 0 the instructions retired where the core counts them
 * (PMCEID0_EL0; Arm ARM D13). It is a better clock than a process should have, so only here.
 */
void hil_init_core(void)
{
	uint64_t version = ID_FIELD(id_aa64dfr0_el1, PMU_VERSION);
	if (version == 0 || version == 15)
		return;
	uint32_t counters = CYCLES;
	if (READ_SYSTEM(pmceid0_el0) & 1 << EVENT_RETIRED) {
		WRITE_SYSTEM(pmevtyper0_el0, EVENT_RETIRED);
		counters |= 1;
	}
	WRITE_SYSTEM(pmccfiltr_el0, 0);
	WRITE_SYSTEM(pmcntenset_el0, counters);
	WRITE_SYSTEM(pmcr_el0, READ_SYSTEM(pmcr_el0) | PMCR_ON);
	WRITE_SYSTEM(pmuserenr_el0, PMUSERENR_COUNTERS_READ);
	__asm__ volatile("isb");
}
