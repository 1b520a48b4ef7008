/* What a producer may do to harm: it writes slots, head and payload at any time, and traps as often as it likes. */
#include "hostile.h"

static const struct keuos_endpoint *end;
static struct keuos_descriptor *slots;
static struct keuos_index_page *head_page;
static const struct keuos_sealed *tags;
static volatile uint8_t *ring;
static uint32_t head, data;

enum { TEMPLATE = 0 }; /* the one that every receiver here grants */

static void write_good(uint32_t length)
{
	slots[head % KEUOS_SLOTS] = (struct keuos_descriptor){
		.word = keuos_word(head + 1, keuos_low_word(KEUOS_LENGTH_DESCRIPTOR, TEMPLATE)),
		.sealed = tags[TEMPLATE],
		.offset = data,
		.length = length,
		.cookie = {head, ~(uint64_t)head}};
	data += keuos_align(length, KEUOS_DATA_ALIGNMENT);
	head++;
}

static void publish(uint32_t slots_count)
{
	__atomic_store_n(&head_page->data, data, __ATOMIC_RELAXED);
	__atomic_store_n(&head_page->slots, slots_count, __ATOMIC_RELEASE);
}

static int64_t notify(uint32_t n)
{
	int64_t result = sys_notify(end->capability, n);

	if (result > 0)
		results.accepted += (uint32_t)result;
	else if (result == -KEUOS_EAGAIN)
		results.again++;
	else
		results.error = result;
	return result;
}

/* All slots are written before the first notification: from then on it is the host that writes them. */
static int race(void)
{
	for (uint32_t i = 0; i < KEUOS_SLOTS; i++) {
		slots[i] = params.descriptor;
		slots[i].word += (uint64_t)i << KEUOS_WORD_SEQUENCE_SHIFT;
		slots[i].offset += i * keuos_align(params.length, KEUOS_DATA_ALIGNMENT);
	}
	publish(KEUOS_SLOTS);
	results.stage = HOSTILE_AT_IT;
	while (!params.go)
		sys_wait(sys_bit(end->capability), sys_time() + 100000);
	for (; results.turns < KEUOS_SLOTS; results.turns++) {
		hostile_pause(hostile_draw(params.pauses + 1));
		if (notify(1) != 1)
			return RING_EXIT_FAILED;
	}
	return RING_EXIT_OK;
}

static void scribble(void)
{
	uint64_t *word = (uint64_t *)slots + hostile_draw(KEUOS_PAGE_BYTES / sizeof(uint64_t));

	switch (hostile_draw(6)) {
	case 0:
		*word = (uint64_t)hostile_near(head) << 32 | hostile_near(0);
		break;
	case 1:
		head_page->slots = hostile_near(head);
		break;
	case 2:
		head_page->data = hostile_near(data);
		break;
	case 3:
		head_page->sleeping = hostile_draw(2);
		break;
	case 4: /* a slot that is nearly right */
		slots[hostile_draw(KEUOS_SLOTS)].word = keuos_word(hostile_near(head + 1),
			keuos_low_word(hostile_draw(2) ? KEUOS_LENGTH_DESCRIPTOR : hostile_near(56) & 0xffff,
				hostile_draw(3)));
		break;
	default:
		ring[hostile_draw(end->data_bytes)] = (uint8_t)hostile_draw(256);
		break;
	}
}

static int scribble_on(void)
{
	results.stage = HOSTILE_AT_IT;
	for (; results.turns < params.count; results.turns++) {
		scribble();
		if (hostile_draw(8) == 0 && sys_doorbell(end->capability) < 0)
			break;
		if (hostile_draw(64) == 0 && end->mode == KEUOS_VERIFIED &&
			notify(1 + hostile_draw(32)) == -KEUOS_ECLOSED)
			break;
	}
	return RING_EXIT_OK;
}

/* The payload of every message goes on changing while its receiver reads it. */
static int rewrite(void)
{
	const volatile struct keuos_index_page *tail = (const void *)(end->base + KEUOS_OFFSET_TAIL);

	results.stage = HOSTILE_AT_IT;
	for (; results.turns < params.count; results.turns++) {
		uint32_t start = data & (end->data_bytes - 1);

		for (uint32_t i = 0; i < params.length; i++)
			ring[(start + i) & (end->data_bytes - 1)] = (uint8_t)results.turns;
		write_good(params.length);
		publish(head);
		if (notify(1) < 0)
			return RING_EXIT_FAILED;
		for (uint32_t i = 0; tail->slots != head; i++) {
			ring[(start + i % params.length) & (end->data_bytes - 1)] = (uint8_t)~results.turns;
			if (((const volatile struct keuos_status_page *)(end->base + KEUOS_OFFSET_STATUS))->state !=
				KEUOS_CHANNEL_OPEN)
				return RING_EXIT_FAILED;
		}
	}
	sys_channel_close(end->capability);
	return RING_EXIT_OK;
}

