/*
 * What a ring does with an honest peer, and with each single thing a peer must not do: one case per run, both sides in
 * one thread, so that every interleaving is the intended one. Usage: cases NAME, or without a name a list of them.
 */
#include "../host_cases.h"
#include "host_ends.h"

#include <keuos/batch.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DATA_ORDER = 1, DATA_BYTES = 8192, NEAR_WRAP = -40 };

static uint8_t out[2 * DATA_BYTES], in[2 * DATA_BYTES];

static void fill(uint32_t seed)
{
	uint64_t state = 0x9e3779b97f4a7c15u + seed;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)host_random(&state);
}

static void expect(const char *what, int got, int wanted)
{
	HOST_CHECK(got == wanted, "%s: expected %d, got %d", what, wanted, got);
}

static void expect_verdict(struct host_ends *e, const char *what, enum keuos_verdict wanted)
{
	uint32_t template;

	expect(what, keuos_receive(&e->c, in, sizeof(in), &template), KEUOS_RING_VIOLATION);
	expect(what, (int)e->c.ring.verdict, wanted);
}

static void send(struct host_ends *e, uint32_t template, uint32_t length)
{
	expect("send", keuos_send(&e->p, template, out, length), KEUOS_RING_OK);
	if (e->p.ring.mode == KEUOS_VERIFIED)
		host_channel_deliver(&e->channel, e->p.head - 1, e->p.head);
}

static void receive(struct host_ends *e, uint32_t template, uint32_t length)
{
	uint32_t seen = UINT32_MAX;

	memset(in, 0xee, sizeof(in));
	expect("received length", keuos_receive(&e->c, in, sizeof(in), &seen), (int)length);
	expect("template", (int)seen, (int)template);
	HOST_CHECK(!memcmp(in, out, length), "a message of %u bytes arrived changed (head %u, data %u)", length,
		e->p.head, e->p.data);
	HOST_CHECK(in[length] == 0xee, "receiving %u bytes wrote past the end of the message", length);
}

static int send_fast(struct host_ends *e, uint32_t template, uint32_t length)
{
	struct keuos_kind kind;
	int result = keuos_check_kind(&e->p.ring, template, length, &kind);

	return result ? result : keuos_send_inline(&e->p, &kind, out, length, e->p.ring.mode == KEUOS_POLLED_PROOF);
}

static int receive_fast(struct host_ends *e, uint32_t template, uint32_t length)
{
	struct keuos_kind kind;
	int result = keuos_check_kind(&e->c.ring, template, length, &kind);

	return result ? result : keuos_receive_inline(&e->c, &kind, in, length, e->c.ring.mode == KEUOS_POLLED_PROOF);
}

static struct keuos_slot *slot(struct host_ends *e, uint32_t counter)
{
	return (struct keuos_slot *)(void *)e->channel.producer.base + counter % KEUOS_SLOTS;
}

/* Every length there is, in every mode, over counters that wrap through 2^32 on the way. */
static void every_length(enum keuos_channel_mode mode)
{
	struct host_ends e = host_ends_open(mode, DATA_ORDER, (uint32_t)NEAR_WRAP, (uint32_t)-65536);

	for (uint32_t length = 0; length <= DATA_BYTES; length += length < 300 ? 1 : 61) {
		fill(length);
		send(&e, HOST_TEMPLATE, length);
		receive(&e, HOST_TEMPLATE, length);
	}
	HOST_CHECK(e.p.head < 1u << 31 && e.p.data < 1u << 31, "the counters did not wrap");
	expect("empty at the end", keuos_receive(&e.c, in, sizeof(in), &(uint32_t){0}), KEUOS_RING_EMPTY);
}

static void every_length_polled(void)
{
	every_length(KEUOS_POLLED);
}

static void every_length_proof(void)
{
	every_length(KEUOS_POLLED_PROOF);
}

static void every_length_verified(void)
{
	every_length(KEUOS_VERIFIED);
}

