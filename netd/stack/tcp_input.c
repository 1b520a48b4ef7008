/*
 * SEGMENT ARRIVES: the state machine, in the order and under the headings of RFC 9293, 3.10.7, with RFC 5961's stricter checks and
 * RFC 7323's PAWS. A segment is judged whole; what it carries is then acted on. Nothing here sends data: that follows when the
 * stack runs, after all segments that were waiting have been seen (MUST-58, MUST-59).
 */
#include "tcp.h"

enum {
	CHALLENGES = 10, /* RFC 5961, 7: per connection */
};

static const netd_time CHALLENGE_PERIOD = 5 * NETD_S;
static const netd_time ACK_DELAY = 50 * NETD_MS;            /* RFC 9293, 3.8.6.3 (MUST-40): below 500 ms */
static const netd_time TS_RECENT_FOR = 24 * 86400 * NETD_S; /* RFC 7323, 5.5 */

/* An acknowledgment that answers what should not have come; of those a few a connection and second are enough (RFC 5961, 7). */
static void challenge(struct netd_tcp *tcb)
{
	netd_time now = tcb->stack->now;

	if (now - tcb->challenges_since >= CHALLENGE_PERIOD) {
		tcb->challenges_since = now;
		tcb->challenges = 0;
	}
	if (tcb->challenges >= CHALLENGES) {
		COUNT(tcb->stack, tcp_challenge_limited);
		return;
	}
	tcb->challenges++;
	COUNT(tcb->stack, tcp_challenge_acks);
	tcp_send_ack(tcb);
}

static uint32_t segment_length(const struct wire_tcp *segment)
{
	return segment->payload_bytes + !!(segment->flags & WIRE_TCP_SYN) + !!(segment->flags & WIRE_TCP_FIN);
}

/* What a SYN says about options: what both offer is in force. */
static void take_options(struct netd_tcp *tcb, const struct wire_tcp *segment)
{
	struct netd *stack = tcb->stack;

	tcb->peer_mss = segment->mss ? (uint16_t)most(segment->mss, TCP_MSS_LEAST)
				     : TCP_MSS_DEFAULT;   /* RFC 9293, 3.7.1 (MUST-15) */
	tcb->scaled = tcb->scaled && segment->shift >= 0; /* RFC 7323, 2.2 */
	if (tcb->scaled)                                  /* RFC 7323, 2.3 */
		tcb->snd_shift = (uint8_t)least((uint8_t)segment->shift, TCP_SHIFT_MOST);
	tcb->sack = tcb->sack && segment->sack_allowed;
	tcb->timestamps = tcb->timestamps && segment->timestamps;
	if (tcb->timestamps) {
		tcb->ts_recent = segment->timestamp;
		tcb->ts_recent_at = stack->now;
	}
	tcb->irs = segment->sequence;
	tcb->rcv_nxt = tcb->rcv_edge = tcb->rcv_up = tcb->irs + 1;
}

static void take_window(struct netd_tcp *tcb, const struct wire_tcp *segment)
{
	/* RFC 7323, 2.2: the field of a SYN is never scaled. */
	unsigned shift = tcb->scaled && !(segment->flags & WIRE_TCP_SYN) ? tcb->snd_shift : 0;
	uint32_t window = (uint32_t)segment->window << shift;
	bool reopened = !tcb->snd_wnd && window && tcb->snd_una != tcb->snd_nxt;

	tcb->snd_wnd = window;
	tcb->snd_wl1 = segment->sequence;
	tcb->snd_wl2 = segment->acknowledgment;
	tcb->max_wnd = most(tcb->max_wnd, window);
	if (reopened && tcp_synchronized(tcb)) {
		congestion_reopen(tcb);
		tcb->rto = earlier(tcb->rto, tcb->srtt ? tcb->srtt + 4 * tcb->rttvar + TCP_RTO_LEAST : TCP_RTO_FIRST);
		tcp_arm_retransmit(tcb);
	}
}

