/* System calls on channels. Notify is the fast one: one look at the capability, the gates, and the receiver's wake-up. */
#include <kernel/channel.h>
#include <kernel/event.h>
#include <kernel/syscall.h>

static inline struct channel *producer_end(struct process *process, uint64_t index)
{
	const struct capability *capability = &process->capabilities[arch_bounded(index, KEUOS_CAPABILITIES)];
	if (unlikely(index >= KEUOS_CAPABILITIES || capability->type != KEUOS_CAP_PRODUCER))
		return NULL;
	return capability->object;
}

/* The end that a gate objected to: its channel closes, its process dies, and the record says what the kernel saw. */
static void punish(struct channel *channel, struct channel_side *side, enum keuos_verdict verdict,
	const struct keuos_descriptor *seen, uint64_t detail)
{
	struct process *culprit = side->process;
	const struct channel_side *other = side == &channel->producer ? &channel->consumer : &channel->producer;
	struct keuos_event event = {.kind = KEUOS_EVENT_GATE,
		.verdict = verdict,
		.pid = side->pid,
		.peer = other->pid,
		.channel = channel->id,
		.generation = channel->generation,
		.detail = detail,
		.address = arch_program_counter(culprit)};
	if (seen)
		event.descriptor = *seen;
	event_record(event);
	channel_close(channel, KEUOS_CLOSE_VIOLATION, verdict);
	process_kill(culprit, KEUOS_EXIT_GATE, verdict);
}

/* The consumer published a tail that it cannot have reached. If it is the caller's own, its call ends with it. */
static __attribute__((noinline)) int64_t blame_consumer(struct channel *channel)
{
	punish(channel, &channel->consumer, KEUOS_VERDICT_TAIL, NULL, gate_refused_index);
	return -KEUOS_ECLOSED;
}

/* A descriptor or the head was refused. What came before it was good and has been delivered: the close tells of it. */
static __attribute__((noinline)) _Noreturn void blame_producer(
	struct channel *channel, uint32_t accepted, enum keuos_verdict verdict)
{
	channel->descriptors += accepted;
	if (verdict == KEUOS_VERDICT_INDEX)
		punish(channel, &channel->producer, verdict, NULL, gate_refused_index);
	else
		punish(channel, &channel->producer, verdict, &gate_refused, channel->shadow_head);
	schedule_away();
}

/*
 * Passes n descriptors through the gates: how many were accepted, or an error. The consumer is not woken yet. Does not
 * return if the caller is the culprit.
 */
static inline __attribute__((always_inline)) int64_t pass_gates(
	struct process *self, uint64_t index, uint64_t n, struct channel **passed)
{
	struct channel *channel = producer_end(self, index);
	if (unlikely(channel == NULL))
		return -KEUOS_EBADCAP;
	if (unlikely(n - 1 >= KEUOS_NOTIFY_MAX || channel->mode != KEUOS_VERIFIED))
		return -KEUOS_EINVAL;
	if (unlikely(channel->state != KEUOS_CHANNEL_OPEN))
		return -KEUOS_ECLOSED;
	channel->notifications++;
	*passed = channel;
	if (unlikely(!gate_take_tail(channel)))
		return blame_consumer(channel);
	uint32_t head = __atomic_load_n(&channel->head->slots, __ATOMIC_ACQUIRE);
	uint32_t published = head - channel->shadow_head;
	if (unlikely(published > KEUOS_SLOTS || published < n)) {
		gate_refused_index = head;
		blame_producer(channel, 0, KEUOS_VERDICT_INDEX);
	}

	uint32_t room = KEUOS_SLOTS - (channel->shadow_head - channel->shadow_tail);
	uint32_t accepted = 0;
	for (; accepted < n && accepted < room; accepted++) {
		enum keuos_verdict verdict = gate_pass(channel);
		if (unlikely(verdict != KEUOS_VERDICT_OK))
			blame_producer(channel, accepted, verdict);
	}
	channel->descriptors += accepted;
	if (likely(accepted > 0))
		return accepted;
	channel->again++;
	return -KEUOS_EAGAIN;
}

struct result sys_notify(uint64_t index, uint64_t n, REST2)
{
	struct process *self = current_process();
	struct channel *channel;
	int64_t accepted = pass_gates(self, index, n, &channel);
	if (accepted < 0)
		return result_of(accepted);
	notify_process(channel->consumer.process, notification_bit(channel->consumer.capability));
	return result_of(accepted);
}

