/*
 * The console's surroundings on a host: standard input and output are the serial line, and the system calls that the
 * console makes are answered from a few tables. It exists to run the console's source under ASan and UBSan with hostile
 * input; what the real kernel does with these calls is the suites' affair, not shown here.
 *
 * Programs: "hello" leaves with 0 as soon as it runs; "sleeper" lives until it is killed and owns MEMORY bytes at
 * MEMORY_BASE; "faulty" dies of a read fault; "net" lives; "netd" leaves with 2 at once if its arguments are "bad", or when the
 * clock jumps if they are "late"; any other name is not in the initrd.
 * Environment: MODEL_STINGY=n answers all but every n-th console write with EAGAIN; MODEL_PROCESSES=n and
 * MODEL_CHANNELS=n list that many, whether they were made or not.
 * SIGALRM makes the wait under way, or the next one, run into its deadline: the clock jumps there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <keuos/syscall.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch_syscall.h"

int console_main(const char *args);

enum {
	FIRST_CAPABILITY = 2,
	FIRST_PID = 5,
	MEMORY_BASE = 0x400000,
	MEMORY = 64 * 1024,
	EVENTS = 100,
	REBOOT_STATUS = 42, /* of this process, so that a test sees a reboot for what it is */
};

struct process {
	uint32_t type; /* of the capability: enum keuos_capability_type */
	int refuses;   /* leaves with 2 when it runs */
	int doomed;    /* leaves with 2 when the clock jumps */
	struct keuos_process_info info;
	struct keuos_channel_info channel;
	uint8_t *memory;
};

static struct process capabilities[KEUOS_CAPABILITIES];
static uint64_t pending;
static uint64_t now;
static uint32_t next_pid = FIRST_PID, next_channel;
static const char *const files[] = {"console", "faulty", "hello", "net", "netd", "sleeper"};

