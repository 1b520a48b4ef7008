/*
 * A stream of messages in one direction, for correctness and throughput. Two processes run this program; which end was
 * bound to it makes it the producer or the consumer. Both draw the same lengths and contents from the same seed, so
 * the consumer knows every byte that must come.
 */
#include "../ring_common/ring_program.h"

#include <keuos/batch.h>

struct ring_stream_params {
	uint64_t seed;                   /* not 0; the same on both sides */
	uint32_t count;                  /* messages */
	uint32_t length_min, length_max; /* bytes; drawn evenly in between, up to RING_MESSAGE_MAX */
	uint32_t batch;                  /* messages between two notifications or wake-ups: 1 to KEUOS_NOTIFY_MAX */
	uint32_t sleep;                  /* nonzero: sleep on the empty or full ring rather than poll */
	uint32_t same_core;              /* nonzero: an empty or full ring yields the core */
	uint32_t dawdle;     /* up to so many pauses, at random, before sleeping: for the race with the wake-up */
	uint32_t slow;       /* pauses after each message: a slow side */
	uint32_t plain;      /* nonzero: the same content in every message, unchecked; for throughput */
	uint32_t stop_after; /* nonzero: leave after so many messages without closing anything, as if it had died */
	uint32_t endless;    /* nonzero: the stream ends in good order wherever its producer is told to stop */
	uint32_t stop;       /* set by the host while it runs: the producer of an endless stream comes to its end */
	uint32_t rest_ns;    /* the producer sleeps so long after each batch */
	uint32_t group;      /* nonzero: so many messages of one length with a call of keuos/batch.h, at most */
};

struct ring_stream_results {
	int32_t error;     /* negative; 0 if all went well. At a consumer KEUOS_RING_CLOSED if the end came too early */
	uint32_t verdict;  /* enum keuos_verdict, with KEUOS_RING_VIOLATION */
	uint32_t role;     /* enum keuos_role */
	uint32_t messages; /* sent or received */
	uint32_t wrong;    /* received, but not what was sent */
	uint32_t first_wrong; /* the first of them */
	uint32_t reason;      /* enum keuos_close_reason, from the status page */
	uint32_t sleeps;
	uint32_t groups;  /* calls of keuos/batch.h that took or brought some messages */
	uint32_t partial; /* of these, how many took or brought fewer than was asked for */
	uint64_t bytes;
	uint64_t checksum;   /* of all messages in order */
	uint64_t idle_polls; /* the ring was empty, or full */
	uint64_t again;      /* EAGAIN from notify */
	uint64_t ticks;      /* from the first message to the last, at this side */
};

volatile struct ring_stream_params params;
struct ring_stream_results results = {.checksum = RING_CHECKSUM_START};

