/*
 * The side that measures round trips; ring_pong is the other. Bound to it: one end to send on, one to receive on.
 *
 * First each side, while the other sleeps, finds out what an empty poll costs it: pong before it sends its first
 * message, ping after. Then trips: to warm up, a batch between two readings of the clock, and as many sampled one by
 * one, each between two readings. Both loops also run with a nop in place of the trip, for the host to subtract.
 */
#include "../ring_common/round_trip.h"

volatile struct round_trip_params params;

struct ring_ping_results {
	int32_t error;           /* of a send or a receive, negative; 0 if all went well */
	uint32_t failed_at;      /* the trip, counted from the first of the warm-up */
	uint32_t verdict;        /* enum keuos_verdict, if the peer violated the ring */
	uint32_t mode;           /* enum keuos_channel_mode of the channel that it sends on */
	uint32_t samples;        /* entries of samples and baseline */
	uint32_t wrong;          /* answers that differ from what was sent */
	uint64_t checksum;       /* of the answers to the sampled trips, in order */
	uint64_t batch_ticks;    /* of params.count trips together */
	uint64_t batch_baseline; /* of as many nops */
	uint64_t batch_polls;    /* empty polls during the batch */
	uint64_t batch_traps;    /* system calls during the batch */
	uint64_t sampled_polls;  /* empty polls during the sampled trips */
	uint64_t poll_ticks;     /* of RING_CALIBRATIONS empty polls together */
} results;

/* Ticks: of a trip; of a nop in its place; between two readings of the clock. */
uint32_t samples[RING_SAMPLES_MAX], baseline[RING_SAMPLES_MAX], clock_cost[RING_CALIBRATIONS];

KEUOS_TEMPLATE(ring_message, RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);

/* Private memory at this end. */
static _Alignas(64) uint8_t message[RING_MESSAGE_MAX], answer[RING_MESSAGE_MAX];

static int fail(struct side *side, int error, uint32_t trip)
{
	results.error = error;
	results.failed_at = trip;
	results.verdict = side->in.ring.verdict ? side->in.ring.verdict : side->out.ring.verdict;
	return RING_EXIT_FAILED;
}

KEUOS_INLINE int round_trip(struct side *side, enum path path, uint32_t size, int proof)
{
	int result = side_send(side, path, size, proof, message, 0);

	if (__builtin_expect(result != 0, 0))
		return result;
	result = side_receive(side, path, size, proof, answer);
	if (__builtin_expect(result < 0, 0))
		return result;
	return 0;
}

/* Trips between two readings of the clock. 0, or a negative error. */
KEUOS_INLINE int batch(struct side *side, enum path path, uint32_t size, int proof, uint32_t trips)
{
	uint64_t start = ring_ticks();
	int error = 0;

	for (uint32_t i = 0; i < trips; i++) {
		error = round_trip(side, path, size, proof);
		if (__builtin_expect(error != 0, 0))
			break;
	}
	results.batch_ticks = ring_ticks() - start;
	return error;
}

/* Trips each between two readings of the clock. 0, or a negative error. */
KEUOS_INLINE int sample(struct side *side, enum path path, uint32_t size, int proof, uint32_t trips)
{
	int error = 0;

	for (uint32_t i = 0; i < trips && !error; i++) {
		uint64_t start;

		__builtin_memcpy(message, &i, size < sizeof(i) ? size : sizeof(i));
		start = ring_ticks();
		error = round_trip(side, path, size, proof);
		samples[i] = (uint32_t)(ring_ticks() - start);
		results.wrong += __builtin_memcmp(message, answer, size) != 0;
		results.checksum = ring_checksum(results.checksum, answer, size);
		results.samples = i + 1;
	}
	return error;
}

static void measure_nothing(uint32_t count)
{
	uint64_t start;

	for (uint32_t i = 0; i < RING_CALIBRATIONS; i++) {
		start = ring_ticks();
		clock_cost[i] = (uint32_t)(ring_ticks() - start);
	}
	start = ring_ticks();
	for (uint32_t i = 0; i < count; i++)
		__asm__ volatile("nop" : : : "memory");
	results.batch_baseline = ring_ticks() - start;
	for (uint32_t i = 0; i < count; i++) {
		start = ring_ticks();
		__asm__ volatile("nop" : : : "memory");
		baseline[i] = (uint32_t)(ring_ticks() - start);
	}
}

struct variant {
	int (*batch)(struct side *side, uint32_t size, uint32_t trips);
	int (*sample)(struct side *side, uint32_t size, uint32_t trips);
	uint64_t (*calibrate)(struct side *side, uint32_t size);
};

#define DEFINE(name, path, proof, size)                                                                                \
	ROUND_TRIP_LOOP int batch_##name(struct side *side, uint32_t any, uint32_t trips)                              \
	{                                                                                                              \
		return batch(side, path, (size) ? (size) : any, proof, trips);                                         \
	}                                                                                                              \
	ROUND_TRIP_LOOP int sample_##name(struct side *side, uint32_t any, uint32_t trips)                             \
	{                                                                                                              \
		return sample(side, path, (size) ? (size) : any, proof, trips);                                        \
	}                                                                                                              \
	ROUND_TRIP_LOOP uint64_t calibrate_##name(struct side *side, uint32_t any)                                     \
	{                                                                                                              \
		return side_calibrate(side, path, (size) ? (size) : any, proof, answer);                               \
	}
ROUND_TRIP_VARIANTS(DEFINE)

static struct variant choose(const struct round_trip_params *p, uint32_t mode)
{
#define CHOOSE(name, path, proof, size)                                                                                \
	if (round_trip_fits(p, mode, path, proof, size))                                                               \
		return (struct variant){batch_##name, sample_##name, calibrate_##name};
	ROUND_TRIP_VARIANTS(CHOOSE)
	return (struct variant){0};
}

static int measure(struct side *side, const struct round_trip_params *p)
{
	struct variant variant = choose(p, side->out.ring.mode);
	uint64_t polls, traps;
	int error;

	measure_nothing(p->count);
	/* Pong sleeps from its signal to ours. */
	if ((error = side_await(side)) != 0)
		return fail(side, error, 0);
	results.poll_ticks = variant.calibrate(side, p->size);
	if ((error = side_signal(side)) != 0 || (error = variant.batch(side, p->size, p->warm_up)) != 0)
		return fail(side, error, 0);
	traps = ring_traps();
	polls = side->empty_polls;
	if ((error = variant.batch(side, p->size, p->count)) != 0)
		return fail(side, error, p->warm_up);
	results.batch_polls = side->empty_polls - polls;
	results.batch_traps = ring_traps() - traps - 1; /* less the one that asks */
	polls = side->empty_polls;
	if ((error = variant.sample(side, p->size, p->count)) != 0)
		return fail(side, error, p->warm_up + p->count + results.samples - 1);
	results.sampled_polls = side->empty_polls - polls;
	error = side_signal(side);
	return error ? fail(side, error, p->warm_up + 2 * p->count) : RING_EXIT_OK;
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
		return fail(&side, (int)error, 0);
	results.mode = side.out.ring.mode;
	results.checksum = RING_CHECKSUM_START;
	for (uint32_t i = 0; i < p.size; i++)
		message[i] = (uint8_t)(i * 7 + 1);
	return measure(&side, &p);
}
