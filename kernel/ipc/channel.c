/*
 * Channels: bound, handed to their two sides, closed, let go. The layout is that of keuos/channel.h; what the gates do
 * with it is in gate.c.
 */
#include <kernel/channel.h>
#include <kernel/device.h>
#include <kernel/event.h>
#include <kernel/frame.h>
#include <kernel/memory.h>
#include <kernel/random.h>

/* Where a channel lies in a process follows from its capability's index; windows never touch, so guards come for free. */
enum { WINDOW_BYTES = 1 << 20 };
const uint64_t channel_window = 0x0000100000000000ull, channel_window_bytes = WINDOW_BYTES;

enum page { PAGE_SLOTS, PAGE_HEAD, PAGE_TAIL, PAGE_STATUS, PAGE_TAGS, PAGE_MAILBOX, PAGE_DATA };

_Static_assert(KEUOS_PAGE_BYTES *(CHANNEL_FIXED_PAGES + CHANNEL_DATA_PAGES_MAX + 2) <= WINDOW_BYTES, "window");

struct channel channels[KEUOS_CHANNELS];
uint32_t channel_count;
static uint32_t bound_so_far;

static uint32_t page_count(const struct channel *channel)
{
	return CHANNEL_FIXED_PAGES + channel->data_bytes / KEUOS_PAGE_BYTES;
}

static const uint32_t not_mapped = UINT32_MAX;

/* The rights of keuos/channel.h's table. */
static uint32_t page_protection(const struct channel *channel, uint32_t page, bool producer)
{
	bool writable;
	switch (page) {
	case PAGE_STATUS:
	case PAGE_TAGS:
		writable = false;
		break;
	case PAGE_TAIL:
		writable = !producer;
		break;
	case PAGE_MAILBOX:
		if (producer || channel->mode != KEUOS_VERIFIED)
			return not_mapped;
		writable = false;
		break;
	default:
		writable = producer;
		break;
	}
	return PROTECTION_USER | (writable ? PROTECTION_WRITE : 0);
}

static void free_pages(struct channel *channel)
{
	for (uint32_t i = 0; i < CHANNEL_FIXED_PAGES + CHANNEL_DATA_PAGES_MAX; i++)
		if (channel->frames[i])
			frame_release(channel->frames[i]);
	memset(channel->frames, 0, sizeof(channel->frames));
	if (channel->sealed_frame)
		frame_release(channel->sealed_frame);
	channel->sealed_frame = 0;
	if (channel->binder)
		process_refund_pages(channel->binder, channel->pages);
	channel->pages = 0;
}

/* A record is free again when neither side nor a capability of the binder refers to it; its generation stays. */
static void free_if_unused(struct channel *channel)
{
	if (channel->state != KEUOS_CHANNEL_CLOSED || channel->producer.process || channel->consumer.process)
		return;
	free_pages(channel);
	if (channel->controls > 0)
		return;
	if (channel->binder)
		channel->binder->channels--;
	uint32_t generation = channel->generation;
	memset(channel, 0, sizeof(*channel));
	channel->generation = generation;
	channel_count--;
}

static bool alloc_pages(struct channel *channel, uint16_t payer)
{
	uint32_t count = page_count(channel);
	for (uint32_t i = 0; i < count; i++) {
		if (i == PAGE_MAILBOX && channel->mode != KEUOS_VERIFIED)
			continue;
		channel->frames[i] = frame_alloc(FRAME_CHANNEL, payer);
		if (channel->frames[i] == 0)
			return false;
	}
	channel->sealed_frame = frame_alloc(FRAME_SECRET, 0);
	return channel->sealed_frame != 0;
}

static void map_views(struct channel *channel)
{
	channel->sealed = arch_direct(channel->sealed_frame);
	channel->slots = arch_direct(channel->frames[PAGE_SLOTS]);
	channel->head = arch_direct(channel->frames[PAGE_HEAD]);
	channel->tail = arch_direct(channel->frames[PAGE_TAIL]);
	channel->status = arch_direct(channel->frames[PAGE_STATUS]);
	channel->mailbox = channel->mode == KEUOS_VERIFIED ? arch_direct(channel->frames[PAGE_MAILBOX]) : NULL;
}