/* SYN-SENT or SYN-RECEIVED to ESTABLISHED, by a segment that acknowledges our SYN. */
static void establish(struct netd_tcp *tcb, const struct wire_tcp *segment)
{
	struct netd *stack = tcb->stack;

	tcb->state = TCP_ESTABLISHED;
	tcb->snd_una = seq_max(tcb->snd_una, tcb->iss + 1);
	tcb->stalled = 0;
	tcb->backoffs = 0;
	tcb->soft_error = NETD_OK;
	tcb->path_mtu_due = 0;
	if (tcb->timed_at) {
		tcp_measure(tcb, stack->now - tcb->timed_at);
	} else if (tcb->timestamps && segment->timestamps && segment->timestamp_echo) {
		tcp_measure(tcb, (tcp_ts_now(stack, tcb->ts_offset) - segment->timestamp_echo) * NETD_MS);
	} else if (tcb->syn_repeated) { /* RFC 6298, 5.7 */
		tcb->rto = 3 * NETD_S;
	}
	tcb->timed_at = 0;
	take_window(tcb, segment);
	congestion_start(tcb);
	tcp_arm_retransmit(tcb);
	tcp_event(tcb, NETD_WRITABLE);
}

/* A connection that a listener's SYN started. NULL: no block is left. */
static struct netd_tcp *new_child(struct netd_tcp *listener, const struct wire_ipv4 *ip, const struct wire_tcp *segment)
{
	struct netd *stack = listener->stack;
	struct netd_tcp *tcb = tcp_new(stack, listener->owner.who, segment->flags & WIRE_TCP_ACK);

	if (!tcb)
		return NULL;
	tcb->local = (struct netd_endpoint){ip->destination, segment->destination};
	tcb->remote = (struct netd_endpoint){ip->source, segment->source};
	memcpy(tcb->options, listener->options, sizeof(tcb->options));
	tcb->passive = true;
	tcb->rcv_shift = listener->rcv_shift;
	tcb->scaled = tcb->sack = tcb->timestamps = true;
	tcb->ts_offset = tcp_ts_offset(stack, tcb->local, tcb->remote);
	tcb->path_mtu = ipv4_path_mtu(stack, ip->source);
	tcb->state = TCP_SYN_RECEIVED;
	tcb->listener = listener;
	listener->half_open++;
	tcp_insert(tcb);
	return tcb;
}

static void set_iss(struct netd_tcp *tcb, uint32_t iss)
{
	tcb->iss = tcb->snd_una = iss;
	tcb->snd_nxt = tcb->send_base = tcb->snd_up = tcb->small_end = iss + 1;
}

/*
 * The handshake is complete. False: there is no room for the connection now; the peer, who does not know, sends again
 * (its data, or on our SYN-ACK), and it is tried again.
 */
static bool complete(struct netd_tcp *tcb)
{
	struct netd_tcp *listener = tcb->listener, **at;

	if (!listener) /* opened from both sides */
		return true;
	if (listener->waiting >= listener->backlog) {
		COUNT(tcb->stack, tcp_backlog_full);
		return false;
	}
	if (!tcp_take_buffers(tcb))
		return false;
	listener->half_open--;
	listener->waiting++;
	for (at = &listener->accepted; *at; at = &(*at)->next_accepted)
		;
	*at = tcb;
	tcb->next_accepted = NULL;
	COUNT(tcb->stack, tcp_accepted);
	tcp_event(listener, NETD_READABLE);
	return true;
}

/* RFC 9293, 3.10.7.2: LISTEN. `old`: of the TIME-WAIT that the segment takes over from, one past the last number; or NULL. */
static void listen_state(
	struct netd_tcp *listener, const struct wire_ipv4 *ip, const struct wire_tcp *segment, const uint32_t *old)
{
	struct netd *stack = listener->stack;
	struct netd_tcp *tcb;
	struct cookie cookie;
	uint32_t iss;

