/* Families of processes: chains and cycles of capabilities, orphans, and what of a quota can be handed on. */
#include "abuse.h"

#include <keuos/ring.h>

static const struct abuse_params nothing;

/* A child of this very program with parameters of its own, suspended. Its capability, or the kernel's refusal. */
static int64_t spawn(const struct keuos_spawn *wanted, const struct abuse_params *child_params)
{
	struct keuos_spawn request = *wanted;
	int64_t child;

	__builtin_memcpy(request.name, "abuse", sizeof("abuse"));
	request.suspended = 1;
	child = sys_spawn(&request);
	if (child >= 0)
		MUST(sys_process_write((uint32_t)child, (uintptr_t)&params, child_params, sizeof(*child_params)));
	return child;
}

static struct keuos_process_info info_of(uint32_t child)
{
	struct keuos_process_info info;

	MUST(sys_process_info(child, &info));
	return info;
}

/* Nothing tells the parent that a child got somewhere, so it looks each millisecond. */
static void wait_till_done(uint32_t child)
{
	uint32_t stage;

	for (;;) {
		MUST(sys_process_read(child, (uintptr_t)&results.stage, &stage, sizeof(stage)));
		if (stage == ABUSE_DONE || info_of(child).state == KEUOS_PROCESS_DEAD)
			return;
		sys_wait(0, sys_time() + 1000000);
	}
}

static struct keuos_process_info wait_till_dead(uint32_t child)
{
	struct keuos_process_info info = info_of(child);

	while (info.state != KEUOS_PROCESS_DEAD) {
		sys_wait(sys_bit(child), KEUOS_FOREVER);
		info = info_of(child);
	}
	return info;
}

static void note_pid(uint32_t at, uint32_t pid)
{
	if (at < ABUSE_PIDS)
		results.pids[at] = pid;
}

/*
 * Children that never start, tied to each other and to themselves; then nobody holds the first of them any more.
 * `before` and `after` are the capabilities held; a kernel that leaks shows in the host's counts as well.
 */
static int tie_suspended_children(void)
{
	const struct keuos_spawn request = {
		.core = params.core, .priority = KEUOS_PRIORITY_NORMAL, .pages_max = params.pages};
	uint32_t children[KEUOS_PROCESSES];
	uint32_t count = 0;
	int64_t made;

	results.before = abuse_info().capabilities;
	while (count < params.count && count < KEUOS_PROCESSES) {
		children[count] = (uint32_t)MUST(spawn(&request, &nothing));
		note_pid(count, info_of(children[count]).pid);
		count++;
	}
	for (uint32_t i = 0; i < count; i++) {
		made = sys_cap_grant(children[i], children[(i + 1) % count], KEUOS_RIGHT_ALL);
		if (made < 0)
			abuse_refused(made);
		made = sys_cap_grant(children[i], children[i], KEUOS_RIGHT_ALL);
		if (made < 0)
			abuse_refused(made);
	}
	results.count = count;
	for (uint32_t i = count; i-- > 0;)
		MUST(sys_cap_drop(children[i]));
	results.after = abuse_info().capabilities;
	results.value = abuse_info().processes;
	return 0;
}

/* The child's priority is lower and its core the same: it runs when this process waits, and no sooner. */
static int leave_an_orphan(void)
{
	struct keuos_process_info self = abuse_info();
	const struct keuos_spawn request = {
		.core = self.core, .priority = self.priority - 1, .pages_max = params.pages, .channels_max = 2};
	struct abuse_params child_params = {.op = params.child_op};
	uint32_t child;

	if (self.priority == 0)
		return 2;
	child = (uint32_t)MUST(spawn(&request, &child_params));
	note_pid(0, info_of(child).pid);
	results.count = 1;
	MUST(sys_process_start(child));
	MUST(sys_cap_drop(child));
	abuse_wait();
}

