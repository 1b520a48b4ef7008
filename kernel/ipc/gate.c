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

/* Inlined into gate_pass, its only caller, so that the copy can stay in registers. */
static inline __attribute__((always_inline)) enum keuos_verdict check(
	const struct channel *channel, const struct keuos_descriptor *d)
{
	const struct keuos_sealed *claimed = &d->sealed;
	if (unlikely(claimed->channel != channel->id || claimed->generation != channel->generation))
		return claimed->channel != channel->id ? KEUOS_VERDICT_OWNERSHIP : KEUOS_VERDICT_STATE;
	if (unlikely(d->offset & ((KEUOS_DATA_ALIGNMENT - 1) | (claimed->alignment - 1))))
		return KEUOS_VERDICT_ALIGNMENT;

	uint32_t index = claimed->template_index;
	uint32_t mark = (uint32_t)KEUOS_LENGTH_DESCRIPTOR << KEUOS_WORD_LENGTH_SHIFT | index;
	/* The mask keeps a mispredicted branch within the table. */
	const struct keuos_sealed *sealed = &channel->sealed[index & (KEUOS_TEMPLATES_MAX - 1)];
	if (unlikely(index >= KEUOS_TEMPLATES_MAX || (uint32_t)d->word != mark))
		return KEUOS_VERDICT_TEMPLATE;
	/* An entry that was not granted is all zero, so nothing that names this channel equals it. */
	if (unlikely(!sealed_equal(claimed, sealed)))
		return sealed->channel == 0 ? KEUOS_VERDICT_TEMPLATE : KEUOS_VERDICT_TAG;

	uint64_t skipped = d->offset - channel->shadow_data;
	if (unlikely(d->length > sealed->max_length || skipped + d->length > channel->data_bytes))
		return KEUOS_VERDICT_LENGTH;
	if (unlikely((uint32_t)(d->word >> KEUOS_WORD_SEQUENCE_SHIFT) != channel->shadow_head + 1))
		return KEUOS_VERDICT_SEQUENCE;
	return KEUOS_VERDICT_OK;
}

union copy {
	uint64_t words[sizeof(struct keuos_descriptor) / sizeof(uint64_t)];
	struct keuos_descriptor descriptor;
};

enum { WORDS = 8, JUDGED = offsetof(struct keuos_descriptor, cookie) / sizeof(uint64_t) };

/*
 * Every word is loaded once: what the checks see is what is delivered. The cookies, which no check sees, are loaded
 * last, so that the rest stays in registers.
 */
static inline __attribute__((always_inline)) void copy_once(
	union copy *copy, const struct keuos_slot *slot, int from, int to)
{
	const uint64_t *words = (const uint64_t *)slot;
	for (int i = from; i < to; i++)
		copy->words[i] = __atomic_load_n(&words[i], i == 0 ? __ATOMIC_ACQUIRE : __ATOMIC_RELAXED);
}

/* The word goes last: the receiver takes a slot by its word alone. */
static inline __attribute__((always_inline)) void deliver(struct keuos_slot *slot, const union copy *copy)
{
	uint64_t *to = (uint64_t *)slot;
	for (int i = 1; i < WORDS; i++)
		__atomic_store_n(&to[i], copy->words[i], __ATOMIC_RELAXED);
	__atomic_store_n(&to[0], copy->words[0], __ATOMIC_RELEASE);
}

struct keuos_descriptor gate_refused;
uint64_t gate_refused_index;

enum keuos_verdict gate_pass(struct channel *channel)
{
	uint32_t at = channel->shadow_head % KEUOS_SLOTS;
	union copy copy;
	copy_once(&copy, &channel->slots[at], 0, JUDGED);
	enum keuos_verdict verdict = check(channel, &copy.descriptor);
	copy_once(&copy, &channel->slots[at], JUDGED, WORDS);
	if (unlikely(verdict != KEUOS_VERDICT_OK)) {
		gate_refused = copy.descriptor;
		return verdict;
	}
	deliver(&channel->mailbox[at], &copy);
	channel->shadow_head++;
	channel->shadow_data = copy.descriptor.offset + payload_span(copy.descriptor.length);
	return KEUOS_VERDICT_OK;
}