struct result sys_notify_and_wait(uint64_t index, uint64_t n, uint64_t mask, REST3)
{
	struct process *self = current_process();
	struct channel *channel;
	int64_t accepted = pass_gates(self, index, n, &channel);
	if (unlikely(accepted < 0))
		return result_of(accepted);
	struct process *consumer = channel->consumer.process;
	uint64_t bit = notification_bit(channel->consumer.capability);
	if (likely((self->pending & mask) == 0 && accepted == (int64_t)n && consumer != self))
		schedule_hand_over(mask, consumer, bit);
	notify_process(consumer, bit);
	if (accepted != (int64_t)n)
		return (struct result){-KEUOS_EAGAIN, (uint64_t)accepted};
	uint64_t taken = self->pending & mask;
	if (taken == 0)
		schedule_wait(mask, KEUOS_FOREVER);
	self->pending &= ~taken;
	return result_of((int64_t)taken);
}

/* Either end of a channel, and which. */
static struct channel *end_of(struct process *process, uint64_t index, bool *producer)
{
	if (index >= KEUOS_CAPABILITIES)
		return NULL;
	const struct capability *capability = &process->capabilities[arch_bounded(index, KEUOS_CAPABILITIES)];
	*producer = capability->type == KEUOS_CAP_PRODUCER;
	return *producer || capability->type == KEUOS_CAP_CONSUMER ? capability->object : NULL;
}

struct result sys_doorbell(uint64_t index, REST1)
{
	bool producer;
	struct process *self = current_process();
	struct channel *channel = end_of(self, index, &producer);
	if (channel == NULL)
		return result_of(-KEUOS_EBADCAP);
	if (channel->state != KEUOS_CHANNEL_OPEN)
		return result_of(-KEUOS_ECLOSED);
	const struct channel_side *other = producer ? &channel->consumer : &channel->producer;
	channel->doorbells++;
	notify_process(other->process, notification_bit(other->capability));
	return result_of(0);
}

struct result sys_channel_bind(uint64_t producer, uint64_t consumer, uint64_t request, REST3)
{
	int error;
	struct keuos_bind bind;
	struct process *self = current_process();
	struct capability *from = capability_get(self, producer, KEUOS_CAP_PROCESS, KEUOS_RIGHT_BIND, &error);
	struct capability *to =
		from ? capability_get(self, consumer, KEUOS_CAP_PROCESS, KEUOS_RIGHT_BIND, &error) : NULL;
	if (to == NULL)
		return result_of(error);
	if (!copy_from_user(&bind, (struct user_pointer){request}, sizeof(bind)))
		return result_of(-KEUOS_EFAULT);
	int capability = channel_bind(self, from->object, to->object, &bind);
	return result_of(capability);
}

struct result sys_channel_accept(uint64_t to, REST1)
{
	struct keuos_endpoint endpoint;
	struct channel_side *side = channel_next_end(current_process(), &endpoint);
	if (side == NULL)
		return result_of(-KEUOS_EAGAIN);
	if (!copy_to_user((struct user_pointer){to}, &endpoint, sizeof(endpoint)))
		return result_of(-KEUOS_EFAULT); /* it stays to be accepted */
	side->accepted = true;
	return result_of(0);
}

static struct channel *any_capability_of(struct process *process, uint64_t index)
{
	bool producer;
	uint64_t bounded = arch_bounded(index, KEUOS_CAPABILITIES);
	if (index < KEUOS_CAPABILITIES && process->capabilities[bounded].type == KEUOS_CAP_CHANNEL)
		return process->capabilities[bounded].object;
	return end_of(process, index, &producer);
}

struct result sys_channel_close(uint64_t index, REST1)
{
	struct process *self = current_process();
	struct channel *channel = any_capability_of(self, index);
	if (channel == NULL)
		return result_of(-KEUOS_EBADCAP);
	channel_close(channel, KEUOS_CLOSE_BY_PEER, KEUOS_VERDICT_OK);
	return result_of(0);
}

struct result sys_channel_unmap(uint64_t index, REST1)
{
	bool producer;
	struct channel *channel = end_of(current_process(), index, &producer);
	if (channel == NULL)
		return result_of(-KEUOS_EBADCAP);
	channel_unmap(channel, producer ? &channel->producer : &channel->consumer);
	return result_of(0);
}

struct result sys_channel_info(uint64_t index, uint64_t to, REST2)
{
	struct keuos_channel_info info;
	const struct channel *channel = any_capability_of(current_process(), index);
	if (channel == NULL)
		return result_of(-KEUOS_EBADCAP);
	channel_describe(channel, &info);
	return result_of(copy_to_user((struct user_pointer){to}, &info, sizeof(info)) ? 0 : -KEUOS_EFAULT);
}
