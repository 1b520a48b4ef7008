/*
 * NetD's clock is the kernel's, but read from the counter that user programs may read: the time is asked for at every turn of
 * the loop, and a system call each time would be most of those that a packet costs.
 */
#include "clock.h"

#include <user.h>

static struct {
	uint64_t ticks; /* at the start */
	uint64_t hz;
	netd_time time; /* then */
} start;

static uint64_t read_counter(void)
{
#if defined(__x86_64__)
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
#else
	uint64_t ticks;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#endif
}

void clock_start(void)
{
	struct keuos_system_info info = {.tick_hz = 0};

	sys_system_info(&info);
	start.hz = info.tick_hz;
	start.ticks = read_counter();
	start.time = sys_time() / 1000;
}

void clock_wire(struct netd_nic *nic)
{
	(void)nic; /* nobody gives it orders */
}

netd_time clock_now(void)
{
	uint64_t passed = read_counter() - start.ticks;

	if (!start.hz)
		return sys_time() / 1000;
	return start.time + passed / start.hz * NETD_S + passed % start.hz * NETD_S / start.hz;
}

bool clock_idle(netd_time due)
{
	(void)due;
	return false;
}

/* A microsecond more: the two clocks may round apart, and a sleep that ends too early would be followed by another. */
uint64_t clock_sleep_until(netd_time due)
{
	return due > KEUOS_FOREVER / 1000 - 1 ? KEUOS_FOREVER : (due + 1) * 1000;
}
