/* One core: what the scheduler keeps for it. struct arch_cpu stands first, for assembly. */
#ifndef KERNEL_CPU_H
#define KERNEL_CPU_H

#include <kernel/base.h>
#include <keuos/syscall.h>

struct space;

struct run_queue {
	struct process *first;
	struct process *last;
};

struct cpu {
	struct arch_cpu arch;
	uint32_t index;
	bool idle;
	uint32_t ready_mask; /* bit p: queue p holds somebody */
	struct run_queue ready[KEUOS_PRIORITIES];
	struct process *sleepers; /* those that wait with a deadline, soonest first */
	uint64_t slice_end;       /* ns; 0: nobody to take turns with */
	uint64_t armed;           /* what the timer is set to, ns; 0: off */
	struct space *space;      /* whose tables are loaded */
	struct process *loaded;   /* whose SIMD registers are in the core */
	uint64_t interrupts;
};

extern struct cpu cpus[KEUOS_CORES_MAX];
extern uint32_t cpu_count;

#endif
