/*
 * How fast one stack sends to another over a wire that a seed spoils, in the time of a clock that nobody waits for:
 *
 *     transfer BYTES DELAY PERCENT SEED
 *
 * DELAY is the wire's, one way, in microseconds; PERCENT of the frames, in each direction, are lost, as many doubled, delayed by four
 * times the wire's, and damaged. Prints one line: the time that passed, in microseconds, and what the sender had to do. Equal arguments
 * give an equal line. Ends with 1, and a sentence, if a byte is lost or altered, or nothing moves any more.
 */
#include <netd/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PORT = 4000,
	FRAME = 1514,
	FRAMES = 4096, /* under way at a time */
	PIECE = 16384,
	LATE = 4, /* times the wire's delay, for a frame that others overtake */
	SENDER = 0,
	RECEIVER = 1,
};

static const netd_time LIMIT = 100000 * NETD_S;

struct end {
	struct netd_nic nic;
	struct netd *stack;
	netd_time due;
};

static struct frame {
	netd_time at;
	uint64_t number; /* those of one moment keep their order */
	unsigned to;
	size_t bytes;
	uint8_t data[FRAME];
} frames[FRAMES];

static struct end ends[2];
static struct netd_tcp *sending;
static netd_time now = NETD_S, delay;
static unsigned frame_count;
static uint64_t frame_number, state, sent, received, wanted;
static double share;

static void give_up(const char *why)
{
	fprintf(stderr, "transfer: %s after %llu bytes\n", why, (unsigned long long)received);
	exit(1);
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" (2016) */
static uint64_t drawn(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1d;
}

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) * 3 + (at >> 16) * 31);
}

static struct frame *on_its_way(unsigned to, netd_time after)
{
	struct frame *frame = &frames[frame_count];

	if (frame_count++ == FRAMES)
		give_up("too many frames are under way");
	frame->at = now + after;
	frame->number = frame_number++;
	frame->to = to;
	return frame;
}

static bool transmit(void *device, const struct netd_part *parts, unsigned count)
{
	unsigned to = (struct end *)device == &ends[SENDER] ? RECEIVER : SENDER;
	double fate = (double)(drawn() >> 11) / (double)(1ull << 53) / share;
	struct frame *frame;

	if (fate < 1)
		return true;
	frame = on_its_way(to, fate >= 2 && fate < 3 ? LATE * delay : delay);
	frame->bytes = 0;
	for (unsigned i = 0; i < count; i++) {
		memcpy(frame->data + frame->bytes, parts[i].data, parts[i].bytes);
		frame->bytes += parts[i].bytes;
	}
	if (fate >= 3 && fate < 4)
		frame->data[14 + drawn() % (frame->bytes - 14)] ^= (uint8_t)(1 << drawn() % 8);
	if (fate < 2) {
		struct frame *twin = on_its_way(to, delay);

		twin->bytes = frame->bytes;
		memcpy(twin->data, frame->data, frame->bytes);
	}
	return true;
}

static size_t deliver(void *owner, struct netd_tcp *socket, struct netd_frame *frame, const uint8_t *data, size_t bytes)
{
	(void)owner;
	(void)socket;
	(void)frame;
	for (size_t i = 0; i < bytes; i++) {
		if (data[i] != pattern(received + i))
			give_up("a byte is not what was sent");
	}
	received += bytes;
	return bytes;
}

static void take_rest(void *owner, struct netd_tcp *socket, unsigned events)
{
	const void *data;
	long bytes;

	(void)events;
	while ((bytes = netd_tcp_peek(socket, 0, &data)) > 0) {
		deliver(owner, socket, NULL, data, (size_t)bytes);
		netd_tcp_consume(socket, (size_t)bytes);
	}
}

static void fill(void *owner, struct netd_tcp *socket, unsigned events)
{
	uint8_t piece[PIECE];
	long taken = 1;

	(void)owner;
	if (events & NETD_CLOSED)
		give_up("the connection is closed");
	while (sent < wanted && taken > 0) {
		size_t bytes = wanted - sent < PIECE ? (size_t)(wanted - sent) : PIECE;

		for (size_t i = 0; i < bytes; i++)
			piece[i] = pattern(sent + i);
		taken = netd_tcp_send(socket, piece, bytes, 0);
		if (taken > 0)
			sent += (uint64_t)taken;
	}
}