/* Exactly 64 slots fit, from any start; room appears when the consumer publishes, and the order is kept. */
static void full_and_empty(void)
{
	for (uint32_t start = (uint32_t)-130; start != 3; start++) {
		struct host_ends e = host_ends_open(KEUOS_POLLED, KEUOS_NO_DATA, start, 0);
		uint32_t template, value;

		for (uint32_t i = 0; i < KEUOS_SLOTS; i++)
			expect("send into room", keuos_send(&e.p, HOST_TEMPLATE, &i, sizeof(i)), KEUOS_RING_OK);
		expect("send when full", keuos_send(&e.p, HOST_TEMPLATE, out, 4), KEUOS_RING_FULL);
		for (uint32_t i = 0; i < KEUOS_SLOTS; i++) {
			expect("receive", keuos_receive(&e.c, &value, sizeof(value), &template), sizeof(value));
			expect("order", (int)value, (int)i);
		}
		expect("receive when empty", keuos_receive(&e.c, &value, sizeof(value), &template), KEUOS_RING_EMPTY);
		for (uint32_t i = 0; i < KEUOS_SLOTS; i++)
			expect("send again", keuos_send(&e.p, HOST_TEMPLATE, &i, sizeof(i)), KEUOS_RING_OK);
		expect("send when full again", keuos_send(&e.p, HOST_TEMPLATE, out, 4), KEUOS_RING_FULL);
		host_channel_destroy(&e.channel);
	}
}

/* A message of two slots needs both: with one slot left it is refused and a one-slot message is not. */
static void two_slots_need_room_for_both(void)
{
	struct host_ends e = host_ends_open(KEUOS_POLLED, KEUOS_NO_DATA, (uint32_t)NEAR_WRAP, 0);

	fill(1);
	for (uint32_t i = 0; i < KEUOS_SLOTS - 1; i++)
		send(&e, HOST_TEMPLATE, 56);
	expect("two slots into one", keuos_send(&e.p, HOST_TEMPLATE, out, 57), KEUOS_RING_FULL);
	send(&e, HOST_TEMPLATE, 56);
	for (uint32_t i = 0; i < KEUOS_SLOTS; i++)
		receive(&e, HOST_TEMPLATE, 56);
	for (uint32_t i = 0; i < KEUOS_SLOTS / 2; i++)
		send(&e, HOST_TEMPLATE, 112);
	expect("full of pairs", keuos_send(&e.p, HOST_TEMPLATE, out, 57), KEUOS_RING_FULL);
	for (uint32_t i = 0; i < KEUOS_SLOTS / 2; i++)
		receive(&e, HOST_TEMPLATE, 112);
}

/* The tail is published lazily, but a producer that waits for a full ring never waits for ever. */
static void lazy_tail_makes_progress(void)
{
	for (uint32_t length = 0; length <= KEUOS_INLINE_MAX; length += 8) {
		struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, (uint32_t)NEAR_WRAP, 0);

		fill(length);
		for (uint32_t round = 0; round < 1000; round++) {
			int result;

			while ((result = keuos_send(&e.p, HOST_TEMPLATE, out, length)) == KEUOS_RING_OK)
				;
			expect("send", result, KEUOS_RING_FULL);
			for (uint32_t taken = 0; keuos_send(&e.p, HOST_TEMPLATE, out, length) != KEUOS_RING_OK;
				taken++) {
				HOST_CHECK(taken <= KEUOS_TAIL_EVERY, "%u messages received and still no room", taken);
				receive(&e, HOST_TEMPLATE, length);
			}
		}
		host_channel_destroy(&e.channel);
	}
}

/* Payload is split at the end of the data ring, and its offset is the counter, not the place. */
static void payload_wraps(void)
{
	struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, 0, (uint32_t)-192);

	fill(3);
	send(&e, HOST_TEMPLATE, 1500); /* across the end and across 2^32 */
	receive(&e, HOST_TEMPLATE, 1500);
	HOST_CHECK(e.c.data == 1536 - 192, "data counter %u, expected %u", e.c.data, 1536 - 192);
	send(&e, HOST_TEMPLATE, DATA_BYTES); /* the whole ring */
	expect("no room behind it", keuos_send(&e.p, HOST_TEMPLATE, out, 113), KEUOS_RING_FULL);
	receive(&e, HOST_TEMPLATE, DATA_BYTES);
	send(&e, HOST_TEMPLATE, 113);
	receive(&e, HOST_TEMPLATE, 113);
}

static void aligned_template_leaves_gaps(void)
{
	struct host_ends e = host_ends_open(KEUOS_POLLED_PROOF, DATA_ORDER, 0, (uint32_t)-64);

	fill(4);
	for (uint32_t i = 0; i < 200; i++) {
		send(&e, i % 3 ? HOST_TEMPLATE_ALIGNED : HOST_TEMPLATE, 200 + i);
		if (i % 3)
			HOST_CHECK((e.p.data - keuos_align(200 + i, 64)) % 256 == 0,
				"payload at %u is not on 256 bytes", e.p.data - keuos_align(200 + i, 64));
		receive(&e, i % 3 ? HOST_TEMPLATE_ALIGNED : HOST_TEMPLATE, 200 + i);
	}
	expect("longer than fits at every place", keuos_send(&e.p, HOST_TEMPLATE_ALIGNED, out, DATA_BYTES - 191),
		KEUOS_RING_TOO_LONG);
	send(&e, HOST_TEMPLATE_ALIGNED, DATA_BYTES - 192);
	receive(&e, HOST_TEMPLATE_ALIGNED, DATA_BYTES - 192);
}

