/* NetD's clock is the kernel's. */
#include "clock.h"

#include <user.h>

void clock_start(void)
{
}

netd_time clock_now(void)
{
	return sys_time() / 1000;
}

bool clock_idle(netd_time due)
{
	(void)due;
	return false;
}

uint64_t clock_sleep_until(netd_time due)
{
	return due > KEUOS_FOREVER / 1000 ? KEUOS_FOREVER : due * 1000;
}
