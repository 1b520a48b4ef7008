/*
 * The kernel's own ring (keuos/ring.h) between two Linux processes, whose pages carry the rights of keuos/channel.h.
 *
 * The part of the kernel that is missing here is binding: this file fills status and tags before the processes part, and
 * each then takes from its own view of a channel what the other side or the kernel alone may write.
 */
#define _GNU_SOURCE
#include "rings.h"
#include "rows.h"
#include <errno.h>
#include <keuos/batch.h>
#include <keuos/ring.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum {
	DATA_ORDER = 4,
	DATA_BYTES = KEUOS_PAGE_BYTES << DATA_ORDER,
	CHANNEL_BYTES = KEUOS_OFFSET_DATA + DATA_BYTES,
	GENERATION = 1,
	TEMPLATE_MAX = 16384,
};

/* Two channels between the sides for each mode: 0 carries to pong, 1 back to ping. */
static struct pair {
	uint8_t *base[2];
	struct keuos_producer out;
	struct keuos_consumer in;
	struct keuos_kind sent[KEUOS_INLINE_MAX + 1], received[KEUOS_INLINE_MAX + 1]; /* by length in bytes */
} polled, proof;

static int make_channel(uint8_t **base, uint32_t channel, uint32_t mode)
{
	size_t whole = CHANNEL_BYTES + 2 * KEUOS_PAGE_BYTES;
	uint8_t *area = mmap(0, whole, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct keuos_status_page *status;
	struct keuos_sealed *tags;

	if (area == MAP_FAILED)
		return -errno;
	memset(area, 0, whole);
	*base = area + KEUOS_PAGE_BYTES;
	status = (void *)(*base + KEUOS_OFFSET_STATUS);
	*status = (struct keuos_status_page){.state = KEUOS_CHANNEL_OPEN,
		.channel = channel,
		.generation = GENERATION,
		.mode = mode,
		.data_bytes = DATA_BYTES,
		.templates = 1};
	tags = (void *)(*base + KEUOS_OFFSET_TAGS);
	tags[0] = (struct keuos_sealed){.channel = channel,
		.generation = GENERATION,
		.opcode = 1,
		.max_length = TEMPLATE_MAX,
		.alignment = KEUOS_DATA_ALIGNMENT};
	return getrandom(&tags[0].tag, sizeof(tags[0].tag), 0) == sizeof(tags[0].tag) ? 0 : -EIO;
}

static int open_pair(struct pair *pair, uint32_t mode)
{
	int error = pair->base[0] ? 0 : make_channel(&pair->base[0], 2 * mode, mode);

	return error || pair->base[1] ? error : make_channel(&pair->base[1], 2 * mode + 1, mode);
}

static int open_polled(void)
{
	return open_pair(&polled, KEUOS_POLLED);
}

static int open_proof(void)
{
	return open_pair(&proof, KEUOS_POLLED_PROOF);
}

static const struct {
	int32_t offset;
	uint32_t bytes;
	int producer, consumer;
} rights[] = {
	{-KEUOS_PAGE_BYTES, KEUOS_PAGE_BYTES, PROT_NONE, PROT_NONE},
	{KEUOS_OFFSET_SLOTS, KEUOS_PAGE_BYTES, PROT_READ | PROT_WRITE, PROT_READ},
	{KEUOS_OFFSET_HEAD, KEUOS_PAGE_BYTES, PROT_READ | PROT_WRITE, PROT_READ},
	{KEUOS_OFFSET_TAIL, KEUOS_PAGE_BYTES, PROT_READ, PROT_READ | PROT_WRITE},
	{KEUOS_OFFSET_STATUS, KEUOS_PAGE_BYTES, PROT_READ, PROT_READ},
	{KEUOS_OFFSET_TAGS, KEUOS_PAGE_BYTES, PROT_READ, PROT_READ},
	{KEUOS_OFFSET_MAILBOX, KEUOS_PAGE_BYTES, PROT_NONE, PROT_READ},
	{KEUOS_OFFSET_DATA, DATA_BYTES, PROT_READ | PROT_WRITE, PROT_READ},
	{KEUOS_OFFSET_DATA + DATA_BYTES, KEUOS_PAGE_BYTES, PROT_NONE, PROT_NONE},
};

static void restrict_view(uint8_t *base, int producer)
{
	for (size_t i = 0; i < sizeof(rights) / sizeof(*rights); i++)
		if (mprotect(base + rights[i].offset, rights[i].bytes,
			    producer ? rights[i].producer : rights[i].consumer))
			rows_fail("mprotect of a channel's pages", errno);
}

static void open_side(struct pair *pair, uint32_t mode, int ping)
{
	struct keuos_endpoint end = {.mode = mode, .data_bytes = DATA_BYTES, .generation = GENERATION};

	if (!pair->base[0] || !pair->base[1])
		return;
	end.role = KEUOS_PRODUCER;
	end.base = (uintptr_t)pair->base[ping ? 0 : 1];
	pair->out = keuos_producer_init(&end);
	end.role = KEUOS_CONSUMER;
	end.base = (uintptr_t)pair->base[ping ? 1 : 0];
	pair->in = keuos_consumer_init(&end);
	for (uint32_t length = 0; length <= keuos_inline_max(&pair->out.ring); length++)
		if (keuos_check_kind(&pair->out.ring, 0, length, &pair->sent[length]) ||
			keuos_check_kind(&pair->in.ring, 0, length, &pair->received[length]))
			rows_fail("the ring does not take its own template", 0);
	restrict_view(pair->base[ping ? 0 : 1], 1);
	restrict_view(pair->base[ping ? 1 : 0], 0);
}

void rings_take_side(int ping)
{
	open_side(&polled, KEUOS_POLLED, ping);
	open_side(&proof, KEUOS_POLLED_PROOF, ping);
}

unsigned long rings_address(int way)
{
	return (unsigned long)polled.base[way];
}

/* A slowdown on purpose, to see whether a comparison finds it: so many multiplications that nothing overlaps. */
#ifndef ROWS_SLOWDOWN
#define ROWS_SLOWDOWN 0
#endif

ROWS_INLINE void slow_down(void)
{
	uint64_t product = 3;

	for (int i = 0; i < ROWS_SLOWDOWN; i++) {
		product *= product;
		__asm__ volatile("" : "+r"(product));
	}
	if (ROWS_SLOWDOWN)
#if defined(__x86_64__)
		__asm__ volatile("lfence" : : "r"(product) : "memory");
#else
		__asm__ volatile("isb" : : "r"(product) : "memory");
#endif
}

ROWS_INLINE void send(struct pair *pair, const void *message, uint32_t length, int with_proof, enum rows_poll poll)
{
	int result;

	slow_down();
	while ((result = keuos_send_inline(&pair->out, &pair->sent[length], message, length, with_proof)) != 0) {
		if (result != KEUOS_RING_FULL)
			rows_fail("a send over the ring", result);
		rows_idle(poll);
	}
}

ROWS_INLINE void receive(struct pair *pair, void *buffer, uint32_t length, int with_proof, enum rows_poll poll)
{
	int result;

	while ((result = keuos_receive_inline(&pair->in, &pair->received[length], buffer, length, with_proof)) < 0) {
		if (result != KEUOS_RING_EMPTY)
			rows_fail("a receive from the ring", result);
		rows_idle(poll);
	}
}

#define DEFINE(name, pair, length, with_proof, poll)                                                                   \
	static void ping_##name(struct rows_visit *visit)                                                              \
	{                                                                                                              \
		ROWS_PING(visit, {                                                                                     \
			send(&pair, &rows_sent, length, with_proof, poll);                                             \
			receive(&pair, &rows_got, length, with_proof, poll);                                           \
		});                                                                                                    \
	}                                                                                                              \
	static void pong_##name(void)                                                                                  \
	{                                                                                                              \
		do {                                                                                                   \
			receive(&pair, &rows_got, length, with_proof, poll);                                           \
			rows_materialise(&rows_got);                                                                   \
			send(&pair, &rows_got, length, with_proof, poll);                                              \
		} while (!(rows_got.word & ROWS_LAST));                                                                \
	}

#define DEFINE_ALL(name, pair, length, with_proof)                                                                     \
	DEFINE(name##_bare, pair, length, with_proof, ROWS_BARE)                                                       \
	DEFINE(name##_pause, pair, length, with_proof, ROWS_PAUSE)                                                     \
	DEFINE(name##_yield, pair, length, with_proof, ROWS_YIELD)

DEFINE_ALL(ring_56, polled, 56, 0)
DEFINE_ALL(ring_64, polled, 64, 0)
DEFINE_ALL(proof_48, proof, 48, 1)

/* A stream to pong, which says at its end by one message that all has come. One sample: ticks of the whole. */
#define DEFINE_STREAM(length, SEND, RECEIVE)                                                                           \
	static void ping_stream_##length(struct rows_visit *visit)                                                     \
	{                                                                                                              \
		uint64_t start = rows_start();                                                                         \
		uint32_t sent = 0;                                                                                     \
                                                                                                                       \
		do {                                                                                                   \
			sent++;                                                                                        \
			rows_sent.word = ++rows_sequence;                                                              \
			if (sent >= visit->trips * ROWS_STREAM ||                                                      \
				(sent % ROWS_STREAM_LOOK == 0 && rows_start() > visit->deadline))                      \
				rows_sent.word |= ROWS_LAST;                                                           \
			SEND(length);                                                                                  \
		} while (!(rows_sent.word & ROWS_LAST));                                                               \
		receive(&polled, &rows_got, 56, 0, ROWS_PAUSE);                                                        \
		visit->samples[0] = (uint32_t)(rows_stop() - start);                                                   \
		visit->done = 1;                                                                                       \
		visit->each = sent;                                                                                    \
		visit->wrong += (uint32_t)rows_got.word;                                                               \
	}                                                                                                              \
	static void pong_stream_##length(void)                                                                         \
	{                                                                                                              \
		uint64_t wrong = 0, next = 0;                                                                          \
                                                                                                                       \
		do {                                                                                                   \
			RECEIVE(length);                                                                               \
			rows_materialise(&rows_got);                                                                   \
			wrong += next && (rows_got.word & ~ROWS_LAST) != next;                                         \
			next = (rows_got.word & ~ROWS_LAST) + 1;                                                       \
		} while (!(rows_got.word & ROWS_LAST));                                                                \
		rows_sent.word = wrong;                                                                                \
		send(&polled, &rows_sent, 56, 0, ROWS_PAUSE);                                                          \
	}

#define SEND_INLINE(length) send(&polled, &rows_sent, length, 0, ROWS_PAUSE)
#define RECEIVE_INLINE(length) receive(&polled, &rows_got, length, 0, ROWS_PAUSE)

ROWS_INLINE void send_long(uint32_t length)
{
	int result;

	while ((result = keuos_send_descriptor(&polled.out, 0, &rows_sent, length, 0)) != 0) {
		if (result != KEUOS_RING_FULL)
			rows_fail("a send through the data ring", result);
		rows_idle(ROWS_PAUSE);
	}
}

ROWS_INLINE void receive_long(void)
{
	uint32_t template_index;
	int result;

	while ((result = keuos_receive(&polled.in, &rows_got, sizeof(rows_got), &template_index)) < 0) {
		if (result != KEUOS_RING_EMPTY)
			rows_fail("a receive from the data ring", result);
		rows_idle(ROWS_PAUSE);
	}
}

#define SEND_LONG(length) send_long(length)
#define RECEIVE_LONG(length) receive_long()

DEFINE_STREAM(56, SEND_INLINE, RECEIVE_INLINE)
DEFINE_STREAM(64, SEND_INLINE, RECEIVE_INLINE)
DEFINE_STREAM(256, SEND_LONG, RECEIVE_LONG)
DEFINE_STREAM(1500, SEND_LONG, RECEIVE_LONG)

/* The same by the calls of keuos/batch.h: so many messages, composed one behind another, with each. */
#define DEFINE_BATCH_STREAM(length, batch)                                                                             \
	static uint8_t sent_##length[batch][length] __attribute__((aligned(ROWS_LINE)));                               \
	static uint8_t got_##length[batch][length] __attribute__((aligned(ROWS_LINE)));                                \
                                                                                                                       \
	static void ping_stream_batch_##length(struct rows_visit *visit)                                               \
	{                                                                                                              \
		const uint64_t start = rows_start();                                                                   \
		uint32_t count = 0;                                                                                    \
		int last = 0;                                                                                          \
                                                                                                                       \
		while (!last) {                                                                                        \
			uint32_t filled = 0;                                                                           \
                                                                                                                       \
			do {                                                                                           \
				count++;                                                                               \
				last = count >= visit->trips * ROWS_STREAM ||                                          \
					(count % ROWS_STREAM_LOOK == 0 && rows_start() > visit->deadline);             \
				*(uint64_t *)(void *)sent_##length[filled] = ++rows_sequence | (last ? ROWS_LAST : 0); \
				rows_materialise(sent_##length[filled++]);                                             \
			} while (!last && filled < (batch));                                                           \
			for (uint32_t gone = 0; gone < filled;)                                                        \
				gone += send_batch(sent_##length[gone], length, filled - gone);                        \
		}                                                                                                      \
		receive(&polled, &rows_got, 56, 0, ROWS_PAUSE);                                                        \
		visit->samples[0] = (uint32_t)(rows_stop() - start);                                                   \
		visit->done = 1;                                                                                       \
		visit->each = count;                                                                                   \
		visit->wrong += (uint32_t)rows_got.word;                                                               \
	}                                                                                                              \
	static void pong_stream_batch_##length(void)                                                                   \
	{                                                                                                              \
		uint64_t wrong = 0, next = 0, word = 0;                                                                \
                                                                                                                       \
		while (!(word & ROWS_LAST)) {                                                                          \
			uint32_t now = receive_batch(got_##length, length, batch);                                     \
                                                                                                                       \
			for (uint32_t i = 0; i < now; i++) {                                                           \
				rows_materialise(got_##length[i]);                                                     \
				word = *(uint64_t *)(void *)got_##length[i];                                           \
				wrong += next && (word & ~ROWS_LAST) != next;                                          \
				next = (word & ~ROWS_LAST) + 1;                                                        \
			}                                                                                              \
		}                                                                                                      \
		rows_sent.word = wrong;                                                                                \
		send(&polled, &rows_sent, 56, 0, ROWS_PAUSE);                                                          \
	}

ROWS_INLINE uint32_t send_batch(const void *messages, uint32_t length, uint32_t count)
{
	int result;

	while ((result = keuos_send_batch(&polled.out, 0, messages, length, count)) <= 0) {
		if (result != KEUOS_RING_FULL)
			rows_fail("a send of a batch", result);
		rows_idle(ROWS_PAUSE);
	}
	return (uint32_t)result;
}

ROWS_INLINE uint32_t receive_batch(void *messages, uint32_t length, uint32_t capacity)
{
	static struct keuos_batch batch;
	int result = keuos_receive_batch(&polled.in, &batch, 0, messages, length, capacity);

	if (result < 0 && result != KEUOS_RING_EMPTY)
		rows_fail("a receive of a batch", result);
	if (result < 0)
		rows_idle(ROWS_PAUSE);
	return result < 0 ? 0 : (uint32_t)result;
}

DEFINE_BATCH_STREAM(64, 32)
DEFINE_BATCH_STREAM(256, 8)
DEFINE_BATCH_STREAM(1500, 8)

#define ROWS(row, name, open)                                                                                          \
	{row, "pause", ROWS_CROSS, ROWS_PAUSE, 1000, 200, open, ping_##name##_pause, pong_##name##_pause},             \
		{row, "bare", ROWS_CROSS, ROWS_BARE, 1000, 200, open, ping_##name##_bare, pong_##name##_bare},         \
	{                                                                                                              \
		row, "yield", ROWS_SAME, ROWS_YIELD, 300, 30, open, ping_##name##_yield, pong_##name##_yield           \
	}
#define STREAM_ROW(length)                                                                                             \
	{                                                                                                              \
		"stream-" #length, "pause", ROWS_CROSS, ROWS_PAUSE, 1, 0, open_polled, ping_stream_##length,           \
			pong_stream_##length                                                                           \
	}
#define BATCH_ROW(length)                                                                                              \
	{                                                                                                              \
		"stream-" #length "-batch", "pause", ROWS_CROSS, ROWS_PAUSE, 1, 0, open_polled,                        \
			ping_stream_batch_##length, pong_stream_batch_##length                                         \
	}

const struct rows_row rows_of_rings[] = {
	ROWS("ring-56", ring_56, open_polled),
	ROWS("ring-64", ring_64, open_polled),
	ROWS("ring-proof-48", proof_48, open_proof),
	STREAM_ROW(56),
	STREAM_ROW(64),
	STREAM_ROW(256),
	STREAM_ROW(1500),
	BATCH_ROW(64),
	BATCH_ROW(256),
	BATCH_ROW(1500),
	{0},
};
