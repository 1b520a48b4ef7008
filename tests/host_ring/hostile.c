/*
 * One honest end against a peer that writes whatever it likes to whatever it can write: the honest end never faults,
 * never reads or writes past its own memory (built with the address and the undefined-behaviour sanitizer), never
 * hands over more than a template allows, and answers with a documented result only.
 *
 * Usage: hostile producer|consumer ROUNDS SEED. The name is the liar's. Half the rounds are played in turn, with
 * garbage that is valid but for a field or two; the other half against a child that scribbles all the while.
 */
#define _GNU_SOURCE
#include "host_ends.h"

#include <keuos/batch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DATA_ORDER = 0, DATA_BYTES = 4096, TURNS = 200 };

static uint64_t state;
static uint32_t groups;        /* that were received, whole or in part */
static uint32_t histogram[16]; /* of results, by their absolute value; messages count as 0 */

static uint32_t draw(uint32_t below)
{
	return (uint32_t)(host_random(&state) >> 16) % below;
}

/* A value near something that matters, or anything. */
static uint32_t interesting(uint32_t honest)
{
	static const uint32_t edges[] = {0, 1, 23, 24, 25, 55, 56, 57, 63, 64, 65, 104, 105, 112, 113, 128, 4095, 4096,
		4097, 0x7fff, 0xfffe, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffc0, 0xffffffff};

	switch (draw(4)) {
	case 0:
		return honest;
	case 1:
		return honest + edges[draw(sizeof(edges) / sizeof(edges[0]))];
	case 2:
		return edges[draw(sizeof(edges) / sizeof(edges[0]))];
	default:
		return (uint32_t)host_random(&state);
	}
}

/* Puts a nearly honest slot where the consumer looks next. */
static void lie_slot(struct host_ends *e, uint32_t tail, uint32_t data)
{
	static const uint32_t templates[] = {
		HOST_TEMPLATE, HOST_TEMPLATE_SHORT, HOST_TEMPLATE_ALIGNED, HOST_TEMPLATE_REFUSED};
	uint32_t template = draw(8) ? templates[draw(4)] : interesting(HOST_TEMPLATE) & 0xffff;
	uint32_t length = draw(2) ? KEUOS_LENGTH_DESCRIPTOR : interesting(draw(113)) & 0xffff;
	struct keuos_descriptor *slot =
		(struct keuos_descriptor *)(void *)e->p.ring.slots + (tail + (draw(8) ? 0 : draw(3))) % KEUOS_SLOTS;

	slot->sealed = e->p.ring.tags[template % KEUOS_TEMPLATES_MAX];
	if (length != KEUOS_LENGTH_DESCRIPTOR)
		memcpy(&slot->sealed, &e->p.ring.tags[template % KEUOS_TEMPLATES_MAX].tag, KEUOS_PROOF_BYTES);
	if (!draw(4))
		((uint8_t *)&slot->sealed)[draw(sizeof(slot->sealed))] ^= (uint8_t)(1 << draw(8));
	slot->offset = interesting(data);
	slot->length = draw(4) ? interesting(draw(DATA_BYTES)) : draw(DATA_BYTES / 64 + 2) * 64;
	if (length > 56 && length < 113)
		e->p.ring.slots[(tail + 1) % KEUOS_SLOTS].word = keuos_word(
			draw(8) ? tail + 2 : interesting(tail + 2), keuos_low_word(KEUOS_LENGTH_CONTINUED, template));
	__atomic_store_n(&slot->word,
		keuos_word(draw(4) ? tail + 1 : interesting(tail + 1), keuos_low_word(length, template)),
		__ATOMIC_RELEASE);
}

/* Garbage over everything the producer may write. */
static void scribble_producer(struct host_ends *e)
{
	uint8_t *base = (void *)e->p.ring.slots;
	static const uint32_t pages[] = {KEUOS_OFFSET_SLOTS, KEUOS_OFFSET_SLOTS, KEUOS_OFFSET_HEAD, KEUOS_OFFSET_DATA};
	uint8_t *at = base + pages[draw(4)] + draw(KEUOS_PAGE_BYTES / 4) * 4;
	uint32_t value = interesting(0);

	memcpy(at, &value, sizeof(value));
}

static void check_received(struct host_ends *e, int result, uint32_t template, uint32_t capacity)
{
	const struct keuos_sealed *tags = e->c.ring.tags;

	HOST_CHECK(result <= (int)capacity && result >= KEUOS_RING_UNEXPECTED, "receive answered %d", result);
	histogram[result < 0 ? -result : 0]++;
	if (result < 0)
		return;
	HOST_CHECK(template <KEUOS_TEMPLATES_MAX &&tags[template].generation == HOST_GENERATION,
		"a message of template %u was accepted, which was not granted", template);
	HOST_CHECK(
		(uint32_t)result <= tags[template].max_length, "template %u accepted with %d bytes", template, result);
}

/* A group of messages of `size` bytes: what the documented results allow, and never more than was asked for. */
static void receive_group_from_liar(struct host_ends *e, struct keuos_batch *batch, uint32_t size, uint32_t capacity)
{
	uint8_t *messages = malloc((size_t)size * capacity + 1);
	int result;

	HOST_CHECK(messages, "out of memory");
	messages[(size_t)size * capacity] = 0xee;
	result = keuos_receive_batch(&e->c, batch, HOST_TEMPLATE, messages, size, capacity);
	HOST_CHECK(result <= (int)capacity && result >= KEUOS_RING_UNEXPECTED, "a group's receive answered %d", result);
	HOST_CHECK(messages[(size_t)size * capacity] == 0xee, "a group of %d wrote past its end", result);
	HOST_CHECK(batch->left <= DATA_BYTES / 64, "a group of %u messages in %u bytes", batch->left, DATA_BYTES);
	histogram[result < 0 ? -result : 0]++;
	groups += result > 0;
	free(messages);
}

