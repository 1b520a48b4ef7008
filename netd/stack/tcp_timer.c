/* What time does to a connection: retransmission (RFC 6298), probes, keep-alives, the end. */
#include "tcp.h"

enum {
	GRANULARITY = 1000, /* microseconds: that of timestamps */
	R1 = 3,             /* RFC 9293, 3.8.3 (SHLD-10) */
	HOLE_FIRST =
		3, /* timeouts in a row after which segments get smaller, in case that large ones vanish (RFC 2923, 2.1) */
	HOLE_SECOND = 5,
	HOLE_FIRST_MSS = 1220,
	HOLE_SECOND_MSS = TCP_MSS_DEFAULT,
};

/* RFC 6298, 2 */
void tcp_measure(struct netd_tcp *tcb, netd_time rtt)
{
	netd_time variance;

	if (!tcb->srtt) {
		tcb->srtt = rtt ? rtt : 1;
		tcb->rttvar = rtt / 2;
	} else {
		netd_time error = rtt > tcb->srtt ? rtt - tcb->srtt : tcb->srtt - rtt;

		tcb->rttvar = (3 * tcb->rttvar + error) / 4;
		tcb->srtt = (7 * tcb->srtt + rtt) / 8;
	}
	variance = 4 * tcb->rttvar;
	tcb->rto = tcb->srtt + (variance > GRANULARITY ? variance : GRANULARITY);
	if (tcb->rto < TCP_RTO_LEAST)
		tcb->rto = TCP_RTO_LEAST;
	if (tcb->rto > TCP_RTO_MOST)
		tcb->rto = TCP_RTO_MOST;
}

/* RFC 6298, 5.1 to 5.3 */
void tcp_arm_retransmit(struct netd_tcp *tcb)
{
	tcb->probing = false;
	tcp_set_timer(tcb, TIMER_RETRANSMIT, tcb->snd_una == tcb->snd_nxt ? NETD_NEVER : tcb->stack->now + tcb->rto);
}

/* An acceptable segment came: the peer is alive. */
void tcp_heard(struct netd_tcp *tcb)
{
	tcb->heard = tcb->stack->now;
	tcb->keepalives = 0;
	if (tcb->options[NETD_KEEPALIVE] && tcp_synchronized(tcb))
		tcp_set_timer(tcb, TIMER_KEEPALIVE, tcb->heard + tcb->options[NETD_KEEPALIVE_IDLE] * NETD_S);
}

static void give_up(struct netd_tcp *tcb)
{
	COUNT(tcb->stack, tcp_gave_up);
	/* RFC 9293, 3.9.2.2: a report that may have passed is the reason now. */
	tcp_closed(tcb, tcb->soft_error ? tcb->soft_error : NETD_TIMED_OUT);
}

/* RFC 2923, 2.1: nothing that is large comes through, and nobody says so. */
static void suspect_black_hole(struct netd_tcp *tcb)
{
	uint16_t cap = tcb->backoffs == HOLE_FIRST ? HOLE_FIRST_MSS : HOLE_SECOND_MSS;

	if ((tcb->backoffs != HOLE_FIRST && tcb->backoffs != HOLE_SECOND) || tcb->snd_nxt - tcb->snd_una <= cap ||
		tcp_segment_room(tcb) <= cap)
		return;
	COUNT(tcb->stack, tcp_black_hole);
	tcb->mss_cap = cap;
	tcb->fragment = cap == HOLE_SECOND_MSS;
}

