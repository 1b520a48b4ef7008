/*
 * The transmission control block, and what TCP's files call of each other.
 *
 *   tcp_block.c       blocks: made, found, freed; ports; events                    (RFC 9293, 3.3.1; RFC 6056)
 *   tcp_input.c       SEGMENT ARRIVES: the state machine                           (RFC 9293, 3.10.7; RFC 5961)
 *   tcp_receive.c     payload into the receive buffer, holes, the window offered   (RFC 9293, 3.8.6.2.2; RFC 2018)
 *   tcp_output.c      what is sent, and when                                       (RFC 9293, 3.7.4, 3.8.6.2.1)
 *   tcp_timer.c       what time does                                               (RFC 6298; RFC 9293, 3.8)
 *   tcp_congestion.c  how much may be in flight; loss and its recovery             (RFC 5681, 6582, 6675, 8985, 3168)
 *   tcp_isn.c         initial sequence numbers, timestamps' offsets, SYN cookies   (RFC 6528, 7323, 4987)
 *   tcp_icmp.c        reports from the path                                        (RFC 1191, 5927)
 *   tcp_socket.c      the calls of socket.h
 */
#ifndef NETD_STACK_TCP_H
#define NETD_STACK_TCP_H

#include "../wire/tcp.h"

#include "core.h"

enum tcp_state {
	TCP_CLOSED,
	TCP_LISTEN,
	TCP_SYN_SENT,
	TCP_SYN_RECEIVED,
	TCP_ESTABLISHED, /* from here on: synchronized */
	TCP_FIN_WAIT_1,
	TCP_FIN_WAIT_2,
	TCP_CLOSE_WAIT,
	TCP_CLOSING,
	TCP_LAST_ACK,
	TCP_TIME_WAIT,
	TCP_STATES,
};

enum tcp_timer {
	TIMER_RETRANSMIT, /* while something is outstanding; else for the persist timer: both send again, and back off */
	TIMER_LOSS,       /* a hole that reordering no longer explains, or a tail that nobody acknowledges (RFC 8985) */
	TIMER_ACK,        /* an acknowledgment is delayed */
	TIMER_OVERRIDE,   /* data waits for a window that is open, but small */
	TIMER_KEEPALIVE,
	TIMER_CLOSE, /* TIME-WAIT; the end of a connection without an owner */
	TIMERS,
};

enum tcp_recovery {
	RECOVERY_NONE,
	RECOVERY_FAST, /* after duplicate acknowledgments: RFC 6675 or RFC 6582 */
	RECOVERY_LOSS, /* after a timeout: everything outstanding is taken for lost (RFC 5681, 3.1) */
};

enum tcp_limits {
	TCP_PIECES = 8,        /* pieces received out of order; a segment that would make one more is not kept */
	TCP_SACKED = 16,       /* pieces that the peer has reported; of more the highest are not remembered */
	TCP_MSS_DEFAULT = 536, /* RFC 9293, 3.7.1 (MUST-15) */
	TCP_MSS_LEAST = 64,    /* what a peer names below is not believed: each byte would cost it and us a segment */
	TCP_SHIFT_MOST = 14,   /* RFC 7323, 2.3 */
	TCP_PORT_FIRST = 32768,
	TCP_PORT_COUNT = 28232, /* RFC 6056, 3.2: a wide range */
	TCP_ORPHAN_MOST = 300,  /* seconds that a connection may last that nobody holds, whatever its peer says */
	TCP_ORPHAN_SAFE = 2,    /* seconds in which it gives way to nobody: its peer may just be answering */
};

#define TCP_RTO_FIRST (1 * NETD_S) /* RFC 6298, 2.1 */
#define TCP_RTO_LEAST (1 * NETD_S) /* RFC 6298, 2.4 */
#define TCP_RTO_MOST (60 * NETD_S) /* RFC 6298, 2.5 */
#define TCP_SYN_ACK_FOR (60 * NETD_S)
#define TCP_SYN_FOR (180 * NETD_S) /* RFC 9293, 3.8.3 (MUST-23) */