	if (segment->flags & WIRE_TCP_RST)
		return;
	if (segment->flags & WIRE_TCP_ACK) {
		/* An acknowledgment of nothing, unless it brings back a cookie that was sent lately. */
		if (segment->flags & WIRE_TCP_SYN || !cookie_recent(stack) ||
			!cookie_check(stack, (struct netd_endpoint){ip->destination, segment->destination},
				(struct netd_endpoint){ip->source, segment->source}, segment, &cookie)) {
			if (cookie_recent(stack))
				COUNT(stack, cookies_refused);
			tcp_refuse(stack, ip, segment);
			return;
		}
		if (listener->waiting >= listener->backlog || !tcp_has_buffers(stack, listener->owner.who))
			return; /* it will be sent again */
		tcb = new_child(listener, ip, segment);
		if (!tcb)
			return;
		tcb->scaled = cookie.shift >= 0;
		tcb->snd_shift = tcb->scaled ? (uint8_t)cookie.shift : 0;
		tcb->sack = cookie.sack;
		tcb->ecn = cookie.ecn;
		tcb->timestamps = cookie.timestamps;
		tcb->ts_recent = segment->timestamp;
		tcb->ts_recent_at = stack->now;
		tcb->peer_mss = cookie.mss;
		tcb->irs = segment->sequence - 1;
		tcb->rcv_nxt = tcb->rcv_edge = tcb->rcv_up = tcb->last_ack_sent = segment->sequence;
		tcb->rcv_edge += least(tcb->options[NETD_RECEIVE_BYTES], UINT16_MAX);
		set_iss(tcb, cookie.iss);
		tcb->stalled = tcp_stamp(stack);
		tcp_arm_retransmit(tcb);
		COUNT(stack, cookies_accepted);
		return; /* the segment now meets the block, in SYN-RECEIVED */
	}
	if (!(segment->flags & WIRE_TCP_SYN))
		return;
	/* RFC 4987, 3.6: with nothing left for one more half-open connection, nothing is kept of it. */
	if (listener->half_open >= listener->backlog) {
		COUNT(stack, tcp_backlog_full);
		tcp_send_cookie(listener, ip, segment);
		return;
	}
	tcb = new_child(listener, ip, segment);
	if (!tcb) {
		tcp_send_cookie(listener, ip, segment);
		return;
	}
	take_options(tcb, segment); /* text and FIN that come with it are not kept: the peer sends them again */
	tcb->ecn = (segment->flags & (WIRE_TCP_ECE | WIRE_TCP_CWR)) == (WIRE_TCP_ECE | WIRE_TCP_CWR);
	take_window(tcb, segment);
	iss = tcp_isn(stack, tcb->local, tcb->remote);
	set_iss(tcb, old ? seq_max(iss, *old) : iss); /* RFC 9293, 3.6.1 (MAY-2) */
	tcp_send_syn(tcb);
}

/* RFC 9293, 3.10.7.3: SYN-SENT */
static void syn_sent_state(struct netd_tcp *tcb, const struct wire_ipv4 *ip, const struct wire_tcp *segment)
{
	bool ack = segment->flags & WIRE_TCP_ACK;

	/* First: the ACK. */
	if (ack && segment->acknowledgment != tcb->snd_nxt) {
		tcp_refuse(tcb->stack, ip, segment);
		return;
	}
	/* Second: the RST. */
	if (segment->flags & WIRE_TCP_RST) {
		if (ack) {
			COUNT(tcb->stack, tcp_resets_in);
			tcp_closed(tcb, NETD_REFUSED);
		}
		return;
	}
	/* Fourth: the SYN. */
	if (!(segment->flags & WIRE_TCP_SYN))
		return;
	take_options(tcb, segment);
	if (ack) {
		tcb->ecn = tcb->stack->ecn && !tcb->syn_repeated &&
			(segment->flags & (WIRE_TCP_ECE | WIRE_TCP_CWR)) == WIRE_TCP_ECE;
		establish(tcb, segment);
		tcb->ack_now = true;
		/* RFC 9293 lets text and FIN of a SYN-ACK be queued; they are not kept, and are sent again. */
	} else { /* simultaneous open (MUST-10) */
		tcb->state = TCP_SYN_RECEIVED;
		take_window(tcb, segment);
		tcp_send_syn(tcb);
	}
	tcp_heard(tcb);
	tcp_want_output(tcb);
}

/* RFC 9293, 3.10.7.4, "First, check sequence number": the four cases. */
static bool acceptable(const struct netd_tcp *tcb, uint32_t sequence, uint32_t length)
{
	uint32_t window = tcb->rcv_edge - tcb->rcv_nxt;

	if (!length)
		return window ? sequence - tcb->rcv_nxt < window : sequence == tcb->rcv_nxt;
	return window && (sequence - tcb->rcv_nxt < window || sequence + length - 1 - tcb->rcv_nxt < window);
}