static bool power_of_two(uint32_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

/* Does the receiver's interface grant this template of the sender's? */
static bool granted(const struct keuos_template *wanted, const struct process *receiver)
{
	if (wanted->reserved != 0 || !power_of_two(wanted->alignment) || wanted->alignment < KEUOS_DATA_ALIGNMENT)
		return false;
	for (uint32_t i = 0; i < receiver->interface_count; i++) {
		const struct keuos_template *accepted = &receiver->interface[i];
		if (accepted->opcode == wanted->opcode && (wanted->flags & ~accepted->flags) == 0 &&
			wanted->max_length <= accepted->max_length && wanted->alignment >= accepted->alignment)
			return true;
	}
	return false;
}

/* The tags page gets what the kernel's own table gets; only the kernel's is ever compared with. */
static void seal(struct channel *channel, const struct process *sender, const struct process *receiver)
{
	struct keuos_sealed *published = arch_direct(channel->frames[PAGE_TAGS]);
	channel->templates = sender->proofs_count;
	for (uint32_t i = 0; i < sender->proofs_count; i++) {
		const struct keuos_template *template = &sender->proofs[i];
		if (!granted(template, receiver))
			continue;
		struct keuos_sealed *sealed = &channel->sealed[i];
		*sealed = (struct keuos_sealed){.channel = channel->id,
			.generation = channel->generation,
			.template_index = (uint16_t)i,
			.opcode = template->opcode,
			.flags = template->flags,
			.max_length = template->max_length,
			.alignment = template->alignment};
		sealed->tag = siphash_2_4(channel->key, sealed, offsetof(struct keuos_sealed, tag));
		published[i] = *sealed;
		channel->granted++;
	}
}

/* Takes a capability in the process and maps the pages with that side's rights. */
static int attach(struct channel *channel, struct channel_side *side, struct process *process, bool producer)
{
	int index = capability_add(process, producer ? KEUOS_CAP_PRODUCER : KEUOS_CAP_CONSUMER, 0, channel);
	if (index < 0)
		return index;
	side->process = process;
	side->pid = process->pid;
	side->capability = (uint32_t)index;
	side->base = channel_window + (uint32_t)index * channel_window_bytes + KEUOS_PAGE_BYTES;
	uint32_t count = page_count(channel);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t protection = page_protection(channel, i, producer);
		if (protection == not_mapped)
			continue;
		if (!arch_map(&process->space, side->base + i * KEUOS_PAGE_BYTES, channel->frames[i], protection))
			return -KEUOS_ENOMEM;
		frame_hold(channel->frames[i]);
	}
	return 0;
}

void channel_unmap(struct channel *channel, struct channel_side *side)
{
	struct process *process = side->process;
	bool producer = side == &channel->producer;
	channel_close(channel, KEUOS_CLOSE_BY_PEER, KEUOS_VERDICT_OK);
	dma_capability_cleared(process, side->capability);
	uint64_t unmapped[CHANNEL_FIXED_PAGES + CHANNEL_DATA_PAGES_MAX];
	uint32_t count = page_count(channel);
	for (uint32_t i = 0; i < count; i++)
		unmapped[i] = page_protection(channel, i, producer) == not_mapped
			? 0
			: arch_unmap(&process->space, side->base + i * KEUOS_PAGE_BYTES);
	arch_flush(process);
	for (uint32_t i = 0; i < count; i++)
		if (unmapped[i])
			frame_release(unmapped[i]);
	struct capability *capability = &process->capabilities[side->capability];
	side->process = NULL;
	capability_clear(process, capability);
	free_if_unused(channel);
}

static void fill_status(struct channel *channel)
{
	*channel->status = (struct keuos_status_page){.state = channel->state,
		.reason = channel->reason,
		.verdict = channel->verdict,
		.channel = channel->id,
		.generation = channel->generation,
		.mode = channel->mode,
		.data_bytes = channel->data_bytes,
		.templates = channel->templates};
}

static void tell(const struct channel_side *side)
{
	if (side->process && side->process->state != KEUOS_PROCESS_DEAD)
		notify_process(side->process, notification_bit(side->capability));
}

