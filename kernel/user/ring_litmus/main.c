/*
 * A litmus test of the ring: two processes on two cores take turns to send a burst to each other, and in each turn their
 * accesses meet. Two shapes are looked at, by the field's names:
 *
 *   message passing   who sees a message's word sees all its bytes; who sees the room it left may write there. Every byte
 *                     is compared with what must come, and whole directions by their checksums.
 *   store buffering   the receiver sets its sleep flag and looks at the ring, the sender sends and looks at the flag. One
 *                     of them at least sees the other. Nobody sleeps here: a pair of looks that would have lost a wake-up
 *                     is counted, not waited for, so a great many can be made.
 *
 * Of four turns one has the receiver come late and one the sender, whatever the pace of the two cores: there the outcome is
 * known. The others are a race. Both processes run this program; one of them is told to be first.
 */
#include "../ring_common/ring_program.h"

enum { LITMUS_MESSAGE_MAX = 1024, LITMUS_EDGE_MAX = 10000 };

enum litmus_turn { LITMUS_RECEIVER_LATE, LITMUS_SENDER_LATE, LITMUS_RACE, LITMUS_OTHER_RACE, LITMUS_TURNS };

struct ring_litmus_params {
	uint64_t seed;       /* not 0; the same on both sides */
	uint32_t turns;      /* together; each process sends in every second */
	uint32_t first;      /* nonzero: begins as the sender */
	uint32_t burst;      /* messages in a turn, from 2 to this; more than a ring's slots wait for room */
	uint32_t length_max; /* bytes of a message, 8 to LITMUS_MESSAGE_MAX */
	uint32_t jitter;     /* pauses before a side begins in a race, at most, beside what the race itself asks for */
};

struct ring_litmus_results {
	int32_t error;     /* negative; 0 if all went well */
	uint32_t verdict;  /* enum keuos_verdict, with KEUOS_RING_VIOLATION */
	uint32_t turn;     /* the last that was begun */
	uint32_t sent;     /* messages */
	uint32_t received; /* messages */
	uint32_t wrong;    /* of those received: not what was sent */
	uint64_t sent_checksum;
	uint64_t received_checksum;
	/* Of turns in which it received: by kind, whether its look at the ring missed the message, whether the sender saw
	 * the flag. [kind][1][0] is a lost wake-up. */
	uint32_t looks[LITMUS_TURNS][2][2];
};

volatile struct ring_litmus_params params;
struct ring_litmus_results results = {.sent_checksum = RING_CHECKSUM_START, .received_checksum = RING_CHECKSUM_START};

KEUOS_TEMPLATE(ring_message, RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);

static struct ring_litmus_params p;
static struct keuos_producer out;
static struct keuos_consumer in;
static uint32_t out_template;
static uint64_t out_state, in_state, delays;
static _Alignas(64) uint8_t message[LITMUS_MESSAGE_MAX + 8], wanted[LITMUS_MESSAGE_MAX + 8];

static void pause_for(uint32_t times)
{
	while (times--)
		keuos_pause();
}

static uint32_t jitter(void)
{
	return (uint32_t)(ring_random(&delays) % (p.jitter + 1));
}

/* The next message of a direction. Its length in bytes. */
static uint32_t compose(uint8_t *buffer, uint64_t *state)
{
	uint32_t length = 8 + (uint32_t)((ring_random(state) >> 11) % (p.length_max - 7));

	for (uint32_t i = 0; i < length; i += 8) {
		uint64_t draw = ring_random(state);

		__builtin_memcpy(buffer + i, &draw, sizeof(draw));
	}
	return length;
}

/* How many messages: two, and once in a while so many that they may not fit into the ring. */
static uint32_t burst_of(uint64_t *state)
{
	uint64_t draw = ring_random(state) >> 11;

	return 2 + (uint32_t)(draw % 16 ? 0 : draw / 16 % (p.burst - 1));
}