/* Asks for as much as was asked for itself, and if that is refused for all that it has left. */
static int64_t spawn_link(const struct keuos_process_info *self)
{
	struct abuse_params child_params = {.op = ABUSE_CHAIN, .processes = params.processes};
	uint32_t keep = self->pages + 8; /* for tables that this process needs itself */
	struct keuos_spawn request = {.core = self->core,
		.priority = self->priority,
		.pages_max = self->pages_max > keep ? self->pages_max - keep : 1,
		.processes_max = params.processes};
	int64_t child = spawn(&request, &child_params);

	if (child != -KEUOS_EQUOTA || self->processes_max <= self->processes)
		return child;
	request.processes_max = self->processes_max - self->processes - 1;
	return spawn(&request, &child_params);
}

/* -> count: how many processes there were below this one, all alive at the same time. */
static int lengthen_chain(void)
{
	struct keuos_process_info self = abuse_info();
	int64_t child = spawn_link(&self);
	struct abuse_results below;

	if (child < 0) {
		abuse_refused(child);
		return 0;
	}
	MUST(sys_process_start((uint32_t)child));
	wait_till_dead((uint32_t)child);
	MUST(sys_process_read((uint32_t)child, (uintptr_t)&results, &below, sizeof(below)));
	results.count = below.count + 1;
	results.error = below.error;
	results.failed = below.failed;
	results.line = below.line;
	abuse_info();
	return 0;
}

static int found_family(void)
{
	const struct keuos_spawn request = {.core = params.core,
		.priority = KEUOS_PRIORITY_NORMAL,
		.pages_max = params.pages,
		.processes_max = params.grandchildren};
	struct abuse_params child_params = {.op = params.child_op};

	if (params.grandchildren)
		child_params = (struct abuse_params){.op = ABUSE_FAMILY,
			.child_op = params.child_op,
			.count = params.grandchildren,
			.core = params.core,
			.pages = params.pages / (params.grandchildren + 1)};
	for (uint32_t i = 0; i < params.count; i++) {
		uint32_t child = (uint32_t)MUST(spawn(&request, &child_params));

		note_pid(i, info_of(child).pid);
		MUST(sys_process_start(child));
		wait_till_done(child);
		results.count++;
	}
	abuse_wait();
}

static int claim_pages(void)
{
	const struct keuos_spawn request = {.priority = KEUOS_PRIORITY_NORMAL, .pages_max = params.pages};
	int64_t child = 0;

	for (uint32_t i = 0; i < params.count; i++) {
		child = spawn(&request, &nothing);
		if (child < 0)
			break;
		results.count++;
		results.value += info_of((uint32_t)child).pages_max;
		abuse_info();
	}
	if (child < 0)
		abuse_refused(child);
	abuse_info();
	return 0;
}

/* `before` and `after`: its pages quota, less what is charged; value and second: its processes quota, likewise. */
static int turn_over(void)
{
	struct abuse_params child_params = {.op = ABUSE_LEAVE};
	struct keuos_process_info info = abuse_info();

	results.before = info.pages_max - info.pages;
	results.value = info.processes_max - info.processes;
	for (uint32_t i = 0; i < params.count; i++) {
		struct keuos_spawn request = {.core = params.core,
			.priority = KEUOS_PRIORITY_NORMAL,
			.pages_max = info.pages_max - info.pages,
			.processes_max = info.processes_max - info.processes - 1};
		uint32_t child = (uint32_t)MUST(spawn(&request, &child_params));

		MUST(sys_process_start(child));
		info = wait_till_dead(child);
		results.reasons[info.exit_reason % ABUSE_REASONS]++;
		MUST(sys_cap_drop(child));
		results.count++;
		info = abuse_info();
	}
	results.after = info.pages_max - info.pages;
	results.second = info.processes_max - info.processes;
	return 0;
}

