/*
 * The hostile peer. Its templates exceed its own interface in every way there is, one at a time, among some that don't:
 * which of them are sealed between two of it is for the host to compare. It leaves with 0 when it is done, 1 if it could not begin.
 */
#include "hostile.h"

volatile struct hostile_params params;
volatile struct hostile_results results;

static uint64_t state;

KEUOS_TEMPLATE(hostile_message, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, 64, 0);
KEUOS_TEMPLATE(hostile_ring, RING_OPCODE, RING_MESSAGE_MAX, 64, 0); /* what ring_stream accepts */
KEUOS_TEMPLATE(hostile_shorter, GATE_OPCODE_MESSAGE, 24, 64, 0);
KEUOS_TEMPLATE(hostile_empty, GATE_OPCODE_MESSAGE, 0, 64, 0);
KEUOS_TEMPLATE(hostile_stricter, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, 4096, 0);
KEUOS_TEMPLATE(hostile_strictest, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, 0x80000000, 0);
KEUOS_TEMPLATE(hostile_longer, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX + 1, 64, 0);
KEUOS_TEMPLATE(hostile_longest, GATE_OPCODE_MESSAGE, UINT32_MAX, 64, 0);
KEUOS_TEMPLATE(hostile_flag, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, 64, 1);
KEUOS_TEMPLATE(hostile_high_flag, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, 64, 0x80000000);
KEUOS_TEMPLATE(hostile_unaligned, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, 0, 0);
KEUOS_TEMPLATE(hostile_bytewise, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, 1, 0);
KEUOS_TEMPLATE(hostile_half_line, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, 32, 0);
KEUOS_TEMPLATE(hostile_odd, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, 192, 0);
KEUOS_TEMPLATE(hostile_ones, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, UINT32_MAX, 0);
KEUOS_TEMPLATE(hostile_laxer, GATE_OPCODE_ALIGNED, GATE_MESSAGE_MAX, 128, 0);
KEUOS_TEMPLATE(hostile_aligned, GATE_OPCODE_ALIGNED, GATE_MESSAGE_MAX, GATE_ALIGNMENT, 0);
KEUOS_TEMPLATE(hostile_opcode, GATE_OPCODE_REFUSED, 24, 64, 0);
KEUOS_TEMPLATE(hostile_opcode_zero, 0, 0, 64, 0);
KEUOS_TEMPLATE(hostile_opcode_last, 0xffff, 24, 64, 0);
KEUOS_TEMPLATE(hostile_flags_granted, HOSTILE_OPCODE_FLAGS, 512, 64, 6);
KEUOS_TEMPLATE(hostile_flags_some, HOSTILE_OPCODE_FLAGS, 512, 64, 4);
KEUOS_TEMPLATE(hostile_flags_more, HOSTILE_OPCODE_FLAGS, 512, 64, 7);
/* Each half lies within one entry of the interface, and the whole within none. */
KEUOS_TEMPLATE(hostile_of_two, HOSTILE_OPCODE_FLAGS, 4096, 64, 2);
KEUOS_TEMPLATE(hostile_of_the_other, HOSTILE_OPCODE_FLAGS, 4096, 64, 0);
__attribute__((section(".keuos.proofs"), used, aligned(16))) const struct keuos_template hostile_reserved = {
	.opcode = GATE_OPCODE_MESSAGE, .reserved = 1, .max_length = 24, .alignment = 64};

KEUOS_ACCEPTS(GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(GATE_OPCODE_ALIGNED, GATE_MESSAGE_MAX, GATE_ALIGNMENT, 0);
KEUOS_ACCEPTS(RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(HOSTILE_OPCODE_FLAGS, 512, KEUOS_DATA_ALIGNMENT, 6);
KEUOS_ACCEPTS(HOSTILE_OPCODE_FLAGS, 4096, KEUOS_DATA_ALIGNMENT, 0);

uint32_t hostile_draw(uint32_t bound)
{
	return (uint32_t)(ring_random(&state) >> 11) % bound;
}

uint32_t hostile_near(uint32_t honest)
{
	static const uint32_t far[] = {
		1, 2, 16, 32, 63, 64, 65, 128, 4096, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff};
	uint32_t by = far[hostile_draw(sizeof(far) / sizeof(far[0]))];

	switch (hostile_draw(4)) {
	case 0:
		return honest;
	case 1:
		return honest + by;
	case 2:
		return honest - by;
	default:
		return (uint32_t)ring_random(&state);
	}
}

void hostile_pause(uint32_t times)
{
	while (times--)
		keuos_pause();
}

int main(const char *args)
{
	static struct keuos_endpoint ends[2];
	uint32_t count = params.ends ? params.ends : 1;

	(void)args;
	state = params.seed | 1;
	if (count > 2)
		return RING_EXIT_FAILED;
	for (uint32_t i = 0; i < count && params.op != HOSTILE_SPIN; i++) {
		if (ring_accept(&ends[i]))
			return RING_EXIT_FAILED;
		results.end[i] = ends[i];
	}
	results.stage = HOSTILE_ACCEPTED;
	while (params.op == HOSTILE_SPIN)
		;
	while (params.op == HOSTILE_NOTHING)
		sys_wait(0, KEUOS_FOREVER);
	return ends[0].role == KEUOS_PRODUCER ? hostile_producer(&ends[0], &ends[1]) : hostile_consumer(&ends[0]);
}
