/*
 * Lends its producer's end to the bulk gate check of a HIL build (kernel/hil/gate.c): it asks for more work until the
 * channel closes. The cases come from the host and go to the host; nothing of them passes through this program.
 */
#include "../gate_common/gate_program.h"

struct gate_bulk_params {
	uint32_t hashes; /* how often SipHash-2-4 is timed first, at most GATE_BULK_HASHES */
	uint32_t hash_bytes;
};

struct gate_bulk_results {
	struct keuos_endpoint end;
	int32_t error; /* that ended it: -KEUOS_ECLOSED is how it ends well */
	uint32_t calls;
};

enum { GATE_BULK_HASHES = 1000 };

volatile struct gate_bulk_params params;
struct gate_bulk_results results;
uint32_t hash_ticks[GATE_BULK_HASHES];

/* More kinds than gate_sender has: alignments, flags and lengths at the edges of what a gate compares. */
KEUOS_TEMPLATE(gate_message, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_TEMPLATE(gate_short, GATE_OPCODE_SHORT, GATE_SHORT_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_TEMPLATE(gate_aligned, GATE_OPCODE_ALIGNED, GATE_MESSAGE_MAX, GATE_ALIGNMENT, 0);
KEUOS_TEMPLATE(gate_refused, GATE_OPCODE_REFUSED, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_TEMPLATE(gate_flagged, GATE_OPCODE_FLAGGED, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, GATE_FLAGS & 5);
KEUOS_TEMPLATE(gate_flags_not_granted, GATE_OPCODE_FLAGGED, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, GATE_FLAGS + 1);
KEUOS_TEMPLATE(gate_empty, GATE_OPCODE_EMPTY, 0, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_TEMPLATE(gate_longest, GATE_OPCODE_LONGEST, UINT32_MAX, KEUOS_DATA_ALIGNMENT, 0);

static int64_t hash(uint32_t count, uint32_t bytes)
{
	if (count > GATE_BULK_HASHES)
		return -KEUOS_EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		int64_t ticks = sys_hil(results.end.capability, KEUOS_HIL_HASH, bytes, 0);

		if (ticks < 0)
			return ticks;
		hash_ticks[i] = (uint32_t)ticks;
	}
	return 0;
}

int main(const char *args)
{
	int64_t judged = ring_accept(&results.end);

	(void)args;
	if (!judged)
		judged = hash(params.hashes, params.hash_bytes);
	while (judged >= 0) {
		judged = sys_hil(results.end.capability, KEUOS_HIL_GATE, 0, 0);
		results.calls++;
		if (judged == 0)
			keuos_pause();
	}
	results.error = (int32_t)judged;
	return judged == -KEUOS_ECLOSED ? RING_EXIT_OK : RING_EXIT_FAILED;
}