void channel_close(struct channel *channel, enum keuos_close_reason reason, enum keuos_verdict verdict)
{
	if (channel->state != KEUOS_CHANNEL_OPEN)
		return;
	channel->state = KEUOS_CHANNEL_CLOSED;
	channel->reason = reason;
	channel->verdict = verdict;
	channel->status->reason = reason;
	channel->status->verdict = verdict;
	__atomic_store_n(&channel->status->state, KEUOS_CHANNEL_CLOSED, __ATOMIC_RELEASE);
	event_record((struct keuos_event){.kind = KEUOS_EVENT_CLOSE,
		.verdict = reason,
		.pid = channel->producer.pid,
		.peer = channel->consumer.pid,
		.channel = channel->id,
		.generation = channel->generation,
		.detail = verdict});
	tell(&channel->producer);
	tell(&channel->consumer);
}

static struct channel *free_record(void)
{
	for (uint32_t i = 0; i < KEUOS_CHANNELS; i++)
		if (channels[i].state == KEUOS_CHANNEL_FREE)
			return &channels[i];
	return NULL;
}

/* Undoes a binding that failed on the way; nobody has seen the channel yet. */
static int give_up(struct channel *channel, struct process *binder, int capability, int error)
{
	channel->state = KEUOS_CHANNEL_CLOSED;
	if (capability >= 0)
		capability_clear(binder, &binder->capabilities[capability]);
	if (channel->producer.process)
		channel_unmap(channel, &channel->producer);
	if (channel->state != KEUOS_CHANNEL_FREE && channel->consumer.process)
		channel_unmap(channel, &channel->consumer);
	if (channel->state != KEUOS_CHANNEL_FREE)
		free_if_unused(channel);
	return error;
}

static int check_request(const struct process *binder, const struct process *producer, const struct process *consumer,
	const struct keuos_bind *request)
{
	bool has_data = request->data_order != KEUOS_NO_DATA;
	if (request->mode > KEUOS_VERIFIED || (has_data && request->data_order > KEUOS_DATA_ORDER_MAX) ||
		request->kept > KEUOS_KEPT_BY_CONSUMER || request->reserved != 0)
		return -KEUOS_EINVAL;
	if (producer->state == KEUOS_PROCESS_DEAD || consumer->state == KEUOS_PROCESS_DEAD)
		return -KEUOS_ESTATE;
	return binder->channels < binder->channels_max ? 0 : -KEUOS_EQUOTA;
}

int channel_bind(
	struct process *binder, struct process *producer, struct process *consumer, const struct keuos_bind *request)
{
	int error = check_request(binder, producer, consumer, request);
	struct channel *channel = free_record();
	if (error || channel == NULL)
		return error ? error : -KEUOS_EQUOTA;
	uint64_t key[2];
	if (!random_u64(&key[0]) || !random_u64(&key[1]))
		return -KEUOS_EENTROPY;

	bool has_data = request->data_order != KEUOS_NO_DATA;
	uint32_t data_bytes = has_data ? (uint32_t)KEUOS_PAGE_BYTES << request->data_order : 0;
	uint32_t pages = CHANNEL_FIXED_PAGES + data_bytes / KEUOS_PAGE_BYTES + (request->mode == KEUOS_VERIFIED);
	if (!process_charge_pages(binder, pages))
		return -KEUOS_EQUOTA;
	channel->id = (uint32_t)(channel - channels) + 1;
	channel->generation += channel->generation == UINT32_MAX
		? 2
		: 1; /* 0 is nobody's: an entry of the tags page that was not granted */
	channel->state = KEUOS_CHANNEL_OPEN;
	channel->mode = request->mode;
	channel->key[0] = key[0];
	channel->key[1] = key[1];
	channel->data_bytes = data_bytes;
	channel->label = request->label;
	channel->kept = request->kept;
	channel->order = bound_so_far++;
	channel->binder = binder;
	channel->pages = pages;
	binder->channels++;
	channel_count++;

	if (!alloc_pages(channel, (uint16_t)binder->pid))
		return give_up(channel, binder, -1, -KEUOS_ENOMEM);
	map_views(channel);
	seal(channel, producer, consumer);
	fill_status(channel);
	int control = capability_add(binder, KEUOS_CAP_CHANNEL, 0, channel);
	if (control < 0)
		return give_up(channel, binder, -1, control);
	channel->controls = 1;
	error = attach(channel, &channel->producer, producer, true);
	if (error == 0)
		error = attach(channel, &channel->consumer, consumer, false);
	if (error)
		return give_up(channel, binder, control, error);
	event_record((struct keuos_event){.kind = KEUOS_EVENT_BIND,
		.pid = producer->pid,
		.peer = consumer->pid,
		.channel = channel->id,
		.generation = channel->generation,
		.detail = channel->mode});
	notify_process(producer, notification_bit(KEUOS_CAP_SELF));
	if (consumer != producer)
		notify_process(consumer, notification_bit(KEUOS_CAP_SELF));
	return control;
}

