/* The side that answers: sends every message back, as often as ring_ping's parameters say. See there. */
#include "../ring_common/round_trip.h"

volatile struct round_trip_params params;

struct ring_pong_results {
	int32_t error;          /* of a send or a receive, negative; 0 if all went well */
	uint32_t failed_at;     /* the trip, counted from the first of the warm-up */
	uint32_t verdict;       /* enum keuos_verdict, if the peer violated the ring */
	uint32_t answered;      /* trips */
	uint64_t batch_polls;   /* empty polls between the last trip of the warm-up and that of the batch */
	uint64_t sampled_polls; /* and from there to the end */
	uint64_t traps;         /* system calls of all trips together */
	uint64_t poll_ticks;    /* of RING_CALIBRATIONS empty polls together, while ping slept */
} results;

KEUOS_TEMPLATE(ring_message, RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);

static _Alignas(64) uint8_t message[RING_MESSAGE_MAX];

static int fail(struct side *side, int error)
{
	results.error = error;
	results.failed_at = results.answered;
	results.verdict = side->in.ring.verdict ? side->in.ring.verdict : side->out.ring.verdict;
	return RING_EXIT_FAILED;
}

/* A batch of trips, without a decision in the loop. */
KEUOS_INLINE int answer(struct side *side, enum path path, uint32_t size, int proof, uint32_t trips, int last)
{
	uint32_t i = 0;
	int result = 0;

	for (; i < trips; i++) {
		result = side_receive(side, path, size, proof, message);
		if (__builtin_expect(result < 0, 0))
			break;
		result = side_send(side, path, (uint32_t)result, proof, message, last && i + 1 == trips);
		if (__builtin_expect(result != 0, 0))
			break;
	}
	results.answered += i;
	return i == trips ? 0 : result;
}

struct variant {
	int (*answer)(struct side *side, uint32_t size, uint32_t trips, int last);
	uint64_t (*calibrate)(struct side *side, uint32_t size);
};

#define DEFINE(name, path, proof, size)                                                                                \
	ROUND_TRIP_LOOP int answer_##name(struct side *side, uint32_t any, uint32_t trips, int last)                   \
	{                                                                                                              \
		return answer(side, path, (size) ? (size) : any, proof, trips, last);                                  \
	}                                                                                                              \
	ROUND_TRIP_LOOP uint64_t calibrate_##name(struct side *side, uint32_t any)                                     \
	{                                                                                                              \
		return side_calibrate(side, path, (size) ? (size) : any, proof, message);                              \
	}
ROUND_TRIP_VARIANTS(DEFINE)

static struct variant choose(const struct round_trip_params *p, uint32_t mode)
{
#define CHOOSE(name, path, proof, size)                                                                                \
	if (round_trip_fits(p, mode, path, proof, size))                                                               \
		return (struct variant){answer_##name, calibrate_##name};
	ROUND_TRIP_VARIANTS(CHOOSE)
	return (struct variant){0};
}

static int echo(struct side *side, const struct round_trip_params *p)
{
	struct variant variant = choose(p, side->out.ring.mode);
	uint64_t traps, polls;
	int error;

	ring_settle();
	results.poll_ticks = variant.calibrate(side, p->size);
	/* Ping sleeps until this signal, and this side until ping's: so ping can calibrate. */
	if ((error = side_signal(side)) != 0 || (error = side_await(side)) != 0)
		return fail(side, error);
	traps = ring_traps();
	if ((error = variant.answer(side, p->size, p->warm_up, 0)) != 0)
		return fail(side, error);
	polls = side->empty_polls;
	if ((error = variant.answer(side, p->size, p->count, 0)) != 0)
		return fail(side, error);
	results.batch_polls = side->empty_polls - polls;
	polls = side->empty_polls;
	if ((error = variant.answer(side, p->size, p->count, 1)) != 0)
		return fail(side, error);
	results.sampled_polls = side->empty_polls - polls;
	results.traps = ring_traps() - traps - 1;
	/* Leaving is work for the kernel, and would be part of ping's last sample. */
	error = side_await(side);
	return error < 0 ? fail(side, error) : RING_EXIT_OK;
}

int main(const char *args)
{
	struct round_trip_params p = params;
	static struct side side;
	int64_t error = side_open(&side, &p);

	(void)args;
	if (!error && (p.size == 0 || p.size > RING_MESSAGE_MAX || p.count > RING_SAMPLES_MAX))
		error = -KEUOS_EINVAL;
	if (error)
		return fail(&side, (int)error);
	return echo(&side, &p);
}
