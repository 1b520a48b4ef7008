/*
 * How much may be in flight (RFC 5681), and how loss is noticed and repaired: by SACK (RFC 6675) if the peer sends it, else by
 * NewReno (RFC 6582); ECN's reaction (RFC 3168). What was SACKed is remembered, never freed (RFC 2018, 8).
 *
 * With SACK, time tells of loss too, as in RFC 8985, though no segment's time is kept: a hole is lost when something that was sent after
 * it has been there for a quarter of a round trip; so is one that was sent again, and then overtaken by what left after it; and a
 * tail that nobody acknowledges is probed.
 */
#include "tcp.h"

enum {
	DUPLICATES = 3, /* RFC 5681, 3.2; RFC 6675's DupThresh */
	IW_SEGMENTS = 10,
	IW_BYTES = 14600,
};

static const netd_time REORDERING_LEAST = NETD_MS;
static const netd_time DELAYED_MOST = 200 * NETD_MS; /* RFC 8985, 7.2: TLP.max_ack_delay */

static uint32_t flight(const struct netd_tcp *tcb)
{
	return tcb->snd_nxt - tcb->snd_una;
}

/* RFC 6928, 2; after a SYN was lost one segment (RFC 5681, 3.1). */
static uint32_t initial_window(const struct netd_tcp *tcb)
{
	uint32_t mss = tcp_segment_room(tcb);

	return tcb->syn_repeated ? mss : least(IW_SEGMENTS * mss, most(2 * mss, IW_BYTES));
}

void congestion_start(struct netd_tcp *tcb)
{
	tcb->cwnd = initial_window(tcb);
	tcb->ssthresh = UINT32_MAX;
	tcb->recover = tcb->ecn_recover = tcb->iss;
	tcb->repair = tcb->snd_una;
}

/* RFC 5681, 4.1: after an idle time of one RTO. */
void congestion_idle(struct netd_tcp *tcb)
{
	if (!flight(tcb) && tcb->sent && tcb->stack->now - tcb->sent > tcb->rto)
		tcb->cwnd = least(tcb->cwnd, initial_window(tcb));
}

/* RFC 5681, equation 4 */
static void halve(struct netd_tcp *tcb)
{
	tcb->ssthresh = most(flight(tcb) / 2, 2 * tcp_segment_room(tcb));
	tcb->cwr = tcb->ecn; /* RFC 3168, 6.1.2 */
}

static uint32_t sacked_bytes(const struct netd_tcp *tcb)
{
	uint32_t bytes = 0;

	for (unsigned i = 0; i < tcb->sacked_count; i++)
		bytes += tcb->sacked[i].end - tcb->sacked[i].start;
	return bytes;
}

/*
 * RFC 6675, 4, IsLost(): of a hole in front of sacked[i]. All of its octets have the same ones above them.
 */
static bool is_lost(const struct netd_tcp *tcb, unsigned i)
{
	uint32_t above = 0;

	for (unsigned j = i; j < tcb->sacked_count; j++)
		above += tcb->sacked[j].end - tcb->sacked[j].start;
	return tcb->sacked_count - i >= DUPLICATES || above > (DUPLICATES - 1) * tcp_segment_room(tcb);
}

/* Hole number i lies in front of sacked[i]; the last one reaches from the highest that was SACKed to SND.NXT. */
static struct wire_tcp_range hole(const struct netd_tcp *tcb, unsigned i)
{
	return (struct wire_tcp_range){
		i ? tcb->sacked[i - 1].end : tcb->snd_una, i < tcb->sacked_count ? tcb->sacked[i].start : tcb->snd_nxt};
}

static uint32_t overlap(struct wire_tcp_range range, uint32_t start, uint32_t end)
{
	start = seq_max(range.start, start);
	if (seq_lt(range.end, end))
		end = range.end;
	return seq_lt(start, end) ? end - start : 0;
}

/* RFC 6675, 4, SetPipe(): what is thought to be in the network. */
static uint32_t pipe(const struct netd_tcp *tcb)
{
	uint32_t bytes = 0;

	if (tcb->recovery == RECOVERY_NONE)
		return flight(tcb) - sacked_bytes(tcb);
	if (tcb->recovery == RECOVERY_FAST && !tcb->sack)
		return flight(tcb);
	for (unsigned i = 0; i <= tcb->sacked_count; i++) {
		struct wire_tcp_range range = hole(tcb, i);

		/* Sent again, and not told lost since. */
		bytes += overlap(range, tcb->snd_una, tcb->repair);
		if (tcb->recovery == RECOVERY_LOSS)
			bytes += overlap(range, seq_max(tcb->recover, tcb->repair), tcb->snd_nxt);
		else if (!is_lost(tcb, i)) /* what was sent again was lost, even if it was time that told */
			bytes += overlap(range, tcb->repair, tcb->snd_nxt);
	}
	return bytes;
}

