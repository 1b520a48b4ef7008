/* One round trip over two channels, both sides' code in one thread, as the instruction counter steps through it. */
#ifndef ROUND_TRIP_H
#define ROUND_TRIP_H

#include "host_channel.h"

struct round_trip {
	struct host_channel there, back;
};

/* Runs n round trips of each kind. Messages are private at both ends. Fails if a message arrives changed. */
void round_trips_56(struct round_trip *trip, uint32_t n);
void round_trips_64(struct round_trip *trip, uint32_t n);
void round_trips_64_batch(struct round_trip *trip, uint32_t n);
void round_trips_48_proof(struct round_trip *trip, uint32_t n);
void round_trips_64_verified(struct round_trip *trip, uint32_t n);
void round_trips_deliver(struct round_trip *trip, uint32_t n);
void round_trips_nop(struct round_trip *trip, uint32_t n);

#endif