static void condemn_one(void)
{
	const struct keuos_bind bind = {.mode = KEUOS_VERIFIED, .data_order = KEUOS_NO_DATA};
	const struct keuos_spawn request = {
		.core = params.core, .priority = KEUOS_PRIORITY_NORMAL, .pages_max = params.pages, .channels_max = 1};
	struct abuse_params child_params = {.op = ABUSE_CONSUMER};
	volatile struct keuos_index_page *tail;
	struct keuos_process_info info;
	struct keuos_endpoint end;
	uint32_t child = (uint32_t)MUST(spawn(&request, &child_params));
	uint32_t channel = (uint32_t)MUST(sys_channel_bind(KEUOS_CAP_SELF, child, &bind));

	MUST(sys_channel_accept(&end));
	MUST(sys_process_start(child));
	tail = (volatile struct keuos_index_page *)(uintptr_t)(end.base + KEUOS_OFFSET_TAIL);
	while (!tail->slots && info_of(child).state != KEUOS_PROCESS_DEAD)
		keuos_pause();
	abuse_refused(sys_notify(end.capability, 1));
	info = wait_till_dead(child);
	results.reasons[info.exit_reason % ABUSE_REASONS]++;
	if (info.exit_reason == KEUOS_EXIT_GATE && info.exit_detail == KEUOS_VERDICT_TAIL)
		results.count++;
	MUST(sys_channel_unmap(end.capability));
	MUST(sys_cap_drop(channel));
	MUST(sys_cap_drop(child));
}

/* What the child pays for and leaves to its parent. The capability of a memory object, there -> value. */
static int make_will(uint32_t op)
{
	const struct keuos_bind bind = {.mode = KEUOS_POLLED, .data_order = KEUOS_NO_DATA};
	uint32_t heir;

	while (!params.value)
		sys_wait(0, sys_time() + 1000000);
	heir = (uint32_t)params.value;

	if (op == ABUSE_MEMORY_WILL)
		results.value = MUST(sys_cap_grant(
			heir, (uint32_t)MUST(sys_memory_create(params.pages)), KEUOS_RIGHT_READ | KEUOS_RIGHT_WRITE));
	else
		MUST(sys_channel_bind(heir, heir, &bind));
	if (params.count) /* it dies with its parent, not before */
		abuse_wait();
	return 0;
}

/* How much of what a dead child left is really there. */
static uint32_t take_inheritance(uint32_t index)
{
	struct keuos_endpoint end;
	int64_t address;

	if (params.child_op == ABUSE_CHANNEL_WILL)
		return sys_channel_accept(&end) >= 0 && sys_channel_accept(&end) >= 0;
	address = sys_memory_map(index, 1);
	if (sys_is_error(address))
		return 0;
	for (uint32_t page = 0; page < params.pages; page++)
		*(volatile uint8_t *)(uintptr_t)(address + page * KEUOS_PAGE_BYTES) = 1;
	MUST(sys_memory_unmap(index));
	return params.pages;
}

/* A child's priority is lower and its core the same, so that it finds the capability when it first runs. */
static int inherit(void)
{
	struct keuos_process_info self = abuse_info();
	const struct keuos_spawn request = {.core = self.core,
		.priority = self.priority - 1,
		.pages_max = params.pages + params.spare,
		.channels_max = 1};
	struct abuse_params child_params = {.op = params.child_op, .pages = params.pages};

	for (uint32_t i = 0; i < params.count; i++) {
		struct abuse_results will;
		struct keuos_process_info info;
		int64_t child = spawn(&request, &child_params), heir;

		if (child < 0) {
			abuse_refused(child);
			break;
		}
		MUST(sys_process_start((uint32_t)child));
		heir = sys_cap_grant((uint32_t)child, KEUOS_CAP_SELF, KEUOS_RIGHT_ALL);
		child_params.value = (uint64_t)MUST(heir);
		MUST(sys_process_write((uint32_t)child, (uintptr_t)&params, &child_params, sizeof(child_params)));
		info = wait_till_dead((uint32_t)child);
		results.reasons[info.exit_reason % ABUSE_REASONS]++;
		MUST(sys_process_read((uint32_t)child, (uintptr_t)&results, &will, sizeof(will)));
		MUST(sys_cap_drop((uint32_t)child));
		if (will.failed) {
			abuse_refused(-(int64_t)will.failed);
			break;
		}
		results.count++;
		results.value += take_inheritance((uint32_t)will.value);
	}
	if (params.child_op == ABUSE_MEMORY_WILL)
		while (sys_memory_create(1) >= 0)
			results.second++;
	return 0;
}