struct buffer {
	uint8_t *base;  /* NULL: none yet, or none any more */
	uint32_t size;  /* a power of two */
	uint32_t start; /* where the first byte lies */
	uint32_t used;
};

/* Unread text that lies in the frame it came in: of the receive buffer its place, not its bytes. */
struct held {
	struct held *next;
	struct netd_frame frame;
	const uint8_t *data;
	uint32_t bytes;
	uint32_t sequence; /* of the first of them */
};

struct netd_tcp {
	struct netd *stack;
	struct node node; /* of listeners, active or time_wait */
	struct node work;
	struct netd_tcp *chain; /* in the table, or of the free */
	struct netd_endpoint local, remote;
	uint8_t state; /* enum tcp_state */
	bool passive;  /* came from LISTEN (RFC 9293, 3.5: MUST-11) */
	bool owned;    /* somebody holds a handle; an orphan is owned by nobody, and no listener has it either */
	bool output;   /* on the work list to send */

	/* The owner's side */
	struct netd_tcp_owner owner;
	uint8_t events; /* to be told */
	int8_t error;
	int8_t soft_error;
	uint32_t options[NETD_TCP_OPTIONS];

	/* A listener, and the connections that came by it */
	struct netd_tcp *listener; /* until accepted */
	uint16_t backlog;
	uint16_t half_open;
	uint16_t waiting;          /* complete, not accepted */
	struct netd_tcp *accepted; /* the first of them; linked by next_accepted */
	struct netd_tcp *next_accepted;

	netd_time timer[TIMERS]; /* NETD_NEVER: off */
	netd_time orphaned;      /* since when it is an orphan; these stand in the list by age */

	/* Sending (RFC 9293, 3.3.1). SND.NXT is one past the highest that was ever sent. */
	uint32_t iss, snd_una, snd_nxt;
	uint32_t snd_wnd, snd_wl1, snd_wl2, max_wnd;
	uint32_t snd_up;    /* one past the urgent data */
	uint32_t small_end; /* one past the last small segment that was sent */
	uint32_t send_base; /* sequence number of the send buffer's first byte */
	struct buffer send;
	uint8_t snd_shift;
	bool urgent;  /* snd_up is ahead of what is acknowledged */
	bool fin;     /* no more is queued: a FIN follows the buffer */
	bool more;    /* the sender says that more will be queued at once */
	bool probing; /* the window is closed or too small, and its timer runs */
	bool syn_repeated;

	/* Receiving */
	uint32_t irs, rcv_nxt;
	uint32_t rcv_edge; /* one past the highest that was ever offered */
	uint32_t rcv_up;
	struct buffer receive;
	struct held *held, *last_held; /* in order; what of receive.used is in frames */
	uint32_t lent; /* bytes that the owner has in frames: no longer receive's, not room in the window yet */
	uint8_t rcv_shift;
	bool rcv_urgent; /* urgent data was announced and is not read yet */
	bool fin_known;  /* at fin_sequence, perhaps behind a hole */
	bool fin_received;
	bool ack_now;
	uint8_t pieces;
	uint32_t fin_sequence;
	uint32_t unacknowledged;                 /* bytes received since the last acknowledgment */
	uint32_t peer_segment;                   /* the largest payload seen: what "full-sized" is */
	struct wire_tcp_range piece[TCP_PIECES]; /* received behind a hole; the one that grew last comes first */

	/* Options in force */
	bool scaled, timestamps, sack, ecn;
	uint16_t peer_mss;
	uint16_t path_mtu;
	uint16_t mss_cap;       /* a black hole was found: no segment is larger */
	bool fragment;          /* DF is off */
	netd_time path_mtu_due; /* when to look it up again */
	uint32_t ts_offset, ts_recent, last_ack_sent;
	netd_time ts_recent_at;

	/* Round trips (RFC 6298) */
	netd_time srtt, rttvar, rto;
	netd_time timed_at; /* when timed_end was sent; 0: nothing is timed */
	uint32_t timed_end;
	unsigned backoffs;   /* expiries since the last progress */
	netd_time stalled;   /* when what is outstanding began to wait; 0: nothing is */
	netd_time heard;     /* the last segment */
	netd_time sent;      /* the last data */
	unsigned keepalives; /* unanswered */

