/*
 * Sleeping on a ring and waking who sleeps, behind the flags of the index pages.
 *
 * Each side stores its flag and then looks at the ring; the other changes the ring and then looks at the flag. With a
 * full fence between store and load on both sides (x86 reorders exactly this pair), one of them sees the other: no
 * wake-up is lost. A wake-up too many only costs a look at the ring.
 *
 * The including program says how to sleep and wake, by two functions that it defines before it includes this file:
 *
 *   keuos_ring_doorbell(capability)  wakes the other side of the channel; a doorbell before the sleep ends it at once
 *   keuos_ring_wait(capability)      sleeps until the doorbell, or the end of the channel; it may return early
 */
#ifndef KEUOS_RING_SLEEP_H
#define KEUOS_RING_SLEEP_H

#include <keuos/ring.h>

/* Sets or clears this end's flag. Setting it must be followed by another look at the ring before the sleep. */
KEUOS_INLINE void keuos_ring_sleeping(struct keuos_ring *ring, uint32_t sleeping)
{
	__atomic_store_n(&ring->own->sleeping, sleeping, __ATOMIC_RELAXED);
	if (sleeping)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Whether the peer needs the doorbell for what was just stored. */
KEUOS_INLINE int keuos_ring_peer_sleeps(const struct keuos_ring *ring)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&ring->peer->sleeping, __ATOMIC_RELAXED) != 0;
}

/* After a send: wakes a consumer that sleeps. On a verified channel KEUOS_SYS_NOTIFY does that. */
KEUOS_INLINE void keuos_producer_wake(struct keuos_producer *p)
{
	if (keuos_ring_peer_sleeps(&p->ring))
		keuos_ring_doorbell(p->ring.capability);
}

/* After a receive: wakes a producer that sleeps on the full ring, if the tail was published since the last look. */
KEUOS_INLINE void keuos_consumer_wake(struct keuos_consumer *c)
{
	if (!c->published)
		return;
	c->published = 0;
	if (keuos_ring_peer_sleeps(&c->ring))
		keuos_ring_doorbell(c->ring.capability);
}

/* keuos_receive_cookie that sleeps while the ring is empty. Never KEUOS_RING_EMPTY. */
static inline int keuos_receive_wait(
	struct keuos_consumer *c, void *buffer, uint32_t capacity, uint32_t *template_index, uint64_t cookie[2])
{
	int result = keuos_receive_cookie(c, buffer, capacity, template_index, cookie);

	while (result == KEUOS_RING_EMPTY) {
		keuos_ring_sleeping(&c->ring, 1);
		result = keuos_receive_cookie(c, buffer, capacity, template_index, cookie);
		if (result == KEUOS_RING_EMPTY) {
			keuos_consumer_wake(c); /* what was received by other means may have made the room */
			keuos_ring_wait(c->ring.capability);
			result = keuos_receive_cookie(c, buffer, capacity, template_index, cookie);
		}
		keuos_ring_sleeping(&c->ring, 0);
	}
	keuos_consumer_wake(c);
	return result;
}

/* keuos_send that sleeps while the ring is full, on a polled channel. Never KEUOS_RING_FULL. */
static inline int keuos_send_wait(
	struct keuos_producer *p, uint32_t template_index, const void *message, uint32_t length)
{
	int result = keuos_send(p, template_index, message, length);

	while (result == KEUOS_RING_FULL) {
		keuos_ring_sleeping(&p->ring, 1);
		result = keuos_send(p, template_index, message, length);
		if (result == KEUOS_RING_FULL) {
			keuos_producer_wake(p); /* or both would sleep */
			keuos_ring_wait(p->ring.capability);
			result = keuos_send(p, template_index, message, length);
		}
		keuos_ring_sleeping(&p->ring, 0);
	}
	if (result == KEUOS_RING_OK)
		keuos_producer_wake(p);
	return result;
}

#endif