static bool keeps(const struct channel *channel, const struct channel_side *side)
{
	return channel->kept == (side == &channel->producer ? KEUOS_KEPT_BY_PRODUCER : KEUOS_KEPT_BY_CONSUMER);
}

static bool can_be_taken(const struct channel *channel, const struct channel_side *side)
{
	return side->process != NULL && !keeps(channel, side);
}

static struct channel_side *unaccepted(struct channel *channel, const struct process *process)
{
	if (channel->producer.process == process && !channel->producer.accepted)
		return &channel->producer;
	if (channel->consumer.process == process && !channel->consumer.accepted)
		return &channel->consumer;
	return NULL;
}

struct channel_side *channel_next_end(struct process *process, struct keuos_endpoint *endpoint)
{
	struct channel *first = NULL;
	for (uint32_t i = 0; i < KEUOS_CHANNELS; i++) {
		struct channel *channel = &channels[i];
		if (channel->state == KEUOS_CHANNEL_FREE || unaccepted(channel, process) == NULL)
			continue;
		if (first == NULL || (int32_t)(channel->order - first->order) < 0)
			first = channel;
	}
	if (first == NULL)
		return NULL;
	struct channel_side *side = unaccepted(first, process);
	bool producer = side == &first->producer;
	*endpoint = (struct keuos_endpoint){.capability = side->capability,
		.role = producer ? KEUOS_PRODUCER : KEUOS_CONSUMER,
		.channel = first->id,
		.generation = first->generation,
		.mode = first->mode,
		.peer = producer ? first->consumer.pid : first->producer.pid,
		.data_bytes = first->data_bytes,
		.templates = first->templates,
		.base = side->base,
		.label = first->label,
		.kept = keeps(first, side)};
	return side;
}

void channel_revoke(struct channel *channel)
{
	if (!can_be_taken(channel, &channel->producer) && !can_be_taken(channel, &channel->consumer))
		return; /* there is nothing left to take */
	channel_close(channel, KEUOS_CLOSE_REVOKED, KEUOS_VERDICT_OK);
	event_record((struct keuos_event){.kind = KEUOS_EVENT_REVOKE,
		.pid = channel->producer.pid,
		.peer = channel->consumer.pid,
		.channel = channel->id,
		.generation = channel->generation});
	if (can_be_taken(channel, &channel->producer))
		channel_unmap(channel, &channel->producer);
	if (can_be_taken(channel, &channel->consumer))
		channel_unmap(channel, &channel->consumer);
}

void channel_control_dropped(struct channel *channel)
{
	channel->controls--;
	free_if_unused(channel);
}

void channels_of_dead_process(struct process *process)
{
	for (uint32_t i = 0; i < KEUOS_CHANNELS; i++) {
		struct channel *channel = &channels[i];
		if (channel->state == KEUOS_CHANNEL_FREE)
			continue;
		if (channel->binder == process) {
			process_inherit_pages(process, channel->pages);
			process->channels--;
			channel->binder = process_heir(process);
			if (channel->binder)
				channel->binder->channels++;
		}
		if (channel->producer.process == process) {
			channel_close(channel, KEUOS_CLOSE_PRODUCER_DIED, KEUOS_VERDICT_OK);
			channel_unmap(channel, &channel->producer);
		}
		if (channel->consumer.process == process) {
			channel_close(channel, KEUOS_CLOSE_CONSUMER_DIED, KEUOS_VERDICT_OK);
			channel_unmap(channel, &channel->consumer);
		}
	}
}

void channel_describe(const struct channel *channel, struct keuos_channel_info *info)
{
	*info = (struct keuos_channel_info){.channel = channel->id,
		.generation = channel->generation,
		.state = channel->state,
		.reason = channel->reason,
		.verdict = channel->verdict,
		.mode = channel->mode,
		.producer = channel->producer.pid,
		.consumer = channel->consumer.pid,
		.data_bytes = channel->data_bytes,
		.templates = channel->templates,
		.granted = channel->granted,
		.pages = channel->pages,
		.notifications = channel->notifications,
		.descriptors = channel->descriptors,
		.doorbells = channel->doorbells,
		.again = channel->again,
		.label = channel->label};
}