KEUOS_TEMPLATE(ring_message, RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(RING_OPCODE, RING_MESSAGE_MAX, KEUOS_DATA_ALIGNMENT, 0);

static struct ring_stream_params p;
static uint64_t delays = 88172645463325252u;
static struct keuos_batch batch; /* of the consumer */
static _Alignas(64) uint8_t message[RING_MESSAGE_MAX + 8], wanted[RING_MESSAGE_MAX + 8];

static void pause_for(uint32_t times)
{
	while (times--)
		keuos_pause();
}

/* The next message of the stream. Its length in bytes. */
static uint32_t compose(uint8_t *buffer, uint64_t *state)
{
	uint32_t length = p.length_min;

	if (p.length_max > p.length_min)
		length += (uint32_t)((ring_random(state) >> 11) % (p.length_max - p.length_min + 1));
	for (uint32_t i = 0; !p.plain && i < length; i += 8) {
		uint64_t draw = ring_random(state);

		__builtin_memcpy(buffer + i, &draw, sizeof(draw));
	}
	return length;
}

/* The ring can't go on: let the peer. The caller looks at the ring again. */
static void idle(struct keuos_ring *ring)
{
	results.idle_polls++;
	if (!p.sleep) {
		ring_idle(p.same_core);
		return;
	}
	if (p.dawdle)
		pause_for((uint32_t)(ring_random(&delays) % (p.dawdle + 1)));
	results.sleeps++;
	keuos_ring_wait(ring->capability);
}

/* On a verified channel: has the kernel look at what was sent. The number of descriptors still to be notified. */
static int64_t notify(struct keuos_producer *out, uint32_t pending)
{
	int64_t accepted;

	while (pending) {
		accepted = sys_notify(out->ring.capability, pending);
		if (accepted == -KEUOS_EAGAIN) {
			results.again++;
			ring_idle(p.same_core);
			continue;
		}
		if (accepted < 0)
			return accepted;
		pending -= (uint32_t)accepted;
	}
	return 0;
}

static int count_group(int result, uint32_t count)
{
	results.groups += result > 0;
	results.partial += result > 0 && (uint32_t)result < count;
	return result;
}

/* As many as go now, at least 1 of `count` messages; or enum keuos_ring_result. */
static int put(struct keuos_producer *out, uint32_t template, const uint8_t *from, uint32_t length, uint32_t count)
{
	int result;

	if (p.group)
		return count_group(keuos_send_batch(out, template, from, length, count), count);
	result = keuos_send(out, template, from, length);
	return result ? result : 1;
}

static int64_t send_some(struct keuos_producer *out, uint32_t template, const uint8_t *from, uint32_t length,
	uint32_t count, uint32_t *pending)
{
	int result;

	while ((result = put(out, template, from, length, count)) == KEUOS_RING_FULL) {
		int64_t error = notify(out, out->ring.mode == KEUOS_VERIFIED ? *pending : 0);

		*pending = 0;
		if (error)
			return error;
		if (!p.sleep) {
			idle(&out->ring);
			continue;
		}
		keuos_ring_sleeping(&out->ring, 1);
		result = put(out, template, from, length, count);
		if (result == KEUOS_RING_FULL) {
			keuos_producer_wake(out);
			idle(&out->ring);
		}
		keuos_ring_sleeping(&out->ring, 0);
		if (result != KEUOS_RING_FULL)
			break;
	}
	return result;
}

static int64_t produce(const struct keuos_endpoint *end)
{
	struct keuos_producer out = keuos_producer_init(end);
	int template = keuos_find_template(&out.ring, RING_OPCODE);
	uint64_t state = p.seed, start = ring_ticks();
	uint32_t pending = 0;
	int64_t error = template <0 ? template : 0;
	uint32_t made = 0, gone = 0, length = 0; /* of a group */

	for (uint32_t i = 0; i < p.count && error >= 0;) {
		if (gone == made) {
			uint32_t most = p.group && p.group < p.count - i ? p.group : p.group ? p.count - i : 1;

			for (gone = made = 0; made < most; made++)
				length = compose(message + made * length, &state);
		}
		error = send_some(&out, (uint32_t) template, message + gone * length, length, made - gone, &pending);
		if (error < 0)
			break;
		if (!p.plain)
			results.checksum =
				ring_checksum(results.checksum, message + gone * length, (uint32_t)error * length);
		gone += (uint32_t)error;
		i += (uint32_t)error;
		results.messages += (uint32_t)error;
		results.bytes += error * length;
		if (results.messages == p.stop_after)
			sys_exit(RING_EXIT_OK);
		if (p.endless && params.stop)
			p.count = i;
		if (++pending == p.batch || i == p.count) {
			if (out.ring.mode == KEUOS_VERIFIED)
				error = notify(&out, pending);
			else if (p.sleep)
				keuos_producer_wake(&out);
			pending = 0;
			if (p.rest_ns)
				sys_wait(0, sys_time() + p.rest_ns);
		}
		pause_for(p.slow);
	}
	results.ticks = ring_ticks() - start;
	results.verdict = out.ring.verdict;
	results.reason = out.ring.status->reason;
	return error < 0 ? error : sys_channel_close(end->capability);
}

/* Bytes of one message, or of a group of messages of that length; or enum keuos_ring_result. */
static int get(struct keuos_consumer *in, uint32_t *template, uint32_t length)
{
	int result;

	if (!p.group)
		return keuos_receive(in, message, RING_MESSAGE_MAX, template);
	result = count_group(keuos_receive_batch(in, &batch, *template, message, length, p.group), p.group);
	return result < 0 ? result : result * (int)length;
}

static int receive_some(struct keuos_consumer *in, uint32_t *template, uint32_t length)
{
	int result;

	while ((result = get(in, template, length)) == KEUOS_RING_EMPTY) {
		if (!p.sleep) {
			idle(&in->ring);
			continue;
		}
		keuos_ring_sleeping(&in->ring, 1);
		result = get(in, template, length);
		if (result == KEUOS_RING_EMPTY) {
			keuos_consumer_wake(in);
			idle(&in->ring);
		}
		keuos_ring_sleeping(&in->ring, 0);
		if (result != KEUOS_RING_EMPTY)
			break;
	}
	if (p.sleep)
		keuos_consumer_wake(in);
	return result;
}

static int64_t consume(const struct keuos_endpoint *end)
{
	struct keuos_consumer in = keuos_consumer_init(end);
	uint64_t state = p.seed, start = 0;
	uint32_t template = (uint32_t)keuos_find_template(&in.ring, RING_OPCODE), have = 0, taken = 0, length = 0;
	int result = 0;

	for (uint32_t i = 0; i < p.count; i++) {
		length = compose(wanted, &state);
		if (taken == have) {
			result = receive_some(&in, &template, length);
			if (result < 0)
				break;
			have = p.group ? (uint32_t)result / length : 1;
			taken = 0;
			results.bytes += (uint32_t)result;
			if (!p.plain)
				results.checksum = ring_checksum(results.checksum, message, (uint32_t)result);
			result = p.group ? (int)length : result;
		}
		if (!i)
			start = ring_ticks();
		results.messages++;
		if ((uint32_t)result != length ||
			(!p.plain && __builtin_memcmp(message + taken * length, wanted, length)))
			if (!results.wrong++)
				results.first_wrong = i;
		taken++;
		if (results.messages == p.stop_after)
			sys_exit(RING_EXIT_OK);
		pause_for(p.slow);
	}
	results.ticks = ring_ticks() - start;
	if (result >= 0) {
		/* Behind the last message comes the end, and nothing else. */
		result = receive_some(&in, &template, length);
		result = result == KEUOS_RING_CLOSED ? 0 : result < 0 ? result : KEUOS_RING_UNEXPECTED;
	}
	if (p.endless && result == KEUOS_RING_CLOSED)
		result = 0;
	results.verdict = in.ring.verdict;
	results.reason = in.ring.status->reason;
	return result;
}

int main(const char *args)
{
	struct keuos_endpoint end;
	int64_t error;

	(void)args;
	p = params;
	if (!p.seed || !p.batch || p.batch > KEUOS_NOTIFY_MAX || p.length_max > RING_MESSAGE_MAX ||
		p.length_min > p.length_max ||
		(p.group &&
			(!p.length_min || p.length_min != p.length_max || p.group > RING_MESSAGE_MAX / p.length_max)))
		error = -KEUOS_EINVAL;
	else
		error = ring_accept(&end);
	if (!error) {
		results.role = end.role;
		error = end.role == KEUOS_PRODUCER ? produce(&end) : consume(&end);
	}
	results.error = (int32_t)error;
	return error ? RING_EXIT_FAILED : RING_EXIT_OK;
}