static void sender_is_told_what_it_may_not_send(void)
{
	for (uint32_t mode = KEUOS_POLLED; mode <= KEUOS_VERIFIED; mode++) {
		struct host_ends e = host_ends_open(mode, DATA_ORDER, 0, 0);

		expect("a refused template", keuos_send(&e.p, HOST_TEMPLATE_REFUSED, out, 8), KEUOS_RING_NOT_GRANTED);
		expect("a refused template, long", keuos_send(&e.p, HOST_TEMPLATE_REFUSED, out, 800),
			KEUOS_RING_NOT_GRANTED);
		expect("no template", keuos_send(&e.p, KEUOS_TEMPLATES_MAX + HOST_TEMPLATE, out, 8),
			KEUOS_RING_NOT_GRANTED);
		expect("past the template", keuos_send(&e.p, HOST_TEMPLATE_SHORT, out, 25), KEUOS_RING_TOO_LONG);
		expect("past the ring", keuos_send(&e.p, HOST_TEMPLATE, out, DATA_BYTES + 1), KEUOS_RING_TOO_LONG);
		expect("nothing was sent", keuos_receive(&e.c, in, sizeof(in), &(uint32_t){0}), KEUOS_RING_EMPTY);
	}
	struct host_ends e = host_ends_open(KEUOS_POLLED, KEUOS_NO_DATA, 0, 0);

	expect("long without a data ring", keuos_send(&e.p, HOST_TEMPLATE, out, 113), KEUOS_RING_TOO_LONG);
}

/* A message too long for the buffer stays, and a larger buffer gets it. */
static void small_buffer_consumes_nothing(void)
{
	static const uint32_t lengths[] = {1, 56, 100, 1500};
	uint32_t template;

	for (uint32_t mode = KEUOS_POLLED; mode <= KEUOS_VERIFIED; mode++) {
		struct host_ends e = host_ends_open(mode, DATA_ORDER, 0, 0);

		for (uint32_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			send(&e, HOST_TEMPLATE, lengths[i]);
			expect("a short buffer", keuos_receive(&e.c, in, lengths[i] - 1, &template),
				KEUOS_RING_TOO_LONG);
			receive(&e, HOST_TEMPLATE, lengths[i]);
		}
	}
}

/* Whoever closes: what was sent before is received, then the end is told. */
static void closing_keeps_what_was_sent(void)
{
	struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, 0, 0);
	uint32_t template;

	send(&e, HOST_TEMPLATE, 5);
	send(&e, HOST_TEMPLATE, 500);
	host_channel_close(&e.channel, KEUOS_CLOSE_PRODUCER_DIED);
	expect("sending", keuos_send(&e.p, HOST_TEMPLATE, out, 5), KEUOS_RING_CLOSED);
	receive(&e, HOST_TEMPLATE, 5);
	receive(&e, HOST_TEMPLATE, 500);
	expect("receiving", keuos_receive(&e.c, in, sizeof(in), &template), KEUOS_RING_CLOSED);
	expect("the fast path", receive_fast(&e, HOST_TEMPLATE, 56), KEUOS_RING_CLOSED);
}

/* The fast path and the general one are two ways to the same ring. */
static void fast_path_mixes_with_the_general_one(void)
{
	struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, (uint32_t)NEAR_WRAP, 0);

	fill(6);
	for (uint32_t i = 0; i < 500; i++) {
		expect("fast, empty", receive_fast(&e, HOST_TEMPLATE, 56), KEUOS_RING_EMPTY);
		expect("fast send", send_fast(&e, HOST_TEMPLATE, 56), KEUOS_RING_OK);
		send(&e, HOST_TEMPLATE, 56);
		send(&e, HOST_TEMPLATE_SHORT, 24);
		send(&e, HOST_TEMPLATE, 700);
		receive(&e, HOST_TEMPLATE, 56);
		memset(in, 0, 56);
		expect("fast receive", receive_fast(&e, HOST_TEMPLATE, 56), 56);
		HOST_CHECK(!memcmp(in, out, 56), "the fast path brought another message");
		expect("another length", receive_fast(&e, HOST_TEMPLATE, 56), KEUOS_RING_UNEXPECTED);
		receive(&e, HOST_TEMPLATE_SHORT, 24);
		expect("a descriptor", receive_fast(&e, HOST_TEMPLATE, 56), KEUOS_RING_UNEXPECTED);
		receive(&e, HOST_TEMPLATE, 700);
	}
}

