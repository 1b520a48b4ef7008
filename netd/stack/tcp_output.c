/*
 * What is sent, and when: new data under the peer's window, the congestion window, Nagle's rule and the silly window's
 * (RFC 9293, 3.7.4, 3.8.6.2.1); repairs; acknowledgments; what opens, probes and resets connections.
 */
#include "tcp.h"

enum {
	HEADERS = WIRE_IPV4_HEADER + WIRE_TCP_HEADER,
	ECT_0 = 2, /* RFC 3168, 5 */
	SACK_ROOM = WIRE_TCP_HEADER_LIMIT - WIRE_TCP_HEADER,
};

/* RFC 9293, 3.8.6.2.1: 0.1 s to 1 s, after which data leaves into a window that is small. */
static const netd_time OVERRIDE = 500 * NETD_MS;

/* RFC 9293, 3.7.1 (MUST-67): from what the interface can take; the path's MTU does not matter (RFC 1191, 3.1). */
uint16_t tcp_own_mss(const struct netd *stack)
{
	return stack->nic->mtu - HEADERS;
}

/* RFC 9293, 3.7.1 (MUST-16); RFC 6691: options count. */
uint32_t tcp_segment_room(const struct netd_tcp *tcb)
{
	uint32_t most_bytes = least(tcb->peer_mss, tcb->path_mtu - HEADERS), options = 0;
	struct wire_tcp_range blocks[WIRE_TCP_SACKS];
	unsigned count;

	if (tcb->mss_cap)
		most_bytes = least(most_bytes, tcb->mss_cap);
	if (tcb->timestamps)
		options += WIRE_TCP_TIMESTAMP_BYTES;
	count = tcb->sack ? tcp_sack_blocks(tcb, blocks, SACK_ROOM - options) : 0;
	if (count)
		options += 4 + 8 * count;
	/* A peer that names an MSS too small for any data gets a byte at a time. */
	return most_bytes > options ? most_bytes - options : 1;
}

static uint32_t data_end(const struct netd_tcp *tcb)
{
	return tcb->send_base + tcb->send.used;
}

static enum sent send_segment(
	struct netd_tcp *tcb, struct wire_tcp *segment, struct netd_part *parts, unsigned count, uint8_t ecn)
{
	uint8_t header[WIRE_TCP_HEADER_LIMIT];
	struct wire_ipv4 ip = {.source = tcb->local.address,
		.destination = tcb->remote.address,
		.protocol = WIRE_PROTOCOL_TCP,
		.ttl = (uint8_t)tcb->options[NETD_TTL],
		.tos = (uint8_t)(tcb->options[NETD_DSCP] << 2 | ecn),
		.dont_fragment = !tcb->fragment};
	size_t bytes;
	enum sent sent;

	segment->source = tcb->local.port;
	segment->destination = tcb->remote.port;
	if (tcb->timestamps) { /* RFC 7323, 3.2 */
		segment->timestamps = true;
		segment->timestamp = tcp_ts_now(tcb->stack, tcb->ts_offset);
		segment->timestamp_echo = segment->flags & WIRE_TCP_ACK ? tcb->ts_recent : 0;
	}
	bytes = wire_tcp_emit(header, segment);
	parts[0] = (struct netd_part){header, bytes};
	for (unsigned i = 1; i < count; i++)
		bytes += parts[i].bytes;
	ip.payload_bytes = (uint16_t)bytes;
	wire_tcp_seal(header, parts[0].bytes, &ip, parts[1].data, count > 1 ? parts[1].bytes : 0, parts[2].data,
		count > 2 ? parts[2].bytes : 0);
	sent = ipv4_send(tcb->stack, &ip, parts, count);
	if (sent != SENT_BUSY)
		COUNT(tcb->stack, tcp_out);
	if (sent == SENT_NO_ROUTE)
		tcb->soft_error = NETD_UNREACHABLE;
	return sent;
}

