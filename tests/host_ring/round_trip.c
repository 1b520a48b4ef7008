/* The measured loops: see round_trip.h. Compiled with the flags of user programs on a target, not for a debugger. */
#include "round_trip.h"

#include <keuos/batch.h>

/* What was built must be in memory, and what arrived is looked at: neither copy may be elided. */
#define MATERIALISE(buffer) __asm__ volatile("" : : "r"(buffer) : "memory")

#define ROUND_TRIPS(name, length, proof)                                                                               \
	void name(struct round_trip *trip, uint32_t n)                                                                 \
	{                                                                                                              \
		struct keuos_producer ping_out = keuos_producer_init(&trip->there.producer);                           \
		struct keuos_consumer pong_in = keuos_consumer_init(&trip->there.consumer);                            \
		struct keuos_producer pong_out = keuos_producer_init(&trip->back.producer);                            \
		struct keuos_consumer ping_in = keuos_consumer_init(&trip->back.consumer);                             \
		struct keuos_kind kind_there, kind_back;                                                               \
		_Alignas(16) uint8_t ping[64] = {1, 2, 3}, pong[64] = {0}, seen[64] = {0};                             \
                                                                                                                       \
		if (keuos_check_kind(&ping_out.ring, HOST_TEMPLATE, length, &kind_there) ||                            \
			keuos_check_kind(&pong_out.ring, HOST_TEMPLATE, length, &kind_back))                           \
			host_fail(#name ": not granted");                                                              \
		for (uint32_t i = 0; i < n; i++) {                                                                     \
			MATERIALISE(ping);                                                                             \
			if (keuos_send_inline(&ping_out, &kind_there, ping, length, proof))                            \
				host_fail(#name ": no room for trip %u", i);                                           \
			MATERIALISE(pong);                                                                             \
			if (keuos_receive_inline(&pong_in, &kind_there, pong, length, proof) != length)                \
				host_fail(#name ": nothing arrived in trip %u", i);                                    \
			MATERIALISE(pong);                                                                             \
			if (keuos_send_inline(&pong_out, &kind_back, pong, length, proof))                             \
				host_fail(#name ": no room for answer %u", i);                                         \
			MATERIALISE(seen);                                                                             \
			if (keuos_receive_inline(&ping_in, &kind_back, seen, length, proof) != length)                 \
				host_fail(#name ": no answer in trip %u", i);                                          \
			MATERIALISE(seen);                                                                             \
		}                                                                                                      \
		for (uint32_t i = 0; i < length; i++)                                                                  \
			if (seen[i] != ping[i])                                                                        \
				host_fail(#name ": byte %u came back as %u, not %u", i, seen[i], ping[i]);             \
	}

ROUND_TRIPS(round_trips_56, 56, 0)
ROUND_TRIPS(round_trips_64, 64, 0)
ROUND_TRIPS(round_trips_48_proof, 48, 1)

/* The same 64 bytes, GROUP of them with a call; n is a multiple of it. */
void round_trips_64_batch(struct round_trip *trip, uint32_t n)
{
	enum { GROUP = 32 };
	struct keuos_producer ping_out = keuos_producer_init(&trip->there.producer);
	struct keuos_consumer pong_in = keuos_consumer_init(&trip->there.consumer);
	struct keuos_producer pong_out = keuos_producer_init(&trip->back.producer);
	struct keuos_consumer ping_in = keuos_consumer_init(&trip->back.consumer);
	struct keuos_batch there = {0}, back = {0};
	static _Alignas(16) uint8_t ping[GROUP][64] = {{1, 2, 3}, {4, 5, 6}}, pong[GROUP][64], seen[GROUP][64];

	for (uint32_t i = 0; i < n; i += GROUP) {
		MATERIALISE(ping);
		if (keuos_send_batch(&ping_out, HOST_TEMPLATE, ping, 64, GROUP) != GROUP)
			host_fail("no room for group %u", i);
		MATERIALISE(pong);
		if (keuos_receive_batch(&pong_in, &there, HOST_TEMPLATE, pong, 64, GROUP) != GROUP)
			host_fail("nothing arrived in group %u", i);
		MATERIALISE(pong);
		if (keuos_send_batch(&pong_out, HOST_TEMPLATE, pong, 64, GROUP) != GROUP)
			host_fail("no room for answer %u", i);
		MATERIALISE(seen);
		if (keuos_receive_batch(&ping_in, &back, HOST_TEMPLATE, seen, 64, GROUP) != GROUP)
			host_fail("no answer in group %u", i);
		MATERIALISE(seen);
	}
	for (uint32_t i = 0; i < sizeof(seen); i++)
		if (seen[i / 64][i % 64] != ping[i / 64][i % 64])
			host_fail("byte %u of a group came back changed", i);
}

/* What a side of a verified channel executes itself: a descriptor each way. The kernel's part is host_channel_deliver(). */
void round_trips_64_verified(struct round_trip *trip, uint32_t n)
{
	struct keuos_producer ping_out = keuos_producer_init(&trip->there.producer);
	struct keuos_consumer pong_in = keuos_consumer_init(&trip->there.consumer);
	struct keuos_producer pong_out = keuos_producer_init(&trip->back.producer);
	struct keuos_consumer ping_in = keuos_consumer_init(&trip->back.consumer);
	_Alignas(16) uint8_t ping[64] = {1, 2, 3}, pong[64] = {0}, seen[64] = {0};
	uint32_t template;

	for (uint32_t i = 0; i < n; i++) {
		MATERIALISE(ping);
		if (keuos_send_descriptor(&ping_out, HOST_TEMPLATE, ping, 64, 0))
			host_fail("no room for trip %u", i);
		MATERIALISE(pong);
		host_channel_deliver(&trip->there, i, i + 1);
		if (keuos_receive_verified(&pong_in, pong, 64, &template, 0) != 64)
			host_fail("nothing arrived in trip %u", i);
		MATERIALISE(pong);
		if (keuos_send_descriptor(&pong_out, HOST_TEMPLATE, pong, 64, 0))
			host_fail("no room for answer %u", i);
		MATERIALISE(seen);
		host_channel_deliver(&trip->back, i, i + 1);
		if (keuos_receive_verified(&ping_in, seen, 64, &template, 0) != 64)
			host_fail("no answer in trip %u", i);
		MATERIALISE(seen);
	}
}

void round_trips_deliver(struct round_trip *trip, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		host_channel_deliver(&trip->there, i, i + 1);
		host_channel_deliver(&trip->back, i, i + 1);
	}
}

void round_trips_nop(struct round_trip *trip, uint32_t n)
{
	(void)trip;
	for (uint32_t i = 0; i < n; i++)
		__asm__ volatile("nop" : : : "memory");
}