/* What SND.UNA's progress means: buffer, timers, round trips, congestion. */
static void acknowledged(struct netd_tcp *tcb, const struct wire_tcp *segment)
{
	struct netd *stack = tcb->stack;
	uint32_t ack = segment->acknowledgment, flight = tcb->snd_nxt - tcb->snd_una, bytes = ack - tcb->snd_una;
	uint32_t text = least(ack - tcb->send_base, tcb->send.used); /* our FIN is no text */
	bool full = tcb->send.used == tcb->options[NETD_SEND_BYTES];

	if (tcb->timed_at && seq_le(tcb->timed_end, ack)) { /* RFC 6298, 3; never of what was sent twice */
		tcp_measure(tcb, stack->now - tcb->timed_at);
		tcb->timed_at = 0;
	} else if (!tcb->timed_at && tcb->timestamps && segment->timestamps &&
		segment->timestamp_echo) { /* RFC 7323, 4 */
		uint32_t ms = tcp_ts_now(stack, tcb->ts_offset) - segment->timestamp_echo;

		if (ms <= TCP_RTO_MOST / NETD_MS)
			tcp_measure(tcb, ms * NETD_MS);
	}
	buffer_consume(&tcb->send, text);
	tcb->send_base += text;
	tcb->snd_una = ack;
	if (tcb->urgent && seq_le(tcb->snd_up, ack))
		tcb->urgent = false;
	tcb->backoffs = 0;
	tcb->stalled = ack == tcb->snd_nxt ? 0 : tcp_stamp(stack);
	congestion_acknowledged(tcb, bytes, flight);
	tcp_arm_retransmit(tcb);
	if (text && (full || tcb->send.used <= tcb->send.size / 2))
		tcp_event(tcb, NETD_WRITABLE);
}

/* RFC 5681, 2: a duplicate, of which others may follow from the same loss. */
static bool is_duplicate(const struct netd_tcp *tcb, const struct wire_tcp *segment, bool news)
{
	if (tcb->snd_una == tcb->snd_nxt || segment_length(segment) || segment->acknowledgment != tcb->snd_una)
		return false;
	return tcb->sack
		? news
		: tcb->snd_wnd == (uint32_t)segment->window << (tcb->scaled ? tcb->snd_shift : 0) && tcb->snd_wnd;
}

/* "Fifth, check the ACK field", ESTABLISHED and after. False: the segment is done with. */
static bool check_ack(struct netd_tcp *tcb, const struct wire_tcp *segment)
{
	uint32_t ack = segment->acknowledgment;
	bool news;

	/* RFC 5961, 5.2: neither of what was not sent, nor older than any window that we were ever given. */
	if (seq_lt(tcb->snd_nxt, ack) || seq_lt(ack, tcb->snd_una - tcb->max_wnd)) {
		challenge(tcb);
		return false;
	}
	news = congestion_sack(tcb, segment);
	congestion_judge(tcb, segment);
	if (seq_lt(tcb->snd_una, ack))
		acknowledged(tcb, segment);
	else if (is_duplicate(tcb, segment, news))
		congestion_duplicate(tcb);
	congestion_look(tcb);
	/* RFC 3168, 6.1.2: the peer has seen a mark. */
	if (tcb->ecn && segment->flags & WIRE_TCP_ECE)
		congestion_echo(tcb);
	/* By WL1 and WL2, so that an old segment's window counts for nothing. */
	if (seq_le(tcb->snd_una, ack) &&
		(seq_lt(tcb->snd_wl1, segment->sequence) ||
			(tcb->snd_wl1 == segment->sequence && seq_le(tcb->snd_wl2, ack))))
		take_window(tcb, segment);
	return true;
}

static bool fin_acknowledged(const struct netd_tcp *tcb)
{
	return tcb->fin && tcb->snd_una == tcb->send_base + tcb->send.used + 1;
}

