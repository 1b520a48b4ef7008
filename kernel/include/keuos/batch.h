/*
 * Many messages of one size at a time, for streams: a batch lies in the data ring, each message on lines of its own, and
 * one slot releases it. So 64 bytes take one line, where inline they take two, and neither side stores a word or reads an
 * index for each. To the gates and to the peer a batch is one message, as long as all of its messages' lines together.
 *
 * Who sends one message in a batch pays for a slot and the data ring both: what is alone goes by keuos_send.
 *
 * The peer is hostile, as in keuos/ring.h: of its memory the descriptor is copied once, and each message once.
 */
#ifndef KEUOS_BATCH_H
#define KEUOS_BATCH_H

#include <keuos/ring.h>

/* A batch that a consumer has opened and not yet emptied; zero at first. Until it is empty, only keuos_receive_batch. */
struct keuos_batch {
	uint32_t at;   /* the data counter at its next message */
	uint32_t left; /* messages */
};

enum keuos_batch_constants {
	KEUOS_BATCH_AHEAD = 8, /* lines of the next batch that are asked for while the caller looks at this one */
};

/* How many messages the data ring has room for now, at most `most`; start: where they would begin. */
KEUOS_INLINE uint32_t keuos_batch_room(const struct keuos_producer *p, uint32_t start, uint32_t stride, uint32_t most)
{
	uint32_t free = p->data_limit - p->data, gap = start - p->data;
	uint32_t fits = p->limit == p->head || free < gap ? 0 : (free - gap) / stride;

	return fits < most ? fits : most;
}

/*
 * Sends as many of `count` messages as there is room for, as one batch. On a verified channel KEUOS_SYS_NOTIFY must follow,
 * with one descriptor.
 *
 * messages: one behind another. size: bytes of each, more than 0; rounded up to a line, it must lie within the template
 * and the data ring. How many were sent, at least 1 of any, or enum keuos_ring_result.
 */
KEUOS_INLINE int keuos_send_batch(
	struct keuos_producer *p, uint32_t template_index, const void *messages, uint32_t size, uint32_t count)
{
	const struct keuos_sealed *sealed = keuos_granted(p->ring.tags, p->ring.generation, template_index);
	uint32_t data_bytes = p->ring.data_bytes, stride = keuos_align(size, KEUOS_DATA_ALIGNMENT);
	uint32_t start, sent;

	if (__atomic_load_n(&p->ring.status->state, __ATOMIC_RELAXED) != KEUOS_CHANNEL_OPEN)
		return KEUOS_RING_CLOSED;
	if (!sealed)
		return KEUOS_RING_NOT_GRANTED;
	if (size - 1 >= data_bytes || stride > sealed->max_length ||
		(uint64_t)stride + sealed->alignment > (uint64_t)data_bytes + KEUOS_DATA_ALIGNMENT)
		return KEUOS_RING_TOO_LONG;
	if (count > sealed->max_length / stride)
		count = sealed->max_length / stride;
	if (!count)
		return 0;
	start = keuos_align(p->data, sealed->alignment);
	sent = keuos_batch_room(p, start, stride, count);
	if (sent < count) {
		int result = keuos_producer_refresh(p, 1, start - p->data + stride);

		if (result)
			return result;
		sent = keuos_batch_room(p, start, stride, count);
	}
	/* The peer has the lines from when it read them: all are asked for before the first is waited for. */
	for (uint32_t at = start; at != start + sent * stride; at += KEUOS_DATA_ALIGNMENT)
		keuos_prefetch_write(p->ring.payload + (at & (data_bytes - 1)));
	if (size == stride) /* they lie as closely there as here */
		keuos_copy_in(p->ring.payload, data_bytes, start, messages, sent * size);
	else
		for (uint32_t i = 0; i < sent; i++)
			keuos_copy_in(p->ring.payload, data_bytes, start + i * stride,
				(const uint8_t *)messages + i * size, size);
	keuos_post_descriptor(p, sealed, template_index, start, sent * stride, 0);
	return (int)sent;
}