/* A child with parameters of its own, under way, that is given a capability of the caller's and told which it is there. */
static uint32_t start_heiress(const struct keuos_spawn *request, struct abuse_params *child_params, uint32_t capability)
{
	uint32_t child = (uint32_t)MUST(spawn(request, child_params));

	MUST(sys_process_start(child));
	child_params->value = (uint64_t)MUST(sys_cap_grant(child, capability, KEUOS_RIGHT_ALL));
	MUST(sys_process_write(child, (uintptr_t)&params, child_params, sizeof(*child_params)));
	return child;
}

static int stand_between(void)
{
	struct keuos_process_info self = abuse_info();
	const struct keuos_spawn request = {
		.core = self.core, .priority = self.priority, .pages_max = params.spare, .channels_max = 1};
	struct abuse_params child_params = {.op = params.child_op, .pages = params.pages, .count = 1};
	uint32_t child;

	while (!params.value)
		sys_wait(0, sys_time() + 1000000);
	child = start_heiress(&request, &child_params, (uint32_t)params.value);
	wait_till_done(child);
	MUST(sys_process_read(child, (uintptr_t)&results.value, (void *)&results.value, sizeof(results.value)));
	abuse_wait();
}

/*
 * The child is dead, but held, when the grandchild dies with it; then the child is let go of, and only then what the
 * grandchild paid for. `before` and `after`: pages charged to this process, without what it pays for its own tables.
 */
static int outlive_both(void)
{
	struct keuos_process_info self = abuse_info();
	const struct keuos_spawn request = {.core = self.core,
		.priority = self.priority,
		.pages_max = 2 * params.spare,
		.channels_max = 2,
		.processes_max = 1};
	struct abuse_params child_params = {
		.op = ABUSE_BETWEEN, .child_op = params.child_op, .pages = params.pages, .spare = params.spare};
	struct keuos_endpoint ends[2];
	uint64_t left;
	uint32_t child;

	results.before = self.pages;
	child = start_heiress(&request, &child_params, KEUOS_CAP_SELF);
	wait_till_done(child);
	MUST(sys_process_read(child, (uintptr_t)&results.value, &left, sizeof(left)));
	if (params.child_op == ABUSE_CHANNEL_WILL)
		for (int i = 0; i < 2; i++)
			MUST(sys_channel_accept(&ends[i]));
	results.second = abuse_info().pages; /* the windows' tables are its own to pay for, and stay */
	MUST(sys_process_kill(child));
	wait_till_dead(child);
	MUST(sys_cap_drop(child));
	results.third = abuse_info().pages;
	if (params.child_op == ABUSE_CHANNEL_WILL)
		for (int i = 0; i < 2; i++)
			MUST(sys_channel_unmap(ends[i].capability));
	else
		MUST(sys_cap_drop((uint32_t)left));
	results.count = 1;
	results.after = abuse_info().pages;
	return 0;
}

int abuse_processes(uint32_t op)
{
	switch (op) {
	case ABUSE_SUSPENDED:
		return tie_suspended_children();
	case ABUSE_ORPHAN:
		return leave_an_orphan();
	case ABUSE_CHAIN:
		return lengthen_chain();
	case ABUSE_FAMILY:
		return found_family();
	case ABUSE_CLAIM:
		return claim_pages();
	case ABUSE_TURNOVER:
		return turn_over();
	case ABUSE_INHERIT:
		return inherit();
	case ABUSE_MEMORY_WILL:
	case ABUSE_CHANNEL_WILL:
		return make_will(op);
	case ABUSE_GRANDPARENT:
		return outlive_both();
	case ABUSE_BETWEEN:
		return stand_between();
	case ABUSE_CONDEMNED:
		for (uint32_t i = 0; i < params.count; i++)
			condemn_one();
		return 0;
	default:
		return 2;
	}
}