static void cookie_travels_with_a_descriptor(void)
{
	struct host_ends e = host_ends_open(KEUOS_VERIFIED, KEUOS_NO_DATA, (uint32_t)NEAR_WRAP, 0);
	uint64_t cookie[2] = {1, 2};
	uint32_t template;

	for (uint64_t i = 0; i < 200; i++) {
		uint64_t sent[2] = {i, ~i};

		expect("send", keuos_send_descriptor(&e.p, HOST_TEMPLATE, out, 0, sent), KEUOS_RING_OK);
		host_channel_deliver(&e.channel, e.p.head - 1, e.p.head);
		expect("receive", keuos_receive_cookie(&e.c, in, 0, &template, cookie), 0);
		HOST_CHECK(cookie[0] == i && cookie[1] == ~i, "the cookie of message %d arrived changed", (int)i);
	}
}

/* On a verified channel nothing arrives that the kernel did not deliver, and the head is published for it. */
static void verified_receiver_reads_the_mailbox_only(void)
{
	struct host_ends e = host_ends_open(KEUOS_VERIFIED, DATA_ORDER, (uint32_t)-2, 0);
	struct keuos_index_page *head = (void *)(e.channel.kernel + KEUOS_OFFSET_HEAD);
	uint32_t template;

	fill(8);
	for (uint32_t i = 0; i < 5; i++) {
		expect("send", keuos_send(&e.p, HOST_TEMPLATE, out, 100), KEUOS_RING_OK);
		HOST_CHECK(head->slots == i - 1 && head->data == 128 * (i + 1),
			"published head %u, %u after message %u", head->slots, head->data, i);
	}
	expect("before the kernel", keuos_receive(&e.c, in, sizeof(in), &template), KEUOS_RING_EMPTY);
	host_channel_deliver(&e.channel, (uint32_t)-2, 1);
	for (uint32_t i = 0; i < 3; i++) {
		slot(&e, (uint32_t)-2 + i)->word = 0; /* the slots are the producer's to scribble on */
		receive(&e, HOST_TEMPLATE, 100);
	}
	expect("what it did not deliver", keuos_receive(&e.c, in, sizeof(in), &template), KEUOS_RING_EMPTY);
}

/* --- batches --- */

enum { LARGEST = 1500 };

static int send_group(struct host_ends *e, const uint8_t *from, uint32_t size, uint32_t count)
{
	int sent = keuos_send_batch(&e->p, HOST_TEMPLATE, from, size, count);

	if (sent > 0 && e->p.ring.mode == KEUOS_VERIFIED)
		host_channel_deliver(&e->channel, e->p.head - 1, e->p.head);
	return sent;
}

static void receive_group(struct host_ends *e, struct keuos_batch *batch, const uint8_t *wanted, uint32_t size,
	uint32_t capacity, uint32_t count)
{
	memset(in, 0xee, sizeof(in));
	expect("messages of a group", keuos_receive_batch(&e->c, batch, HOST_TEMPLATE, in, size, capacity), (int)count);
	HOST_CHECK(!memcmp(in, wanted, (size_t)count * size), "a group of %u messages of %u bytes arrived changed",
		count, size);
	HOST_CHECK(in[count * size] == 0xee, "receiving %u messages of %u bytes wrote past their end", count, size);
}

/* Sizes on both sides of a line, in every mode, over counters and a data ring that wrap on the way. */
static void groups_of_every_size(void)
{
	static const uint32_t sizes[] = {1, 8, 56, 63, 64, 65, 200, 1000, LARGEST};

	for (uint32_t mode = KEUOS_POLLED; mode <= KEUOS_VERIFIED; mode++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			struct host_ends e = host_ends_open(mode, DATA_ORDER, (uint32_t)NEAR_WRAP, (uint32_t)-65536);
			uint32_t size = sizes[s], most = DATA_BYTES / keuos_align(size, 64);
			struct keuos_batch batch = {0};

			most = most < 40 ? most : 40;
			for (uint32_t i = 0; i < 300; i++) {
				uint32_t count = i % most + 1;

				fill(i);
				expect("sent of a group", send_group(&e, out, size, count), (int)count);
				receive_group(&e, &batch, out, size, 40, count);
			}
			expect("no more", keuos_receive_batch(&e.c, &batch, HOST_TEMPLATE, in, size, 40),
				KEUOS_RING_EMPTY);
			host_channel_destroy(&e.channel);
		}
}