/* A fresh consumer, as violations are final: counters go on from anywhere. */
static void receive_from_liar(struct host_ends *e, int concurrent)
{
	uint32_t capacity = draw(4) ? DATA_BYTES : draw(DATA_BYTES + 1), template = 0;
	struct keuos_kind kind;
	uint8_t *buffer = malloc(capacity ? capacity : 1); /* exactly as long as it is said to be */
	uint32_t size = draw(2) ? 64 : 1 + draw(300);
	struct keuos_batch batch = {0};

	HOST_CHECK(buffer, "out of memory");
	for (int turn = 0; turn < TURNS; turn++) {
		int result;

		if (!concurrent && draw(4))
			lie_slot(e, e->c.tail, e->c.data);
		else if (!concurrent)
			scribble_producer(e);
		if (batch.left || draw(3) == 0) {
			receive_group_from_liar(e, &batch, size, 1 + draw(40));
			continue;
		}
		if (capacity >= 48 && e->c.ring.mode == KEUOS_POLLED_PROOF && draw(4) == 0) {
			keuos_check_kind(&e->c.ring, HOST_TEMPLATE, 48, &kind);
			result = keuos_receive_inline(&e->c, &kind, buffer, 48, 1);
			template = HOST_TEMPLATE;
		} else if (capacity >= 56 && e->c.ring.mode == KEUOS_POLLED && draw(4) == 0) {
			keuos_check_kind(&e->c.ring, HOST_TEMPLATE, 56, &kind);
			result = keuos_receive_inline(&e->c, &kind, buffer, 56, 0);
			template = HOST_TEMPLATE;
		} else {
			result = keuos_receive(&e->c, buffer, capacity, &template);
		}
		check_received(e, result, template, capacity);
	}
	free(buffer);
}

static void send_to_liar(struct host_ends *e, int concurrent)
{
	struct keuos_index_page *tail = (void *)(uintptr_t)(e->channel.consumer.base + KEUOS_OFFSET_TAIL);
	uint32_t capacity = draw(DATA_BYTES + 1);
	uint8_t *message = calloc(1, capacity ? capacity : 1);

	HOST_CHECK(message, "out of memory");
	for (int turn = 0; turn < TURNS; turn++) {
		uint32_t head = e->p.head, data = e->p.data;
		int result;

		if (!concurrent && draw(3) == 0)
			tail->slots = interesting(head);
		if (!concurrent && draw(3) == 0)
			tail->data = interesting(data);
		if (capacity && draw(3) == 0) {
			uint32_t size = draw(2) ? 64 : 1 + draw(capacity);

			result = keuos_send_batch(&e->p, HOST_TEMPLATE, message, size, capacity / size);
			HOST_CHECK(result <= (int)(capacity / size), "of %u messages %d were sent", capacity / size,
				result);
			groups += result > 0;
			result = result > 0 ? 0 : result ? result : KEUOS_RING_TOO_LONG; /* 0: of none */
		} else {
			result = keuos_send(&e->p, draw(2) ? HOST_TEMPLATE : HOST_TEMPLATE_ALIGNED, message, capacity);
		}
		HOST_CHECK(result <= 0 && result >= KEUOS_RING_VIOLATION, "send answered %d", result);
		histogram[-result]++;
		HOST_CHECK(e->p.limit - e->p.head <= KEUOS_SLOTS && e->p.data_limit - e->p.data <= DATA_BYTES,
			"the producer believes in %u free slots and %u free bytes", e->p.limit - e->p.head,
			e->p.data_limit - e->p.data);
		HOST_CHECK(result == 0 || (e->p.head == head && e->p.data == data), "a send that answered %d took room",
			result);
	}
	free(message);
}

int main(int argc, char **argv)
{
	HOST_CHECK(argc == 4, "usage: hostile producer|consumer ROUNDS SEED");
	int producer = !strcmp(argv[1], "producer");
	uint32_t rounds = (uint32_t)strtoul(argv[2], 0, 10);

	state = strtoul(argv[3], 0, 10) * 2 + 0x9e3779b97f4a7c15u;
	for (uint32_t round = 0; round < rounds; round++) {
		struct host_ends e = host_ends_open(
			draw(2) ? KEUOS_POLLED : KEUOS_POLLED_PROOF, DATA_ORDER, interesting(0), interesting(0) & ~63u);
		int concurrent = round % 16 == 0; /* a fork each: fewer of them, and each is many turns */
		pid_t child = concurrent ? fork() : 0;

		HOST_CHECK(child >= 0, "fork failed");
		if (concurrent && !child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;) {
				struct keuos_index_page *tail =
					(void *)(uintptr_t)(e.channel.consumer.base + KEUOS_OFFSET_TAIL);

				if (!producer) {
					tail->slots = interesting(tail->slots);
					tail->data = interesting(tail->data);
				} else if (draw(2)) {
					/* The tail page says where the honest end is, but for the slots not published yet. */
					lie_slot(
						&e, e.p.ring.peer->slots + draw(KEUOS_TAIL_EVERY), e.p.ring.peer->data);
				} else {
					scribble_producer(&e);
				}
			}
		}
		for (int repeat = 0; repeat < (concurrent ? 50 : 1); repeat++) {
			if (producer)
				receive_from_liar(&e, concurrent);
			else
				send_to_liar(&e, concurrent);
		}
		if (concurrent) {
			kill(child, SIGKILL);
			waitpid(child, 0, 0);
		}
		host_channel_destroy(&e.channel);
	}
	for (int i = 0; i < 8; i++)
		printf("%d %u\n", -i, histogram[i]);
	printf("groups %u\n", groups);
	return 0;
}
