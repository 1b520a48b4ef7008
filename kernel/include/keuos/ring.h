/*
 * Both ends of a channel, for user programs: how a message gets into the pages of keuos/channel.h and out again.
 *
 * Here live the producer and the consumer, and nothing that makes a system call, so that the same source runs on a
 * host; who wants to sleep includes keuos/ring_sleep.h as well. The kernel's end (gates, mailbox) is in ipc/ and
 * doesn't include this file.
 *
 * The peer is hostile. Whatever it can write is loaded once into private memory, and only that copy is checked and
 * used. Own counters live in private memory and are never read back from a page, and the peer's are believed only
 * as far as they are possible. What the kernel writes (status, tags, mailbox) is believed.
 *
 * A message is released by the word of its first slot, so a consumer polls one word and reads no index of its peer.
 * The counters of the head page are for the kernel, on a verified channel; nobody else reads them.
 */
#ifndef KEUOS_RING_H
#define KEUOS_RING_H

#include <keuos/channel.h>
#include <keuos/copy.h>
#include <keuos/syscall.h>
#include <stdint.h>

enum keuos_ring_result {
	KEUOS_RING_OK = 0,
	KEUOS_RING_EMPTY = -1,    /* nothing there now */
	KEUOS_RING_FULL = -2,     /* no room now */
	KEUOS_RING_TOO_LONG = -3, /* the message exceeds its template, the ring or the buffer; nothing was consumed */
	KEUOS_RING_NOT_GRANTED = -4, /* the receiver's interface has no such template */
	KEUOS_RING_CLOSED = -5,      /* and everything that was sent before has been received */
	KEUOS_RING_VIOLATION = -6,   /* the peer did what it must not: see the verdict beside, and close the channel */
	KEUOS_RING_UNEXPECTED = -7,  /* another message than the expected one is next: keuos_receive takes it */
};

enum keuos_ring_constants {
	KEUOS_TAIL_EVERY = KEUOS_SLOTS / 4, /* slots after which a consumer of inline messages publishes its tail */
};

/* What both ends have in common. "own" is the index page that this end may write. */
struct keuos_ring {
	struct keuos_slot *slots; /* a consumer's: of the mailbox, if the channel is verified */
	struct keuos_index_page *own;
	const struct keuos_index_page *peer;
	const struct keuos_status_page *status;
	const struct keuos_sealed *tags;
	uint8_t *payload; /* the data ring */
	uint32_t data_bytes;
	uint32_t generation;
	uint32_t mode; /* enum keuos_channel_mode */
	uint32_t capability;
	uint32_t verdict; /* enum keuos_verdict, after KEUOS_RING_VIOLATION */
};

struct keuos_producer {
	struct keuos_ring ring;
	uint32_t head;  /* slots sent */
	uint32_t limit; /* head may not pass it: the peer's tail as last read, and the ring's size more */
	uint32_t data;  /* data bytes sent, and what they may not pass */
	uint32_t data_limit;
};

struct keuos_consumer {
	struct keuos_ring ring;
	uint32_t tail;       /* slots received */
	uint32_t publish_at; /* the tail at which it is published next */
	uint32_t data;       /* data bytes received */
	uint32_t published;  /* nonzero: published since the last look at the producer's sleep flag */
};

/*
 * A template and a length that have been checked against the tags page. One check serves for good: what the kernel
 * sealed for a generation never changes.
 */
struct keuos_kind {
	uint64_t tag;
	uint64_t word; /* without its sequence */
};

/* One hint to the core that it spins; under an emulator that counts instructions it hands over to the other core. */
KEUOS_INLINE void keuos_pause(void)
{
#if defined(__x86_64__)
	__asm__ volatile("pause");
#else
	__asm__ volatile("yield");
#endif
}