/* What has no room stays with the caller; the room comes back when a batch is empty, and not before. */
static void groups_fill_the_ring(void)
{
	struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, 0, (uint32_t)-192);
	struct keuos_batch batch = {0};
	const uint32_t lines = DATA_BYTES / 64;

	fill(9);
	expect("a first group", send_group(&e, out, 64, 100), 100);
	expect("of a second, what there is room for", send_group(&e, out + 6400, 64, 100), (int)(lines - 100));
	expect("no room", send_group(&e, out, 64, 1), KEUOS_RING_FULL);
	receive_group(&e, &batch, out, 64, 60, 60);
	expect("a group taken by half", send_group(&e, out, 64, 1), KEUOS_RING_FULL);
	receive_group(&e, &batch, out + 3840, 64, 60, 40);
	expect("room for what was taken", send_group(&e, out, 64, 200), 100);
	receive_group(&e, &batch, out + 6400, 64, 60, lines - 100);
	receive_group(&e, &batch, out, 64, 100, 100);
	expect("nothing of nothing", send_group(&e, out, 64, 0), 0);
	expect("nothing was sent", keuos_receive_batch(&e.c, &batch, HOST_TEMPLATE, in, 64, 1), KEUOS_RING_EMPTY);
	for (uint32_t i = 0; i < KEUOS_SLOTS; i++)
		expect("a slot each", send_group(&e, out, 64, 1), 1);
	expect("no slot", send_group(&e, out, 64, 1), KEUOS_RING_FULL);
}

static void groups_are_refused_what_messages_are(void)
{
	struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, 0, 0);
	struct keuos_batch batch = {0};

	expect("a refused template", keuos_send_batch(&e.p, HOST_TEMPLATE_REFUSED, out, 64, 1), KEUOS_RING_NOT_GRANTED);
	expect("a line past the template", keuos_send_batch(&e.p, HOST_TEMPLATE_SHORT, out, 24, 1),
		KEUOS_RING_TOO_LONG);
	expect("no bytes", keuos_send_batch(&e.p, HOST_TEMPLATE, out, 0, 1), KEUOS_RING_TOO_LONG);
	expect("all bytes", keuos_send_batch(&e.p, HOST_TEMPLATE, out, UINT32_MAX, 1), KEUOS_RING_TOO_LONG);
	expect("past the ring", keuos_send_batch(&e.p, HOST_TEMPLATE, out, DATA_BYTES + 1, 1), KEUOS_RING_TOO_LONG);
	expect("nothing was sent", keuos_receive_batch(&e.c, &batch, HOST_TEMPLATE, in, 64, 1), KEUOS_RING_EMPTY);
	send(&e, HOST_TEMPLATE, 8);
	expect("not by descriptor", keuos_receive_batch(&e.c, &batch, HOST_TEMPLATE, in, 64, 1), KEUOS_RING_UNEXPECTED);
	receive(&e, HOST_TEMPLATE, 8);
	send(&e, HOST_TEMPLATE, 200);
	expect("no whole lines", keuos_receive_batch(&e.c, &batch, HOST_TEMPLATE, in, 64, 1), KEUOS_RING_UNEXPECTED);
	receive(&e, HOST_TEMPLATE, 200);
	send(&e, HOST_TEMPLATE_ALIGNED, 256);
	expect("another template", keuos_receive_batch(&e.c, &batch, HOST_TEMPLATE, in, 64, 1), KEUOS_RING_UNEXPECTED);
	receive(&e, HOST_TEMPLATE_ALIGNED, 256);
	expect("a last group", send_group(&e, out, 64, 3), 3);
	host_channel_close(&e.channel, KEUOS_CLOSE_PRODUCER_DIED);
	expect("into a closed channel", send_group(&e, out, 64, 3), KEUOS_RING_CLOSED);
	receive_group(&e, &batch, out, 64, 2, 2);
	receive_group(&e, &batch, out + 128, 64, 2, 1);
	expect("the end", keuos_receive_batch(&e.c, &batch, HOST_TEMPLATE, in, 64, 1), KEUOS_RING_CLOSED);
}