uint32_t congestion_room(const struct netd_tcp *tcb)
{
	uint32_t window = tcb->cwnd, used = pipe(tcb);

	/* RFC 3042: the first two duplicates let a new segment out, each. With SACK the pipe shrinks by itself. */
	if (tcb->recovery == RECOVERY_NONE && !tcb->sack)
		window += least(tcb->duplicates, DUPLICATES - 1) * tcp_segment_room(tcb);
	return window > used ? window - used : 0;
}

/*
 * RFC 6675, 4, NextSeg(), rules 1 and 3; RFC 6582, 3.2, steps 2 and 5: what is to be sent again next, inside the window.
 */
bool congestion_next_repair(const struct netd_tcp *tcb, uint32_t *sequence, uint32_t *bytes)
{
	uint32_t from = seq_max(tcb->repair, tcb->snd_una), window = tcb->snd_una + tcb->snd_wnd;
	bool waiting = tcb->snd_nxt != tcb->send_base + tcb->send.used + tcb->fin;

	if (tcb->recovery == RECOVERY_NONE || tcb->snd_una == tcb->snd_nxt)
		return false;
	for (unsigned i = 0; i <= tcb->sacked_count; i++) {
		struct wire_tcp_range range = hole(tcb, i);

		if (tcb->recovery == RECOVERY_LOSS) {
			if (seq_lt(tcb->recover, range.end))
				range.end = tcb->recover;
		} else if (!tcb->sack) {
			if (!tcb->forced) /* one for each acknowledgment that moves */
				return false;
		} else if (tcb->forced) {
			/* the first one is sent, whatever the scoreboard says */
		} else if (i == tcb->sacked_count || (!is_lost(tcb, i) && waiting)) {
			continue; /* rule 2: new data comes first */
		}
		range.start = seq_max(range.start, from);
		if (seq_lt(window, range.end))
			range.end = window;
		if (!seq_lt(range.start, range.end))
			continue;
		*sequence = range.start;
		*bytes = least(range.end - range.start, tcp_segment_room(tcb));
		return true;
	}
	return false;
}

/* Keeps the blocks apart and in order. Returns whether it covers anything new. */
static bool remember(struct netd_tcp *tcb, struct wire_tcp_range block)
{
	unsigned first = 0, last;

	while (first < tcb->sacked_count && seq_lt(tcb->sacked[first].end, block.start))
		first++;
	for (last = first; last < tcb->sacked_count && seq_le(tcb->sacked[last].start, block.end); last++)
		;
	if (first == last) {
		if (tcb->sacked_count == TCP_SACKED) {
			if (first == TCP_SACKED)
				return false;
			tcb->sacked_count--; /* the highest is forgotten: it is only sent once more than needed */
		}
		for (unsigned i = tcb->sacked_count++; i > first; i--)
			tcb->sacked[i] = tcb->sacked[i - 1];
		tcb->sacked[first] = block;
		return true;
	}
	if (last == first + 1 && seq_le(tcb->sacked[first].start, block.start) &&
		seq_le(block.end, tcb->sacked[first].end))
		return false;
	if (seq_lt(tcb->sacked[first].start, block.start))
		block.start = tcb->sacked[first].start;
	block.end = seq_max(block.end, tcb->sacked[last - 1].end);
	tcb->sacked[first] = block;
	for (unsigned i = last; i < tcb->sacked_count; i++)
		tcb->sacked[first + 1 + i - last] = tcb->sacked[i];
	tcb->sacked_count -= (uint8_t)(last - first - 1);
	return true;
}

bool congestion_sack(struct netd_tcp *tcb, const struct wire_tcp *segment)
{
	bool new = false;

	if (!tcb->sack)
		return false;
	for (unsigned i = 0; i < segment->sacks; i++) {
		struct wire_tcp_range block = segment->sack[i];

		/* What was never sent, or is acknowledged already (RFC 2883: a duplicate came), says nothing. */
		if (seq_lt(block.start, block.end) && seq_lt(tcb->snd_una, block.start) &&
			seq_le(block.end, tcb->snd_nxt) && seq_le(segment->acknowledgment, block.start))
			new |= remember(tcb, block);
	}
	return new;
}

/* SND.UNA has moved. */
static void prune(struct netd_tcp *tcb)
{
	unsigned gone = 0;

	while (gone < tcb->sacked_count && seq_le(tcb->sacked[gone].end, tcb->snd_una))
		gone++;
	tcb->sacked_count -= (uint8_t)gone;
	for (unsigned i = 0; i < tcb->sacked_count; i++)
		tcb->sacked[i] = tcb->sacked[i + gone];
	if (tcb->sacked_count && seq_lt(tcb->sacked[0].start, tcb->snd_una))
		tcb->sacked[0].start = tcb->snd_una;
}