/* Asks for lines of the data ring, from a free-running offset on: they come together, not one after the other. */
KEUOS_INLINE void keuos_prefetch_batch(const struct keuos_consumer *c, uint32_t start, uint32_t bytes)
{
	for (uint32_t at = start; at != start + bytes; at += KEUOS_DATA_ALIGNMENT)
		__builtin_prefetch(c->ring.payload + (at & (c->ring.data_bytes - 1)));
}

/* After a batch: the first lines of the next one, if it has been released. A hint, that nothing rests on. */
KEUOS_INLINE void keuos_prefetch_next(const struct keuos_consumer *c)
{
	uint64_t word = __atomic_load_n(&keuos_slot_of(&c->ring, c->tail)->word, __ATOMIC_RELAXED);

	if ((uint32_t)(word >> KEUOS_WORD_SEQUENCE_SHIFT) == c->tail + 1)
		keuos_prefetch_batch(c, c->data, KEUOS_BATCH_AHEAD * KEUOS_DATA_ALIGNMENT);
}

/* Opens the next batch, if that is what comes next. Nothing is consumed. enum keuos_ring_result. */
KEUOS_INLINE int keuos_open_batch(
	struct keuos_consumer *c, struct keuos_batch *batch, uint32_t template_index, uint32_t stride)
{
	const struct keuos_slot *slot = keuos_slot_of(&c->ring, c->tail);
	uint64_t word = __atomic_load_n(&slot->word, __ATOMIC_ACQUIRE);
	const struct keuos_sealed *sealed = keuos_granted(c->ring.tags, c->ring.generation, template_index);
	struct keuos_descriptor copy;

	if ((uint32_t)(word >> KEUOS_WORD_SEQUENCE_SHIFT) != c->tail + 1)
		return keuos_idle(c, slot, word);
	if (!sealed)
		return KEUOS_RING_NOT_GRANTED;
	if ((uint32_t)word != keuos_low_word(KEUOS_LENGTH_DESCRIPTOR, template_index))
		return KEUOS_RING_UNEXPECTED;
	if (c->ring.mode == KEUOS_VERIFIED) {
		copy = *(const struct keuos_descriptor *)(const void *)slot;
	} else {
		int result = keuos_check_descriptor(c, slot, sealed, &copy);

		if (result)
			return result;
	}
	if (!copy.length || copy.length % stride)
		return KEUOS_RING_UNEXPECTED;
	*batch = (struct keuos_batch){.at = copy.offset, .left = copy.length / stride};
	return KEUOS_RING_OK;
}

/*
 * Receives what is left of a batch, at most `capacity` messages, into private memory, one behind another. The room is
 * given back when the batch is empty. A message of that template whose length is no batch of that size is
 * KEUOS_RING_UNEXPECTED: keuos_receive takes it.
 *
 * batch: this consumer's. template_index, size: as its sender's. How many were received, or enum keuos_ring_result.
 */
KEUOS_INLINE int keuos_receive_batch(struct keuos_consumer *c, struct keuos_batch *batch, uint32_t template_index,
	void *messages, uint32_t size, uint32_t capacity)
{
	uint32_t data_bytes = c->ring.data_bytes, stride = keuos_align(size, KEUOS_DATA_ALIGNMENT);
	uint32_t at, taken;

	if (!batch->left) {
		int result = keuos_open_batch(c, batch, template_index, stride);

		if (result)
			return result;
	}
	at = batch->at;
	taken = keuos_bounded(batch->left < capacity ? batch->left : capacity, capacity);
	keuos_prefetch_batch(c, at, taken * stride);
	if (size == stride)
		keuos_copy_out(c->ring.payload, data_bytes, at, messages, taken * size);
	else
		for (uint32_t i = 0; i < taken; i++)
			keuos_copy_out(
				c->ring.payload, data_bytes, at + i * stride, (uint8_t *)messages + i * size, size);
	batch->at = at + taken * stride;
	batch->left -= taken;
	if (!batch->left) {
		c->data = batch->at;
		c->tail++;
		keuos_consumer_publish(c);
		keuos_prefetch_next(c);
	}
	return (int)taken;
}

#endif