static int storm(void)
{
	results.stage = HOSTILE_AT_IT;
	for (; !params.count || results.turns < params.count; results.turns++) {
		if (sys_doorbell(end->capability) < 0)
			break;
		sys_notify(end->capability, 0);
		sys_notify(end->capability, KEUOS_NOTIFY_MAX + 1);
	}
	return RING_EXIT_OK;
}

static int overfill(void)
{
	results.stage = HOSTILE_AT_IT;
	while (head < KEUOS_SLOTS) {
		write_good(params.length);
		publish(head);
		if (notify(1) != 1)
			return RING_EXIT_FAILED;
	}
	write_good(params.length);
	publish(head);
	for (; results.turns < params.count; results.turns++)
		if (notify(1) != -KEUOS_EAGAIN)
			return RING_EXIT_FAILED;
	results.stage = HOSTILE_DONE;
	while (notify(1) == -KEUOS_EAGAIN)
		sys_wait(sys_bit(end->capability), sys_time() + 1000000);
	return RING_EXIT_OK;
}

static int send_on(int call)
{
	const uint64_t bit = sys_bit(end->capability);

	results.stage = HOSTILE_AT_IT;
	for (;; results.turns++) {
		int64_t result = -KEUOS_EAGAIN;

		write_good(params.length);
		publish(head);
		while (result == -KEUOS_EAGAIN) {
			result = call ? sys_notify_and_wait(end->capability, 1, bit) : sys_notify(end->capability, 1);
			results.again += result == -KEUOS_EAGAIN;
		}
		if (sys_is_error(result)) {
			results.error = result;
			return RING_EXIT_OK;
		}
		results.wakes += call;
		results.accepted++;
	}
}

static int sleep_on(void)
{
	const volatile struct keuos_status_page *status = (const void *)(end->base + KEUOS_OFFSET_STATUS);

	results.stage = HOSTILE_AT_IT;
	while (status->state == KEUOS_CHANNEL_OPEN) {
		sys_wait(sys_bit(end->capability), KEUOS_FOREVER);
		results.wakes++;
	}
	results.error = sys_doorbell(end->capability);
	return RING_EXIT_OK;
}

/* What stands in the ring is there to be read before anybody has looked at it. */
static int be_early(void)
{
	write_good(params.length);
	publish(head);
	results.stage = HOSTILE_AT_IT;
	sys_doorbell(end->capability);
	sys_wait(sys_bit(end->capability), KEUOS_FOREVER);
	notify(1);
	return RING_EXIT_OK;
}

static int borrow(const struct keuos_endpoint *second)
{
	const struct keuos_sealed *others = (const void *)(second->base + KEUOS_OFFSET_TAGS);

	results.stage = HOSTILE_AT_IT;
	for (; results.turns < params.count; results.turns++) {
		write_good(params.length);
		publish(head);
		if (notify(1) != 1)
			return RING_EXIT_FAILED;
	}
	write_good(params.length);
	if (params.access)
		slots[(head - 1) % KEUOS_SLOTS].sealed.tag = others[TEMPLATE].tag;
	else
		slots[(head - 1) % KEUOS_SLOTS].sealed = others[TEMPLATE];
	publish(head);
	notify(1);
	return RING_EXIT_OK;
}

int hostile_producer(const struct keuos_endpoint *first, const struct keuos_endpoint *second)
{
	end = first;
	slots = (void *)(end->base + KEUOS_OFFSET_SLOTS);
	head_page = (void *)(end->base + KEUOS_OFFSET_HEAD);
	tags = (const void *)(end->base + KEUOS_OFFSET_TAGS);
	ring = (volatile uint8_t *)(end->base + KEUOS_OFFSET_DATA);
	switch (params.op) {
	case HOSTILE_RACE:
		return race();
	case HOSTILE_SCRIBBLE_HEAD:
		return scribble_on();
	case HOSTILE_REWRITE:
		return rewrite();
	case HOSTILE_STORM:
		return storm();
	case HOSTILE_FULL:
		return overfill();
	case HOSTILE_WAIT_CALL:
	case HOSTILE_SEND_ON:
		return send_on(params.op == HOSTILE_WAIT_CALL);
	case HOSTILE_SLEEP:
		return sleep_on();
	case HOSTILE_EARLY:
		return be_early();
	case HOSTILE_OTHERS_TAG:
		return borrow(second);
	default:
		return RING_EXIT_FAILED;
	}
}
