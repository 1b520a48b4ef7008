/*
 * What Linux offers two processes: pipe, eventfd, eventfd with signalfd, futex, a datagram socket, a POSIX message queue.
 *
 * Messages are of 64 bytes. What carries no message itself (eventfd, signal, futex) announces one in shared memory. Both
 * sides sleep in the kernel until there is something ("sleep"), or ask again and again without sleeping ("busy").
 */
#define _GNU_SOURCE
#include "rows.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 64, TRIPS = 120, WARM_UP = 10 };

/* Descriptors by direction (0 to pong, 1 back), and shared memory for what carries no message. */
struct link {
	int to[2], from[2];
	struct shared {
		struct rows_message message[2];
		uint32_t futex[2 * ROWS_LINE];
	} * shared;
	uint32_t seen[2];
};

static pid_t ping_pid;

static int share(struct link *link)
{
	link->shared = mmap(0, sizeof(*link->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (link->shared == MAP_FAILED)
		return -errno;
	memset(link->shared, 0, sizeof(*link->shared));
	return 0;
}

/* 1: all went; 0: not now; else rows_fail. */
static int went(const char *what, long result, long wanted)
{
	if (result == wanted)
		return 1;
	if (result < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	rows_fail(what, result < 0 ? errno : EIO);
}

static void put(struct link *link, int way, const struct rows_message *message)
{
	memcpy(&link->shared->message[way], message, BYTES);
}

static void get(struct link *link, int way, struct rows_message *message)
{
	memcpy(message, &link->shared->message[way], BYTES);
}

static int open_pipe(struct link *link, int busy)
{
	for (int way = 0; way < 2; way++) {
		int ends[2];

		if (pipe2(ends, busy ? O_NONBLOCK : 0))
			return -errno;
		link->from[way] = ends[0];
		link->to[way] = ends[1];
	}
	return 0;
}

static int send_write(struct link *link, int way, const struct rows_message *message)
{
	return went("write to a pipe", write(link->to[way], message, BYTES), BYTES);
}

static int receive_read(struct link *link, int way, struct rows_message *message)
{
	return went("read from a pipe", read(link->from[way], message, BYTES), BYTES);
}

static int open_eventfd(struct link *link, int busy)
{
	for (int way = 0; way < 2; way++)
		if ((link->to[way] = link->from[way] = eventfd(0, busy ? EFD_NONBLOCK : 0)) < 0)
			return -errno;
	return share(link);
}

static int send_eventfd(struct link *link, int way, const struct rows_message *message)
{
	uint64_t one = 1;

	put(link, way, message);
	return went("write to an eventfd", write(link->to[way], &one, sizeof(one)), sizeof(one));
}

static int receive_eventfd(struct link *link, int way, struct rows_message *message)
{
	uint64_t count;

	if (!went("read from an eventfd", read(link->from[way], &count, sizeof(count)), sizeof(count)))
		return 0;
	get(link, way, message);
	return 1;
}

/* To pong by eventfd, back by a signal that is read. */
static int open_signalfd(struct link *link, int busy)
{
	sigset_t set;
	int error = open_eventfd(link, busy);

	if (error)
		return error;
	ping_pid = getpid();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, 0) || (link->from[1] = signalfd(-1, &set, busy ? SFD_NONBLOCK : 0)) < 0)
		return -errno;
	return 0;
}

static int send_signalfd(struct link *link, int way, const struct rows_message *message)
{
	if (way == 0)
		return send_eventfd(link, way, message);
	put(link, way, message);
	return went("a signal", kill(ping_pid, SIGUSR1), 0);
}

static int receive_signalfd(struct link *link, int way, struct rows_message *message)
{
	struct signalfd_siginfo info;

	if (way == 0)
		return receive_eventfd(link, way, message);
	if (!went("read from a signalfd", read(link->from[way], &info, sizeof(info)), sizeof(info)))
		return 0;
	get(link, way, message);
	return 1;
}

static int open_futex(struct link *link, int busy)
{
	(void)busy; /* a futex that is polled is a word in memory: the floor */
	return share(link);
}

static int send_futex(struct link *link, int way, const struct rows_message *message)
{
	uint32_t *word = &link->shared->futex[way * ROWS_LINE];

	put(link, way, message);
	__atomic_fetch_add(word, 1, __ATOMIC_RELEASE);
	if (syscall(SYS_futex, word, FUTEX_WAKE, 1, 0, 0, 0) < 0)
		rows_fail("a futex's wake", errno);
	return 1;
}

static int receive_futex(struct link *link, int way, struct rows_message *message)
{
	uint32_t *word = &link->shared->futex[way * ROWS_LINE];

	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == link->seen[way])
		if (syscall(SYS_futex, word, FUTEX_WAIT, link->seen[way], 0, 0, 0) < 0 && errno != EAGAIN &&
			errno != EINTR)
			rows_fail("a futex's wait", errno);
	link->seen[way]++;
	get(link, way, message);
	return 1;
}

static int open_datagram(struct link *link, int busy)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | (busy ? SOCK_NONBLOCK : 0), 0, ends))
		return -errno;
	link->to[0] = link->from[1] = ends[0];
	link->to[1] = link->from[0] = ends[1];
	return 0;
}