static const struct netd_tcp_owner reader = {.ready = take_rest, .deliver = deliver}, writer = {.ready = fill};

static void accept_one(void *owner, struct netd_tcp *listener, unsigned events)
{
	struct netd_tcp *socket;

	(void)owner;
	(void)events;
	netd_tcp_accept(listener, &reader, &socket);
}

static void start(unsigned which)
{
	static const struct netd_nic_driver driver = {.transmit = transmit};
	struct netd_config config = {.limits = NETD_LIMITS_DEFAULT, .entropy = {which + 1, 2, 3, 4}};
	struct netd_address address = {0x0a000001 + which, 0xffffff00, 0, 0};
	struct end *end = &ends[which];
	size_t bytes = netd_bytes(&config.limits);

	end->nic = (struct netd_nic){.driver = &driver,
		.device = end,
		.mac = {2, 0, 0, 0, 0, (uint8_t)(which + 1)},
		.mtu = 1500,
		.link_up = true};
	end->stack = netd_start(malloc(bytes), bytes, &config, &end->nic, now);
	if (!end->stack || netd_set_address(end->stack, &address) != NETD_OK)
		give_up("no stack");
	end->due = now;
}

/* The frame that arrives first. */
static unsigned next_frame(void)
{
	unsigned first = 0;

	for (unsigned i = 1; i < frame_count; i++) {
		if (frames[i].at < frames[first].at ||
			(frames[i].at == frames[first].at && frames[i].number < frames[first].number))
			first = i;
	}
	return first;
}

static void arrive(unsigned which)
{
	static struct frame frame;
	struct netd_frame lent = {.data = frame.data};
	struct end *end;

	frame = frames[which];
	frames[which] = frames[--frame_count];
	end = &ends[frame.to];
	lent.bytes = frame.bytes;
	netd_set_time(end->stack, now);
	end->nic.client.receive(end->stack, &lent);
	end->due = now;
}

static void step(void)
{
	netd_time next = ends[SENDER].due < ends[RECEIVER].due ? ends[SENDER].due : ends[RECEIVER].due;
	unsigned first = next_frame();

	if (frame_count && frames[first].at <= next) {
		now = frames[first].at > now ? frames[first].at : now;
		arrive(first);
		return;
	}
	if (next == NETD_NEVER || next > LIMIT)
		give_up("nothing moves any more");
	now = next > now ? next : now;
	for (unsigned i = 0; i < 2; i++) {
		if (ends[i].due <= now)
			ends[i].due = netd_run(ends[i].stack, now);
	}
}

int main(int count, char **words)
{
	struct netd_tcp *listener;
	netd_time begun;

	if (count != 5) {
		fprintf(stderr, "usage: transfer BYTES DELAY PERCENT SEED\n");
		return 2;
	}
	wanted = strtoull(words[1], NULL, 10);
	delay = strtoull(words[2], NULL, 10);
	share = strtod(words[3], NULL) / 100;
	state = strtoull(words[4], NULL, 10) * 2 + 1;
	start(SENDER);
	start(RECEIVER);
	if (netd_tcp_listen(ends[RECEIVER].stack, (struct netd_endpoint){0, PORT}, 4,
		    &(struct netd_tcp_owner){.ready = accept_one}, &listener) != NETD_OK ||
		netd_tcp_open(ends[SENDER].stack, &writer, &sending) != NETD_OK ||
		netd_tcp_connect(sending, (struct netd_endpoint){0}, (struct netd_endpoint){0x0a000002, PORT}) !=
			NETD_OK)
		give_up("no connection");
	begun = now;
	while (received < wanted)
		step();
	printf("us %llu retransmitted %llu timeouts %llu probes %llu recoveries %llu\n",
		(unsigned long long)(now - begun),
		(unsigned long long)netd_count(ends[SENDER].stack, NETD_COUNT_tcp_retransmitted),
		(unsigned long long)netd_count(ends[SENDER].stack, NETD_COUNT_tcp_timeouts),
		(unsigned long long)netd_count(ends[SENDER].stack, NETD_COUNT_tcp_tail_probes),
		(unsigned long long)netd_count(ends[SENDER].stack, NETD_COUNT_tcp_fast_retransmits));
	return 0;
}