/*
 * Sends `bytes` of sequence space from `sequence` on: text, and the FIN if it reaches beyond it. Returns false if the NIC has no
 * room; nothing has changed then, and output will be tried again.
 */
static bool transmit(struct netd_tcp *tcb, uint32_t sequence, uint32_t bytes)
{
	struct netd_part parts[3] = {0};
	struct wire_tcp segment = {
		.sequence = sequence, .acknowledgment = tcb->rcv_nxt, .flags = WIRE_TCP_ACK, .shift = -1};
	uint32_t end = sequence + bytes, edge = tcb->rcv_edge;
	unsigned count = 1;
	uint8_t ecn = 0;

	if (bytes && seq_lt(data_end(tcb), end)) {
		segment.flags |= WIRE_TCP_FIN;
		bytes--;
	}
	if (bytes) {
		count += buffer_parts(parts + 1, &tcb->send, sequence - tcb->send_base, bytes);
		/* RFC 9293, 3.9.1.2 (MUST-61): what empties the buffer is pushed. */
		if (!seq_lt(sequence + bytes, data_end(tcb)) && !tcb->more)
			segment.flags |= WIRE_TCP_PSH;
		/* RFC 3168, 6.1.4 and 6.1.5: new data only, neither acknowledgments nor repairs. */
		if (tcb->ecn && !seq_lt(sequence, tcb->snd_nxt)) {
			ecn = ECT_0;
			if (tcb->cwr)
				segment.flags |= WIRE_TCP_CWR;
		}
	}
	if (tcb->ecn && tcb->ece)
		segment.flags |= WIRE_TCP_ECE;
	/* RFC 9293, 3.8.5 (MUST-62): the pointer is to the octet that follows. */
	if (tcb->urgent && seq_lt(sequence, tcb->snd_up)) {
		segment.flags |= WIRE_TCP_URG;
		segment.urgent = (uint16_t)least(tcb->snd_up - sequence, UINT16_MAX);
	}
	segment.window = tcp_offer_window(tcb, false);
	if (tcb->sack)
		segment.sacks = (uint8_t)tcp_sack_blocks(
			tcb, segment.sack, SACK_ROOM - (tcb->timestamps ? WIRE_TCP_TIMESTAMP_BYTES : 0));
	if (send_segment(tcb, &segment, parts, count, ecn) == SENT_BUSY) {
		tcb->rcv_edge = edge;
		tcp_want_output(tcb);
		return false;
	}
	tcb->ack_now = false;
	tcb->unacknowledged = 0;
	tcb->timer[TIMER_ACK] = NETD_NEVER;
	tcb->last_ack_sent = tcb->rcv_nxt;
	if (ecn)
		tcb->cwr = false;
	if (bytes)
		tcb->sent = tcb->stack->now;
	return true;
}

/* Sends what was not sent before. */
static bool transmit_new(struct netd_tcp *tcb, uint32_t bytes)
{
	bool first = tcb->snd_una == tcb->snd_nxt;

	if (!transmit(tcb, tcb->snd_nxt, bytes))
		return false;
	tcb->snd_nxt += bytes;
	if (bytes < tcp_segment_room(tcb))
		tcb->small_end = tcb->snd_nxt;
	tcb->bytes_out += bytes;
	if (!tcb->timed_at) { /* RFC 6298, 3: a sample per round trip */
		tcb->timed_at = tcp_stamp(tcb->stack);
		tcb->timed_end = tcb->snd_nxt;
	}
	if (first) {
		tcb->stalled = tcp_stamp(tcb->stack);
		tcp_arm_retransmit(tcb);
	}
	return true;
}

static uint32_t window_left(const struct netd_tcp *tcb)
{
	int32_t left = (int32_t)(tcb->snd_una + tcb->snd_wnd - tcb->snd_nxt);

	return left > 0 ? (uint32_t)left : 0;
}