static int send_datagram(struct link *link, int way, const struct rows_message *message)
{
	return went("a datagram's send", send(link->to[way], message, BYTES, 0), BYTES);
}

static int receive_datagram(struct link *link, int way, struct rows_message *message)
{
	return went("a datagram's receive", recv(link->from[way], message, BYTES, 0), BYTES);
}

static int open_queue(struct link *link, int busy)
{
	struct mq_attr attributes = {.mq_maxmsg = 8, .mq_msgsize = BYTES};

	for (int way = 0; way < 2; way++) {
		char name[64];

		snprintf(name, sizeof(name), "/keuos-hil-%d-%d-%d", (int)getpid(), busy, way);
		link->to[way] = link->from[way] =
			mq_open(name, O_RDWR | O_CREAT | O_EXCL | (busy ? O_NONBLOCK : 0), 0600, &attributes);
		if (link->to[way] < 0)
			return -errno;
		mq_unlink(name);
	}
	return 0;
}

static int send_queue(struct link *link, int way, const struct rows_message *message)
{
	return went("a message queue's send", mq_send(link->to[way], (const char *)message, BYTES, 0), 0);
}

static int receive_queue(struct link *link, int way, struct rows_message *message)
{
	return went("a message queue's receive", mq_receive(link->from[way], (char *)message, BYTES, 0), BYTES);
}

typedef int send_function(struct link *link, int way, const struct rows_message *message);
typedef int receive_function(struct link *link, int way, struct rows_message *message);

ROWS_INLINE void until_sent(
	send_function *send_one, struct link *link, int way, const struct rows_message *message, enum rows_poll poll)
{
	while (!send_one(link, way, message))
		rows_idle(poll);
}

ROWS_INLINE void until_received(
	receive_function *receive_one, struct link *link, int way, struct rows_message *message, enum rows_poll poll)
{
	while (!receive_one(link, way, message))
		rows_idle(poll);
}

#define DEFINE(name, opening, sending, receiving, busy, poll)                                                          \
	static struct link link_##name;                                                                                \
	static int open_##name##_row(void)                                                                             \
	{                                                                                                              \
		return opening(&link_##name, busy);                                                                    \
	}                                                                                                              \
	static void ping_##name(struct rows_visit *visit)                                                              \
	{                                                                                                              \
		ROWS_PING(visit, {                                                                                     \
			until_sent(sending, &link_##name, 0, &rows_sent, poll);                                        \
			until_received(receiving, &link_##name, 1, &rows_got, poll);                                   \
		});                                                                                                    \
	}                                                                                                              \
	static void pong_##name(void)                                                                                  \
	{                                                                                                              \
		do {                                                                                                   \
			until_received(receiving, &link_##name, 0, &rows_got, poll);                                   \
			until_sent(sending, &link_##name, 1, &rows_got, poll);                                         \
		} while (!(rows_got.word & ROWS_LAST));                                                                \
	}

#define DEFINE_ALL(name, opening, sending, receiving)                                                                  \
	DEFINE(name##_sleep, opening, sending, receiving, 0, ROWS_PAUSE)                                               \
	DEFINE(name##_same, opening, sending, receiving, 0, ROWS_YIELD)                                                \
	DEFINE(name##_busy, opening, sending, receiving, 1, ROWS_PAUSE)                                                \
	DEFINE(name##_yield, opening, sending, receiving, 1, ROWS_YIELD)

DEFINE_ALL(pipe, open_pipe, send_write, receive_read)
DEFINE_ALL(eventfd, open_eventfd, send_eventfd, receive_eventfd)
DEFINE_ALL(signalfd, open_signalfd, send_signalfd, receive_signalfd)
DEFINE(futex_sleep, open_futex, send_futex, receive_futex, 0, ROWS_PAUSE)
DEFINE(futex_same, open_futex, send_futex, receive_futex, 0, ROWS_YIELD)
DEFINE_ALL(datagram, open_datagram, send_datagram, receive_datagram)
DEFINE_ALL(queue, open_queue, send_queue, receive_queue)

#define ROW(row, how, cores, floor, name)                                                                              \
	{                                                                                                              \
		row, how, cores, floor, TRIPS, WARM_UP, open_##name##_row, ping_##name, pong_##name                    \
	}
#define ROWS(row, name)                                                                                                \
	ROW(row, "sleep", ROWS_CROSS, ROWS_PAUSE, name##_sleep),                                                       \
		ROW(row, "sleep", ROWS_SAME, ROWS_YIELD, name##_same),                                                 \
		ROW(row, "busy", ROWS_CROSS, ROWS_PAUSE, name##_busy),                                                 \
		ROW(row, "busy", ROWS_SAME, ROWS_YIELD, name##_yield)

const struct rows_row rows_of_kernel[] = {
	ROWS("pipe", pipe),
	ROWS("eventfd", eventfd),
	ROWS("eventfd+signalfd", signalfd),
	ROW("futex", "sleep", ROWS_CROSS, ROWS_PAUSE, futex_sleep),
	ROW("futex", "sleep", ROWS_SAME, ROWS_YIELD, futex_same),
	ROWS("unix-dgram", datagram),
	ROWS("mq", queue),
	{0},
};