/* What a producer changes once its batch is open makes no more messages of it, and sends nobody elsewhere. */
static void open_group_is_not_looked_up_again(void)
{
	struct host_ends e = host_ends_open(KEUOS_POLLED_PROOF, DATA_ORDER, 0, 0);
	struct keuos_descriptor *descriptor = (void *)slot(&e, 0);
	struct keuos_batch batch = {0};

	fill(10);
	expect("a group", send_group(&e, out, 64, 10), 10);
	receive_group(&e, &batch, out, 64, 4, 4);
	descriptor->length = DATA_BYTES;
	descriptor->offset = 4096;
	descriptor->word = 0;
	receive_group(&e, &batch, out + 256, 64, 40, 6);
	HOST_CHECK(e.c.data == 640 && e.c.tail == 1, "tail %u, data %u after the group", e.c.tail, e.c.data);
}

static void wrong_group(void)
{
	static const struct {
		const char *what;
		uint32_t offset, length;
		enum keuos_verdict verdict;
	} wrong[] = {
		{"behind", (uint32_t)-64, 128, KEUOS_VERDICT_ALIGNMENT},
		{"ahead", 64, 128, KEUOS_VERDICT_ALIGNMENT},
		{"past the ring", 0, DATA_BYTES + 64, KEUOS_VERDICT_LENGTH},
		{"half the address space", 0, 1u << 31, KEUOS_VERDICT_LENGTH},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct host_ends e = host_ends_open(KEUOS_POLLED_PROOF, DATA_ORDER, 0, 0);
		struct keuos_descriptor *descriptor = (void *)slot(&e, 0);
		struct keuos_batch batch = {0};

		expect("a group", send_group(&e, out, 64, 2), 2);
		descriptor->offset = wrong[i].offset;
		descriptor->length = wrong[i].length;
		expect(wrong[i].what, keuos_receive_batch(&e.c, &batch, HOST_TEMPLATE, in, 64, 4),
			KEUOS_RING_VIOLATION);
		expect("its verdict", (int)e.c.ring.verdict, (int)wrong[i].verdict);
		descriptor->offset = 0;
		descriptor->length = 128;
		descriptor->sealed.tag ^= 1;
		expect("a wrong tag", keuos_receive_batch(&e.c, &batch, HOST_TEMPLATE, in, 64, 4),
			KEUOS_RING_VIOLATION);
		expect("its verdict", (int)e.c.ring.verdict, KEUOS_VERDICT_TAG);
	}
}

/* --- a producer that lies --- */

static void wrong_sequence(void)
{
	static const int32_t off[] = {-1, 2, 63, 64, 65, -64, 1 << 30};

	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		struct host_ends e = host_ends_open(KEUOS_POLLED, KEUOS_NO_DATA, (uint32_t)NEAR_WRAP, 0);

		slot(&e, e.c.tail)->word =
			keuos_word(e.c.tail + 1 + (uint32_t)off[i], keuos_low_word(8, HOST_TEMPLATE));
		if (off[i] == -64) {
			expect("last round's slot", keuos_receive(&e.c, in, 64, &(uint32_t){0}), KEUOS_RING_EMPTY);
			continue;
		}
		expect_verdict(&e, "a wrong sequence", KEUOS_VERDICT_SEQUENCE);
		expect("the fast path", receive_fast(&e, HOST_TEMPLATE, 56), KEUOS_RING_VIOLATION);
	}
}

static void refused_template(void)
{
	static const uint32_t templates[] = {
		HOST_TEMPLATE_REFUSED, KEUOS_TEMPLATES_MAX, KEUOS_TEMPLATES_MAX + HOST_TEMPLATE, 0xffff};

	for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++) {
		struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, 0, 0);

		slot(&e, 0)->word = keuos_word(1, keuos_low_word(56, templates[i]));
		expect("the fast path", receive_fast(&e, templates[i], 56), KEUOS_RING_NOT_GRANTED);
		expect_verdict(&e, "inline", KEUOS_VERDICT_TEMPLATE);
		slot(&e, 0)->word = keuos_word(1, keuos_low_word(KEUOS_LENGTH_DESCRIPTOR, templates[i]));
		expect_verdict(&e, "descriptor", KEUOS_VERDICT_TEMPLATE);
	}
}

