/*
 * A round trip without a peer: this process binds two channels to itself and plays both sides in turn, so that nobody
 * ever waits. What is left is the data plane itself, both sides' code together and no empty poll.
 */
#include "../ring_common/ring_program.h"

struct ring_self_params {
	uint32_t mode;    /* KEUOS_POLLED: messages of 56 bytes; KEUOS_POLLED_PROOF: of 48; either way one slot */
	uint32_t count;   /* trips in a batch, and then as many that are sampled; at most RING_SAMPLES_MAX */
	uint32_t warm_up; /* trips before anything counts, by the batch's loop */
};

struct ring_self_results {
	int32_t error;
	uint32_t samples;        /* entries of samples and baseline */
	uint32_t wrong;          /* answers that differ from what was sent */
	uint32_t size;           /* bytes of a message */
	uint64_t batch_ticks;    /* of params.count trips together */
	uint64_t batch_baseline; /* of as many nops */
};

volatile struct ring_self_params params;
struct ring_self_results results;
uint32_t samples[RING_SAMPLES_MAX], baseline[RING_SAMPLES_MAX];

KEUOS_TEMPLATE(ring_message, RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);

struct way {
	struct keuos_producer out;
	struct keuos_consumer in;
	struct keuos_kind kind;
};

static struct way there, back;
static _Alignas(64) uint8_t ping[64], pong[64], answer[64];

static int64_t way_open(struct way *way, uint32_t mode, uint32_t size)
{
	struct keuos_bind bind = {.mode = mode, .data_order = KEUOS_NO_DATA};
	struct keuos_endpoint ends[2];
	int64_t channel = sys_channel_bind(KEUOS_CAP_SELF, KEUOS_CAP_SELF, &bind), error;

	if (channel < 0)
		return channel;
	if ((error = ring_accept(&ends[0])) || (error = ring_accept(&ends[1])))
		return error;
	way->out = keuos_producer_init(&ends[ends[0].role == KEUOS_PRODUCER ? 0 : 1]);
	way->in = keuos_consumer_init(&ends[ends[0].role == KEUOS_PRODUCER ? 1 : 0]);
	return keuos_check_kind(&way->out.ring, keuos_template_index(&ring_message), size, &way->kind);
}

KEUOS_INLINE int round_trip(uint32_t size, int proof)
{
	int result;

	RING_MATERIALISE(ping);
	if ((result = keuos_send_inline(&there.out, &there.kind, ping, size, proof)) != 0)
		return result;
	RING_MATERIALISE(pong);
	if ((result = keuos_receive_inline(&there.in, &there.kind, pong, size, proof)) < 0)
		return result;
	RING_MATERIALISE(pong);
	if ((result = keuos_send_inline(&back.out, &back.kind, pong, size, proof)) != 0)
		return result;
	RING_MATERIALISE(answer);
	if ((result = keuos_receive_inline(&back.in, &back.kind, answer, size, proof)) < 0)
		return result;
	RING_MATERIALISE(answer);
	return 0;
}

/* Trips between two readings of the clock. 0, or a negative error. */
KEUOS_INLINE int batch(uint32_t size, int proof, uint32_t count)
{
	uint64_t start = ring_ticks();
	int error = 0;

	for (uint32_t i = 0; i < count && !error; i++)
		error = round_trip(size, proof);
	results.batch_ticks = ring_ticks() - start;
	return error;
}

/* Trips each between two readings of the clock. 0, or a negative error. */
KEUOS_INLINE int sample(uint32_t size, int proof, uint32_t count)
{
	int error = 0;

	for (uint32_t i = 0; i < count && !error; i++) {
		uint64_t start;

		__builtin_memcpy(ping, &i, sizeof(i));
		start = ring_ticks();
		error = round_trip(size, proof);
		samples[i] = (uint32_t)(ring_ticks() - start);
		results.wrong += __builtin_memcmp(ping, answer, size) != 0;
		results.samples = i + 1;
	}
	return error;
}

static void measure_nothing(uint32_t count)
{
	uint64_t start = ring_ticks();

	for (uint32_t i = 0; i < count; i++)
		__asm__ volatile("nop" : : : "memory");
	results.batch_baseline = ring_ticks() - start;
	for (uint32_t i = 0; i < count; i++) {
		start = ring_ticks();
		__asm__ volatile("nop" : : : "memory");
		baseline[i] = (uint32_t)(ring_ticks() - start);
	}
}

#define DEFINE(name, size, proof)                                                                                      \
	static __attribute__((noinline)) int batch_##name(uint32_t count)                                              \
	{                                                                                                              \
		return batch(size, proof, count);                                                                      \
	}                                                                                                              \
	static __attribute__((noinline)) int sample_##name(uint32_t count)                                             \
	{                                                                                                              \
		return sample(size, proof, count);                                                                     \
	}
DEFINE(data, 56, 0)
DEFINE(proof, 48, 1)

static int measure(const struct ring_self_params *p)
{
	int proof = p->mode == KEUOS_POLLED_PROOF, error;

	if ((error = proof ? batch_proof(p->warm_up) : batch_data(p->warm_up)) != 0)
		return error;
	measure_nothing(p->count);
	if ((error = proof ? batch_proof(p->count) : batch_data(p->count)) != 0)
		return error;
	return proof ? sample_proof(p->count) : sample_data(p->count);
}

int main(const char *args)
{
	struct ring_self_params p = params;
	int64_t error = p.count > RING_SAMPLES_MAX || p.mode == KEUOS_VERIFIED ? -KEUOS_EINVAL : 0;

	(void)args;
	results.size = p.mode == KEUOS_POLLED_PROOF ? 48 : 56;
	for (uint32_t i = 0; i < sizeof(ping); i++)
		ping[i] = (uint8_t)(i * 7 + 1);
	if (!error)
		error = way_open(&there, p.mode, results.size);
	if (!error)
		error = way_open(&back, p.mode, results.size);
	if (!error)
		error = measure(&p);
	results.error = (int32_t)error;
	return error ? RING_EXIT_FAILED : RING_EXIT_OK;
}
