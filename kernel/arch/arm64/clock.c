/* Time: the generic timer's virtual counter and its comparator (Arm ARM D11). */
#include "machine.h"

enum { CONTROL_ON = 1, CONTROL_MASKED = 2 };

uint64_t arch_counter_hz;
static uint64_t counter_at_boot;
static uint64_t ns_per_tick_32, ticks_per_ns_32; /* 32.32 fixed point */

void clock_begin(void)
{
	arch_counter_hz = READ_SYSTEM(cntfrq_el0);
	if (arch_counter_hz < 1000000 || arch_counter_hz > UINT32_MAX)
		arch_counter_hz = 0; /* told of once there is a line: clock_init_core */
	else
		ns_per_tick_32 = (1000000000ull << 32) / arch_counter_hz;
	ticks_per_ns_32 = (arch_counter_hz << 32) / 1000000000;
	counter_at_boot = arch_counter();
}

void clock_init_core(void)
{
	if (arch_counter_hz == 0 || machine.timer_interrupt == 0)
		panic("no clock: CNTFRQ_EL0 is %lu Hz, and the device tree %s the virtual timer's interrupt",
			READ_SYSTEM(cntfrq_el0), machine.timer_interrupt ? "names" : "lacks");
	WRITE_SYSTEM(cntv_ctl_el0, CONTROL_MASKED);
}

uint64_t arch_time_ns(void)
{
	return (uint64_t)((unsigned __int128)(arch_counter() - counter_at_boot) * ns_per_tick_32 >> 32);
}

void arch_timer_arm(uint64_t at_ns)
{
	if (at_ns == 0) {
		WRITE_SYSTEM(cntv_ctl_el0, CONTROL_MASKED);
		return;
	}
	/* A tick that comes too soon arms it again; one that rounding made late is one count late. */
	uint64_t ticks = (uint64_t)((unsigned __int128)at_ns * ticks_per_ns_32 >> 32) + 1;
	uint64_t at = counter_at_boot + ticks;
	WRITE_SYSTEM(cntv_cval_el0, at < counter_at_boot ? UINT64_MAX : at);
	WRITE_SYSTEM(cntv_ctl_el0, CONTROL_ON);
	__asm__ volatile("isb" ::: "memory");
}

/* The line stays up until the comparator is moved or switched off. */
void clock_interrupt(void)
{
	WRITE_SYSTEM(cntv_ctl_el0, CONTROL_MASKED);
	__asm__ volatile("isb" ::: "memory");
}
