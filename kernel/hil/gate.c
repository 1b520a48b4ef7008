/*
 * Bulk gate checks: gate_pass, the very function that notify calls, over batches of descriptors that the host places
 * here through its own view of memory. Nobody is killed and no real channel moves: what is judged by is a scratch copy of
 * the record of a channel that is really bound, with its id, generation and sealed table; only the slots, the mailbox
 * and the shadow indices are the case's own. No check is made in this file.
 *
 *   host: fills a batch, then counts `asked` up          one process: calls HIL(its producer's end, KEUOS_HIL_GATE) in a
 *   host: waits until `done` is the same, reads results  loop; each call judges a bounded part of what was asked
 *
 * The two batches take turns, so that the host can fill one while the other is judged.
 */
#include "hil.h"

#include <kernel/channel.h>

enum hil_gate_limit {
	HIL_GATE_BATCHES = 2,
	HIL_GATE_CASES = 16384,
	HIL_GATE_ROUNDS = 64,
	HIL_GATE_STEP = 2048,   /* cases of one call, for which the kernel lock is held: below a millisecond */
	HIL_GATE_VERDICTS = 16, /* what is counted: enum keuos_verdict, and in the last whatever is none */
};

struct hil_gate_shadow {
	uint32_t head, data;
};

struct hil_gate_result {
	uint32_t verdict;
	struct hil_gate_shadow after; /* the shadow indices behind gate_pass */
	uint32_t ticks;               /* of gate_pass, and of reading the counter; in a timed batch only */
};

struct hil_gate_batch {
	uint32_t asked; /* by the host: the batch is whole */
	uint32_t done;  /* by the kernel: the results are */
	uint32_t cases;
	uint32_t rounds; /* how often all of them are judged, each time with the shadow indices moved */
	uint32_t timed;
	uint32_t ticks_of_nothing;                           /* timed: what the counter says of no gate_pass at all */
	struct hil_gate_shadow moved[HIL_GATE_ROUNDS];       /* added to the indices of every case, by round */
	uint32_t counts[HIL_GATE_ROUNDS][HIL_GATE_VERDICTS]; /* of verdicts, by round */
	struct hil_gate_shadow shadows[HIL_GATE_CASES];      /* what each case is judged by */
	struct hil_gate_result results[HIL_GATE_CASES];      /* of the last round */
	struct keuos_descriptor refused;                     /* the kernel's copy of what was refused last */
	_Alignas(KEUOS_PAGE_BYTES) struct keuos_descriptor descriptors[HIL_GATE_CASES]; /* its slot */
	struct keuos_descriptor delivered[HIL_GATE_CASES]; /* its mailbox slot: written by gate_pass only */
};

struct hil_gate_batch hil_gate_batches[HIL_GATE_BATCHES];
struct channel hil_gate_channel; /* the scratch record, as the last call left it */

/* Which batch is next or in work, and how far. */
struct hil_gate_progress {
	uint32_t batch;
	uint32_t asked; /* what the round and the case belong to */
	uint32_t next;
	uint32_t round; /* of the cases from next on */
} hil_gate_progress;

/* The address at which slot `at` of an array of KEUOS_SLOTS would have to begin for that slot to be this one. */
static uintptr_t base_of(const struct keuos_descriptor *slot, uint32_t at)
{
	return (uintptr_t)slot - at * sizeof(struct keuos_slot);
}

/* What is wanted of each case beside its place in the counts. */
enum want { COUNT, RESULT, TICKS };

static inline __attribute__((always_inline)) void judge(
	struct hil_gate_batch *batch, uint32_t from, uint32_t end, uint32_t round, enum want want)
{
	struct channel *channel = &hil_gate_channel;
	struct hil_gate_shadow moved = batch->moved[round];
	uint32_t *counts = batch->counts[round];
	for (uint32_t i = from; i < end; i++) {
		struct hil_gate_result *result = &batch->results[i];
		uint32_t head = batch->shadows[i].head + moved.head;
		uint32_t at = head % KEUOS_SLOTS;
		channel->slots = (const struct keuos_slot *)base_of(&batch->descriptors[i], at);
		channel->mailbox = (struct keuos_slot *)base_of(&batch->delivered[i], at);
		channel->shadow_head = head;
		channel->shadow_data = batch->shadows[i].data + moved.data;
		uint64_t start = want == TICKS ? arch_counter() : 0;
		uint32_t verdict = gate_pass(channel);
		if (want == TICKS)
			result->ticks = (uint32_t)(arch_counter() - start);
		if (want != COUNT) {
			result->verdict = verdict;
			result->after = (struct hil_gate_shadow){channel->shadow_head, channel->shadow_data};
		}
		counts[verdict < HIL_GATE_VERDICTS ? verdict : HIL_GATE_VERDICTS - 1]++;
	}
}

static uint32_t ticks_of_nothing(void)
{
	uint64_t start = arch_counter();
	return (uint32_t)(arch_counter() - start);
}

/* How many cases were judged; 0: none is asked for. */
struct result hil_gate(uint64_t producer)
{
	int error;
	struct capability *held = capability_get(current_process(), producer, KEUOS_CAP_PRODUCER, 0, &error);
	if (held == NULL)
		return result_of(error);
	const struct channel *channel = held->object;
	if (channel->mode != KEUOS_VERIFIED)
		return result_of(-KEUOS_EINVAL);
	if (channel->state != KEUOS_CHANNEL_OPEN)
		return result_of(-KEUOS_ECLOSED);

	struct hil_gate_progress *at = &hil_gate_progress;
	struct hil_gate_batch *batch = &hil_gate_batches[at->batch];
	uint32_t asked = __atomic_load_n(&batch->asked, __ATOMIC_ACQUIRE);
	if (asked == batch->done)
		return result_of(0);
	if (asked != at->asked)
		*at = (struct hil_gate_progress){.batch = at->batch, .asked = asked};
	uint32_t cases = batch->cases;
	if (cases == 0 || cases > HIL_GATE_CASES || batch->rounds == 0 || batch->rounds > HIL_GATE_ROUNDS ||
		at->next >= cases || at->round >= batch->rounds)
		return result_of(-KEUOS_EINVAL);
	uint32_t end = cases - at->next < HIL_GATE_STEP ? cases : at->next + HIL_GATE_STEP;
	hil_gate_channel = *channel;
	if (at->next == 0 && at->round == 0)
		memset(batch->counts, 0, sizeof(batch->counts));
	if (at->round + 1 < batch->rounds) {
		judge(batch, at->next, end, at->round, COUNT);
	} else if (!batch->timed) {
		judge(batch, at->next, end, at->round, RESULT);
	} else {
		batch->ticks_of_nothing = ticks_of_nothing();
		judge(batch, at->next, end, at->round, TICKS);
	}
	uint32_t judged = end - at->next;
	if (++at->round == batch->rounds) {
		at->round = 0;
		at->next = end;
	}
	if (at->next == cases) {
		*at = (struct hil_gate_progress){.batch = (at->batch + 1) % HIL_GATE_BATCHES};
		batch->refused = gate_refused;
		__atomic_store_n(&batch->done, asked, __ATOMIC_RELEASE);
	}
	return result_of(judged);
}
