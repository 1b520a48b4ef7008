/*
 * Races of the ring, each played at exactly the instant that matters: the page that one side is about to touch is
 * protected, and its fault handler lets the other side act first. One case per run: interleavings NAME.
 */
#define _GNU_SOURCE
#include "host_ends.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static struct host_ends e;
static uint32_t doorbells[2]; /* rung by the producer, by the consumer */
static uint32_t waits;
static void (*on_wait)(void);

enum { PRODUCER, CONSUMER };

static void keuos_ring_doorbell(uint32_t side)
{
	doorbells[side]++;
}

static void keuos_ring_wait(uint32_t side)
{
	(void)side;
	HOST_CHECK(!waits++, "slept a second time");
	HOST_CHECK(on_wait, "slept although the other side had acted: a lost wake-up");
	on_wait();
}

#include <keuos/ring_sleep.h>

static void *trapped_page;
static int trapped_rights;
static void (*meanwhile)(void);

static void on_fault(int signal, siginfo_t *info, void *context)
{
	uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(KEUOS_PAGE_BYTES - 1);

	(void)signal;
	(void)context;
	HOST_CHECK(page == (uintptr_t)trapped_page && meanwhile, "a fault at %p that nobody planned", info->si_addr);
	mprotect(trapped_page, KEUOS_PAGE_BYTES, trapped_rights);
	void (*act)(void) = meanwhile;

	meanwhile = 0;
	act();
}

/* At the next access to the page that the rights don't allow, act() runs first. */
static void trap(const volatile void *page, int rights, int rights_then, void (*act)(void))
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGSEGV, &action, 0);
	trapped_page = (void *)(uintptr_t)page;
	trapped_rights = rights_then;
	meanwhile = act;
	HOST_CHECK(!mprotect(trapped_page, KEUOS_PAGE_BYTES, rights), "mprotect failed");
}

static const uint32_t message = 42;

static void send_one(void)
{
	HOST_CHECK(!keuos_send(&e.p, HOST_TEMPLATE, &message, sizeof(message)), "no room");
	keuos_producer_wake(&e.p);
}

static void send_and_close(void)
{
	send_one();
	host_channel_close(&e.channel, KEUOS_CLOSE_BY_PEER);
}

static void receive_published(void)
{
	uint32_t value, template;

	for (int i = 0; i < KEUOS_TAIL_EVERY; i++)
		HOST_CHECK(
			keuos_receive(&e.c, &value, sizeof(value), &template) == sizeof(value), "nothing to receive");
	keuos_consumer_wake(&e.c);
}

static void receive_expects_one(void)
{
	uint32_t value = 0, template;
	int result = keuos_receive_wait(&e.c, &value, sizeof(value), &template, 0);

	HOST_CHECK(result == sizeof(value) && value == message, "expected the message, got %d", result);
	HOST_CHECK(!e.c.ring.own->sleeping, "awake, and the flag still says asleep");
}

/* The message comes after the consumer saw an empty ring and before it stores its flag: nobody rings. */
static void message_comes_before_the_flag(void)
{
	trap(e.c.ring.own, PROT_READ, PROT_READ | PROT_WRITE, send_one);
	receive_expects_one();
	HOST_CHECK(!meanwhile && !waits, "expected no sleep, came %u", waits);
}

/* The message comes while the consumer sleeps: the producer rings, once. */
static void message_comes_in_the_sleep(void)
{
	on_wait = send_one;
	receive_expects_one();
	HOST_CHECK(waits == 1 && doorbells[PRODUCER] == 1, "%u sleeps, %u doorbells", waits, doorbells[PRODUCER]);
	send_one();
	HOST_CHECK(doorbells[PRODUCER] == 1, "the doorbell was rung for a consumer that is awake");
}

/* The last message and the end come between the look at the ring and the look at the status page. */
static void message_and_end_come_between_two_looks(void)
{
	uint32_t value = 0, template;
	int result;

	trap(e.c.ring.status, PROT_NONE, PROT_READ, send_and_close);
	result = keuos_receive(&e.c, &value, sizeof(value), &template);
	HOST_CHECK(!meanwhile && result == KEUOS_RING_EMPTY, "expected one more look at the ring (%d), got %d",
		KEUOS_RING_EMPTY, result);
	result = keuos_receive(&e.c, &value, sizeof(value), &template);
	HOST_CHECK(result == sizeof(value) && value == message, "the last message was lost: %d", result);
	result = keuos_receive(&e.c, &value, sizeof(value), &template);
	HOST_CHECK(result == KEUOS_RING_CLOSED, "expected the end, got %d", result);
}

static void fill_ring(void)
{
	while (keuos_send(&e.p, HOST_TEMPLATE, &message, sizeof(message)) == KEUOS_RING_OK)
		;
}

static void send_expects_room(void)
{
	int result = keuos_send_wait(&e.p, HOST_TEMPLATE, &message, sizeof(message));

	HOST_CHECK(!result, "expected room, got %d", result);
	HOST_CHECK(!e.p.ring.own->sleeping, "awake, and the flag still says asleep");
}

/* Room comes after the producer saw a full ring and before it stores its flag. */
static void room_comes_before_the_flag(void)
{
	fill_ring();
	trap(e.p.ring.own, PROT_READ, PROT_READ | PROT_WRITE, receive_published);
	send_expects_room();
	HOST_CHECK(!meanwhile && !waits && !doorbells[CONSUMER], "%u sleeps, %u doorbells", waits, doorbells[CONSUMER]);
}

static void room_comes_in_the_sleep(void)
{
	fill_ring();
	on_wait = receive_published;
	send_expects_room();
	HOST_CHECK(waits == 1 && doorbells[CONSUMER] == 1, "%u sleeps, %u doorbells", waits, doorbells[CONSUMER]);
}

/* The consumer sleeps on a ring that the producer filled by sends that don't wake: before sleeping, it must. */
static void producer_wakes_before_it_sleeps(void)
{
	fill_ring();
	e.c.ring.own->sleeping = 1;
	on_wait = receive_published;
	send_expects_room();
	HOST_CHECK(doorbells[PRODUCER] >= 1, "both sides slept");
}

/* The same from the other side: room made by receives that don't wake. */
static void consumer_wakes_before_it_sleeps(void)
{
	uint32_t value, template;

	fill_ring();
	while (keuos_receive(&e.c, &value, sizeof(value), &template) != KEUOS_RING_EMPTY)
		;
	e.p.ring.own->sleeping = 1;
	on_wait = send_one;
	receive_expects_one();
	HOST_CHECK(doorbells[CONSUMER] == 1, "both sides slept");
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"message_comes_before_the_flag", message_comes_before_the_flag},
	{"message_comes_in_the_sleep", message_comes_in_the_sleep},
	{"message_and_end_come_between_two_looks", message_and_end_come_between_two_looks},
	{"room_comes_before_the_flag", room_comes_before_the_flag},
	{"room_comes_in_the_sleep", room_comes_in_the_sleep},
	{"producer_wakes_before_it_sleeps", producer_wakes_before_it_sleeps},
	{"consumer_wakes_before_it_sleeps", consumer_wakes_before_it_sleeps},
};

int main(int argc, char **argv)
{
	e = host_ends_open(KEUOS_POLLED, KEUOS_NO_DATA, (uint32_t)-8, 0);
	e.p.ring.capability = PRODUCER;
	e.c.ring.capability = CONSUMER;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (argc < 2) {
			puts(cases[i].name);
		} else if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			return 0;
		}
	}
	return argc < 2 ? 0 : (fprintf(stderr, "no case %s: run without arguments for a list\n", argv[1]), 2);
}
