/*
 * One side of a round trip, for ring_ping and ring_pong: each way to send and to receive as an inline function of
 * constants, so that the measured loop holds the path in question and no decision about it.
 */
#ifndef ROUND_TRIP_H
#define ROUND_TRIP_H

#include "ring_program.h"

enum round_trip_wait {
	ROUND_TRIP_POLL = 0,
	ROUND_TRIP_WAKE = 1,
};

enum round_trip_call {
	ROUND_TRIP_NOTIFY = 0,          /* notify, then wait: two traps */
	ROUND_TRIP_NOTIFY_AND_WAIT = 1, /* one trap; only with ROUND_TRIP_WAKE */
};

/* The same for both sides. The path is the channel's mode. */
struct round_trip_params {
	uint32_t size;      /* bytes of a message, up to RING_MESSAGE_MAX */
	uint32_t wait;      /* enum round_trip_wait */
	uint32_t call;      /* enum round_trip_call, on a verified channel */
	uint32_t same_core; /* nonzero: an empty poll yields the core */
	uint32_t warm_up;   /* trips before anything counts */
	uint32_t count; /* trips in a batch, and then as many that are sampled one by one; at most RING_SAMPLES_MAX */
};

/* How a message travels. */
enum path {
	PATH_SLOTS,           /* polled, in one or two slots: constants all the way */
	PATH_POLL,            /* polled, of any length */
	PATH_WAKE,            /* polled, both sides sleep between messages */
	PATH_NOTIFY_POLL,     /* verified, both sides poll the mailbox */
	PATH_NOTIFY_WAIT,     /* verified, two traps */
	PATH_NOTIFY_AND_WAIT, /* verified, one trap */
};

struct side {
	struct keuos_producer out;
	struct keuos_consumer in;
	uint32_t template_out;
	struct keuos_kind kind_out, kind_in; /* for PATH_SLOTS */
	uint32_t same_core;
	uint64_t empty_polls;
};

static inline int end_is_inline(const struct keuos_ring *ring, uint32_t size)
{
	return ring->mode != KEUOS_VERIFIED && size <= keuos_inline_max(ring);
}

/* Opens the two ends, in whatever order they were bound. 0, or what failed. */
static inline int64_t side_open(struct side *side, const struct round_trip_params *p)
{
	struct keuos_endpoint ends[2];
	int64_t error = ring_accept(&ends[0]);

	error = error ? error : ring_accept(&ends[1]);
	if (error)
		return error;
	if (ends[0].role == ends[1].role)
		return -KEUOS_EINVAL;
	const struct keuos_endpoint *out = ends[0].role == KEUOS_PRODUCER ? &ends[0] : &ends[1];
	const struct keuos_endpoint *in = out == &ends[0] ? &ends[1] : &ends[0];
	side->out = keuos_producer_init(out);
	side->in = keuos_consumer_init(in);
	side->same_core = p->same_core;
	int template_out = keuos_find_template(&side->out.ring, RING_OPCODE);
	int template_in = keuos_find_template(&side->in.ring, RING_OPCODE);
	if (template_out < 0 || template_in < 0)
		return KEUOS_RING_NOT_GRANTED;
	side->template_out = (uint32_t)template_out;
	if (end_is_inline(&side->out.ring, p->size))
		error = keuos_check_kind(&side->out.ring, (uint32_t)template_out, p->size, &side->kind_out);
	if (!error && end_is_inline(&side->in.ring, p->size))
		error = keuos_check_kind(&side->in.ring, (uint32_t)template_in, p->size, &side->kind_in);
	return error;
}

/* 0, or a negative error. last: no message will come back, so don't wait for one. */
KEUOS_INLINE int side_send(struct side *side, enum path path, uint32_t size, int proof, const void *message, int last)
{
	int result;

	RING_MATERIALISE(message);
	if (path == PATH_SLOTS)
		return keuos_send_inline(&side->out, &side->kind_out, message, size, proof);
	if (path == PATH_POLL)
		return keuos_send(&side->out, side->template_out, message, size);
	if (path == PATH_WAKE)
		return keuos_send_wait(&side->out, side->template_out, message, size);
	result = keuos_send_descriptor(&side->out, side->template_out, message, size, 0);
	if (result)
		return result;
	if (path == PATH_NOTIFY_AND_WAIT && !last) {
		int64_t bits = sys_notify_and_wait(side->out.ring.capability, 1, sys_bit(side->in.ring.capability));

		return sys_is_error(bits) ? (int)bits : 0;
	}
	int64_t accepted = sys_notify(side->out.ring.capability, 1);
	return accepted == 1 ? 0 : accepted < 0 ? (int)accepted : KEUOS_RING_FULL;
}