/* Text and FIN that were never sent. */
static uint32_t unsent(const struct netd_tcp *tcb)
{
	return data_end(tcb) + tcb->fin - tcb->snd_nxt;
}

/* How much new data may leave as one segment now; 0: none. */
static uint32_t next_new(const struct netd_tcp *tcb)
{
	uint32_t all = unsent(tcb), full = tcp_segment_room(tcb), window = window_left(tcb);
	uint32_t text = all - (all && tcb->fin), bytes = least(least(text, full), window);
	bool idle = tcb->snd_una == tcb->snd_nxt;

	if (!all)
		return 0;
	if (bytes < full || !bytes) {
		if (bytes == text) {
			/* RFC 9293, 3.7.4 (SHLD-7, MUST-17), as Minshall refined it: a small segment waits while another one is
			 * outstanding, so that the end of a large write does not wait for a delayed acknowledgment. */
			bool free = tcb->options[NETD_NO_DELAY] || tcb->urgent || seq_le(tcb->small_end, tcb->snd_una);

			if (!tcb->fin && (tcb->more || !free))
				return 0;
		} else if (bytes < tcb->max_wnd / 2 || !bytes) {
			return 0; /* RFC 9293, 3.8.6.2.1 (MUST-38) */
		}
	}
	if (tcb->fin && bytes == text && window > bytes)
		bytes++;
	if (bytes > congestion_room(tcb) && !idle)
		return 0;
	return bytes;
}

static void sent_again(struct netd_tcp *tcb)
{
	tcb->retransmitted++;
	COUNT(tcb->stack, tcp_retransmitted);
	tcb->timed_at = 0; /* RFC 6298, 3: Karn */
}

static bool repair(struct netd_tcp *tcb)
{
	uint32_t sequence, bytes;

	while (congestion_next_repair(tcb, &sequence, &bytes)) {
		/* RFC 6675, 5 (4.3); RFC 6582, 3.2: the first repair does not wait for room. */
		if (!tcb->forced && congestion_room(tcb) < bytes)
			break;
		if (!transmit(tcb, sequence, bytes))
			return false;
		tcb->repair = sequence + bytes;
		tcb->repaired_at = tcb->snd_nxt;
		tcb->overtaken_at = 0;
		tcb->forced = false;
		sent_again(tcb);
		if (tcb->timer[TIMER_RETRANSMIT] == NETD_NEVER)
			tcp_arm_retransmit(tcb);
	}
	return true;
}

/* Data that the window keeps back: see to it that it leaves some time. */
static void wait_for_window(struct netd_tcp *tcb)
{
	uint32_t left = window_left(tcb);

	if (!unsent(tcb)) {
		tcb->timer[TIMER_OVERRIDE] = NETD_NEVER;
	} else if ((left && left < least(tcp_segment_room(tcb), unsent(tcb))) || (left && tcb->more)) {
		if (tcb->timer[TIMER_OVERRIDE] == NETD_NEVER)
			tcp_set_timer(tcb, TIMER_OVERRIDE, tcb->stack->now + OVERRIDE);
	} else if (tcb->snd_una == tcb->snd_nxt && !tcb->probing) {
		/* RFC 9293, 3.8.6.1: nothing is outstanding, so no acknowledgment will tell that there is room again. */
		tcb->probing = true;
		tcb->stalled = tcp_stamp(tcb->stack);
		tcp_set_timer(tcb, TIMER_RETRANSMIT, tcb->stack->now + tcb->rto);
	}
}

