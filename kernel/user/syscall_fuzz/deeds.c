/* What takes several calls in a row to succeed, and what keeps the program going: tidying up, and children's books. */
#include "fuzz.h"

/* A channel to itself, bound here: nobody else can take its pages away, so they can be written without a fault. */
struct own_channel {
	uint64_t label; /* 0: none */
	struct keuos_endpoint ends[2];
	uint32_t control;
	uint32_t published; /* slots, by the head page */
	uint32_t accepted;  /* slots, by what NOTIFY answered */
	uint32_t data;
};

static struct own_channel own[FUZZ_ENDS];

KEUOS_TEMPLATE(fuzz_message, 1, 64, 64, 0);
KEUOS_ACCEPTS(1, 64, 64, 0);

static struct keuos_index_page *index_page(const struct own_channel *channel, enum keuos_role side, uint32_t offset)
{
	return (struct keuos_index_page *)(uintptr_t)(channel->ends[side].base + offset);
}

static void bind_own(struct own_channel *channel)
{
	static struct keuos_bind bind;
	static struct keuos_endpoint end;
	int64_t control;

	bind = (struct keuos_bind){.mode = KEUOS_VERIFIED, .data_order = 0, .label = fuzz_any() | 1};
	control = fuzz_call(KEUOS_SYS_CHANNEL_BIND, KEUOS_CAP_SELF, KEUOS_CAP_SELF, (uintptr_t)&bind, 0);
	if (control < 0)
		return;
	*channel = (struct own_channel){.control = (uint32_t)control};
	fuzz_kinds[control] = KEUOS_CAP_CHANNEL;
	while (fuzz_call(KEUOS_SYS_CHANNEL_ACCEPT, (uintptr_t)&end, 0, 0, 0) == 0) {
		fuzz_kinds[end.capability] = end.role == KEUOS_PRODUCER ? KEUOS_CAP_PRODUCER : KEUOS_CAP_CONSUMER;
		if (end.label != bind.label)
			continue;
		channel->ends[end.role] = end;
		if (end.role == KEUOS_CONSUMER) { /* the second of the two */
			channel->label = bind.label;
			return;
		}
	}
}

/* Both ends are still those that were accepted, so that their pages are there. */
static int still_there(struct own_channel *channel)
{
	static struct keuos_channel_info info;

	for (int side = 0; channel->label && side < 2; side++)
		if (fuzz_call(KEUOS_SYS_CHANNEL_INFO, channel->ends[side].capability, (uintptr_t)&info, 0, 0) < 0 ||
			info.label != channel->label || info.channel != channel->ends[side].channel)
			channel->label = 0;
	return channel->label != 0;
}

static void publish(struct own_channel *channel)
{
	const struct keuos_endpoint *end = &channel->ends[KEUOS_PRODUCER];
	const struct keuos_sealed *tags = (const struct keuos_sealed *)(uintptr_t)(end->base + KEUOS_OFFSET_TAGS);
	struct keuos_descriptor *slots = (struct keuos_descriptor *)(uintptr_t)end->base;
	uint64_t mark = (uint64_t)KEUOS_LENGTH_DESCRIPTOR << KEUOS_WORD_LENGTH_SHIFT;

	slots[channel->published % KEUOS_SLOTS] = (struct keuos_descriptor){
		.word = (uint64_t)(channel->published + 1) << KEUOS_WORD_SEQUENCE_SHIFT | mark,
		.sealed = tags[0],
		.offset = channel->data,
		.length = (uint32_t)fuzz_draw(65)};
	channel->data += slots[channel->published % KEUOS_SLOTS].length ? KEUOS_DATA_ALIGNMENT : 0;
	channel->published++;
	__atomic_store_n(
		&index_page(channel, KEUOS_PRODUCER, KEUOS_OFFSET_HEAD)->slots, channel->published, __ATOMIC_RELEASE);
}

/* The consumer's part: everything that was accepted has been taken. */
static void drain(struct own_channel *channel)
{
	__atomic_store_n(
		&index_page(channel, KEUOS_CONSUMER, KEUOS_OFFSET_TAIL)->slots, channel->accepted, __ATOMIC_RELEASE);
}

