/*
 * The other end of gate_sender's and gate_bulk's channels: keeps every descriptor that the kernel delivered, and says how it learned of
 * the end. It can also be the one that misbehaves: by a tail that is impossible, or by never draining its mailbox.
 */
#include "../gate_common/gate_program.h"

struct gate_receiver_params {
	uint32_t drain; /* messages to receive; after them it only waits for the end */
	uint32_t lie;   /* nonzero: then publish the tail with the numbers below added */
	int32_t tail_slots;
	int32_t tail_data;
	uint32_t doorbell; /* nonzero: then ring, so that a waiting sender goes on */
	uint32_t leave;    /* nonzero: then leave, rather than wait for the end */
};

struct gate_receiver_results {
	struct keuos_endpoint end;
	int32_t error; /* negative: of a receive; KEUOS_RING_CLOSED is how it ends well */
	uint32_t received;
	uint32_t state;   /* of the channel at the end: enum keuos_channel_state, */
	uint32_t reason;  /* enum keuos_close_reason */
	uint32_t verdict; /* and enum keuos_verdict, by the status page */
	uint32_t wakes;   /* returns from WAIT */
};

volatile struct gate_receiver_params params;
struct gate_receiver_results results;

/* The mailbox as each message was found there, and a checksum of its payload; of the last KEUOS_SLOTS messages. */
struct keuos_descriptor received[KEUOS_SLOTS];
uint64_t checksums[KEUOS_SLOTS];

KEUOS_ACCEPTS(GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(GATE_OPCODE_SHORT, GATE_SHORT_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(GATE_OPCODE_ALIGNED, GATE_MESSAGE_MAX, GATE_ALIGNMENT, 0);
KEUOS_ACCEPTS(GATE_OPCODE_FLAGGED, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, GATE_FLAGS);
KEUOS_ACCEPTS(GATE_OPCODE_EMPTY, 0, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(GATE_OPCODE_LONGEST, UINT32_MAX, KEUOS_DATA_ALIGNMENT, 0);

static _Alignas(64) uint8_t payload[GATE_MESSAGE_MAX];

static int receive(struct keuos_consumer *in)
{
	const struct keuos_descriptor *mailbox = (const void *)in->ring.slots;
	uint32_t template;
	int length;

	while ((length = keuos_receive(in, payload, sizeof(payload), &template)) == KEUOS_RING_EMPTY) {
		results.wakes++;
		sys_wait(sys_bit(in->ring.capability), KEUOS_FOREVER);
	}
	if (length < 0)
		return length;
	received[results.received % KEUOS_SLOTS] = mailbox[(in->tail - 1) % KEUOS_SLOTS];
	checksums[results.received % KEUOS_SLOTS] = ring_checksum(RING_CHECKSUM_START, payload, (uint32_t)length);
	results.received++;
	return 0;
}

int main(const char *args)
{
	struct gate_receiver_params p = params;
	struct keuos_consumer in;
	int64_t error = ring_accept(&results.end);

	(void)args;
	if (error) {
		results.error = (int32_t)error;
		return RING_EXIT_FAILED;
	}
	in = keuos_consumer_init(&results.end);
	while (!error && results.received < p.drain)
		error = receive(&in);
	if (!error && p.lie) {
		__atomic_store_n(&in.ring.own->data, in.data + (uint32_t)p.tail_data, __ATOMIC_RELEASE);
		__atomic_store_n(&in.ring.own->slots, in.tail + (uint32_t)p.tail_slots, __ATOMIC_RELEASE);
	}
	if (!error && p.doorbell)
		error = sys_doorbell(results.end.capability);
	if (!error && p.leave)
		return RING_EXIT_OK;
	while (!error && in.ring.status->state == KEUOS_CHANNEL_OPEN) {
		results.wakes++;
		sys_wait(sys_bit(results.end.capability), KEUOS_FOREVER);
	}
	results.error = error ? (int32_t)error : KEUOS_RING_CLOSED;
	results.state = in.ring.status->state;
	results.reason = in.ring.status->reason;
	results.verdict = in.ring.status->verdict;
	return RING_EXIT_OK;
}
