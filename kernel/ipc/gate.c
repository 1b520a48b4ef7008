/*
 * The gates. Everything a sender can still change is read once, into the kernel's own copy, and every check is made on
 * that copy and on the kernel's shadow indices. Each verdict can be predicted from those alone: docs/security-model.md.
 *
 * A side is punished only for what it alone writes. So the other side's index enters no check: the consumer's tail, once
 * it has been found possible, only says how much room the mailbox has, and lack of room is no offence.
 */
#include <kernel/channel.h>

/* Constant time: which byte differs must not show in how long the answer takes. */
static inline bool sealed_equal(const struct keuos_sealed *a, const struct keuos_sealed *b)
{
	const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;
	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0;
}

static inline uint32_t payload_span(uint32_t length)
{
	return ALIGN_UP(length, (uint32_t)KEUOS_DATA_ALIGNMENT);
}

enum keuos_verdict gate_check(const struct channel *channel, const struct keuos_descriptor *d)
{
	const struct keuos_sealed *claimed = &d->sealed;
	if (unlikely(claimed->channel != channel->id))
		return KEUOS_VERDICT_OWNERSHIP;
	if (unlikely(claimed->generation != channel->generation))
		return KEUOS_VERDICT_STATE;
	if (unlikely(d->offset & ((KEUOS_DATA_ALIGNMENT - 1) | (claimed->alignment - 1))))
		return KEUOS_VERDICT_ALIGNMENT;

	uint32_t index = claimed->template_index;
	uint32_t mark = (uint32_t)KEUOS_LENGTH_DESCRIPTOR << KEUOS_WORD_LENGTH_SHIFT | index;
	/* The mask keeps a mispredicted branch within the table. */
	const struct keuos_sealed *sealed = &channel->sealed[index & (KEUOS_TEMPLATES_MAX - 1)];
	if (unlikely(index >= KEUOS_TEMPLATES_MAX || (uint32_t)d->word != mark || sealed->channel == 0))
		return KEUOS_VERDICT_TEMPLATE;
	if (unlikely(!sealed_equal(claimed, sealed)))
		return KEUOS_VERDICT_TAG;

	uint64_t skipped = d->offset - channel->shadow_data;
	if (unlikely(d->length > sealed->max_length || skipped + d->length > channel->data_bytes))
		return KEUOS_VERDICT_LENGTH;
	if (unlikely((uint32_t)(d->word >> KEUOS_WORD_SEQUENCE_SHIFT) != channel->shadow_head + 1))
		return KEUOS_VERDICT_SEQUENCE;
	return KEUOS_VERDICT_OK;
}

bool gate_take_tail(struct channel *channel)
{
	uint32_t slots = __atomic_load_n(&channel->tail->slots, __ATOMIC_ACQUIRE);
	uint32_t data = __atomic_load_n(&channel->tail->data, __ATOMIC_RELAXED);
	if (unlikely(slots - channel->shadow_tail > channel->shadow_head - channel->shadow_tail ||
		     data - channel->shadow_data_tail > channel->shadow_data - channel->shadow_data_tail))
		return false;
	channel->shadow_tail = slots;
	channel->shadow_data_tail = data;
	return true;
}

static inline void copy_once(struct keuos_descriptor *copy, const struct keuos_slot *slot)
{
	const uint64_t *from = (const uint64_t *)slot;
	uint64_t *to = (uint64_t *)copy;
	for (int i = 0; i < 8; i++)
		to[i] = __atomic_load_n(&from[i], i == 0 ? __ATOMIC_ACQUIRE : __ATOMIC_RELAXED);
}

/* The word goes last: the receiver takes a slot by its word alone. */
static inline void deliver(struct keuos_slot *slot, const struct keuos_descriptor *copy)
{
	const uint64_t *from = (const uint64_t *)copy;
	uint64_t *to = (uint64_t *)slot;
	for (int i = 1; i < 8; i++)
		__atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
	__atomic_store_n(&to[0], from[0], __ATOMIC_RELEASE);
}

uint32_t gate_notify(struct channel *channel, uint32_t n, enum keuos_verdict *verdict, struct keuos_descriptor *seen)
{
	uint32_t head = __atomic_load_n(&channel->head->slots, __ATOMIC_ACQUIRE);
	uint32_t published = head - channel->shadow_head;
	if (unlikely(published > KEUOS_SLOTS || published < n)) {
		memset(seen, 0, sizeof(*seen));
		*verdict = KEUOS_VERDICT_INDEX;
		return 0;
	}
	uint32_t room = KEUOS_SLOTS - (channel->shadow_head - channel->shadow_tail);
	uint32_t accepted = 0;
	*verdict = n > room ? KEUOS_VERDICT_AGAIN : KEUOS_VERDICT_OK;
	for (uint32_t most = n < room ? n : room; accepted < most; accepted++) {
		uint32_t at = channel->shadow_head % KEUOS_SLOTS;
		copy_once(seen, &channel->slots[at]);
		enum keuos_verdict objection = gate_check(channel, seen);
		if (unlikely(objection != KEUOS_VERDICT_OK)) {
			*verdict = objection;
			return accepted;
		}
		deliver(&channel->mailbox[at], seen);
		channel->shadow_head++;
		channel->shadow_data = seen->offset + payload_span(seen->length);
	}
	channel->descriptors += accepted;
	return accepted;
}