static void enter_fin_wait_2(struct netd_tcp *tcb)
{
	tcb->state = TCP_FIN_WAIT_2;
	tcb->timer[TIMER_RETRANSMIT] = NETD_NEVER;
	if (!tcb->owned)
		tcp_orphan(tcb);
}

/* "Eighth, check the FIN bit" */
static void process_fin(struct netd_tcp *tcb)
{
	tcb->fin_received = true;
	tcb->pieces = 0; /* what a peer sent beyond its own FIN is no part of the stream */
	tcb->rcv_nxt++;
	tcb->rcv_edge = seq_max(tcb->rcv_edge, tcb->rcv_nxt);
	tcb->ack_now = true;
	tcp_event(tcb, NETD_READABLE);
	switch (tcb->state) {
	case TCP_ESTABLISHED:
		tcb->state = TCP_CLOSE_WAIT;
		break;
	case TCP_FIN_WAIT_1: /* our FIN is not acknowledged, or this would be FIN-WAIT-2 */
		tcb->state = TCP_CLOSING;
		break;
	case TCP_FIN_WAIT_2:
		tcp_time_wait(tcb);
		break;
	default:
		break;
	}
}

/* The text of a segment, from `sequence` on, inside the window. */
static void take_text(
	struct netd_tcp *tcb, struct netd_frame *frame, uint32_t sequence, const uint8_t *data, uint32_t bytes)
{
	bool ahead = sequence != tcb->rcv_nxt, gap = tcb->pieces;

	tcb->peer_segment = least(most(tcb->peer_segment, bytes), tcp_own_mss(tcb->stack));
	tcp_receive_text(tcb, frame, sequence, data, bytes);
	if (ahead) { /* RFC 5681, 4.2: at once, one for each */
		tcp_send_ack(tcb);
		return;
	}
	/* RFC 9293, 3.8.6.3 (SHLD-19): every second full-sized segment at least; at once if a gap was filled. */
	if (gap || tcb->unacknowledged >= 2 * tcb->peer_segment)
		tcb->ack_now = true;
	else if (tcb->timer[TIMER_ACK] == NETD_NEVER && !tcb->ack_now)
		tcp_set_timer(tcb, TIMER_ACK, tcb->stack->now + ACK_DELAY);
}

/* RFC 7323, 5.3, R1. Only what is not a RST is judged (5.2). */
static bool is_old_duplicate(struct netd_tcp *tcb, const struct wire_tcp *segment)
{
	return seq_lt(segment->timestamp, tcb->ts_recent) && tcb->stack->now - tcb->ts_recent_at < TS_RECENT_FOR;
}

/* RFC 9293, 3.10.7.4: any other state */
static void other_states(
	struct netd_tcp *tcb, const struct wire_ipv4 *ip, struct wire_tcp *segment, struct netd_frame *frame)
{
	struct netd *stack = tcb->stack;
	uint32_t sequence = segment->sequence, length = segment_length(segment), skip, window;
	const uint8_t *text = segment->payload;
	uint32_t bytes = segment->payload_bytes;
	bool fin = segment->flags & WIRE_TCP_FIN;

	/* SYN-RECEIVED: a SYN that comes again, alone or (after a simultaneous open) with the ACK that is awaited. */
	if (tcb->state == TCP_SYN_RECEIVED && segment->flags & WIRE_TCP_SYN && sequence == tcb->irs) {
		if (!(segment->flags & WIRE_TCP_ACK)) {
			if (!(segment->flags & WIRE_TCP_RST))
				tcp_send_syn(tcb);
			return;
		}
		segment->flags &= ~WIRE_TCP_SYN;
		segment->sequence = ++sequence;
		length--;
	}