	/* Congestion */
	uint8_t recovery;               /* enum tcp_recovery */
	bool forced;                    /* the next repair waits for no room */
	bool ece;                       /* ECN: the peer is told of congestion until it answers by CWR */
	bool cwr;                       /* ECN: told with the next new data */
	uint32_t cwnd, ssthresh, acked; /* acked: bytes since cwnd grew last, in congestion avoidance */
	uint32_t duplicates;
	uint32_t recover;     /* SND.NXT when the loss was noticed */
	uint32_t repair;      /* what lies before was sent again in this recovery */
	uint32_t repaired_at; /* SND.NXT when something was sent again last */
	netd_time
		overtaken_at; /* since when something is known to have arrived that was sent after the first hole; 0: nothing */
	uint32_t probe_end; /* SND.NXT behind a probe of the tail */
	bool probed;        /* such a probe is out, and what it says is not known yet */
	bool probe_repeats; /* it was no new data */
	uint32_t ecn_recover;
	uint8_t sacked_count;
	struct wire_tcp_range sacked[TCP_SACKED]; /* by sequence, apart from each other */

	/* RFC 5961, 7: challenges of this connection alone, so that another one's count tells nothing */
	netd_time challenges_since;
	unsigned challenges;

	uint32_t retransmitted;
	uint64_t bytes_in, bytes_out;
};

/* RFC 9293, 3.4: comparison modulo 2^32 */
static inline bool seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
	return seq_lt(a, b) ? b : a;
}

static inline netd_time tcp_stamp(const struct netd *stack) /* never 0, which stands for none */
{
	return stack->now ? stack->now : 1;
}

