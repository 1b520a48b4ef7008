/*
 * Who owns NetD's clock domain on KeuOS. Two implementations, one to a program: machine_clock.c (netd) tells the kernel's
 * time, test_clock.c (netd_hil) lets a test take the domain over.
 */
#ifndef NETD_KEUOS_CLOCK_H
#define NETD_KEUOS_CLOCK_H

#include <netd/clock.h>
#include <netd/nic.h>
#include <stdbool.h>

void clock_start(void);

/* The stack has been given its NIC: a clock that takes orders by frames puts itself between the two. */
void clock_wire(struct netd_nic *nic);
netd_time clock_now(void);

/* The loop has nothing to do before `due`. True: the clock was moved, so look again. */
bool clock_idle(netd_time due);

/* Until when, in the kernel's time (ns), the loop may sleep if nothing is due before `due`. */
uint64_t clock_sleep_until(netd_time due);

#endif