static uint32_t from_environment(const char *name)
{
	const char *text = getenv(name);

	return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static struct process *capability(uint64_t index, uint32_t type)
{
	if (index >= KEUOS_CAPABILITIES || capabilities[index].type != type)
		return NULL;
	return &capabilities[index];
}

static int64_t free_index(void)
{
	for (uint32_t i = FIRST_CAPABILITY; i < KEUOS_CAPABILITIES; i++) {
		if (capabilities[i].type == KEUOS_CAP_NONE)
			return i;
	}
	return -KEUOS_EQUOTA;
}

static void die(struct process *p, uint32_t reason, uint64_t detail)
{
	p->info.state = KEUOS_PROCESS_DEAD;
	p->info.exit_reason = reason;
	p->info.exit_detail = detail;
	p->info.exit_address = MEMORY_BASE;
	pending |= UINT64_C(1) << ((p - capabilities) % 64);
}

static void run(struct process *p)
{
	p->info.state = KEUOS_PROCESS_WAITING;
	if (!strcmp(p->info.name, "hello"))
		die(p, KEUOS_EXIT_CODE, 0);
	else if (!strcmp(p->info.name, "faulty"))
		die(p, KEUOS_EXIT_FAULT_READ, 0xdeadbeef);
	else if (p->refuses)
		die(p, KEUOS_EXIT_CODE, 2);
}

static void jump(uint64_t to)
{
	now = to;
	for (size_t i = 0; i < KEUOS_CAPABILITIES; i++) {
		if (capabilities[i].type == KEUOS_CAP_PROCESS && capabilities[i].doomed &&
			capabilities[i].info.state == KEUOS_PROCESS_WAITING)
			die(&capabilities[i], KEUOS_EXIT_CODE, 2);
	}
}

static int64_t spawn(const struct keuos_spawn *spawn)
{
	int64_t index = free_index();
	struct process *p;
	size_t i = 0;

	if (!memchr(spawn->name, 0, sizeof(spawn->name)) || !memchr(spawn->args, 0, sizeof(spawn->args)))
		return -KEUOS_EINVAL;
	while (i < sizeof(files) / sizeof(files[0]) && strcmp(files[i], spawn->name))
		i++;
	if (i == sizeof(files) / sizeof(files[0]))
		return -KEUOS_ENOENT;
	if (spawn->core >= 2 || spawn->priority >= KEUOS_PRIORITIES)
		return -KEUOS_EINVAL;
	if (index < 0)
		return index;
	p = &capabilities[index];
	*p = (struct process){.type = KEUOS_CAP_PROCESS, .memory = calloc(1, MEMORY)};
	p->info.pid = next_pid++;
	p->info.parent = 1;
	p->info.core = spawn->core;
	p->info.priority = spawn->priority;
	p->info.pages_max = spawn->pages_max;
	strcpy(p->info.name, spawn->name);
	p->info.state = KEUOS_PROCESS_SUSPENDED;
	p->refuses = !strcmp(spawn->name, "netd") && !strcmp(spawn->args, "bad");
	p->doomed = !strcmp(spawn->name, "netd") && !strcmp(spawn->args, "late");
	if (!spawn->suspended)
		run(p);
	return index;
}

static int64_t memory(uint64_t index, uint64_t address, uint8_t *buffer, uint64_t bytes, int write)
{
	struct process *p = capability(index, KEUOS_CAP_PROCESS);

	if (!p)
		return -KEUOS_EBADCAP;
	if (address < MEMORY_BASE || bytes > MEMORY || address - MEMORY_BASE > MEMORY - bytes)
		return -KEUOS_EFAULT;
	if (bytes && write)
		memcpy(p->memory + (address - MEMORY_BASE), buffer, bytes);
	else if (bytes)
		memcpy(buffer, p->memory + (address - MEMORY_BASE), bytes);
	return 0;
}

static int64_t bind(uint64_t producer, uint64_t consumer, const struct keuos_bind *b)
{
	struct process *from = capability(producer, KEUOS_CAP_PROCESS), *to = capability(consumer, KEUOS_CAP_PROCESS);
	int64_t index = free_index();

	if (!from || !to)
		return -KEUOS_EBADCAP;
	if (b->mode > KEUOS_VERIFIED || (b->data_order > KEUOS_DATA_ORDER_MAX && b->data_order != KEUOS_NO_DATA) ||
		b->kept > KEUOS_KEPT_BY_CONSUMER || b->reserved)
		return -KEUOS_EINVAL;
	if (index < 0)
		return index;
	capabilities[index] = (struct process){.type = KEUOS_CAP_CHANNEL};
	capabilities[index].channel = (struct keuos_channel_info){.channel = next_channel++,
		.generation = 1,
		.state = KEUOS_CHANNEL_OPEN,
		.mode = b->mode,
		.producer = from->info.pid,
		.consumer = to->info.pid,
		.label = b->label};
	return index;
}

/* Whether the line has input now (positive); if `patient`, once it has some or a signal came (negative). */
static int input_ready(int patient)
{
	const struct timespec at_once = {0};
	struct pollfd line = {.fd = STDIN_FILENO, .events = POLLIN};
	sigset_t none;
	int n;

	sigemptyset(&none);
	n = patient ? ppoll(&line, 1, NULL, &none) : ppoll(&line, 1, &at_once, NULL);
	if (n < 0 && errno != EINTR)
		abort();
	return n;
}

static int64_t wait(uint64_t mask, uint64_t deadline)
{
	uint64_t taken;

	if (!(pending & mask) && (mask & 1 << KEUOS_CAP_SYSTEM_INDEX)) {
		int n = input_ready(1);

		if (n > 0) {
			pending |= 1 << KEUOS_CAP_SYSTEM_INDEX;
		} else if (deadline != KEUOS_FOREVER) {
			jump(deadline);
			return 0; /* whoever dies of it is told by the next one */
		}
	} else if (input_ready(0) > 0) {
		pending |= 1 << KEUOS_CAP_SYSTEM_INDEX;
	}
	taken = pending & mask;
	pending &= ~taken;
	return (int64_t)taken;
}

static int64_t console_read(uint8_t *buffer, uint64_t bytes)
{
	ssize_t n;

	if (input_ready(0) <= 0)
		return 0;
	n = read(STDIN_FILENO, buffer, bytes);
	if (n <= 0)
		exit(0); /* the line is gone: the test is over */
	return n;
}

static int64_t console_write(const uint8_t *buffer, uint64_t bytes)
{
	static uint32_t asked;
	uint32_t stingy = from_environment("MODEL_STINGY");

	if (bytes > KEUOS_CONSOLE_WRITE_MAX)
		return -KEUOS_EINVAL;
	if (stingy && ++asked % stingy) {
		pending |= 1 << KEUOS_CAP_SYSTEM_INDEX;
		return -KEUOS_EAGAIN;
	}
	while (bytes) {
		ssize_t n = write(STDOUT_FILENO, buffer, bytes);

		if (n <= 0)
			exit(0);
		buffer += n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

static int64_t event_read(uint64_t from, struct keuos_event *events, uint64_t n)
{
	uint64_t copied = 0;

	for (; from < EVENTS && copied < n; from++, copied++) {
		events[copied] = (struct keuos_event){
			.sequence = from,
			.time_ns = from * 1000000,
			.kind = KEUOS_EVENT_GATE + (uint32_t)(from % 7), /* one of them unknown */
			.verdict = (uint32_t)(from % (KEUOS_VERDICT_COUNT + 1)),
			.pid = FIRST_PID,
			.detail = from,
		};
	}
	return (int64_t)copied;
}

static int64_t process_list(struct keuos_process_info *list, uint64_t n)
{
	uint32_t count = from_environment("MODEL_PROCESSES");
	uint64_t listed = 0;

	for (uint32_t i = 0; i < KEUOS_CAPABILITIES; i++) {
		if (capabilities[i].type == KEUOS_CAP_PROCESS && listed < n)
			list[listed++] = capabilities[i].info;
	}
	for (; listed < count && listed < n; listed++)
		list[listed] = (struct keuos_process_info){.pid = 1000 + (uint32_t)listed};
	return (int64_t)listed;
}

static int64_t channel_list(struct keuos_channel_info *list, uint64_t n)
{
	uint32_t count = from_environment("MODEL_CHANNELS");
	uint64_t listed = 0;

	for (uint32_t i = 0; i < KEUOS_CAPABILITIES; i++) {
		if (capabilities[i].type == KEUOS_CAP_CHANNEL && listed < n)
			list[listed++] = capabilities[i].channel;
	}
	for (; listed < count && listed < n; listed++)
		list[listed] =
			(struct keuos_channel_info){.channel = 1000 + (uint32_t)listed, .state = KEUOS_CHANNEL_OPEN};
	return (int64_t)listed;
}

static int64_t system_info(struct keuos_system_info *info)
{
	*info = (struct keuos_system_info){.cores = 2,
		.features = KEUOS_FEATURE_NX | KEUOS_FEATURE_WP,
		.tick_hz = 1000000000,
		.pages_total = 1000,
		.pages_free = 900,
		.events = EVENTS,
		.version = "KeuOS model",
		.boot = "host"};
	return 0;
}

static int64_t on_process(uint64_t number, uint64_t index, uint64_t b)
{
	struct process *p = capability(index, KEUOS_CAP_PROCESS);

	if (!p)
		return -KEUOS_EBADCAP;
	switch (number) {
	case KEUOS_SYS_PROCESS_START:
		if (p->info.state != KEUOS_PROCESS_SUSPENDED)
			return -KEUOS_ESTATE;
		run(p);
		return 0;
	case KEUOS_SYS_PROCESS_KILL:
		if (p->info.state == KEUOS_PROCESS_DEAD)
			return -KEUOS_ESTATE;
		die(p, KEUOS_EXIT_KILLED, 1);
		return 0;
	default:
		*(struct keuos_process_info *)(uintptr_t)b = p->info;
		return 0;
	}
}

static int64_t on_channel(uint64_t number, uint64_t index, uint64_t b)
{
	struct process *p = capability(index, KEUOS_CAP_CHANNEL);

	if (!p)
		return -KEUOS_EBADCAP;
	switch (number) {
	case KEUOS_SYS_CHANNEL_INFO:
		*(struct keuos_channel_info *)(uintptr_t)b = p->channel;
		return 0;
	default:
		if (p->channel.state == KEUOS_CHANNEL_CLOSED)
			return -KEUOS_ECLOSED;
		p->channel.state = KEUOS_CHANNEL_CLOSED;
		p->channel.reason = number == KEUOS_SYS_CAP_REVOKE ? KEUOS_CLOSE_REVOKED : KEUOS_CLOSE_BY_PEER;
		return 0;
	}
}

static int64_t drop(uint64_t index)
{
	if (index < FIRST_CAPABILITY || index >= KEUOS_CAPABILITIES || capabilities[index].type == KEUOS_CAP_NONE)
		return -KEUOS_EBADCAP;
	free(capabilities[index].memory);
	capabilities[index] = (struct process){0};
	return 0;
}

static int64_t initrd_list(uint64_t index, char *name)
{
	if (index >= sizeof(files) / sizeof(files[0]))
		return -KEUOS_ENOENT;
	memset(name, 0, KEUOS_NAME_BYTES);
	strcpy(name, files[index]);
	return 4096;
}

int64_t host_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	now += 1000;
	switch (number) {
	case KEUOS_SYS_NULL:
	case KEUOS_SYS_YIELD:
		return 0;
	case KEUOS_SYS_EXIT:
		exit((int)a);
	case KEUOS_SYS_LOG:
		fprintf(stderr, "%.*s\n", (int)b, (const char *)(uintptr_t)a);
		return 0;
	case KEUOS_SYS_TIME:
		return (int64_t)now;
	case KEUOS_SYS_WAIT:
		return wait(a, b);
	case KEUOS_SYS_SPAWN:
		return spawn((const struct keuos_spawn *)(uintptr_t)a);
	case KEUOS_SYS_PROCESS_START:
	case KEUOS_SYS_PROCESS_KILL:
	case KEUOS_SYS_PROCESS_INFO:
		return on_process(number, a, b);
	case KEUOS_SYS_PROCESS_READ:
		return memory(a, b, (uint8_t *)(uintptr_t)c, d, 0);
	case KEUOS_SYS_PROCESS_WRITE:
		return memory(a, b, (uint8_t *)(uintptr_t)c, d, 1);
	case KEUOS_SYS_CHANNEL_BIND:
		return bind(a, b, (const struct keuos_bind *)(uintptr_t)c);
	case KEUOS_SYS_CHANNEL_ACCEPT:
		return -KEUOS_EAGAIN;
	case KEUOS_SYS_CHANNEL_CLOSE:
	case KEUOS_SYS_CHANNEL_INFO:
	case KEUOS_SYS_CAP_REVOKE:
		return on_channel(number, a, b);
	case KEUOS_SYS_CAP_GRANT:
		return capability(a, KEUOS_CAP_PROCESS) && capability(b, KEUOS_CAP_PROCESS) ? FIRST_CAPABILITY
											    : -KEUOS_EBADCAP;
	case KEUOS_SYS_CAP_DROP:
		return drop(a);
	case KEUOS_SYS_SYSTEM_INFO:
		return system_info((struct keuos_system_info *)(uintptr_t)a);
	case KEUOS_SYS_CONSOLE_READ:
		return console_read((uint8_t *)(uintptr_t)b, c);
	case KEUOS_SYS_CONSOLE_WRITE:
		return console_write((const uint8_t *)(uintptr_t)b, c);
	case KEUOS_SYS_EVENT_READ:
		return event_read(b, (struct keuos_event *)(uintptr_t)c, d);
	case KEUOS_SYS_PROCESS_LIST:
		return process_list((struct keuos_process_info *)(uintptr_t)b, c);
	case KEUOS_SYS_CHANNEL_LIST:
		return channel_list((struct keuos_channel_info *)(uintptr_t)b, c);
	case KEUOS_SYS_INITRD_LIST:
		return initrd_list(b, (char *)(uintptr_t)c);
	case KEUOS_SYS_DEVICE_LIST:
		return 0;
	case KEUOS_SYS_REBOOT:
		exit(REBOOT_STATUS);
	default:
		return -KEUOS_ENOSYS;
	}
}

static void on_alarm(int signal)
{
	(void)signal; /* its only work is to interrupt ppoll */
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	sigset_t blocked;

	/* Blocked outside ppoll, so that a signal that comes early is kept until there is a wait to interrupt. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGALRM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGALRM, &action, NULL);
	return console_main("");
}