static inline uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint32_t most(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static inline bool tcp_synchronized(const struct netd_tcp *tcb)
{
	return tcb->state >= TCP_ESTABLISHED;
}

/* tcp_block.c */
/* NULL: none is left for `who`. Whether the oldest orphan gives way if it must: not to a SYN, whose address proves nothing. */
struct netd_tcp *tcp_new(struct netd *stack, uint32_t who, bool orphans_give_way);
struct netd_tcp *tcp_find(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote);
struct netd_tcp *tcp_find_listener(struct netd *stack, struct netd_endpoint local);
void tcp_insert(struct netd_tcp *tcb); /* into the table and the active ones, once its endpoints are known */
bool tcp_has_buffers(struct netd *stack, uint32_t who); /* if need be, the oldest orphan's */
bool tcp_take_buffers(struct netd_tcp *tcb);
void tcp_drop_buffers(struct netd_tcp *tcb);
void tcp_free(struct netd_tcp *tcb);
void tcp_event(struct netd_tcp *tcb, unsigned events);
void tcp_want_output(struct netd_tcp *tcb);
void tcp_set_timer(struct netd_tcp *tcb, enum tcp_timer timer, netd_time at);
void tcp_closed(struct netd_tcp *tcb, int error); /* to CLOSED; freed unless somebody holds a handle */
void tcp_time_wait(struct netd_tcp *tcb);
void tcp_restart_time_wait(struct netd_tcp *tcb);
void tcp_orphan(struct netd_tcp *tcb);
void tcp_leave_listener(struct netd_tcp *tcb);
uint16_t tcp_choose_port(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote);
void buffer_copy_in(struct buffer *buffer, uint32_t offset, const void *data, uint32_t bytes);
unsigned buffer_parts(struct netd_part parts[2], const struct buffer *buffer, uint32_t offset, uint32_t bytes);
void buffer_consume(struct buffer *buffer, uint32_t bytes);

/* tcp_receive.c. What is new of a segment's text, from rcv_nxt on or behind a hole; within the window. */
void tcp_receive_text(
	struct netd_tcp *tcb, struct netd_frame *frame, uint32_t sequence, const uint8_t *data, uint32_t bytes);
uint32_t tcp_unread(const struct netd_tcp *tcb); /* the sequence number of the first byte that is not read */
/* The piece of unread text that begins `offset` bytes behind the first byte; offset < receive.used. */
struct netd_part tcp_text(const struct netd_tcp *tcb, uint32_t offset);
void tcp_consume_text(struct netd_tcp *tcb, uint32_t bytes); /* at most receive.used */
void tcp_copy_held(struct netd_tcp *tcb);                    /* no frame is kept any more */
uint16_t tcp_offer_window(struct netd_tcp *tcb, bool syn);   /* for the header of a SYN, or not; moves rcv_edge */
bool tcp_window_grown(const struct netd_tcp *tcb);           /* so much that it is worth telling */
unsigned tcp_sack_blocks(const struct netd_tcp *tcb, struct wire_tcp_range blocks[WIRE_TCP_SACKS], unsigned room);

/* tcp_output.c */
void tcp_output(struct netd_tcp *tcb);
void tcp_send_ack(struct netd_tcp *tcb);
void tcp_send_syn(struct netd_tcp *tcb);
void tcp_send_probe(struct netd_tcp *tcb);
void tcp_send_tail_probe(struct netd_tcp *tcb);
void tcp_send_override(struct netd_tcp *tcb);
void tcp_send_keepalive(struct netd_tcp *tcb);
void tcp_send_reset(struct netd_tcp *tcb);
void tcp_refuse(struct netd *stack, const struct wire_ipv4 *ip, const struct wire_tcp *segment);
void tcp_send_cookie(struct netd_tcp *listener, const struct wire_ipv4 *ip, const struct wire_tcp *segment);
uint32_t tcp_segment_room(const struct netd_tcp *tcb); /* payload of a full segment now */
uint16_t tcp_own_mss(const struct netd *stack);

/* tcp_timer.c */
void tcp_measure(struct netd_tcp *tcb, netd_time rtt);
void tcp_arm_retransmit(struct netd_tcp *tcb);
void tcp_timers(struct netd_tcp *tcb);
void tcp_heard(struct netd_tcp *tcb);

/* tcp_congestion.c */
void congestion_start(struct netd_tcp *tcb);
void congestion_idle(struct netd_tcp *tcb);
void congestion_acknowledged(struct netd_tcp *tcb, uint32_t bytes, uint32_t flight);
void congestion_duplicate(struct netd_tcp *tcb);
void congestion_timeout(struct netd_tcp *tcb);
void congestion_look(struct netd_tcp *tcb);
void congestion_watch(struct netd_tcp *tcb);
void congestion_overdue(struct netd_tcp *tcb);
void congestion_judge(struct netd_tcp *tcb, const struct wire_tcp *segment);
void congestion_echo(struct netd_tcp *tcb);
void congestion_reopen(struct netd_tcp *tcb);
bool congestion_sack(struct netd_tcp *tcb, const struct wire_tcp *segment); /* whether it told something new */
uint32_t congestion_room(const struct netd_tcp *tcb);                       /* bytes that may be sent now */
bool congestion_next_repair(const struct netd_tcp *tcb, uint32_t *sequence, uint32_t *bytes);

/* tcp_isn.c */
uint32_t tcp_isn(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote);
uint32_t tcp_ts_offset(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote);
uint64_t tcp_tuple_hash(
	struct netd *stack, uint64_t purpose, struct netd_endpoint local, struct netd_endpoint remote, uint64_t more);

static inline uint32_t tcp_ts_now(const struct netd *stack, uint32_t offset)
{
	return (uint32_t)(stack->now / NETD_MS) + offset;
}

struct cookie {
	uint32_t iss;
	uint32_t timestamp; /* of the SYN-ACK */
	uint16_t mss;
	int8_t shift; /* -1: no scaling */
	bool timestamps, sack, ecn;
};

bool cookie_recent(const struct netd *stack); /* whether one was sent that may still come back */
void cookie_make(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote,
	const struct wire_tcp *segment, struct cookie *cookie);
bool cookie_check(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote,
	const struct wire_tcp *segment, struct cookie *cookie);

#endif