/* size, or a negative error. */
KEUOS_INLINE int side_receive(struct side *side, enum path path, uint32_t size, int proof, void *buffer)
{
	uint32_t template;
	int result;

	if (path == PATH_NOTIFY_WAIT)
		sys_wait(sys_bit(side->in.ring.capability), KEUOS_FOREVER);
	for (;;) {
		if (path == PATH_SLOTS)
			result = keuos_receive_inline(&side->in, &side->kind_in, buffer, size, proof);
		else if (path == PATH_WAKE)
			result = keuos_receive_wait(&side->in, buffer, size, &template, 0);
		else if (path == PATH_POLL)
			result = keuos_receive(&side->in, buffer, size, &template);
		else
			result = keuos_receive_verified(&side->in, buffer, size, &template, 0);
		if (__builtin_expect(result != KEUOS_RING_EMPTY, 1))
			break;
		if (path == PATH_NOTIFY_WAIT || path == PATH_NOTIFY_AND_WAIT) {
			sys_wait(sys_bit(side->in.ring.capability), KEUOS_FOREVER);
		} else {
			side->empty_polls++;
			ring_idle(side->same_core);
		}
	}
	RING_MATERIALISE(buffer);
	return result;
}

/* An empty message, outside of what is measured, to a side that sleeps. 0, or a negative error. */
static inline int side_signal(struct side *side)
{
	int result;

	if (side->out.ring.mode != KEUOS_VERIFIED)
		return keuos_send_wait(&side->out, side->template_out, 0, 0);
	result = keuos_send_descriptor(&side->out, side->template_out, 0, 0, 0);
	return result ? result : sys_notify(side->out.ring.capability, 1) == 1 ? 0 : KEUOS_RING_FULL;
}

/* Sleeps until the other side's signal. 0, or a negative error. */
static inline int side_await(struct side *side)
{
	uint32_t template, nothing;

	return keuos_receive_wait(&side->in, &nothing, 0, &template, 0);
}

/*
 * What an empty poll costs while the other side sleeps: the ticks of RING_CALIBRATIONS of them, or 0 if a message came
 * in between. buffer: of size bytes.
 */
KEUOS_INLINE uint64_t side_calibrate(struct side *side, enum path path, uint32_t size, int proof, void *buffer)
{
	uint64_t start = ring_ticks(), ticks;
	uint32_t template;
	int result = KEUOS_RING_EMPTY;

	for (uint32_t i = 0; i < RING_CALIBRATIONS && result == KEUOS_RING_EMPTY; i++) {
		result = path == PATH_SLOTS ? keuos_receive_inline(&side->in, &side->kind_in, buffer, size, proof)
					    : keuos_receive(&side->in, buffer, size, &template);
		RING_MATERIALISE(buffer);
		side->empty_polls++;
		ring_idle(side->same_core);
	}
	ticks = ring_ticks() - start;
	return result == KEUOS_RING_EMPTY ? ticks : 0;
}

/*
 * Each program makes functions of its own of these: X(name, path, proof, size), where 0 stands for any size. The first
 * that fits is taken. Functions of their own, because a loop among twenty others gets no registers.
 */
#define ROUND_TRIP_VARIANTS(X)                                                                                         \
	X(slots_8, PATH_SLOTS, 0, 8)                                                                                   \
	X(slots_56, PATH_SLOTS, 0, 56)                                                                                 \
	X(slots_64, PATH_SLOTS, 0, 64)                                                                                 \
	X(proof_8, PATH_SLOTS, 1, 8)                                                                                   \
	X(proof_48, PATH_SLOTS, 1, 48)                                                                                 \
	X(proof_56, PATH_SLOTS, 1, 56)                                                                                 \
	X(proof_64, PATH_SLOTS, 1, 64)                                                                                 \
	X(poll, PATH_POLL, 0, 0)                                                                                       \
	X(poll_proof, PATH_POLL, 1, 0)                                                                                 \
	X(wake, PATH_WAKE, 0, 0)                                                                                       \
	X(wake_proof, PATH_WAKE, 1, 0)                                                                                 \
	X(notify_poll, PATH_NOTIFY_POLL, 0, 0)                                                                         \
	X(notify_wait, PATH_NOTIFY_WAIT, 0, 0)                                                                         \
	X(notify_and_wait_64, PATH_NOTIFY_AND_WAIT, 0, 64)                                                             \
	X(notify_and_wait, PATH_NOTIFY_AND_WAIT, 0, 0)

static inline int round_trip_fits(
	const struct round_trip_params *p, uint32_t mode, enum path path, int proof, uint32_t size)
{
	if ((size && size != p->size) || (mode == KEUOS_POLLED_PROOF) != proof)
		return 0;
	if (mode != KEUOS_VERIFIED)
		return p->wait == ROUND_TRIP_WAKE ? path == PATH_WAKE : path == PATH_SLOTS || path == PATH_POLL;
	if (p->wait == ROUND_TRIP_POLL)
		return path == PATH_NOTIFY_POLL;
	return path == (p->call == ROUND_TRIP_NOTIFY ? PATH_NOTIFY_WAIT : PATH_NOTIFY_AND_WAIT);
}

#define ROUND_TRIP_LOOP static __attribute__((noinline))

#endif
