/*
 * What a trap costs that does nothing, and what it costs to set up a channel and to take it down again: this process
 * binds channels to itself. Loops with a nop in place of the trap come along, for the host to subtract.
 */
#include "../ring_common/ring_program.h"

struct ring_null_params {
	uint32_t count;    /* null system calls, batched and then sampled; at most RING_SAMPLES_MAX */
	uint32_t channels; /* channels bound one after the other, at most RING_CALIBRATIONS */
	uint32_t mode;     /* enum keuos_channel_mode of these */
	uint32_t data_order;
	uint32_t warm_up; /* null system calls before anything counts, by the batch's loop */
};

struct ring_null_results {
	int32_t error;
	uint32_t samples;  /* entries of samples and baseline */
	uint32_t channels; /* entries of setup and teardown */
	uint32_t reserved;
	uint64_t batch_ticks;    /* of params.count null system calls together */
	uint64_t batch_baseline; /* of as many nops */
};

volatile struct ring_null_params params;
struct ring_null_results results;

/* Ticks: of a null system call; of a nop in its place; of bind and two accepts; of two unmaps and the drop. */
uint32_t samples[RING_SAMPLES_MAX], baseline[RING_SAMPLES_MAX];
uint64_t setup[RING_CALIBRATIONS], teardown[RING_CALIBRATIONS];

KEUOS_TEMPLATE(ring_message, RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);

#define NOP() __asm__ volatile("nop" : : : "memory")

static __attribute__((noinline)) void batch(uint32_t count)
{
	uint64_t start = ring_ticks();

	for (uint32_t i = 0; i < count; i++)
		sys_null();
	results.batch_ticks = ring_ticks() - start;
}

static void null_calls(uint32_t warm_up, uint32_t count)
{
	uint64_t start;

	batch(warm_up);
	batch(count);
	start = ring_ticks();
	for (uint32_t i = 0; i < count; i++)
		NOP();
	results.batch_baseline = ring_ticks() - start;
	for (uint32_t i = 0; i < count; i++) {
		start = ring_ticks();
		sys_null();
		samples[i] = (uint32_t)(ring_ticks() - start);
	}
	for (uint32_t i = 0; i < count; i++) {
		start = ring_ticks();
		NOP();
		baseline[i] = (uint32_t)(ring_ticks() - start);
	}
	results.samples = count;
}

static int64_t channels(const struct ring_null_params *p)
{
	struct keuos_bind bind = {.mode = p->mode, .data_order = p->data_order};

	for (uint32_t i = 0; i < p->channels; i++) {
		struct keuos_endpoint ends[2];
		uint64_t start = ring_ticks();
		int64_t channel = sys_channel_bind(KEUOS_CAP_SELF, KEUOS_CAP_SELF, &bind), error;

		if (channel < 0)
			return channel;
		if ((error = ring_accept(&ends[0])) || (error = ring_accept(&ends[1])))
			return error;
		setup[i] = ring_ticks() - start;
		start = ring_ticks();
		if ((error = sys_channel_unmap(ends[0].capability)) ||
			(error = sys_channel_unmap(ends[1].capability)) || (error = sys_cap_drop((uint32_t)channel)))
			return error;
		teardown[i] = ring_ticks() - start;
		results.channels = i + 1;
	}
	return 0;
}

int main(const char *args)
{
	struct ring_null_params p = params;
	int64_t error = p.count > RING_SAMPLES_MAX || p.channels > RING_CALIBRATIONS ? -KEUOS_EINVAL : 0;

	(void)args;
	if (!error) {
		null_calls(p.warm_up, p.count);
		error = channels(&p);
	}
	results.error = (int32_t)error;
	return error ? RING_EXIT_FAILED : RING_EXIT_OK;
}
