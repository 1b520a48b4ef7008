/*
 * Received text: unread in its frames or in the receive buffer, in order and behind holes; the window that is offered, SACK
 * blocks (RFC 2018).
 */
#include "tcp.h"

static void forget_piece(struct netd_tcp *tcb, unsigned i)
{
	tcb->pieces--;
	for (; i < tcb->pieces; i++)
		tcb->piece[i] = tcb->piece[i + 1];
}

/*
 * Keeps text behind a hole. Its bytes go straight to where they will be read from. A piece that has been told by SACK is never
 * given up; when there are too many, it is the new one that is not kept.
 */
static void keep_piece(struct netd_tcp *tcb, uint32_t start, const uint8_t *data, uint32_t bytes)
{
	struct wire_tcp_range piece = {start, start + bytes};

	COUNT(tcb->stack, tcp_out_of_order);
	for (unsigned i = 0; i < tcb->pieces;) {
		struct wire_tcp_range *other = &tcb->piece[i];

		if (seq_lt(piece.end, other->start) || seq_lt(other->end, piece.start)) {
			i++;
			continue;
		}
		if (seq_lt(other->start, piece.start))
			piece.start = other->start;
		piece.end = seq_max(piece.end, other->end);
		forget_piece(tcb, i);
	}
	if (tcb->pieces == TCP_PIECES) {
		COUNT(tcb->stack, tcp_out_of_order_full);
		return;
	}
	for (unsigned i = tcb->pieces++; i; i--)
		tcb->piece[i] = tcb->piece[i - 1];
	tcb->piece[0] = piece;
	buffer_copy_in(&tcb->receive, tcb->receive.used + (start - tcb->rcv_nxt), data, bytes);
	tcb->stack->counters[NETD_COUNT_bytes_copied] += bytes;
}

uint32_t tcp_unread(const struct netd_tcp *tcb)
{
	return tcb->rcv_nxt - tcb->fin_received - tcb->receive.used;
}

/* Keeps text that follows all that came before, without a copy. False: the frame can't be kept, or too many are. */
static bool hold(struct netd_tcp *tcb, struct netd_frame *frame, uint32_t sequence, const uint8_t *data, uint32_t bytes)
{
	struct tcp *tcp = &tcb->stack->tcp;
	struct held *held = tcp->free_held;

	if (!frame->release)
		return false;
	if (!held) {
		COUNT(tcb->stack, tcp_frames_full);
		return false;
	}
	tcp->free_held = held->next;
	*held = (struct held){.frame = *frame, .data = data, .bytes = bytes, .sequence = sequence};
	frame->release = NULL;
	if (tcb->held)
		tcb->last_held->next = held;
	else
		tcb->held = held;
	tcb->last_held = held;
	return true;
}

static void let_go(struct netd_tcp *tcb)
{
	struct tcp *tcp = &tcb->stack->tcp;
	struct held *held = tcb->held;

	tcb->held = held->next;
	netd_frame_release(&held->frame);
	held->next = tcp->free_held;
	tcp->free_held = held;
}

struct netd_part tcp_text(const struct netd_tcp *tcb, uint32_t offset)
{
	uint32_t at = tcp_unread(tcb) + offset, bytes = tcb->receive.used - offset;
	const struct held *held = tcb->held;
	struct netd_part parts[2];

	while (held && seq_le(held->sequence + held->bytes, at))
		held = held->next;
	if (held && seq_le(held->sequence, at))
		return (struct netd_part){held->data + (at - held->sequence), held->sequence + held->bytes - at};
	buffer_parts(parts, &tcb->receive, offset, held ? held->sequence - at : bytes);
	return parts[0];
}

void tcp_consume_text(struct netd_tcp *tcb, uint32_t bytes)
{
	uint32_t to = tcp_unread(tcb) + bytes;

	buffer_consume(&tcb->receive, bytes);
	while (tcb->held && seq_le(tcb->held->sequence + tcb->held->bytes, to))
		let_go(tcb);
}

void tcp_copy_held(struct netd_tcp *tcb)
{
	for (; tcb->held; let_go(tcb)) {
		uint32_t unread = tcp_unread(tcb), start = seq_max(unread, tcb->held->sequence);
		uint32_t read = start - tcb->held->sequence, bytes = tcb->held->bytes - read;

		buffer_copy_in(&tcb->receive, start - unread, tcb->held->data + read, bytes);
		tcb->stack->counters[NETD_COUNT_bytes_copied] += bytes;
	}
}