void tcp_output(struct netd_tcp *tcb)
{
	uint32_t bytes;

	if (!tcp_synchronized(tcb))
		return;
	if (tcb->stack->now >= tcb->path_mtu_due) {
		tcb->path_mtu = ipv4_path_mtu(tcb->stack, tcb->remote.address);
		tcb->path_mtu_due = tcb->stack->now + 60 * NETD_S;
	}
	if (tcb->state != TCP_TIME_WAIT && tcb->state != TCP_FIN_WAIT_2 && tcb->send.base) {
		congestion_idle(tcb);
		if (!repair(tcb))
			return;
		while ((bytes = next_new(tcb))) {
			if (!transmit_new(tcb, bytes))
				return;
		}
		wait_for_window(tcb);
		congestion_watch(tcb);
	}
	if (tcb->ack_now)
		transmit(tcb, tcb->snd_nxt, 0);
}

void tcp_send_ack(struct netd_tcp *tcb)
{
	tcb->ack_now = true; /* until it is out */
	transmit(tcb, tcb->snd_nxt, 0);
}

/* RFC 9293, 3.8.4 (SHLD-12): no data, at a sequence number that asks for an answer. */
void tcp_send_keepalive(struct netd_tcp *tcb)
{
	COUNT(tcb->stack, tcp_keepalives);
	transmit(tcb, tcb->snd_nxt - 1, 0);
}

/* RFC 9293, 3.8.6.2.1: what fits into a window that was too small to be worth it, or what more was to follow on. */
void tcp_send_override(struct netd_tcp *tcb)
{
	uint32_t bytes = least(least(unsent(tcb), window_left(tcb)), tcp_segment_room(tcb));

	tcb->more = false;
	if (bytes && tcb->recovery == RECOVERY_NONE && bytes <= congestion_room(tcb))
		transmit_new(tcb, bytes);
	tcp_want_output(tcb);
}

/* RFC 9293, 3.8.6.1: one octet into a closed window, the same one until it is taken. */
void tcp_send_probe(struct netd_tcp *tcb)
{
	uint32_t left = window_left(tcb);

	COUNT(tcb->stack, tcp_probes);
	if (tcb->snd_una != tcb->snd_nxt) {
		transmit(tcb, tcb->snd_una, 1);
		return;
	}
	tcb->probing = false;
	tcb->more = false;
	transmit_new(tcb, left ? least(least(unsent(tcb), left), tcp_segment_room(tcb)) : 1);
	tcb->timed_at = 0; /* how long a closed window stays closed is no round trip */
}

/* RFC 8985, 7.3: new data if the peer's window lets it, else the last segment again. What SACK then tells shows what is missing. */
void tcp_send_tail_probe(struct netd_tcp *tcb)
{
	uint32_t room = tcp_segment_room(tcb), bytes = least(least(unsent(tcb), window_left(tcb)), room);

	tcb->probe_repeats = !bytes;
	if (bytes) {
		if (!transmit_new(tcb, bytes))
			return;
	} else {
		bytes = least(tcb->snd_nxt - tcb->snd_una, room);
		if (!transmit(tcb, tcb->snd_nxt - bytes, bytes))
			return;
		sent_again(tcb);
	}
	COUNT(tcb->stack, tcp_tail_probes);
	tcb->probed = true;
	tcb->probe_end = tcb->snd_nxt;
	tcp_arm_retransmit(tcb);
}

void tcp_send_syn(struct netd_tcp *tcb)
{
	struct netd_part parts[3] = {0};
	struct wire_tcp segment = {.sequence = tcb->iss,
		.flags = WIRE_TCP_SYN,
		.mss = tcp_own_mss(tcb->stack),
		.shift = tcb->scaled ? (int8_t)tcb->rcv_shift : -1,
		.sack_allowed = tcb->sack};

	if (tcb->state == TCP_SYN_RECEIVED) {
		segment.flags |= WIRE_TCP_ACK;
		segment.acknowledgment = tcb->rcv_nxt;
		if (tcb->ecn) /* RFC 3168, 6.1.1 */
			segment.flags |= WIRE_TCP_ECE;
	} else if (tcb->stack->ecn &&
		!tcb->syn_repeated) { /* RFC 3168, 6.1.1.1: what filters ECN is given a plain one */
		segment.flags |= WIRE_TCP_ECE | WIRE_TCP_CWR;
	}
	segment.window = tcp_offer_window(tcb, true);
	tcb->last_ack_sent = tcb->rcv_nxt;
	send_segment(tcb, &segment, parts, 1, 0);
	tcb->snd_nxt = tcb->iss + 1;
	if (!tcb->stalled) {
		tcb->stalled = tcb->timed_at = tcp_stamp(tcb->stack);
		tcb->timed_end = tcb->snd_nxt;
	}
	tcp_arm_retransmit(tcb);
}

