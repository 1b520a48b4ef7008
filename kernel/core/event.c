/* The event record. */
#include <kernel/arch.h>
#include <kernel/event.h>

struct keuos_event event_log[EVENTS_KEPT];
uint64_t event_next;

void event_record(struct keuos_event event)
{
	event.sequence = event_next;
	event.time_ns = arch_time_ns();
	event_log[event_next % EVENTS_KEPT] = event;
	event_next++;
}