static void wrong_inline_length(void)
{
	static const struct {
		uint32_t mode, template, length;
	} wrong[] = {
		{KEUOS_POLLED, HOST_TEMPLATE, 113},
		{KEUOS_POLLED_PROOF, HOST_TEMPLATE, 105},
		{KEUOS_POLLED, HOST_TEMPLATE_SHORT, 25},
		{KEUOS_POLLED, HOST_TEMPLATE, 0x8000},
		{KEUOS_POLLED, HOST_TEMPLATE, KEUOS_LENGTH_CONTINUED},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct host_ends e = host_ends_open(wrong[i].mode, DATA_ORDER, 0, 0);

		slot(&e, 0)->word = keuos_word(1, keuos_low_word(wrong[i].length, wrong[i].template));
		expect_verdict(&e, "inline length", KEUOS_VERDICT_LENGTH);
	}
	struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, 0, 0);

	slot(&e, 0)->word = keuos_word(1, keuos_low_word(56, HOST_TEMPLATE_SHORT));
	expect("the fast path", receive_fast(&e, HOST_TEMPLATE_SHORT, 56), KEUOS_RING_TOO_LONG);
}

static void wrong_second_slot(void)
{
	static const uint64_t words[] = {
		0,
		UINT64_C(2) << 32 | 44u << 16 | HOST_TEMPLATE,
		UINT64_C(2) << 32 | (uint64_t)KEUOS_LENGTH_CONTINUED << 16 | HOST_TEMPLATE_SHORT,
		UINT64_C(3) << 32 | (uint64_t)KEUOS_LENGTH_CONTINUED << 16 | HOST_TEMPLATE,
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, 0, 0);

		send(&e, HOST_TEMPLATE, 100);
		slot(&e, 1)->word = words[i];
		expect_verdict(&e, "second slot", KEUOS_VERDICT_SEQUENCE);
	}
}

static void wrong_tag(void)
{
	/* Every single bit of tag and sealed fields: inline messages carry the tag alone. */
	for (uint32_t bit = 0; bit < 64; bit++) {
		struct host_ends e = host_ends_open(KEUOS_POLLED_PROOF, DATA_ORDER, 0, 0);

		send(&e, HOST_TEMPLATE, 48);
		slot(&e, 0)->payload[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect("the fast path", receive_fast(&e, HOST_TEMPLATE, 48), KEUOS_RING_VIOLATION);
		expect_verdict(&e, "inline tag", KEUOS_VERDICT_TAG);
		host_channel_destroy(&e.channel);
	}
	for (uint32_t bit = 0; bit < 8 * sizeof(struct keuos_sealed); bit++) {
		struct host_ends e = host_ends_open(KEUOS_POLLED_PROOF, DATA_ORDER, 0, 0);

		send(&e, HOST_TEMPLATE, 480);
		slot(&e, 0)->payload[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect_verdict(&e, "descriptor's tag and sealed fields", KEUOS_VERDICT_TAG);
		host_channel_destroy(&e.channel);
	}
}

static void wrong_descriptor(void)
{
	static const struct {
		const char *what;
		uint32_t offset, length;
		enum keuos_verdict verdict;
	} wrong[] = {
		{"unaligned", 1, 200, KEUOS_VERDICT_ALIGNMENT},
		{"behind", (uint32_t)-64, 200, KEUOS_VERDICT_ALIGNMENT},
		{"ahead", 64, 200, KEUOS_VERDICT_ALIGNMENT},
		{"past the ring", 0, DATA_BYTES + 1, KEUOS_VERDICT_LENGTH},
		{"rounded up to nothing", 0, UINT32_MAX, KEUOS_VERDICT_LENGTH},
		{"half the address space", 0, 1u << 31, KEUOS_VERDICT_LENGTH},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct host_ends e = host_ends_open(KEUOS_POLLED_PROOF, DATA_ORDER, 0, 0);
		struct keuos_descriptor *descriptor = (void *)slot(&e, 0);

		send(&e, HOST_TEMPLATE, 200);
		descriptor->offset = wrong[i].offset;
		descriptor->length = wrong[i].length;
		expect_verdict(&e, wrong[i].what, wrong[i].verdict);
	}
	struct host_ends e = host_ends_open(KEUOS_POLLED, KEUOS_NO_DATA, 0, 0);
	struct keuos_descriptor *descriptor = (void *)slot(&e, 0);

	descriptor->length = 1;
	descriptor->word = keuos_word(1, keuos_low_word(KEUOS_LENGTH_DESCRIPTOR, HOST_TEMPLATE));
	expect_verdict(&e, "payload without a data ring", KEUOS_VERDICT_LENGTH);
	e = host_ends_open(KEUOS_POLLED, DATA_ORDER, 0, 64);
	descriptor = (void *)slot(&e, 0);
	descriptor->offset = 256; /* where the template's alignment puts it */
	descriptor->length = DATA_BYTES - 64;
	descriptor->word = keuos_word(1, keuos_low_word(KEUOS_LENGTH_DESCRIPTOR, HOST_TEMPLATE_ALIGNED));
	expect_verdict(&e, "past the ring but for the gap", KEUOS_VERDICT_LENGTH);
}

/* --- a consumer that lies --- */

static void wrong_tail(void)
{
	static const struct {
		int32_t slots, data;
	} wrong[] = {{1, 0}, {-65, 0}, {-96, 0}, {1 << 30, 0}, {0, 64}, {0, -64}, {0, -1600}, {0, 1 << 30}, {0, 1}};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct host_ends e = host_ends_open(KEUOS_POLLED, DATA_ORDER, (uint32_t)NEAR_WRAP, 0);
		struct keuos_index_page *tail = (void *)(uintptr_t)(e.channel.consumer.base + KEUOS_OFFSET_TAIL);
		int result;

		for (uint32_t n = 0; n < KEUOS_SLOTS; n++) {
			send(&e, HOST_TEMPLATE, n < 2 ? 800 : 8);
			if (n < 32)
				receive(&e, HOST_TEMPLATE, n < 2 ? 800 : 8);
		}
		while (keuos_send(&e.p, HOST_TEMPLATE, out, 8) ==
			KEUOS_RING_OK) /* half a round: the honest tail is known */
			;
		tail->slots = e.p.head + (uint32_t)wrong[i].slots;
		tail->data = e.p.data + (uint32_t)wrong[i].data;
		result = keuos_send(&e.p, HOST_TEMPLATE, out, 8);
		expect("send after the lie", result, KEUOS_RING_VIOLATION);
		expect("its verdict", (int)e.p.ring.verdict, KEUOS_VERDICT_TAIL);
	}
}

/* On arm64 a slot is found by bits that are put into the page's address: elsewhere it would be another place. */
static void slots_begin_a_page(void)
{
	struct host_ends ends = host_ends_open(KEUOS_POLLED, 0, 0, 0);
	struct keuos_endpoint crooked = ends.channel.producer;
	int status;
	pid_t child = fork();

	crooked.base += KEUOS_SLOT_BYTES;
	if (child == 0) {
		signal(SIGILL, SIG_DFL);
		signal(SIGTRAP, SIG_DFL);
		_exit(keuos_producer_init(&crooked).head != 0);
	}
	HOST_CHECK(waitpid(child, &status, 0) == child, "no end of the child");
	HOST_CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGTRAP),
		"slots beside a page were taken: wait status %x", (unsigned int)status);
}

