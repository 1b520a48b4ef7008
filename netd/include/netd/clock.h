/*
 * NetD's time: one clock domain, in microseconds from an arbitrary start, that never goes back. The stack is told the
 * time (netd_set_time, netd_run) and reads no clock of its own, so that a test can take the clock over. Who owns a
 * real clock, and the conversion from its ticks, is the port's matter.
 */
#ifndef NETD_CLOCK_H
#define NETD_CLOCK_H

#include <stdint.h>

typedef uint64_t netd_time;

#define NETD_MS ((netd_time)1000)
#define NETD_S (1000 * NETD_MS)
#define NETD_NEVER UINT64_MAX /* a deadline that does not come */

#endif