void tcp_send_reset(struct netd_tcp *tcb)
{
	struct netd_part parts[3] = {0};
	struct wire_tcp segment = {.sequence = tcb->snd_nxt,
		.acknowledgment = tcb->rcv_nxt,
		.flags = WIRE_TCP_RST | WIRE_TCP_ACK,
		.shift = -1};

	COUNT(tcb->stack, tcp_resets_out);
	send_segment(tcb, &segment, parts, 1, 0);
}

/* A segment that answers another, for which there is no connection. */
static void answer(struct netd *stack, const struct wire_ipv4 *ip, struct wire_tcp *segment)
{
	uint8_t header[WIRE_TCP_HEADER_LIMIT];
	struct wire_ipv4 reply = {.source = ip->destination,
		.destination = ip->source,
		.protocol = WIRE_PROTOCOL_TCP,
		.dont_fragment = true};
	struct netd_part part = {header, wire_tcp_emit(header, segment)};

	reply.payload_bytes = (uint16_t)part.bytes;
	wire_tcp_seal(header, part.bytes, &reply, NULL, 0, NULL, 0);
	COUNT(stack, tcp_out);
	ipv4_send(stack, &reply, &part, 1);
}

/* RFC 9293, 3.10.7.1 */
void tcp_refuse(struct netd *stack, const struct wire_ipv4 *ip, const struct wire_tcp *segment)
{
	struct wire_tcp reset = {
		.source = segment->destination, .destination = segment->source, .flags = WIRE_TCP_RST, .shift = -1};

	if (segment->flags & WIRE_TCP_RST)
		return;
	if (segment->flags & WIRE_TCP_ACK) {
		reset.sequence = segment->acknowledgment;
	} else {
		reset.flags |= WIRE_TCP_ACK;
		reset.acknowledgment = segment->sequence + segment->payload_bytes + !!(segment->flags & WIRE_TCP_SYN) +
			!!(segment->flags & WIRE_TCP_FIN);
	}
	COUNT(stack, tcp_resets_out);
	answer(stack, ip, &reset);
}

void tcp_send_cookie(struct netd_tcp *listener, const struct wire_ipv4 *ip, const struct wire_tcp *segment)
{
	struct netd *stack = listener->stack;
	struct netd_endpoint local = {ip->destination, segment->destination}, remote = {ip->source, segment->source};
	struct cookie cookie;
	struct wire_tcp reply = {.source = segment->destination,
		.destination = segment->source,
		.acknowledgment = segment->sequence + 1,
		.flags = WIRE_TCP_SYN | WIRE_TCP_ACK,
		.window = (uint16_t)least(listener->options[NETD_RECEIVE_BYTES], UINT16_MAX),
		.mss = tcp_own_mss(stack)};

	cookie_make(stack, local, remote, segment, &cookie);
	reply.sequence = cookie.iss;
	reply.shift = cookie.shift < 0 ? -1 : (int8_t)listener->rcv_shift;
	reply.sack_allowed = cookie.sack;
	reply.timestamps = cookie.timestamps;
	reply.timestamp = cookie.timestamp;
	reply.timestamp_echo = segment->timestamp;
	if (cookie.ecn)
		reply.flags |= WIRE_TCP_ECE;
	COUNT(stack, cookies_sent);
	answer(stack, ip, &reply);
}