void tcp_receive_text(
	struct netd_tcp *tcb, struct netd_frame *frame, uint32_t sequence, const uint8_t *data, uint32_t bytes)
{
	struct netd *stack = tcb->stack;
	uint32_t taken = 0, before = tcb->rcv_nxt;

	if (sequence != tcb->rcv_nxt) {
		keep_piece(tcb, sequence, data, bytes);
		return;
	}
	if (tcb->owned && tcb->owner.deliver && !tcb->receive.used && !tcb->rcv_urgent) {
		taken = least((uint32_t)tcb->owner.deliver(tcb->owner.owner, tcb, frame, data, bytes), bytes);
		/* These bytes pass the buffer by; pieces behind a hole keep their places in it. */
		tcb->receive.start = (tcb->receive.start + taken) & (tcb->receive.size - 1);
		stack->counters[NETD_COUNT_bytes_delivered] += taken;
	}
	if (bytes > taken && !hold(tcb, frame, sequence + taken, data + taken, bytes - taken)) {
		buffer_copy_in(&tcb->receive, tcb->receive.used, data + taken, bytes - taken);
		stack->counters[NETD_COUNT_bytes_copied] += bytes - taken;
	}
	tcb->receive.used += bytes - taken;
	tcb->rcv_nxt += bytes;
	for (unsigned i = 0; i < tcb->pieces;) {
		if (seq_lt(tcb->rcv_nxt, tcb->piece[i].start)) {
			i++;
			continue;
		}
		if (seq_lt(tcb->rcv_nxt, tcb->piece[i].end)) {
			tcb->receive.used += tcb->piece[i].end - tcb->rcv_nxt;
			tcb->rcv_nxt = tcb->piece[i].end;
		}
		forget_piece(tcb, i);
		i = 0;
	}
	tcb->bytes_in += tcb->rcv_nxt - before;
	tcb->unacknowledged += tcb->rcv_nxt - before;
	if (tcb->receive.used)
		tcp_event(tcb, NETD_READABLE);
}

static uint32_t capacity(const struct netd_tcp *tcb)
{
	return tcb->options[NETD_RECEIVE_BYTES];
}

/* RFC 9293, 3.8.6.2.2: the right edge moves by a segment or half the buffer, or not at all (MUST-39), and never back (SHLD-14). */
static uint32_t edge(const struct netd_tcp *tcb, uint32_t step)
{
	uint32_t taken = tcb->receive.used + tcb->lent;
	uint32_t possible = tcb->rcv_nxt + (capacity(tcb) > taken ? capacity(tcb) - taken : 0);

	return (int32_t)(possible - tcb->rcv_edge) >= (int32_t)least(step, capacity(tcb) / 2) ? possible
											      : tcb->rcv_edge;
}

uint16_t tcp_offer_window(struct netd_tcp *tcb, bool syn)
{
	uint32_t window = edge(tcb, tcp_own_mss(tcb->stack)) - tcb->rcv_nxt;
	/* RFC 7323, 2.2: never scaled in a SYN, and in every other segment, also before the handshake is complete. */
	unsigned shift = tcb->scaled && !syn ? tcb->rcv_shift : 0;
	uint32_t field = least(window >> shift, UINT16_MAX);

	tcb->rcv_edge = seq_max(tcb->rcv_edge, tcb->rcv_nxt + (field << shift));
	return (uint16_t)field;
}

bool tcp_window_grown(const struct netd_tcp *tcb)
{
	uint32_t mss = tcp_own_mss(tcb->stack), offered = tcb->rcv_edge - tcb->rcv_nxt;

	/* A peer that still has room is told every second segment's worth. */
	return edge(tcb, offered < mss ? mss : 2 * mss) != tcb->rcv_edge;
}

/* RFC 2018, 4: the piece that grew last comes first, then the others, the more recent the sooner. */
unsigned tcp_sack_blocks(const struct netd_tcp *tcb, struct wire_tcp_range blocks[WIRE_TCP_SACKS], unsigned room)
{
	unsigned count = least(least(tcb->pieces, WIRE_TCP_SACKS), room >= 12 ? (room - 4) / 8 : 0);

	for (unsigned i = 0; i < count; i++)
		blocks[i] = tcb->piece[i];
	return count;
}
