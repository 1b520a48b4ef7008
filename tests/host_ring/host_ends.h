/* A channel on the host with both its ends opened, for test programs that play both sides in turn. */
#ifndef HOST_ENDS_H
#define HOST_ENDS_H

#include "host_channel.h"

#include <keuos/ring.h>

struct host_ends {
	struct host_channel channel;
	struct keuos_producer p;
	struct keuos_consumer c;
};

/*
 * Opens both ends with the slot and data counters (a multiple of 64) at the given values, as they stand after so many
 * messages: what a fresh channel reaches only after 2^32 of them is tested from close by.
 */
static inline struct host_ends host_ends_open(
	enum keuos_channel_mode mode, uint32_t data_order, uint32_t slots, uint32_t data)
{
	struct host_ends ends = {.channel = host_channel_create(mode, data_order)};
	struct keuos_index_page index = {.slots = slots, .data = data};

	*(struct keuos_index_page *)(void *)(ends.channel.kernel + KEUOS_OFFSET_HEAD) = index;
	*(struct keuos_index_page *)(void *)(ends.channel.kernel + KEUOS_OFFSET_TAIL) = index;
	ends.p = keuos_producer_init(&ends.channel.producer);
	ends.c = keuos_consumer_init(&ends.channel.consumer);
	ends.p.head += slots;
	ends.p.limit += slots;
	ends.p.data += data;
	ends.p.data_limit += data;
	ends.c.tail += slots;
	ends.c.publish_at += slots;
	ends.c.data += data;
	return ends;
}

/* Small, fast and repeatable: xorshift64. Not for secrets. */
static inline uint64_t host_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