/* True if the connection is gone. */
static bool retransmit(struct netd_tcp *tcb)
{
	netd_time limit = tcb->options[NETD_USER_TIMEOUT] * NETD_MS, since = tcb->stalled;
	bool closed_window = tcb->probing || !tcb->snd_wnd;

	tcb->timer[TIMER_RETRANSMIT] = NETD_NEVER;
	COUNT(tcb->stack, tcp_timeouts);
	if (!tcp_synchronized(tcb)) { /* RFC 9293, 3.8.3 (MUST-22, MUST-23) */
		if (tcb->stack->now - since >= earlier(limit, tcb->passive ? TCP_SYN_ACK_FOR : TCP_SYN_FOR)) {
			give_up(tcb);
			return true;
		}
		tcb->rto = earlier(2 * tcb->rto, TCP_RTO_MOST);
		tcb->backoffs++;
		tcb->syn_repeated = true;
		tcb->timed_at = 0;
		COUNT(tcb->stack, tcp_retransmitted);
		tcp_send_syn(tcb);
		return false;
	}
	/* RFC 9293, 3.8.6.1 (MUST-37): a closed window may last as long as somebody answers. */
	if (closed_window && tcb->heard > since)
		since = tcb->heard;
	if (tcb->stack->now - since >= limit) { /* RFC 9293, 3.8.3 (MUST-20): R2 */
		give_up(tcb);
		return true;
	}
	tcb->rto = earlier(2 * tcb->rto, TCP_RTO_MOST); /* RFC 6298, 5.5 */
	tcb->backoffs++;
	tcb->timed_at = 0;
	if (closed_window) {
		tcp_send_probe(tcb);
	} else {
		if (tcb->backoffs == R1) { /* RFC 9293, 3.8.3: IP is advised, and the application (SHLD-9) */
			ipv4_doubt(tcb->stack, tcb->remote.address);
			tcp_event(tcb, NETD_TROUBLE);
		}
		congestion_timeout(tcb);
		suspect_black_hole(tcb);
		tcp_output(tcb);
	}
	tcp_arm_retransmit(tcb);
	/* Never later than the moment of giving up, so that it is exact. */
	if (tcb->timer[TIMER_RETRANSMIT] > since + limit)
		tcp_set_timer(tcb, TIMER_RETRANSMIT, since + limit);
	return false;
}

static bool keepalive(struct netd_tcp *tcb)
{
	tcb->timer[TIMER_KEEPALIVE] = NETD_NEVER;
	if (tcb->snd_una != tcb->snd_nxt || tcb->probing) { /* MUST-26: then retransmissions tell */
		tcp_set_timer(tcb, TIMER_KEEPALIVE, tcb->stack->now + tcb->options[NETD_KEEPALIVE_IDLE] * NETD_S);
		return false;
	}
	if (tcb->keepalives >= tcb->options[NETD_KEEPALIVE_COUNT]) { /* MUST-29: not after one */
		tcp_send_reset(tcb);
		give_up(tcb);
		return true;
	}
	tcb->keepalives++;
	tcp_send_keepalive(tcb);
	tcp_set_timer(tcb, TIMER_KEEPALIVE, tcb->stack->now + tcb->options[NETD_KEEPALIVE_INTERVAL] * NETD_S);
	return false;
}

void tcp_timers(struct netd_tcp *tcb)
{
	netd_time now = tcb->stack->now;

	if (now >= tcb->timer[TIMER_ACK]) {
		tcb->timer[TIMER_ACK] = NETD_NEVER;
		tcb->ack_now = true;
		tcp_want_output(tcb);
	}
	if (now >= tcb->timer[TIMER_OVERRIDE]) {
		tcb->timer[TIMER_OVERRIDE] = NETD_NEVER;
		tcp_send_override(tcb);
	}
	if (now >= tcb->timer[TIMER_LOSS])
		congestion_overdue(tcb);
	if (now >= tcb->timer[TIMER_RETRANSMIT] && retransmit(tcb))
		return;
	if (now >= tcb->timer[TIMER_KEEPALIVE] && keepalive(tcb))
		return;
	if (now >= tcb->timer[TIMER_CLOSE]) { /* an orphan's time is over */
		if (tcb->state != TCP_FIN_WAIT_2) {
			COUNT(tcb->stack, tcp_orphans_reset);
			tcp_send_reset(tcb);
		}
		tcp_closed(tcb, NETD_TIMED_OUT);
	}
}
