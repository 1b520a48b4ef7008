/* Reads, writes and executes where the host says, and tells how each ended. See page_probe.h. */
#include "page_probe.h"

#include <user.h>

enum { POLL_NS = 4000000, DATA_ORDER = 1 };

volatile struct page_probe_request request;
volatile struct page_probe_answer answer;
struct page_probe probes[PAGE_PROBES];
struct page_outcome outcomes[PAGE_PROBES];
volatile struct page_probe_orders orders;
/* What is added to a byte to write it unchanged. The compiler must not know. */
volatile uint8_t zero;

static uint32_t objects[PAGE_PROBE_OBJECTS];

/* --- a child --- */

static void probe(uint64_t address, uint64_t access)
{
	switch (access) {
	case PAGE_PROBE_READ:
		(void)*(volatile uint8_t *)address;
		break;
	case PAGE_PROBE_WRITE:
		__atomic_fetch_add((volatile uint8_t *)address, zero, __ATOMIC_RELAXED);
		break;
	case PAGE_PROBE_EXECUTE:
		((void (*)(void))address)();
		break;
	default:
		(void)*(const volatile uint64_t *)address;
		break;
	}
}

static int child(void)
{
	for (uint32_t i = 0; i < PAGE_PROBE_OBJECTS; i++)
		if (sys_memory_map(orders.objects[i], i == 0) < 0)
			return 1;
	while (orders.count == 0)
		sys_wait(0, KEUOS_FOREVER);
	while (orders.done < orders.count) {
		const volatile struct page_probe *next = &orders.probes[orders.done];

		probe(next->address, next->access);
		orders.done = orders.done + 1;
	}
	return 0;
}

/* --- the supervisor --- */

static int64_t bind_channels(uint32_t made)
{
	for (uint32_t i = 0; i < PAGE_PROBE_CHANNELS; i++) {
		const struct keuos_bind bind = {
			.mode = i / 2, .data_order = i / 2 == KEUOS_POLLED ? KEUOS_NO_DATA : DATA_ORDER};
		int64_t channel = i % 2 ? sys_channel_bind(KEUOS_CAP_SELF, made, &bind)
					: sys_channel_bind(made, KEUOS_CAP_SELF, &bind);

		if (channel < 0)
			return channel;
		sys_cap_drop((uint32_t)channel);
	}
	return 0;
}

/* Lets go of the supervisor's own ends: when the child is gone, too, so are the channels. */
static void unmap_channels(void)
{
	struct keuos_endpoint end;

	while (sys_channel_accept(&end) >= 0)
		sys_channel_unmap(end.capability);
}

static int64_t send_orders(uint32_t made, uint32_t from, uint32_t count, const uint32_t granted[PAGE_PROBE_OBJECTS])
{
	static struct page_probe_orders copy;
	uint32_t bytes = offsetof(struct page_probe_orders, probes) + count * sizeof(struct page_probe);

	copy.count = count;
	copy.done = 0;
	for (uint32_t i = 0; i < PAGE_PROBE_OBJECTS; i++)
		copy.objects[i] = granted[i];
	for (uint32_t i = 0; i < count; i++)
		copy.probes[i] = probes[from + i];
	return sys_process_write(made, (uintptr_t)&orders, &copy, bytes);
}

/* A capability to a child that runs, or a negative error. */
static int64_t make_child(uint32_t from, uint32_t count, uint32_t *pid)
{
	static const struct keuos_spawn spawn = {
		.name = "page_probe", .args = "child", .core = 1, .priority = 1, .suspended = 1, .pages_max = 400};
	struct keuos_spawn wanted = spawn;
	struct keuos_process_info info;
	uint32_t granted[PAGE_PROBE_OBJECTS];
	int64_t made, error;

	if (sys_process_info(KEUOS_CAP_SELF, &info) >= 0)
		wanted.core = info.core;
	made = sys_spawn(&wanted);
	if (made < 0)
		return made;
	error = bind_channels((uint32_t)made);
	for (uint32_t i = 0; error >= 0 && i < PAGE_PROBE_OBJECTS; i++) {
		error = sys_cap_grant((uint32_t)made, objects[i], KEUOS_RIGHT_READ | (i == 0 ? KEUOS_RIGHT_WRITE : 0));
		granted[i] = (uint32_t)error;
	}
	if (error >= 0)
		error = send_orders((uint32_t)made, from, count, granted);
	if (error >= 0)
		error = sys_process_info((uint32_t)made, &info);
	if (error >= 0)
		error = sys_process_start((uint32_t)made);
	*pid = info.pid;
	answer.children = answer.children + 1;
	if (error < 0) {
		sys_cap_drop((uint32_t)made);
		unmap_channels();
		return error;
	}
	return made;
}

/* Waits for a child's end, notes what became of its probes, and returns how many of them that were. */
static int64_t bury(uint32_t made, uint32_t from, uint32_t count)
{
	struct keuos_process_info info;
	uint64_t done = 0;
	int64_t error;

	while ((error = sys_process_info(made, &info)) >= 0 && info.state != KEUOS_PROCESS_DEAD)
		sys_wait(sys_bit(made), KEUOS_FOREVER);
	if (error >= 0)
		error = sys_process_read(made, (uintptr_t)&orders.done, &done, sizeof(done));
	sys_cap_drop(made);
	unmap_channels();
	if (error < 0 || done > count)
		return error < 0 ? error : -KEUOS_ESTATE;
	for (uint64_t i = 0; i < done; i++)
		outcomes[from + i] = (struct page_outcome){0};
	if (done == count)
		return (int64_t)done;
	outcomes[from + done] = (struct page_outcome){
		.reason = info.exit_reason, .detail = info.exit_detail, .address = info.exit_address};
	return (int64_t)done + 1;
}

static int64_t run(uint32_t count)
{
	uint32_t at = 0;

	while (at < count) {
		uint32_t pid;
		int64_t made = make_child(at, count - at, &pid), done;

		if (made < 0)
			return made;
		done = bury((uint32_t)made, at, count - at);
		if (done < 0)
			return done;
		at += (uint32_t)done;
	}
	return 0;
}

static int64_t supervise(void)
{
	uint32_t held = 0;

	for (uint32_t i = 0; i < PAGE_PROBE_OBJECTS; i++) {
		int64_t object = sys_memory_create(PAGE_PROBE_OBJECT_PAGES);

		if (object < 0)
			return object;
		objects[i] = (uint32_t)object;
	}
	for (;;) {
		struct page_probe_request next;

		while (__atomic_load_n(&request.turn, __ATOMIC_ACQUIRE) == answer.turn)
			sys_wait(0, sys_time() + POLL_NS);
		next = request;
		if (held) {
			sys_process_kill(held);
			bury(held, 0, 0);
			held = 0;
		}
		if (next.hold) {
			uint32_t pid = 0;
			int64_t made = make_child(0, 0, &pid);

			answer.error = made < 0 ? made : 0;
			answer.child = pid;
			held = made < 0 ? 0 : (uint32_t)made;
		} else {
			answer.error = next.count > PAGE_PROBES ? -KEUOS_EINVAL : run(next.count);
		}
		__atomic_store_n(&answer.turn, next.turn, __ATOMIC_RELEASE);
	}
}

int main(const char *args)
{
	return args[0] == 'c' ? child() : (int)-supervise();
}