/* Descriptors that are good, and as many as are said to be there: an honest notification never ends its sender. */
static void notify_well(struct own_channel *channel)
{
	uint32_t producer = channel->ends[KEUOS_PRODUCER].capability;
	uint32_t n;
	int64_t result;

	if (channel->published == channel->accepted)
		for (uint64_t count = 1 + fuzz_draw(KEUOS_NOTIFY_MAX); count; count--)
			publish(channel);
	n = channel->published - channel->accepted;
	if (params.role == FUZZ_CHILD && fuzz_draw(16) == 0) /* the gates end it for that */
		((struct keuos_slot *)(uintptr_t)channel->ends[KEUOS_PRODUCER].base)[channel->accepted % KEUOS_SLOTS]
			.word ^= 1ull << fuzz_draw(64);
	if (fuzz_draw(2)) {
		result = fuzz_call(KEUOS_SYS_NOTIFY, producer, n, 0, 0);
		channel->accepted += result > 0 ? (uint32_t)result : 0;
	} else {
		/* Its own bit is pending, so it need not wait. */
		if (fuzz_call(KEUOS_SYS_DOORBELL, channel->ends[KEUOS_CONSUMER].capability, 0, 0, 0) < 0)
			return;
		result = fuzz_call(KEUOS_SYS_NOTIFY_AND_WAIT, producer, n, sys_bit(producer), 0);
		if (!sys_is_error(result))
			channel->accepted = channel->published;
		else if (result == -KEUOS_EAGAIN)
			channel->accepted += (uint32_t)fuzz_second;
	}
	if (fuzz_draw(3) == 0)
		drain(channel);
}

static void use_channel(void)
{
	struct own_channel *channel = &own[fuzz_draw(FUZZ_ENDS)];

	if (!still_there(channel)) {
		bind_own(channel);
		return;
	}
	if (((const struct keuos_status_page *)(uintptr_t)(channel->ends[0].base + KEUOS_OFFSET_STATUS))->state ==
		KEUOS_CHANNEL_OPEN) {
		notify_well(channel);
		return;
	}
	fuzz_call(KEUOS_SYS_NOTIFY, channel->ends[KEUOS_PRODUCER].capability, 1, 0, 0);
	fuzz_call(KEUOS_SYS_NOTIFY_AND_WAIT, channel->ends[KEUOS_PRODUCER].capability, 1, UINT64_MAX, 0);
	fuzz_call(KEUOS_SYS_DOORBELL, channel->ends[KEUOS_CONSUMER].capability, 0, 0, 0);
	if (fuzz_draw(2))
		fuzz_call(KEUOS_SYS_CHANNEL_UNMAP, channel->ends[fuzz_draw(2)].capability, 0, 0, 0);
	else
		fuzz_call(KEUOS_SYS_CAP_REVOKE, channel->control, 0, 0, 0);
	fuzz_call(KEUOS_SYS_CAP_DROP, channel->control, 0, 0, 0);
	fuzz_kinds[channel->control] = KEUOS_CAP_NONE;
	channel->label = 0;
}

void fuzz_collect(uint32_t child)
{
	static struct fuzz_results taken;
	static uint32_t seen[256]; /* by pid: a child may be held twice */
	static struct keuos_process_info info;

	if (fuzz_call(KEUOS_SYS_PROCESS_INFO, child, (uintptr_t)&info, 0, 0) < 0 || info.state != KEUOS_PROCESS_DEAD)
		return;
	if (seen[info.pid % 256] != info.pid && info.name[0] == 's' && info.name[1] == 'y' &&
		fuzz_call(KEUOS_SYS_PROCESS_READ, child, (uintptr_t)&results, (uintptr_t)&taken, sizeof(taken)) == 0) {
		seen[info.pid % 256] = info.pid;
		results.children++;
		results.ends[info.exit_reason % FUZZ_ENDINGS]++;
		results.made += taken.made;
		for (int i = 0; i < KEUOS_SYS_COUNT; i++)
			for (int error = 0; error < FUZZ_ERRORS; error++)
				results.counts[i][error] += taken.counts[i][error];
		if (taken.leaks && !results.leaks) {
			results.leak = taken.leak;
			for (int i = 0; i < 12; i++)
				results.registers[i] = taken.registers[i];
		}
		results.leaks += taken.leaks;
	}
	if (fuzz_call(KEUOS_SYS_CAP_DROP, child, 0, 0, 0) == 0)
		fuzz_kinds[child] = KEUOS_CAP_NONE;
}