	/* First, check sequence number; before it, RFC 7323, 5.3. */
	if (tcb->timestamps && !(segment->flags & WIRE_TCP_RST)) {
		if (!segment->timestamps)
			return; /* RFC 7323, 3.2 */
		if (is_old_duplicate(tcb, segment)) {
			COUNT(stack, tcp_paws);
			if (length)
				tcp_send_ack(tcb);
			else
				challenge(tcb);
			return;
		}
	}
	if (!acceptable(tcb, sequence, length)) {
		/* A window that is closed still lets ACK, URG and RST through (MUST-66), at the very next number. */
		if (sequence != tcb->rcv_nxt || tcb->rcv_edge != tcb->rcv_nxt) {
			if (segment->flags & WIRE_TCP_RST)
				return;                         /* RFC 5961, 3.2 (3) */
			if (tcb->state == TCP_TIME_WAIT && fin) /* a FIN that comes again */
				tcp_restart_time_wait(tcb);
			/* What carries something may be the peer's repeat of what we acknowledged in vain. */
			if (length && !(segment->flags & WIRE_TCP_SYN))
				tcp_send_ack(tcb);
			else
				challenge(tcb);
			return;
		}
		if (length)
			tcb->ack_now = true;
		bytes = 0;
		fin = false;
	}

	/* Second, check the RST bit: RFC 5961, 3.2. */
	if (segment->flags & WIRE_TCP_RST) {
		if (sequence != tcb->rcv_nxt) {
			challenge(tcb);
			return;
		}
		if (tcb->state == TCP_TIME_WAIT) /* RFC 1337, 3: TIME-WAIT does its work to the end */
			return;
		COUNT(stack, tcp_resets_in);
		tcp_closed(tcb, tcb->state == TCP_SYN_RECEIVED ? NETD_REFUSED : NETD_RESET);
		return;
	}

	/* Fourth, check the SYN bit: RFC 5961, 4.2. A passive SYN-RECEIVED goes back to LISTEN. */
	if (segment->flags & WIRE_TCP_SYN) {
		if (tcb->state == TCP_SYN_RECEIVED && tcb->passive)
			tcp_free(tcb);
		else
			challenge(tcb);
		return;
	}

	/* Fifth, check the ACK field. */
	if (!(segment->flags & WIRE_TCP_ACK))
		return;
	if (tcb->state == TCP_SYN_RECEIVED) {
		if (!seq_lt(tcb->snd_una, segment->acknowledgment) || !seq_le(segment->acknowledgment, tcb->snd_nxt)) {
			tcp_refuse(stack, ip, segment);
			return;
		}
		if (!complete(tcb))
			return;
		establish(tcb, segment);
		if (tcb->fin) /* the application closed meanwhile */
			tcb->state = TCP_FIN_WAIT_1;
	}
	tcp_heard(tcb);
	/* RFC 7323, 4.3: the timestamp of the segment that began where the last acknowledgment ended. */
	if (tcb->timestamps && seq_le(sequence, tcb->last_ack_sent) &&
		(seq_le(tcb->ts_recent, segment->timestamp) || stack->now - tcb->ts_recent_at >= TS_RECENT_FOR)) {
		tcb->ts_recent = segment->timestamp;
		tcb->ts_recent_at = stack->now;
	}
	if (!check_ack(tcb, segment))
		return;
	tcp_want_output(tcb);
	if (fin_acknowledged(tcb)) {
		if (tcb->state == TCP_FIN_WAIT_1) {
			enter_fin_wait_2(tcb);
		} else if (tcb->state == TCP_CLOSING) {
			tcp_time_wait(tcb);
		} else if (tcb->state == TCP_LAST_ACK) {
			tcp_closed(tcb, NETD_OK);
			return;
		}
	}
	/* What was received before is cut off, and what lies beyond the window. */
	skip = seq_lt(sequence, tcb->rcv_nxt) ? tcb->rcv_nxt - sequence : 0;
	if (skip) {
		uint32_t cut = least(skip, bytes);

		text += cut;
		bytes -= cut;
		sequence += cut;
		tcb->ack_now |= length > 0;
		if (skip > cut) /* beyond all text: the FIN, too, came before */
			fin = false;
	}
	window = tcb->rcv_edge - sequence;
	if (bytes > window) {
		bytes = window;
		fin = false;
	}

	/* RFC 3168, 6.1.3: a mark is told until the peer says that it has slowed down. */
	if (tcb->ecn && segment->payload_bytes) {
		if (segment->flags & WIRE_TCP_CWR)
			tcb->ece = false;
		if ((ip->tos & 3) == 3)
			tcb->ece = tcb->ack_now = true;
	}

