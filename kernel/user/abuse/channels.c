/* Channels turned against their keeper: bound to oneself, hoarded, notified half, taken back twice. */
#include "abuse.h"

int64_t abuse_bind_self(uint32_t mode, uint32_t data_order, struct keuos_endpoint ends[2])
{
	struct keuos_bind bind = {.mode = mode, .data_order = data_order};
	int64_t channel = MUST(sys_channel_bind(KEUOS_CAP_SELF, KEUOS_CAP_SELF, &bind));

	MUST(sys_channel_accept(&ends[0]));
	MUST(sys_channel_accept(&ends[1]));
	return channel;
}

static volatile struct keuos_index_page *index_page(const struct keuos_endpoint *end, uint32_t offset)
{
	return (volatile struct keuos_index_page *)(uintptr_t)(end->base + offset);
}

static int be_ones_own_bad_consumer(void)
{
	struct keuos_endpoint ends[2];

	abuse_bind_self(KEUOS_VERIFIED, 0, ends);
	results.index = ends[0].channel;
	index_page(&ends[1], KEUOS_OFFSET_TAIL)->slots = 5;
	results.value = sys_notify(ends[0].capability, 1);
	return 0; /* not reached: the gate kills the consumer, which is the caller */
}

static int hoard(void)
{
	struct keuos_bind bind = {.mode = KEUOS_POLLED, .data_order = KEUOS_NO_DATA};
	uint32_t controls[KEUOS_CAPABILITIES];
	int64_t channel;

	results.before = abuse_info().channels;
	while ((channel = sys_channel_bind(KEUOS_CAP_SELF, KEUOS_CAP_SELF, &bind)) >= 0) {
		struct keuos_endpoint end;

		controls[results.count++] = (uint32_t)channel;
		for (int i = 0; i < 2; i++) {
			MUST(sys_channel_accept(&end));
			MUST(sys_channel_unmap(end.capability));
		}
	}
	abuse_refused(channel);
	results.value = abuse_info().channels;
	for (uint32_t i = 0; i < results.count; i++)
		MUST(sys_cap_drop(controls[i]));
	results.after = abuse_info().channels;
	results.second = (uint64_t)sys_channel_bind(KEUOS_CAP_SELF, KEUOS_CAP_SELF, &bind); /* there is room again */
	return 0;
}

/* Publishes the next slot: an empty message of the first template. */
static void publish(const struct keuos_endpoint *end, uint32_t at)
{
	const struct keuos_sealed *tags = (const struct keuos_sealed *)(uintptr_t)(end->base + KEUOS_OFFSET_TAGS);
	volatile struct keuos_descriptor *slots = (volatile struct keuos_descriptor *)(uintptr_t)end->base;
	uint64_t mark = (uint64_t)KEUOS_LENGTH_DESCRIPTOR << KEUOS_WORD_LENGTH_SHIFT;

	slots[at % KEUOS_SLOTS] = (struct keuos_descriptor){
		.word = (uint64_t)(at + 1) << KEUOS_WORD_SEQUENCE_SHIFT | mark, .sealed = tags[0]};
	__atomic_store_n(&index_page(end, KEUOS_OFFSET_HEAD)->slots, at + 1, __ATOMIC_RELEASE);
}

/* Fills the mailbox but for one, and asks for two while the caller's own bit is pending. */
static int notify_half(void)
{
	struct keuos_endpoint ends[2];
	uint64_t bit;
	uint32_t at = 0;

	abuse_bind_self(KEUOS_VERIFIED, 0, ends);
	bit = sys_bit(ends[0].capability);
	while (at < KEUOS_SLOTS - 1) {
		publish(&ends[0], at++);
		if (MUST(sys_notify(ends[0].capability, 1)) != 1)
			return 2;
	}
	/* The first slot has been copied into the mailbox, so the second of these two may take its place. */
	publish(&ends[0], at++);
	publish(&ends[0], at++);
	sys_wait(~sys_bit(63), 0);
	MUST(sys_doorbell(ends[1].capability)); /* tells the producer */

	struct syscall_result result = syscall_pair(KEUOS_SYS_NOTIFY_AND_WAIT, ends[0].capability, 2, bit, 0, 0, 0);
	results.value = result.value;
	results.second = result.second;
	results.third = sys_wait(bit, 0);
	results.index = (uint32_t)bit;
	return 0;
}

static int revoke_again(void)
{
	struct keuos_endpoint ends[2];
	int64_t channel = abuse_bind_self(KEUOS_POLLED, KEUOS_NO_DATA, ends);

	results.index = ends[0].channel;
	results.made = ends[0].generation;
	for (uint32_t i = 0; i < params.count; i++)
		MUST(sys_cap_revoke((uint32_t)channel));
	return 0;
}

/* Publishes a tail that can't be, and leaves by itself the moment it is found out: too late, if the kernel is right. */
static int leave_when_blamed(void)
{
	const volatile struct keuos_status_page *status;
	struct keuos_endpoint end;

	while (sys_channel_accept(&end) < 0)
		sys_wait(sys_bit(KEUOS_CAP_SELF), KEUOS_FOREVER);
	status = (const volatile struct keuos_status_page *)(uintptr_t)(end.base + KEUOS_OFFSET_STATUS);
	index_page(&end, KEUOS_OFFSET_TAIL)->slots = 9;
	while (status->state == KEUOS_CHANNEL_OPEN)
		;
	sys_exit(0);
}

int abuse_channels(uint32_t op)
{
	switch (op) {
	case ABUSE_SELF_TAIL:
		return be_ones_own_bad_consumer();
	case ABUSE_HOARD:
		return hoard();
	case ABUSE_PARTIAL:
		return notify_half();
	case ABUSE_REVOKE:
		return revoke_again();
	case ABUSE_CONSUMER:
		return leave_when_blamed();
	default:
		return 2;
	}
}