static void grow(struct netd_tcp *tcb, uint32_t bytes, uint32_t was_in_flight)
{
	uint32_t mss = tcp_segment_room(tcb);

	/* A window that is not used says nothing about the network. */
	if (was_in_flight + 2 * mss < tcb->cwnd || tcb->cwnd > tcb->stack->limits.send_bytes)
		return;
	if (tcb->cwnd < tcb->ssthresh) { /* RFC 5681, 3.1: slow start, by bytes */
		tcb->cwnd += least(bytes, mss);
		return;
	}
	tcb->acked += bytes; /* congestion avoidance: a segment per window acknowledged */
	if (tcb->acked >= tcb->cwnd) {
		tcb->acked -= tcb->cwnd;
		tcb->cwnd += mss;
	}
}

/* SND.UNA has moved by `bytes`; `was_in_flight` before. */
void congestion_acknowledged(struct netd_tcp *tcb, uint32_t bytes, uint32_t was_in_flight)
{
	uint32_t mss = tcp_segment_room(tcb);

	prune(tcb);
	tcb->duplicates = 0;
	tcb->overtaken_at = 0;
	if (seq_lt(tcb->repair, tcb->snd_una))
		tcb->repair = tcb->snd_una;
	if (tcb->recovery != RECOVERY_NONE && !seq_lt(tcb->snd_una, tcb->recover)) {
		/* RFC 6582, 3.2, step 3: all that was outstanding has arrived; no burst. With SACK cwnd is ssthresh already. */
		if (tcb->recovery == RECOVERY_FAST && !tcb->sack)
			tcb->cwnd = least(tcb->ssthresh, most(flight(tcb), mss) + mss);
		tcb->recovery = RECOVERY_NONE;
		tcb->acked = 0;
		return;
	}
	if (tcb->recovery == RECOVERY_FAST) {
		if (!tcb->sack) { /* RFC 6582, 3.2, step 3: a partial acknowledgment */
			tcb->cwnd = (tcb->cwnd > bytes ? tcb->cwnd - bytes : 0) + (bytes >= mss ? mss : 0);
			tcb->repair = tcb->snd_una;
			tcb->forced = true;
		}
		return;
	}
	grow(tcb, bytes, was_in_flight);
}

/* Whether the first hole was sent again already, in this recovery or at the end of the last one. */
static bool repaired(const struct netd_tcp *tcb)
{
	return seq_lt(tcb->snd_una, tcb->repair);
}

/* A loss is known: the first hole is sent again at once. A repair that is lost is one more sign of congestion (RFC 5681, 4.3). */
static void recover(struct netd_tcp *tcb)
{
	uint32_t slower = most(tcb->ssthresh / 2, 2 * tcp_segment_room(tcb));

	COUNT(tcb->stack, tcp_fast_retransmits);
	halve(tcb);
	if (tcb->recovery == RECOVERY_FAST)
		tcb->ssthresh = least(tcb->ssthresh, slower);
	tcb->cwnd = tcb->ssthresh + (tcb->sack ? 0 : DUPLICATES * tcp_segment_room(tcb));
	tcb->probed = false;
	tcb->recovery = RECOVERY_FAST;
	tcb->forced = true;
	tcb->recover = tcb->snd_nxt;
	tcb->repair = tcb->snd_una;
	tcb->overtaken_at = 0;
}

/*
 * SACK tells of a loss without duplicates in a row: beside progress, at the end of a recovery, and of what was sent again and has been
 * overtaken by as much as RFC 6675's DupThresh asks for.
 */
void congestion_look(struct netd_tcp *tcb)
{
	uint32_t above = 0;

	if (!tcb->sack || !tcb->sacked_count || tcb->recovery == RECOVERY_LOSS)
		return;
	for (unsigned i = 0; i < tcb->sacked_count; i++)
		above += overlap(tcb->sacked[i], tcb->repaired_at, tcb->snd_nxt);
	if (repaired(tcb) ? above > (DUPLICATES - 1) * tcp_segment_room(tcb)
			  : tcb->recovery == RECOVERY_NONE && is_lost(tcb, 0))
		recover(tcb);
}