	/* Text and FIN have no place in these states (the peer is done). */
	if (tcb->state != TCP_ESTABLISHED && tcb->state != TCP_FIN_WAIT_1 && tcb->state != TCP_FIN_WAIT_2)
		return;

	/* Sixth, check the URG bit. */
	if (segment->flags & WIRE_TCP_URG) {
		uint32_t up = segment->sequence + segment->urgent;

		if (seq_lt(tcp_unread(tcb), up) && (!tcb->rcv_urgent || seq_lt(tcb->rcv_up, up)) && tcb->owned) {
			tcb->rcv_urgent = true;
			tcb->rcv_up = up;
			tcp_event(tcb, NETD_URGENT);
		}
	}

	/* Seventh, process the segment text. */
	if (bytes) {
		if (!tcb->receive.base || (!tcb->owned && !tcb->listener)) {
			/* RFC 9293, 3.6.1 (SHLD-3): nobody will ever read it. */
			tcp_send_reset(tcb);
			tcp_closed(tcb, NETD_RESET);
			return;
		}
		take_text(tcb, frame, sequence, text, bytes);
	}

	/* Eighth, check the FIN bit. */
	if (fin) {
		tcb->fin_known = true;
		tcb->fin_sequence = sequence + bytes;
		if (tcb->fin_sequence != tcb->rcv_nxt && !bytes)
			tcp_send_ack(tcb);
	}
	if (tcb->fin_known && !tcb->fin_received && tcb->rcv_nxt == tcb->fin_sequence)
		process_fin(tcb);
}

/*
 * RFC 9293, 3.10.7.4, and RFC 6191: a new connection may take over from a TIME-WAIT, if nothing old can be mistaken for a part
 * of it. The clock behind our sequence numbers (RFC 6528) may not have gone on as fast as the old connection sent: listen_state()
 * sees to it that they begin beyond the old ones.
 */
static bool takes_over(const struct netd_tcp *tcb, const struct wire_tcp *segment)
{
	if ((segment->flags & (WIRE_TCP_SYN | WIRE_TCP_ACK | WIRE_TCP_RST)) != WIRE_TCP_SYN)
		return false;
	if (tcb->timestamps && segment->timestamps && seq_lt(tcb->ts_recent, segment->timestamp))
		return true;
	return seq_lt(tcb->rcv_nxt, segment->sequence) &&
		!(tcb->timestamps && segment->timestamps && tcb->ts_recent != segment->timestamp);
}

void tcp_input(struct netd *stack, const struct wire_ipv4 *ip, struct netd_frame *frame)
{
	struct netd_endpoint local = {ip->destination, 0}, remote = {ip->source, 0};
	struct netd_tcp *tcb, *listener;
	struct wire_tcp segment;
	enum wire_tcp_result result = wire_tcp_parse(&segment, ip);
	uint32_t last;
	bool again = false;

	COUNT(stack, tcp_in);
	if (result != WIRE_TCP_OK) { /* RFC 9293, 3.1 (MUST-3) */
		if (result == WIRE_TCP_CHECKSUM)
			COUNT(stack, tcp_checksum);
		else
			COUNT(stack, tcp_malformed);
		return;
	}
	local.port = segment.destination;
	remote.port = segment.source;
	tcb = tcp_find(stack, local, remote);
	listener = tcp_find_listener(stack, local);
	if (tcb && tcb->state == TCP_TIME_WAIT && listener && takes_over(tcb, &segment)) {
		last = tcb->snd_nxt;
		again = true;
		tcp_closed(tcb, NETD_OK);
		tcb = NULL;
	}
	if (!tcb && listener) {
		listen_state(listener, ip, &segment, again ? &last : NULL);
		/* A cookie has made a connection: the segment that brought it back is its first. */
		if (!(segment.flags & WIRE_TCP_ACK))
			return;
		tcb = tcp_find(stack, local, remote);
	} else if (!tcb) {
		COUNT(stack, tcp_refused);
		tcp_refuse(stack, ip, &segment);
	}
	if (!tcb)
		return;
	if (tcb->state == TCP_SYN_SENT)
		syn_sent_state(tcb, ip, &segment);
	else
		other_states(tcb, ip, &segment, frame);
}
