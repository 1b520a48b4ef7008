/*
 * How long a doorbell takes to a sleeper's first instruction. Two processes run this program over one channel: the
 * producer's side sleeps, the consumer's rings. Both note the clock, which all cores share; the host subtracts.
 *
 * Before each sleep the sleeper sends a message that says so; the waker then dawdles, so that the other has in truth
 * gone to sleep.
 */
#include "../ring_common/ring_program.h"

struct ring_wake_params {
	uint32_t count;  /* wake-ups, at most RING_SAMPLES_MAX */
	uint32_t dawdle; /* pauses (or, on one core, yields) between the sleeper's message and the doorbell */
	uint32_t same_core;
};

struct ring_wake_results {
	int32_t error;
	uint32_t samples; /* entries of stamps */
	uint32_t role;    /* enum keuos_role: the producer slept */
	uint32_t early;   /* sleeps that ended without a doorbell: 0 if the kernel is right */
};

volatile struct ring_wake_params params;
struct ring_wake_results results;

/* Ticks: when the doorbell was rung, or when its sleeper ran. */
uint64_t stamps[RING_SAMPLES_MAX];

KEUOS_TEMPLATE(ring_message, RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);

static int64_t sleep_and_stamp(const struct keuos_endpoint *end, uint32_t count)
{
	struct keuos_producer p = keuos_producer_init(end);
	int template = keuos_find_template(&p.ring, RING_OPCODE);

	if (template <0)
		return template;
	for (uint32_t i = 0; i < count; i++) {
		int error = keuos_send(&p, (uint32_t) template, &i, sizeof(i));
		uint64_t bits;

		if (error)
			return error;
		bits = sys_wait(sys_bit(end->capability), KEUOS_FOREVER);
		stamps[i] = ring_ticks();
		results.early += bits == 0;
		results.samples = i + 1;
	}
	return 0;
}

static int64_t ring_and_stamp(const struct keuos_endpoint *end, const struct ring_wake_params *p)
{
	struct keuos_consumer c = keuos_consumer_init(end);
	uint32_t number, template;

	for (uint32_t i = 0; i < p->count; i++) {
		int length;
		int64_t error;

		while ((length = keuos_receive(&c, &number, sizeof(number), &template)) == KEUOS_RING_EMPTY)
			ring_idle(p->same_core);
		if (length != sizeof(number))
			return length < 0 ? length : KEUOS_RING_UNEXPECTED;
		for (uint32_t n = 0; n < p->dawdle; n++)
			ring_idle(p->same_core);
		stamps[i] = ring_ticks();
		error = sys_doorbell(end->capability);
		if (error)
			return error;
		results.samples = i + 1;
	}
	return 0;
}

int main(const char *args)
{
	struct ring_wake_params p = params;
	struct keuos_endpoint end;
	int64_t error = p.count > RING_SAMPLES_MAX ? -KEUOS_EINVAL : ring_accept(&end);

	(void)args;
	if (!error) {
		results.role = end.role;
		error = end.role == KEUOS_PRODUCER ? sleep_and_stamp(&end, p.count) : ring_and_stamp(&end, &p);
	}
	results.error = (int32_t)error;
	return error ? RING_EXIT_FAILED : RING_EXIT_OK;
}