/* RFC 8985, 6.2: when what is outstanding will be looked after, if nothing is heard; at the latest by the retransmission timer. */
void congestion_watch(struct netd_tcp *tcb)
{
	netd_time at = NETD_NEVER;

	tcb->timer[TIMER_LOSS] = NETD_NEVER;
	if (!tcb->sack || !tcb->srtt || tcb->recovery == RECOVERY_LOSS || !flight(tcb) || !tcb->snd_wnd)
		return;
	if (tcb->sacked_count && (!repaired(tcb) || seq_lt(tcb->repaired_at, tcb->sacked[tcb->sacked_count - 1].end))) {
		netd_time window = tcb->srtt / 4;

		if (!tcb->overtaken_at)
			tcb->overtaken_at = tcp_stamp(tcb->stack);
		at = tcb->overtaken_at + (window > REORDERING_LEAST ? window : REORDERING_LEAST);
	} else if (!tcb->sacked_count && tcb->recovery == RECOVERY_NONE && !tcb->probed) {
		/* RFC 8985, 7.2 */
		at = (tcb->sent > tcb->stalled ? tcb->sent : tcb->stalled) + 2 * tcb->srtt;
		at += flight(tcb) > tcp_segment_room(tcb) ? REORDERING_LEAST : DELAYED_MOST;
	}
	if (at < tcb->timer[TIMER_RETRANSMIT])
		tcp_set_timer(tcb, TIMER_LOSS, at);
}

void congestion_overdue(struct netd_tcp *tcb)
{
	tcb->timer[TIMER_LOSS] = NETD_NEVER;
	tcb->overtaken_at = 0;
	if (!tcb->sacked_count)
		tcp_send_tail_probe(tcb);
	else if (tcb->recovery == RECOVERY_NONE || repaired(tcb))
		recover(tcb);
	else
		tcb->forced = true; /* of the same window as what is being repaired */
	tcp_want_output(tcb);
}

/*
 * RFC 8985, 7.4: a probe that repeated the last segment hides its loss, which is congestion all the same, unless the peer says that it
 * had it already (RFC 2883).
 */
void congestion_judge(struct netd_tcp *tcb, const struct wire_tcp *segment)
{
	uint32_t ack = segment->acknowledgment;

	if (!tcb->probed || seq_lt(ack, tcb->probe_end))
		return;
	if (tcb->probe_repeats && ack == tcb->probe_end && !segment->sacks && seq_lt(tcb->snd_una, ack))
		return; /* either of them */
	tcb->probed = false;
	if (!tcb->probe_repeats || ack == tcb->probe_end || (segment->sacks && seq_lt(segment->sack[0].start, ack)))
		return;
	tcb->ssthresh = most(tcb->cwnd / 2, 2 * tcp_segment_room(tcb));
	tcb->cwnd = least(tcb->cwnd, tcb->ssthresh);
	tcb->cwr = tcb->ecn;
}

/* RFC 5681, 3.2; RFC 6675, 5; RFC 6582, 3.2 */
void congestion_duplicate(struct netd_tcp *tcb)
{
	COUNT(tcb->stack, tcp_duplicate_acks);
	tcb->duplicates++;
	if (tcb->recovery == RECOVERY_FAST && !tcb->sack)
		tcb->cwnd += tcp_segment_room(tcb);
	if (tcb->recovery != RECOVERY_NONE)
		return;
	if (tcb->duplicates < DUPLICATES && !(tcb->sacked_count && is_lost(tcb, 0)))
		return;
	/* RFC 6582, 3.2, step 1: duplicates of what was sent before the last loss say nothing new. */
	if (tcb->sack ? seq_lt(tcb->snd_una, tcb->recover) : seq_le(tcb->snd_una, tcb->recover))
		return;
	recover(tcb);
}

/* RFC 5681, 3.1, equation 4 and after; RFC 6582, 4 */
void congestion_timeout(struct netd_tcp *tcb)
{
	if (tcb->backoffs <= 1)
		halve(tcb);
	tcb->cwnd = tcp_segment_room(tcb);
	tcb->acked = 0;
	tcb->duplicates = 0;
	tcb->probed = false;
	tcb->recovery = RECOVERY_LOSS;
	tcb->recover = tcb->snd_nxt;
	tcb->repair = tcb->snd_una;
	/* RFC 2018, 8: the left edge goes out whether SACKed or not; a peer that SACKed it has thrown it away. */
	if (tcb->sacked_count && !seq_lt(tcb->snd_una, tcb->sacked[0].start))
		tcb->sacked_count = 0;
}

/* RFC 3168, 6.1.2: as for a lost segment, but once per window. */
void congestion_echo(struct netd_tcp *tcb)
{
	if (tcb->recovery != RECOVERY_NONE || seq_lt(tcb->snd_una, tcb->ecn_recover))
		return;
	halve(tcb);
	tcb->cwnd = tcb->ssthresh;
	tcb->acked = 0;
	tcb->ecn_recover = tcb->snd_nxt;
}

/* A window opens again: what was outstanding beyond it, or probed, was not taken (RFC 9293, 3.8.6: SHLD-16). */
void congestion_reopen(struct netd_tcp *tcb)
{
	if (tcb->recovery != RECOVERY_NONE)
		return;
	tcb->recovery = RECOVERY_LOSS;
	tcb->recover = tcb->snd_nxt;
	tcb->repair = tcb->snd_una;
}
