/* The event record: what went wrong or ended, and for whom. The newest EVENTS_KEPT are kept; their sequence counts on. */
#ifndef KERNEL_EVENT_H
#define KERNEL_EVENT_H

#include <keuos/syscall.h>

enum { EVENTS_KEPT = 256 };

extern struct keuos_event event_log[EVENTS_KEPT]; /* event n is at n mod EVENTS_KEPT */
extern uint64_t event_next;

/* Fills in sequence and time. */
void event_record(struct keuos_event event);

#endif