static const struct host_case cases[] = {
	{"every_length_polled", every_length_polled},
	{"every_length_proof", every_length_proof},
	{"every_length_verified", every_length_verified},
	{"full_and_empty", full_and_empty},
	{"two_slots_need_room_for_both", two_slots_need_room_for_both},
	{"lazy_tail_makes_progress", lazy_tail_makes_progress},
	{"payload_wraps", payload_wraps},
	{"aligned_template_leaves_gaps", aligned_template_leaves_gaps},
	{"sender_is_told_what_it_may_not_send", sender_is_told_what_it_may_not_send},
	{"small_buffer_consumes_nothing", small_buffer_consumes_nothing},
	{"closing_keeps_what_was_sent", closing_keeps_what_was_sent},
	{"fast_path_mixes_with_the_general_one", fast_path_mixes_with_the_general_one},
	{"cookie_travels_with_a_descriptor", cookie_travels_with_a_descriptor},
	{"verified_receiver_reads_the_mailbox_only", verified_receiver_reads_the_mailbox_only},
	{"groups_of_every_size", groups_of_every_size},
	{"groups_fill_the_ring", groups_fill_the_ring},
	{"groups_are_refused_what_messages_are", groups_are_refused_what_messages_are},
	{"open_group_is_not_looked_up_again", open_group_is_not_looked_up_again},
	{"wrong_group", wrong_group},
	{"wrong_sequence", wrong_sequence},
	{"refused_template", refused_template},
	{"wrong_inline_length", wrong_inline_length},
	{"wrong_second_slot", wrong_second_slot},
	{"wrong_tag", wrong_tag},
	{"wrong_descriptor", wrong_descriptor},
	{"wrong_tail", wrong_tail},
	{"slots_begin_a_page", slots_begin_a_page},
};

int main(int argc, char **argv)
{
	return host_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
