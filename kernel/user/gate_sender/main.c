/*
 * A sender that misbehaves in exactly one way. It sends valid descriptors, then does the one thing that its parameters
 * say, and reports what came of it, if it lives. It writes the ring by hand: keuos/ring.h would refuse half of this.
 *
 * Bound to it: the producer's end of a verified channel (of any mode, for the actions on memory).
 */
#include "../gate_common/gate_program.h"

enum gate_action {
	GATE_NOTHING = 0,
	GATE_FLIP = 1,    /* a valid descriptor with the bits in `descriptor` flipped */
	GATE_LITERAL = 2, /* `descriptor` as it is */
	GATE_REPLAY = 3,  /* what was sent `back` slots before, once more */
	GATE_NOTIFY = 4,  /* no descriptor: notify alone, on `capability` */
	GATE_LOAD = 5,    /* of 8 bytes at `address` */
	GATE_STORE = 6,
	GATE_CALL = 7,
	GATE_LOAD_ON = 8, /* as GATE_LOAD, over and over: only a fault ends it */
};

struct gate_sender_params {
	uint32_t good;   /* valid descriptors first, a notification each */
	uint32_t length; /* bytes of payload of a valid descriptor */
	uint32_t wait;   /* nonzero: wait for the receiver's doorbell before the action */
	uint32_t action; /* enum gate_action */
	uint32_t before; /* valid descriptors ahead of the action's, in the same notification */
	uint32_t after;  /* and behind it */
	uint32_t n;      /* what notify is told; 0: as many as were written */
	uint32_t back;
	int32_t head_slots; /* added to the true counters when the head is published for the action */
	int32_t head_data;
	uint32_t capability; /* for GATE_NOTIFY; 0: the channel's own */
	uint32_t relative;   /* nonzero: address counts from the channel's first page */
	uint64_t address;
	struct keuos_descriptor descriptor;
};

struct gate_sender_results {
	struct keuos_endpoint end;
	int32_t error;     /* before the action: negative */
	uint32_t sent;     /* valid descriptors accepted before the action */
	uint32_t survived; /* nonzero: the action did not kill this process */
	uint32_t reserved;
	int64_t result;                     /* of the action: what notify returned, or what was loaded */
	struct keuos_descriptor descriptor; /* the action's, as it was written */
};

volatile struct gate_sender_params params;
struct gate_sender_results results;

KEUOS_TEMPLATE(gate_message, GATE_OPCODE_MESSAGE, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_TEMPLATE(gate_short, GATE_OPCODE_SHORT, GATE_SHORT_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_TEMPLATE(gate_aligned, GATE_OPCODE_ALIGNED, GATE_MESSAGE_MAX, GATE_ALIGNMENT, 0);
KEUOS_TEMPLATE(gate_refused, GATE_OPCODE_REFUSED, GATE_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);

static struct keuos_descriptor *slots;
static uint8_t *ring;
static uint32_t head, data;

static struct keuos_descriptor valid(uint32_t length)
{
	const struct keuos_sealed *tags = (const void *)(results.end.base + KEUOS_OFFSET_TAGS);
	uint16_t index = keuos_template_index(&gate_message);

	return (struct keuos_descriptor){
		.word = keuos_word(head + 1, keuos_low_word(KEUOS_LENGTH_DESCRIPTOR, index)),
		.sealed = tags[index],
		.offset = data,
		.length = length,
		.cookie = {head, ~(uint64_t)head},
	};
}

/* Writes a descriptor into the next slot, and payload where a valid one would have it. */
static void write(const struct keuos_descriptor *descriptor, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		ring[(data + i) & (results.end.data_bytes - 1)] = (uint8_t)(head * 13 + i);
	slots[head % KEUOS_SLOTS] = *descriptor;
	data += keuos_align(length, KEUOS_DATA_ALIGNMENT);
	head++;
}

static void write_valid(uint32_t count, uint32_t length)
{
	while (count--) {
		struct keuos_descriptor descriptor = valid(length);

		write(&descriptor, length);
	}
}

static void publish(uint32_t head_slots, uint32_t head_data)
{
	struct keuos_index_page *page = (void *)(results.end.base + KEUOS_OFFSET_HEAD);

	__atomic_store_n(&page->data, head_data, __ATOMIC_RELAXED);
	__atomic_store_n(&page->slots, head_slots, __ATOMIC_RELEASE);
}

static void act_on_memory(const struct gate_sender_params *p)
{
	uint64_t address = p->address + (p->relative ? results.end.base : 0);

	while (p->action == GATE_LOAD_ON) {
		(void)*(volatile int64_t *)address;
		keuos_pause(); /* or an emulator that counts instructions would leave the other core waiting */
	}
	if (p->action == GATE_LOAD)
		results.result = *(volatile int64_t *)address;
	else if (p->action == GATE_STORE)
		*(volatile uint64_t *)address = UINT64_C(0x6b65756f73676174);
	else
		((void (*)(void))address)();
}

static void act_on_ring(const struct gate_sender_params *p)
{
	uint32_t start = head;

	write_valid(p->before, p->length);
	if (p->action != GATE_NOTIFY) {
		struct keuos_descriptor bad = p->action == GATE_LITERAL ? p->descriptor : valid(p->length);

		if (p->action == GATE_FLIP) {
			const uint64_t *flip = (const uint64_t *)&p->descriptor;
			uint64_t *word = (uint64_t *)&bad;

			for (uint32_t i = 0; i < sizeof(bad) / sizeof(*word); i++)
				word[i] ^= flip[i];
		} else if (p->action == GATE_REPLAY) {
			bad = slots[(head - p->back) % KEUOS_SLOTS];
		}
		results.descriptor = bad;
		write(&bad, p->length);
	}
	write_valid(p->after, p->length);
	publish(head + (uint32_t)p->head_slots, data + (uint32_t)p->head_data);
	results.result = sys_notify(p->capability ? p->capability : results.end.capability, p->n ? p->n : head - start);
}

int main(const char *args)
{
	static struct gate_sender_params p;
	int64_t error;

	(void)args;
	p = params;
	error = ring_accept(&results.end);
	if (!error && (p.length > results.end.data_bytes || results.end.role != KEUOS_PRODUCER))
		error = -KEUOS_EINVAL;
	slots = (void *)(results.end.base + KEUOS_OFFSET_SLOTS);
	ring = (void *)(results.end.base + KEUOS_OFFSET_DATA);
	for (; !error && results.sent < p.good; results.sent++) {
		write_valid(1, p.length);
		publish(head, data);
		error = sys_notify(results.end.capability, 1);
		error = error == 1 ? 0 : error < 0 ? error : -KEUOS_EAGAIN;
	}
	results.error = (int32_t)error;
	if (error)
		return RING_EXIT_FAILED;
	if (p.wait)
		sys_wait(sys_bit(results.end.capability), KEUOS_FOREVER);
	if (p.action >= GATE_LOAD)
		act_on_memory(&p);
	else if (p.action != GATE_NOTHING)
		act_on_ring(&p);
	results.survived = 1;
	return RING_EXIT_OK;
}