/* value if it is at most limit, else 0; without a branch, so that it holds on a mispredicted path too (Spectre v1). */
KEUOS_INLINE uint32_t keuos_bounded(uint32_t value, uint32_t limit)
{
	uint64_t v = value;

	__asm__("" : "+r"(v)); /* or the compiler concludes from the check before that nothing is left to do */
	return (uint32_t)(v & (uint64_t)((int64_t)(v - limit - 1) >> 63));
}

KEUOS_INLINE uint32_t keuos_align(uint32_t value, uint32_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

KEUOS_INLINE uint32_t keuos_low_word(uint32_t length, uint32_t template_index)
{
	return length << KEUOS_WORD_LENGTH_SHIFT | template_index;
}

KEUOS_INLINE uint64_t keuos_word(uint32_t sequence, uint64_t low_word)
{
	return (uint64_t)sequence << KEUOS_WORD_SEQUENCE_SHIFT | low_word;
}

/*
 * By an offset, not an index: it is computed once, and serves every access to the slot. The slots fill a page, so that
 * arm64 puts the counter's bits into the page's address with one instruction; adding them takes it three.
 */
KEUOS_INLINE struct keuos_slot *keuos_slot_of(const struct keuos_ring *ring, uint32_t counter)
{
#if defined(__aarch64__)
	uint64_t at = (uint64_t)(uintptr_t)ring->slots;

	_Static_assert(KEUOS_SLOTS == 1 << 6 && KEUOS_SLOT_BYTES == 1 << 6, "the bits that are inserted");
	__asm__("bfi %0, %1, #6, #6" : "+r"(at) : "r"((uint64_t)counter));
	return (struct keuos_slot *)(uintptr_t)at;
#else
	uint64_t offset = counter * KEUOS_SLOT_BYTES & (KEUOS_SLOTS - 1) * KEUOS_SLOT_BYTES;

	return (struct keuos_slot *)(void *)((uint8_t *)ring->slots + offset);
#endif
}

/* The sealed template, or 0. An entry that was not granted is all zero, and no generation is. */
KEUOS_INLINE const struct keuos_sealed *keuos_granted(
	const struct keuos_sealed *tags, uint32_t generation, uint32_t index)
{
	const struct keuos_sealed *sealed = &tags[index & (KEUOS_TEMPLATES_MAX - 1)];

	return index < KEUOS_TEMPLATES_MAX && sealed->generation == generation ? sealed : 0;
}

/* The index of the granted template with that opcode, or KEUOS_RING_NOT_GRANTED: how a receiver finds its sender's. */
static inline int keuos_find_template(const struct keuos_ring *ring, uint32_t opcode)
{
	for (int i = 0; i < KEUOS_TEMPLATES_MAX; i++)
		if (keuos_granted(ring->tags, ring->generation, (uint32_t)i) && ring->tags[i].opcode == opcode)
			return i;
	return KEUOS_RING_NOT_GRANTED;
}

/* What a channel's inline messages may be at most. Bytes. */
KEUOS_INLINE uint32_t keuos_inline_max(const struct keuos_ring *ring)
{
	return KEUOS_INLINE_MAX - (ring->mode == KEUOS_POLLED_PROOF ? KEUOS_PROOF_BYTES : 0);
}

/* Checks, once, what keuos_send_inline and keuos_receive_inline then take for granted. enum keuos_ring_result. */
static inline int keuos_check_kind(
	const struct keuos_ring *ring, uint32_t template_index, uint32_t length, struct keuos_kind *kind)
{
	const struct keuos_sealed *sealed = keuos_granted(ring->tags, ring->generation, template_index);

	if (!sealed)
		return KEUOS_RING_NOT_GRANTED;
	if (length > sealed->max_length || length > keuos_inline_max(ring))
		return KEUOS_RING_TOO_LONG;
	*kind = (struct keuos_kind){.tag = sealed->tag, .word = keuos_low_word(length, template_index)};
	return KEUOS_RING_OK;
}

/* Takes the peer's tail over, and says whether that makes room. */
KEUOS_INLINE int keuos_producer_refresh(struct keuos_producer *p, uint32_t slots, uint32_t bytes)
{
	uint32_t tail = __atomic_load_n(&p->ring.peer->slots, __ATOMIC_ACQUIRE);
	uint32_t data = __atomic_load_n(&p->ring.peer->data, __ATOMIC_ACQUIRE);
	uint32_t old = p->limit - KEUOS_SLOTS;
	uint32_t old_data = p->data_limit - p->ring.data_bytes;

	if (tail - old > p->head - old || data - old_data > p->data - old_data) {
		p->ring.verdict = KEUOS_VERDICT_TAIL;
		return KEUOS_RING_VIOLATION;
	}
	p->limit = tail + KEUOS_SLOTS;
	p->data_limit = data + p->ring.data_bytes;
	if (__atomic_load_n(&p->ring.status->state, __ATOMIC_RELAXED) != KEUOS_CHANNEL_OPEN)
		return KEUOS_RING_CLOSED;
	return p->limit - p->head < slots || p->data_limit - p->data < bytes ? KEUOS_RING_FULL : KEUOS_RING_OK;
}

/*
 * Sends a message within one or two slots. The fast path: with length and proof constant it becomes a dozen moves. A
 * closed channel is noticed only when the ring is full.
 *
 * kind: checked for this channel and length. proof: whether the mode is KEUOS_POLLED_PROOF.
 */
KEUOS_INLINE int keuos_send_inline(
	struct keuos_producer *p, const struct keuos_kind *kind, const void *message, uint32_t length, int proof)
{
	uint32_t skip = proof ? KEUOS_PROOF_BYTES : 0;
	uint32_t room = KEUOS_SLOT_PAYLOAD - skip;
	uint32_t slots = 1u + (length > room);
	uint32_t head = p->head; /* in a register: bytes stored to the ring might be p's, for all the compiler knows */
	struct keuos_slot *first = keuos_slot_of(&p->ring, head);

	if (p->limit - head < slots) {
		int result = keuos_producer_refresh(p, slots, 0);

		if (result)
			return result;
	}
	p->head = head + slots;
	if (proof)
		__builtin_memcpy(first->payload, &kind->tag, KEUOS_PROOF_BYTES);
	if (length > room) {
		struct keuos_slot *second = keuos_slot_of(&p->ring, head + 1);
		uint32_t low = keuos_low_word(KEUOS_LENGTH_CONTINUED, kind->word & KEUOS_WORD_TEMPLATE_MASK);

		keuos_copy(second->payload, (const uint8_t *)message + room, length - room);
		second->word = keuos_word(head + 2, low);
	}
	keuos_copy(first->payload + skip, message, length > room ? room : length);
	__atomic_store_n(&first->word, keuos_word(head + 1, kind->word), __ATOMIC_RELEASE);
	return KEUOS_RING_OK;
}

/* Releases payload that lies in the data ring from start on, and for which there is room, by one slot. */
KEUOS_INLINE void keuos_post_descriptor(struct keuos_producer *p, const struct keuos_sealed *sealed,
	uint32_t template_index, uint32_t start, uint32_t length, const uint64_t cookie[2])
{
	uint32_t head = p->head, end = start + keuos_align(length, KEUOS_DATA_ALIGNMENT);
	struct keuos_descriptor *slot = (struct keuos_descriptor *)(void *)keuos_slot_of(&p->ring, head);

	slot->sealed = *sealed;
	slot->offset = start;
	slot->length = length;
	slot->cookie[0] = cookie ? cookie[0] : 0;
	slot->cookie[1] = cookie ? cookie[1] : 0;
	__atomic_store_n(&slot->word, keuos_word(head + 1, keuos_low_word(KEUOS_LENGTH_DESCRIPTOR, template_index)),
		__ATOMIC_RELEASE);
	p->data = end;
	p->head = head + 1;
	if (p->ring.mode == KEUOS_VERIFIED) {
		__atomic_store_n(&p->ring.own->data, end, __ATOMIC_RELAXED);
		__atomic_store_n(&p->ring.own->slots, head + 1, __ATOMIC_RELEASE);
	}
}

/*
 * Sends a message as a descriptor, its payload through the data ring. On a verified channel KEUOS_SYS_NOTIFY must
 * follow. length: at most data_bytes - template's alignment + 64, so that it fits wherever it starts. cookie: the
 * program's own two words, or 0.
 */
KEUOS_INLINE int keuos_send_descriptor(struct keuos_producer *p, uint32_t template_index, const void *message,
	uint32_t length, const uint64_t cookie[2])
{
	const struct keuos_sealed *sealed = keuos_granted(p->ring.tags, p->ring.generation, template_index);
	uint32_t data = p->data, data_bytes = p->ring.data_bytes;
	uint32_t start, end;

	if (!sealed)
		return KEUOS_RING_NOT_GRANTED;
	if (length > sealed->max_length ||
		(uint64_t)length + sealed->alignment > (uint64_t)data_bytes + KEUOS_DATA_ALIGNMENT)
		return KEUOS_RING_TOO_LONG;
	start = keuos_align(data, sealed->alignment);
	end = start + keuos_align(length, KEUOS_DATA_ALIGNMENT);
	if (p->limit == p->head || p->data_limit - data < end - data) {
		int result = keuos_producer_refresh(p, 1, end - data);

		if (result)
			return result;
	}
	keuos_copy_in(p->ring.payload, data_bytes, start, message, length);
	keuos_post_descriptor(p, sealed, template_index, start, length, cookie);
	return KEUOS_RING_OK;
}

/* Sends a message of any length the way its mode and length ask for. enum keuos_ring_result. */
static inline int keuos_send(struct keuos_producer *p, uint32_t template_index, const void *message, uint32_t length)
{
	struct keuos_kind kind;
	int result;

	if (__atomic_load_n(&p->ring.status->state, __ATOMIC_RELAXED) != KEUOS_CHANNEL_OPEN)
		return KEUOS_RING_CLOSED;
	if (p->ring.mode == KEUOS_VERIFIED || length > keuos_inline_max(&p->ring))
		return keuos_send_descriptor(p, template_index, message, length, 0);
	result = keuos_check_kind(&p->ring, template_index, length, &kind);
	return result ? result : keuos_send_inline(p, &kind, message, length, p->ring.mode == KEUOS_POLLED_PROOF);
}

KEUOS_INLINE void keuos_consumer_publish(struct keuos_consumer *c)
{
	c->publish_at = c->tail + KEUOS_TAIL_EVERY;
	c->published = 1;
	__atomic_store_n(&c->ring.own->data, c->data, __ATOMIC_RELEASE);
	__atomic_store_n(&c->ring.own->slots, c->tail, __ATOMIC_RELEASE);
}

KEUOS_INLINE int keuos_violation(struct keuos_consumer *c, enum keuos_verdict verdict)
{
	c->ring.verdict = verdict;
	return KEUOS_RING_VIOLATION;
}

/* What it means that the slot doesn't hold the next message. An honest word is zero still, or of the round before. */
KEUOS_INLINE int keuos_idle(struct keuos_consumer *c, const struct keuos_slot *slot, uint64_t word)
{
	if (word && (uint32_t)(word >> KEUOS_WORD_SEQUENCE_SHIFT) != c->tail + 1 - KEUOS_SLOTS)
		return keuos_violation(c, KEUOS_VERDICT_SEQUENCE);
	if (__atomic_load_n(&c->ring.status->state, __ATOMIC_ACQUIRE) == KEUOS_CHANNEL_OPEN)
		return KEUOS_RING_EMPTY;
	/* The last message may have come between the two loads: it is found at the next call. */
	return __atomic_load_n(&slot->word, __ATOMIC_RELAXED) == word ? KEUOS_RING_CLOSED : KEUOS_RING_EMPTY;
}

/*
 * Takes the message of tail out of its slots, its word being that of kind. Nothing that is checked is read a second
 * time, and nothing is copied twice.
 */
KEUOS_INLINE int keuos_take_slots(struct keuos_consumer *c, uint32_t tail, const struct keuos_slot *first,
	const struct keuos_kind *kind, void *buffer, uint32_t length, int proof)
{
	uint32_t skip = proof ? KEUOS_PROOF_BYTES : 0;
	uint32_t room = KEUOS_SLOT_PAYLOAD - skip;

	if (proof) {
		uint64_t tag;

		__builtin_memcpy(&tag, first->payload, sizeof(tag));
		if (tag != kind->tag)
			return keuos_violation(c, KEUOS_VERDICT_TAG);
	}
	if (length > room) {
		const struct keuos_slot *second = keuos_slot_of(&c->ring, tail + 1);
		uint32_t low = keuos_low_word(KEUOS_LENGTH_CONTINUED, kind->word & KEUOS_WORD_TEMPLATE_MASK);

		if (__atomic_load_n(&second->word, __ATOMIC_RELAXED) != keuos_word(tail + 2, low))
			return keuos_violation(c, KEUOS_VERDICT_SEQUENCE);
		keuos_copy((uint8_t *)buffer + room, second->payload, length - room);
	}
	keuos_copy(buffer, first->payload + skip, length > room ? room : length);
	tail += 1u + (length > room);
	c->tail = tail;
	/*
	 * The tail is published once in a while. That is enough: a producer that finds the ring full has more messages
	 * in flight than lie between two publications, so one comes before the consumer runs dry.
	 */
	if ((int32_t)(tail - c->publish_at) >= 0)
		keuos_consumer_publish(c);
	return (int)length;
}

/*
 * Receives the message that the caller knows to come next, by comparing the word as a whole. The fast path, with
 * length and proof constant. kind and proof: as for keuos_send_inline. length, or enum keuos_ring_result.
 */
KEUOS_INLINE int keuos_receive_inline(
	struct keuos_consumer *c, const struct keuos_kind *kind, void *buffer, uint32_t length, int proof)
{
	uint32_t tail = c->tail;
	const struct keuos_slot *slot = keuos_slot_of(&c->ring, tail);
	uint64_t word = __atomic_load_n(&slot->word, __ATOMIC_ACQUIRE);

	/* Of two lines the second is asked for with the first: they come together, not one after the other. */
	if (length > KEUOS_SLOT_PAYLOAD - (proof ? KEUOS_PROOF_BYTES : 0))
		__builtin_prefetch(keuos_slot_of(&c->ring, tail + 1));
	if (__builtin_expect(word == keuos_word(tail + 1, kind->word), 1))
		return keuos_take_slots(c, tail, slot, kind, buffer, length, proof);
	return (uint32_t)(word >> KEUOS_WORD_SEQUENCE_SHIFT) == tail + 1 ? KEUOS_RING_UNEXPECTED
									 : keuos_idle(c, slot, word);
}

/* Takes payload out of the data ring; start and length have been checked, length is bounded. buffer: as below. */
KEUOS_INLINE int keuos_take_payload(struct keuos_consumer *c, uint32_t start, void *buffer, uint32_t length)
{
	if (buffer)
		keuos_copy_out(c->ring.payload, c->ring.data_bytes, start, buffer, length);
	c->data = start + keuos_align(length, KEUOS_DATA_ALIGNMENT);
	c->tail++;
	if (buffer)
		keuos_consumer_publish(c); /* always: a single message may hold all the room its producer waits for */
	return (int)length;
}

/*
 * Checks a descriptor on a polled channel. The copy is the only thing that is checked and used; the compiler is told that
 * it may have changed since, or it could read the peer's memory a second time instead. KEUOS_RING_OK, or the violation.
 */
KEUOS_INLINE int keuos_check_descriptor(struct keuos_consumer *c, const struct keuos_slot *slot,
	const struct keuos_sealed *sealed, struct keuos_descriptor *copy)
{
	uint32_t start = keuos_align(c->data, sealed->alignment);

	__builtin_memcpy(copy, slot, sizeof(*copy));
	__asm__ volatile("" : "+m"(*copy));
	if (c->ring.mode == KEUOS_POLLED_PROOF && __builtin_memcmp(&copy->sealed, sealed, sizeof(*sealed)))
		return keuos_violation(c, KEUOS_VERDICT_TAG);
	if (copy->offset != start)
		return keuos_violation(c, KEUOS_VERDICT_ALIGNMENT);
	if (copy->length > sealed->max_length || copy->length > c->ring.data_bytes ||
		(uint64_t)(start - c->data) + keuos_align(copy->length, KEUOS_DATA_ALIGNMENT) > c->ring.data_bytes)
		return keuos_violation(c, KEUOS_VERDICT_LENGTH);
	copy->length = keuos_bounded(copy->length, c->ring.data_bytes);
	return KEUOS_RING_OK;
}

/* Takes a message that came as a descriptor on a polled channel. */
KEUOS_INLINE int keuos_take_descriptor(struct keuos_consumer *c, const struct keuos_slot *slot,
	const struct keuos_sealed *sealed, void *buffer, uint32_t capacity, uint64_t cookie[2])
{
	struct keuos_descriptor copy;
	int result = keuos_check_descriptor(c, slot, sealed, &copy);

	if (result)
		return result;
	if (copy.length > capacity)
		return KEUOS_RING_TOO_LONG;
	cookie[0] = copy.cookie[0];
	cookie[1] = copy.cookie[1];
	return keuos_take_payload(c, copy.offset, buffer, keuos_bounded(copy.length, capacity));
}

/*
 * Receives from a verified channel's mailbox, where the kernel put nothing but what passed its gates. With a constant
 * capacity that is the length to be expected, the copy is one of constant size.
 */
KEUOS_INLINE int keuos_receive_verified(
	struct keuos_consumer *c, void *buffer, uint32_t capacity, uint32_t *template_index, uint64_t cookie[2])
{
	const struct keuos_slot *slot = keuos_slot_of(&c->ring, c->tail);
	const struct keuos_descriptor *mail = (const struct keuos_descriptor *)(const void *)slot;
	uint64_t word = __atomic_load_n(&slot->word, __ATOMIC_ACQUIRE);
	uint32_t length;

	if ((uint32_t)(word >> KEUOS_WORD_SEQUENCE_SHIFT) != c->tail + 1)
		return keuos_idle(c, slot, word);
	length = mail->length;
	if (length > capacity)
		return KEUOS_RING_TOO_LONG;
	*template_index = word & KEUOS_WORD_TEMPLATE_MASK;
	if (cookie) {
		cookie[0] = mail->cookie[0];
		cookie[1] = mail->cookie[1];
	}
	if (__builtin_constant_p(capacity) && length == capacity)
		return keuos_take_payload(c, mail->offset, buffer, capacity);
	return keuos_take_payload(c, mail->offset, buffer, keuos_bounded(length, capacity));
}

/*
 * Receives the next message into a private buffer. On success *template_index is its template, and cookie (which may
 * be 0) takes a descriptor's two words. Its length in bytes, or enum keuos_ring_result.
 *
 * buffer: 0 leaves a descriptor's payload in the data ring, where it ends at the data counter and its sender can change it, until
 * the caller publishes; another message is KEUOS_RING_UNEXPECTED then.
 */
static inline int keuos_receive_cookie(
	struct keuos_consumer *c, void *buffer, uint32_t capacity, uint32_t *template_index, uint64_t cookie[2])
{
	const struct keuos_slot *slot = keuos_slot_of(&c->ring, c->tail);
	uint64_t word = __atomic_load_n(&slot->word, __ATOMIC_ACQUIRE);
	uint32_t room = keuos_inline_max(&c->ring);
	uint32_t length = word >> KEUOS_WORD_LENGTH_SHIFT & KEUOS_WORD_LENGTH_MASK;
	const struct keuos_sealed *sealed;
	struct keuos_kind kind;
	uint64_t ignored[2];

	if (c->ring.mode == KEUOS_VERIFIED)
		return keuos_receive_verified(c, buffer, capacity, template_index, cookie);
	if ((uint32_t)(word >> KEUOS_WORD_SEQUENCE_SHIFT) != c->tail + 1)
		return keuos_idle(c, slot, word);
	*template_index = word & KEUOS_WORD_TEMPLATE_MASK;
	sealed = keuos_granted(c->ring.tags, c->ring.generation, *template_index);
	if (!sealed)
		return keuos_violation(c, KEUOS_VERDICT_TEMPLATE);
	if (length == KEUOS_LENGTH_DESCRIPTOR)
		return keuos_take_descriptor(c, slot, sealed, buffer, capacity, cookie ? cookie : ignored);
	if (!buffer)
		return KEUOS_RING_UNEXPECTED;
	if (length > room || length > sealed->max_length)
		return keuos_violation(c, KEUOS_VERDICT_LENGTH);
	if (length > capacity)
		return KEUOS_RING_TOO_LONG;
	length = keuos_bounded(keuos_bounded(length, capacity), room);
	kind = (struct keuos_kind){.tag = sealed->tag, .word = (uint32_t)word};
	return keuos_take_slots(c, c->tail, slot, &kind, buffer, length, c->ring.mode == KEUOS_POLLED_PROOF);
}

static inline int keuos_receive(struct keuos_consumer *c, void *buffer, uint32_t capacity, uint32_t *template_index)
{
	return keuos_receive_cookie(c, buffer, capacity, template_index, 0);
}

static inline struct keuos_ring keuos_ring_init(const struct keuos_endpoint *end)
{
	uint8_t *base = (uint8_t *)(uintptr_t)end->base;
	int producer = end->role == KEUOS_PRODUCER;

	if (end->base % KEUOS_PAGE_BYTES != 0) /* keuos_slot_of relies on it */
		__builtin_trap();
	return (struct keuos_ring){
		.slots = (void *)(base +
			(!producer && end->mode == KEUOS_VERIFIED ? KEUOS_OFFSET_MAILBOX : KEUOS_OFFSET_SLOTS)),
		.own = (void *)(base + (producer ? KEUOS_OFFSET_HEAD : KEUOS_OFFSET_TAIL)),
		.peer = (void *)(base + (producer ? KEUOS_OFFSET_TAIL : KEUOS_OFFSET_HEAD)),
		.status = (void *)(base + KEUOS_OFFSET_STATUS),
		.tags = (void *)(base + KEUOS_OFFSET_TAGS),
		.payload = base + KEUOS_OFFSET_DATA,
		.data_bytes = end->data_bytes,
		.generation = end->generation,
		.mode = end->mode,
		.capability = end->capability,
	};
}

/* The ends of a fresh channel, from what KEUOS_SYS_CHANNEL_ACCEPT said of each. */
static inline struct keuos_producer keuos_producer_init(const struct keuos_endpoint *end)
{
	return (struct keuos_producer){
		.ring = keuos_ring_init(end), .limit = KEUOS_SLOTS, .data_limit = end->data_bytes};
}

static inline struct keuos_consumer keuos_consumer_init(const struct keuos_endpoint *end)
{
	return (struct keuos_consumer){.ring = keuos_ring_init(end), .publish_at = KEUOS_TAIL_EVERY};
}

#endif
