/*
 * What the host tells the hostile peer and what it reads back. Where gate_sender does one wrong thing once, this program
 * goes on: it races, floods, scribbles, holds back. The host takes numbers and layouts from the debug information of
 * hostile.elf.
 *
 * producer.c and consumer.c have what each end may do; main.c finds the ends and calls them.
 */
#ifndef KEUOS_HOSTILE_H
#define KEUOS_HOSTILE_H

#include "../gate_common/gate_program.h"

enum hostile_op {
	HOSTILE_NOTHING = 0, /* accepts its ends and waits for ever */
	HOSTILE_SPIN = 1,    /* never gives way */

	/* producer.c */
	HOSTILE_RACE = 2, /* KEUOS_SLOTS descriptors of `descriptor`'s kind, one notification each, `pauses` apart */
	HOSTILE_SCRIBBLE_HEAD = 3, /* garbage over slots and head, and a notification or a doorbell, `count` times */
	HOSTILE_REWRITE =
		4, /* `count` good messages of `length`; each one's payload goes on changing behind the notification */
	HOSTILE_STORM = 5,       /* doorbells and notifications of nothing, `count` times; 0: for ever */
	HOSTILE_FULL = 6,        /* fills the mailbox, and notifies `count` times more */
	HOSTILE_WAIT_CALL = 7,   /* good messages by NOTIFY_AND_WAIT, till it is refused */
	HOSTILE_SEND_ON = 8,     /* good messages by NOTIFY, till it is refused */
	HOSTILE_SLEEP = 9,       /* sleeps on its end, till the channel is closed */
	HOSTILE_EARLY = 10,      /* publishes one, rings, waits for the other side's bell, and only then notifies */
	HOSTILE_OTHERS_TAG = 11, /* on its first channel, a descriptor with the tag of its second */

	/* consumer.c */
	HOSTILE_SCRIBBLE_TAIL = 16, /* garbage over the tail, `count` times, with a doorbell now and then */
	HOSTILE_TOUCH = 17,  /* an access of kind `access` at `offset` from its first page, after `count` messages */
	HOSTILE_STABLE = 18, /* receives till the end: what it has got does not change any more */
	HOSTILE_TAKE_EARLY = 19, /* reads what is in the slots, moves its tail on before the notification, and rings */
	HOSTILE_TAKE_ONE = 20,   /* takes one message at each doorbell of the host's: `go` counts them */
};

enum { HOSTILE_OPCODE_FLAGS = 0x14 };

enum hostile_access { HOSTILE_READ = 0, HOSTILE_WRITE = 1, HOSTILE_EXECUTE = 2 };

struct hostile_params {
	uint32_t op; /* enum hostile_op */
	uint32_t ends;
	uint32_t count;
	uint32_t length;
	uint32_t pauses;
	uint32_t access; /* enum hostile_access */
	int64_t offset;
	uint64_t seed;
	uint32_t go; /* raised by the host while it runs */
	uint32_t reserved;
	struct keuos_descriptor descriptor;
};

enum hostile_stage { HOSTILE_NOT_STARTED = 0, HOSTILE_ACCEPTED = 1, HOSTILE_AT_IT = 2, HOSTILE_DONE = 3 };

struct hostile_results {
	struct keuos_endpoint end[2];
	uint32_t stage;    /* enum hostile_stage */
	uint32_t turns;    /* of what it does */
	uint32_t accepted; /* descriptors, by NOTIFY's answer; or messages received */
	uint32_t again;    /* EAGAIN */
	uint32_t changed;  /* HOSTILE_STABLE: payload that was not as the producer first wrote it: the race was met */
	uint32_t unstable; /* and copies that changed after they were taken */
	uint32_t wakes;
	uint32_t reason; /* enum keuos_close_reason, by the status page */
	int64_t error;   /* the refusal that ended it */
};

extern volatile struct hostile_params params;
extern volatile struct hostile_results results;

/* Both return the program's exit code. */
int hostile_producer(const struct keuos_endpoint *end, const struct keuos_endpoint *second);
int hostile_consumer(const struct keuos_endpoint *end);
uint32_t hostile_draw(uint32_t bound);
/* A number near one that matters, or any. */
uint32_t hostile_near(uint32_t honest);
void hostile_pause(uint32_t times);

#endif