/* A burst. Its second message tells what the sender saw of the receiver's flag behind the first. */
static int send_burst(enum litmus_turn kind)
{
	uint32_t count = burst_of(&out_state);
	uint64_t saw = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t length = compose(message, &out_state);
		int result;

		if (i == 0 && kind == LITMUS_SENDER_LATE)
			while (!keuos_ring_peer_sleeps(&out.ring))
				keuos_pause();
		else if (i == 0 && kind != LITMUS_RECEIVER_LATE)
			pause_for(jitter());
		if (i == 1)
			__builtin_memcpy(message, &saw, sizeof(saw));
		while ((result = keuos_send(&out, out_template, message, length)) == KEUOS_RING_FULL)
			keuos_pause();
		if (i == 0)
			saw = (uint64_t)keuos_ring_peer_sleeps(&out.ring);
		if (result)
			return result;
		results.sent++;
		results.sent_checksum = ring_checksum(results.sent_checksum, message, length);
	}
	return 0;
}

/* Until the next message's word is there, or the channel is closed. */
static void await_word(void)
{
	const struct keuos_slot *slot = keuos_slot_of(&in.ring, in.tail);

	while (__atomic_load_n(&slot->word, __ATOMIC_RELAXED) >> KEUOS_WORD_SEQUENCE_SHIFT != in.tail + 1 &&
		__atomic_load_n(&in.ring.status->state, __ATOMIC_RELAXED) == KEUOS_CHANNEL_OPEN)
		keuos_pause();
}

/*
 * In a race it sets its flag when it expects the message: later if it was early, earlier if it was late. The flag stays
 * until the sender has said what it saw, as it would if the receiver slept.
 */
static int receive_burst(enum litmus_turn kind)
{
	static uint32_t edge;
	uint32_t count = burst_of(&in_state), missed = 0, template;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t length = compose(wanted, &in_state);
		int result;

		if (i == 0 && kind == LITMUS_RECEIVER_LATE)
			await_word();
		else if (i == 0 && kind != LITMUS_SENDER_LATE)
			pause_for(edge + jitter());
		if (i == 0)
			keuos_ring_sleeping(&in.ring, 1);
		while ((result = keuos_receive(&in, message, LITMUS_MESSAGE_MAX, &template)) == KEUOS_RING_EMPTY) {
			missed |= i == 0;
			keuos_pause();
		}
		if (result < 0)
			return result;
		results.received++;
		results.received_checksum = ring_checksum(results.received_checksum, message, (uint32_t)result);
		if (i == 1) {
			uint64_t saw;

			keuos_ring_sleeping(&in.ring, 0);
			__builtin_memcpy(&saw, message, sizeof(saw));
			__builtin_memcpy(wanted, message, sizeof(saw));
			results.looks[kind][missed][saw != 0]++;
		}
		if ((uint32_t)result != length || __builtin_memcmp(message, wanted, length))
			results.wrong++;
	}
	if (kind >= LITMUS_RACE)
		edge = missed ? edge + 1 + edge / 16 : edge - (edge + 15) / 16;
	if (edge > LITMUS_EDGE_MAX)
		edge = LITMUS_EDGE_MAX;
	return 0;
}

static int64_t open_ends(void)
{
	for (int i = 0; i < 2; i++) {
		struct keuos_endpoint end;
		int64_t error = ring_accept(&end);

		if (error)
			return error;
		if (end.role == KEUOS_PRODUCER)
			out = keuos_producer_init(&end);
		else
			in = keuos_consumer_init(&end);
	}
	if (!out.ring.slots || !in.ring.slots)
		return -KEUOS_EINVAL;
	int found = keuos_find_template(&out.ring, RING_OPCODE);
	out_template = (uint32_t)found;
	return found < 0 ? found : 0;
}

int main(const char *args)
{
	int64_t error;

	(void)args;
	p = params;
	if (!p.seed || p.burst < 2 || p.length_max < 8 || p.length_max > LITMUS_MESSAGE_MAX)
		error = -KEUOS_EINVAL;
	else
		error = open_ends();
	/* A direction's messages are drawn from one state, whoever asks; delays are each side's own. */
	out_state = p.first ? p.seed : ~p.seed;
	in_state = ~out_state;
	delays = out_state ^ UINT64_C(0x9e3779b97f4a7c15);
	for (uint32_t turn = 0; turn < p.turns && !error; turn++) {
		enum litmus_turn kind = turn / 2 % LITMUS_TURNS;

		results.turn = turn;
		error = (turn & 1) == !p.first ? send_burst(kind) : receive_burst(kind);
	}
	results.error = (int32_t)error;
	results.verdict = in.ring.verdict ? in.ring.verdict : out.ring.verdict;
	return error ? RING_EXIT_FAILED : RING_EXIT_OK;
}