/* Room for more: gives up what was hoarded. */
static void tidy(void)
{
	for (uint32_t i = KEUOS_CAP_SYSTEM_INDEX + 1; i < KEUOS_CAPABILITIES; i++) {
		if (fuzz_kinds[i] == KEUOS_CAP_NONE || i == fuzz_scratch_capability || i == fuzz_trace_capability ||
			i == params.device)
			continue;
		if (fuzz_kinds[i] == KEUOS_CAP_PROCESS) {
			fuzz_call(KEUOS_SYS_PROCESS_KILL, i, 0, 0, 0);
			fuzz_collect(i);
		}
		fuzz_call(KEUOS_SYS_CAP_DROP, i, 0, 0, 0);
		fuzz_kinds[i] = KEUOS_CAP_NONE;
	}
}

/* Prints until it is refused: lines first, and then, with the capability for it, as much as goes at once. */
void fuzz_flood(void)
{
	static uint8_t text[KEUOS_CONSOLE_WRITE_MAX];
	enum { LINES = 400, TIMES = 40, LINE = 256 }; /* several times what the kernel's buffers hold */

	for (uint32_t i = 0; i < sizeof(text); i++)
		text[i] = i % LINE == LINE - 1 ? '\n' : '.';
	for (int i = 0; i < LINES && fuzz_call(KEUOS_SYS_LOG, (uintptr_t)text, LINE, 0, 0) == 0; i++)
		;
	for (int i = 0; i < TIMES &&
		fuzz_call(KEUOS_SYS_CONSOLE_WRITE, KEUOS_CAP_SYSTEM_INDEX, (uintptr_t)text, sizeof(text), 0) == 0;
		i++)
		;
}

/* Grants of grants, until it is refused: they are all taken back by revoking the first. */
static void grant_deep(void)
{
	const uint64_t all = KEUOS_RIGHT_CONTROL | KEUOS_RIGHT_READ | KEUOS_RIGHT_WRITE | KEUOS_RIGHT_GRANT;
	int64_t first = fuzz_call(KEUOS_SYS_MEMORY_CREATE, 1, 0, 0, 0), index = first;

	if (first < 0)
		return;
	while (index >= 0)
		index = fuzz_call(KEUOS_SYS_CAP_GRANT, KEUOS_CAP_SELF, (uint64_t)index, all, 0);
	fuzz_call(KEUOS_SYS_CAP_REVOKE, (uint64_t)first, 0, 0, 0);
	fuzz_call(KEUOS_SYS_CAP_DROP, (uint64_t)first, 0, 0, 0);
}

/* Spends every page that it may have, and then asks for what takes page tables. */
static void spend_all(void)
{
	static struct keuos_bind bind = {.mode = KEUOS_POLLED, .data_order = KEUOS_NO_DATA};
	int64_t made = 0;

	for (uint64_t pages = 256; pages; pages /= 2)
		while ((made = fuzz_call(KEUOS_SYS_MEMORY_CREATE, pages, 0, 0, 0)) >= 0)
			fuzz_kinds[made] = KEUOS_CAP_MEMORY;
	for (uint32_t i = 2; i < 24; i++)
		if (fuzz_kinds[i] == KEUOS_CAP_MEMORY)
			fuzz_call(KEUOS_SYS_MEMORY_MAP, i, 1, 0, 0);
	for (uint32_t i = 2, freed = 0; i < 64 && freed < 9; i++)
		if (fuzz_kinds[i] == KEUOS_CAP_MEMORY && i != fuzz_scratch_capability) {
			freed++;
			fuzz_call(KEUOS_SYS_CAP_DROP, i, 0, 0, 0);
			fuzz_kinds[i] = KEUOS_CAP_NONE;
			made = fuzz_call(KEUOS_SYS_CHANNEL_BIND, KEUOS_CAP_SELF, KEUOS_CAP_SELF, (uintptr_t)&bind, 0);
			if (made >= 0)
				fuzz_kinds[made] = KEUOS_CAP_CHANNEL;
		}
}

void fuzz_deed(void)
{
	switch (fuzz_draw(64)) {
	case 0:
		tidy();
		break;
	case 5:
		grant_deep();
		break;
	case 6:
		if (fuzz_draw(8) == 0)
			spend_all();
		break;
	case 1:
	case 2:
	case 3:
	case 4:
		fuzz_collect((uint32_t)fuzz_capability(KEUOS_CAP_PROCESS) % KEUOS_CAPABILITIES);
		break;
	default:
		use_channel();
		break;
	}
}
