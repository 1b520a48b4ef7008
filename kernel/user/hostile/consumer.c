/* What a consumer may do to harm: it writes its tail at any time, and reads whatever it can reach. */
#include "hostile.h"

static const struct keuos_endpoint *end;
static volatile struct keuos_index_page *tail_page;
static const volatile struct keuos_status_page *status;
static struct keuos_consumer in;

static _Alignas(64) uint8_t buffer[GATE_MESSAGE_MAX];

static int receive(void)
{
	uint32_t template;
	int length;

	while ((length = keuos_receive(&in, buffer, sizeof(buffer), &template)) == KEUOS_RING_EMPTY)
		sys_wait(sys_bit(end->capability), KEUOS_FOREVER);
	if (length >= 0)
		results.accepted++;
	return length;
}

static int scribble_tail(void)
{
	results.stage = HOSTILE_AT_IT;
	for (; results.turns < params.count && status->state == KEUOS_CHANNEL_OPEN; results.turns++) {
		uint32_t honest = ((const volatile struct keuos_index_page *)(end->base + KEUOS_OFFSET_HEAD))->slots;

		switch (hostile_draw(4)) {
		case 0:
			tail_page->data = hostile_near(tail_page->data);
			break;
		case 1:
			tail_page->sleeping = hostile_draw(2);
			break;
		default:
			tail_page->slots = hostile_near(honest);
			break;
		}
		if (hostile_draw(8) == 0)
			sys_doorbell(end->capability);
	}
	return RING_EXIT_OK;
}

static int touch(void)
{
	uintptr_t at = (uintptr_t)(end->base + (uint64_t)params.offset);

	results.stage = HOSTILE_AT_IT;
	while (results.turns < params.count && receive() >= 0)
		results.turns++;
	if (params.access == HOSTILE_READ)
		(void)*(volatile uint64_t *)at;
	else if (params.access == HOSTILE_WRITE)
		*(volatile uint64_t *)at = UINT64_C(0x6b65756f73);
	else
		((void (*)(void))at)();
	results.stage = HOSTILE_DONE;
	return RING_EXIT_OK;
}

static int receive_stably(void)
{
	int length;

	results.stage = HOSTILE_AT_IT;
	while ((length = receive()) >= 0) {
		uint64_t once = ring_checksum(RING_CHECKSUM_START, buffer, (uint32_t)length);
		uint32_t differ = 0;

		for (int i = 0; i < length; i++)
			differ |= buffer[i] ^ (uint8_t)results.turns;
		results.changed += differ != 0;
		RING_MATERIALISE(buffer);
		results.unstable += once != ring_checksum(RING_CHECKSUM_START, buffer, (uint32_t)length);
		results.turns++;
	}
	results.error = length;
	return RING_EXIT_OK;
}

static int take_early(void)
{
	const volatile struct keuos_slot *slots = (const void *)(end->base + KEUOS_OFFSET_SLOTS);

	results.stage = HOSTILE_AT_IT;
	while (slots[0].word == 0)
		sys_wait(sys_bit(end->capability), KEUOS_FOREVER);
	tail_page->data = params.length;
	__atomic_store_n(&tail_page->slots, 1, __ATOMIC_RELEASE);
	sys_doorbell(end->capability);
	while (status->state == KEUOS_CHANNEL_OPEN)
		sys_wait(sys_bit(end->capability), KEUOS_FOREVER);
	return RING_EXIT_OK;
}

static int take_one_by_one(void)
{
	results.stage = HOSTILE_AT_IT;
	while (status->state == KEUOS_CHANNEL_OPEN) {
		while (results.accepted < params.go && receive() >= 0)
			;
		sys_wait(sys_bit(end->capability), sys_time() + 1000000);
	}
	return RING_EXIT_OK;
}

static int act(void)
{
	switch (params.op) {
	case HOSTILE_SCRIBBLE_TAIL:
		return scribble_tail();
	case HOSTILE_TOUCH:
		return touch();
	case HOSTILE_STABLE:
		return receive_stably();
	case HOSTILE_TAKE_EARLY:
		return take_early();
	case HOSTILE_TAKE_ONE:
		return take_one_by_one();
	default:
		return RING_EXIT_FAILED;
	}
}

int hostile_consumer(const struct keuos_endpoint *first)
{
	int outcome;

	end = first;
	in = keuos_consumer_init(end);
	tail_page = (volatile struct keuos_index_page *)(end->base + KEUOS_OFFSET_TAIL);
	status = (const volatile struct keuos_status_page *)(end->base + KEUOS_OFFSET_STATUS);
	outcome = act();
	results.reason = status->reason;
	return outcome;
}
