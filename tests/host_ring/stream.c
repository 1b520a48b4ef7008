/*
 * Two processes on one ring, each with the rights of its side: every message arrives once, in order and unchanged,
 * while both ends poll, or sleep whenever they can. A doorbell is a futex here; a sleep that lasts ten seconds is a
 * lost wake-up.
 *
 * Usage: stream MODE WAIT COUNT SEED. MODE: polled or proof. WAIT: poll; sleep; or answer: the producer sends the next
 * message when the last has arrived, so that no later message covers a lost wake-up, and both sides try to do their
 * half of the sleep protocol at the same moment.
 */
#define _GNU_SOURCE
#include "host_ends.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PRODUCER, CONSUMER, LONGEST = 3000, LOST_AFTER_S = 10 };

static uint32_t *bells; /* shared; one for each side, and behind them the number of messages received */
static uint64_t delays = 88172645463325252u;
static uint32_t sleeps, doorbells;
static int answer;

static void dawdle(void)
{
	for (uint64_t n = host_random(&delays) % 64; n; n--)
		keuos_pause();
}

static void keuos_ring_doorbell(uint32_t side)
{
	uint32_t *bell = &bells[!side];

	doorbells++;
	__atomic_store_n(bell, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, bell, FUTEX_WAKE, 1, 0, 0, 0);
}

static void keuos_ring_wait(uint32_t side)
{
	struct timespec limit = {.tv_sec = LOST_AFTER_S};

	sleeps++;
	dawdle(); /* widens the window between the last look and the sleep */
	while (!__atomic_exchange_n(&bells[side], 0, __ATOMIC_SEQ_CST))
		if (syscall(SYS_futex, &bells[side], FUTEX_WAIT, 0, &limit, 0, 0) && errno == ETIMEDOUT)
			bells[3] = 1,
			host_fail("lost wake-up: the %s slept %d s", side == PRODUCER ? "producer" : "consumer",
				LOST_AFTER_S);
}

#include <keuos/ring_sleep.h>

/* Message i: both sides make it from the same seed. Mostly inline, now and then through the data ring. */
static uint32_t compose(uint8_t *message, uint64_t *state)
{
	uint64_t draw = host_random(state);
	uint32_t length = draw % 16 ? (uint32_t)(draw >> 8) % 120 : (uint32_t)(draw >> 8) % (LONGEST + 1);

	for (uint32_t i = 0; i < length; i += sizeof(draw)) {
		draw = host_random(state);
		memcpy(message + i, &draw, length - i < sizeof(draw) ? length - i : sizeof(draw));
	}
	return length;
}

static void produce(struct host_ends *e, int may_sleep, uint32_t count, uint64_t state)
{
	uint8_t message[LONGEST];

	for (uint32_t i = 0; i < count; i++) {
		uint32_t length = compose(message, &state);
		int result;

		if (may_sleep) {
			if (host_random(&delays) % 32 == 0)
				dawdle();
			result = keuos_send_wait(&e->p, HOST_TEMPLATE, message, length);
		} else {
			while ((result = keuos_send(&e->p, HOST_TEMPLATE, message, length)) == KEUOS_RING_FULL)
				sched_yield();
		}
		HOST_CHECK(!result, "message %u of %u bytes: send gave %d", i, length, result);
		while (answer && __atomic_load_n(&bells[2], __ATOMIC_ACQUIRE) != i + 1)
			if (bells[3]) /* the other side gave up */
				_exit(1);
			else
				keuos_pause();
		if (answer)
			dawdle();
	}
	host_channel_close(&e->channel, KEUOS_CLOSE_BY_PEER);
	keuos_ring_doorbell(PRODUCER); /* as the kernel does when a channel closes */
}

static void consume(struct host_ends *e, int may_sleep, uint32_t count, uint64_t state)
{
	uint8_t message[LONGEST], wanted[LONGEST];
	uint32_t template;
	int result;

	for (uint32_t i = 0; i < count; i++) {
		int length = (int)compose(wanted, &state);

		if (may_sleep) {
			if (host_random(&delays) % 512 == 0)
				sched_yield(); /* a slow consumer: the producer fills the ring */
			result = keuos_receive_wait(&e->c, message, sizeof(message), &template, 0);
		} else {
			while ((result = keuos_receive(&e->c, message, sizeof(message), &template)) == KEUOS_RING_EMPTY)
				sched_yield();
		}
		HOST_CHECK(result == length, "message %u: expected %d bytes, got %d (verdict %u)", i, length, result,
			e->c.ring.verdict);
		__atomic_store_n(&bells[2], i + 1, __ATOMIC_RELEASE);
		if (answer)
			dawdle(); /* to look at the ring at about the time at which the next message comes */
		HOST_CHECK(
			template == HOST_TEMPLATE && !memcmp(message, wanted, (size_t)length), "message %u changed", i);
	}
	if (may_sleep)
		result = keuos_receive_wait(&e->c, message, sizeof(message), &template, 0);
	else
		while ((result = keuos_receive(&e->c, message, sizeof(message), &template)) == KEUOS_RING_EMPTY)
			sched_yield();
	HOST_CHECK(result == KEUOS_RING_CLOSED, "after the last message: expected the end (%d), got %d",
		KEUOS_RING_CLOSED, result);
}

int main(int argc, char **argv)
{
	HOST_CHECK(argc == 5, "usage: stream polled|proof poll|sleep COUNT SEED");
	enum keuos_channel_mode mode = strcmp(argv[1], "proof") ? KEUOS_POLLED : KEUOS_POLLED_PROOF;
	int may_sleep = strcmp(argv[2], "poll") != 0, status;
	uint32_t count = (uint32_t)strtoul(argv[3], 0, 10);
	uint64_t seed = strtoul(argv[4], 0, 10) * 2 + 1;
	/* The counters pass 2^32 on the way. */
	struct host_ends e = host_ends_open(mode, 0, -(count / 2), -(count / 2 * 64));
	pid_t parent = getpid(), child;

	answer = !strcmp(argv[2], "answer");
	e.p.ring.capability = PRODUCER;
	e.c.ring.capability = CONSUMER;
	bells = mmap(0, KEUOS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	HOST_CHECK(bells != MAP_FAILED, "mmap failed");
	child = fork();
	HOST_CHECK(child >= 0, "fork failed");
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		delays ^= seed << 20;
		produce(&e, may_sleep, count, seed);
		printf("producer: %u sleeps, %u doorbells\n", sleeps, doorbells);
		return 0;
	}
	consume(&e, may_sleep, count, seed);
	HOST_CHECK(waitpid(child, &status, 0) == child && !status, "the producer failed: wait status %#x", status);
	printf("consumer: %u sleeps, %u doorbells\n", sleeps, doorbells);
	return 0;
}
