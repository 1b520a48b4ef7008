#include "audit.h"

#include "../stack/tcp.h"

#include <string.h>

/* Where a control block was found. */
enum place {
	NOWHERE,
	FREE,
	LISTENING,
	ACTIVE,
	WAITING, /* TIME-WAIT */
};

static uint8_t places[UINT16_MAX + 1];

#define CHECK(holds, sentence)                                                                                         \
	do {                                                                                                           \
		if (!(holds))                                                                                          \
			return sentence;                                                                               \
	} while (0)

/* True unless the block was seen before, which also ends a list that runs in a circle. */
static bool place(const struct netd *stack, const struct netd_tcp *tcb, enum place at)
{
	size_t i = (size_t)(tcb - stack->tcp.blocks);

	if (i >= stack->limits.blocks || places[i] != NOWHERE)
		return false;
	places[i] = (uint8_t)at;
	return true;
}

static bool place_list(const struct netd *stack, const struct node *head, enum place at)
{
	for (const struct node *node = head->next; node != head; node = node->next) {
		const struct netd_tcp *tcb = CONTAINER(node, const struct netd_tcp, node);

		if (node->next->previous != node || !place(stack, tcb, at))
			return false;
	}
	return true;
}

static bool state_fits(const struct netd_tcp *tcb, enum place at)
{
	switch (at) {
	case FREE:
		return tcb->state == TCP_CLOSED;
	case LISTENING:
		return tcb->state == TCP_LISTEN && tcb->owned;
	case ACTIVE:
		return tcb->state >= TCP_SYN_SENT && tcb->state < TCP_TIME_WAIT;
	case WAITING:
		return tcb->state == TCP_TIME_WAIT;
	default: /* not connected yet, or no longer, and somebody holds it */
		return tcb->state == TCP_CLOSED && tcb->owned;
	}
}

static const char *blocks(struct netd *stack)
{
	const struct tcp *tcp = &stack->tcp;

	memset(places, NOWHERE, stack->limits.blocks);
	for (const struct netd_tcp *tcb = tcp->free_blocks; tcb; tcb = tcb->chain)
		CHECK(place(stack, tcb, FREE), "a control block is free twice");
	CHECK(place_list(stack, &tcp->listeners, LISTENING), "the list of listeners is broken");
	CHECK(place_list(stack, &tcp->active, ACTIVE), "the list of connections is broken");
	CHECK(place_list(stack, &tcp->time_wait, WAITING), "the list of TIME-WAIT is broken");
	for (unsigned i = 0; i < stack->limits.blocks; i++) {
		struct netd_tcp *tcb = &tcp->blocks[i];

		CHECK(state_fits(tcb, places[i]), "a control block is lost, or its state is another list's");
		if (places[i] == ACTIVE || places[i] == WAITING)
			CHECK(tcp_find(stack, tcb->local, tcb->remote) == tcb, "a connection is not found by its ends");
		if (places[i] == ACTIVE || places[i] == LISTENING)
			continue;
		if (places[i] == FREE)
			CHECK(!node_linked(&tcb->work) || !tcb->stack, "a free control block has work to do");
		CHECK(!tcb->listener || places[i] == WAITING, "a connection that is over is its listener's");
	}
	return NULL;
}

static const char *buffers(const struct netd *stack)
{
	const struct tcp *tcp = &stack->tcp;
	unsigned count = 0;

	for (const uint8_t *at = tcp->free_buffers; at; memcpy(&at, at, sizeof(void *)))
		CHECK(count++ < stack->limits.connections, "a pair of buffers is free twice");
	for (unsigned i = 0; i < stack->limits.blocks; i++) {
		if (places[i] == FREE || !tcp->blocks[i].send.base)
			continue;
		count++;
		for (unsigned j = 0; j < i; j++)
			CHECK(places[j] == FREE || tcp->blocks[j].send.base != tcp->blocks[i].send.base,
				"two connections have one pair of buffers");
	}
	CHECK(count == stack->limits.connections, "a pair of buffers is lost");
	return NULL;
}

static const char *frames(const struct netd *stack)
{
	unsigned count = 0;

	for (const struct held *at = stack->tcp.free_held; at; at = at->next)
		CHECK(count++ < stack->limits.frames, "a place for a frame is free twice");
	for (unsigned i = 0; i < stack->limits.blocks; i++) {
		const struct netd_tcp *tcb = &stack->tcp.blocks[i];
		uint32_t last = tcp_unread(tcb);

		if (places[i] == FREE)
			continue;
		for (const struct held *at = tcb->held; at; last = at->sequence + at->bytes, at = at->next) {
			CHECK(count++ < stack->limits.frames, "a frame is held twice");
			CHECK(at->frame.release, "a frame is held that was released");
			/* Of the first a part may have been read. */
			CHECK(at->bytes && seq_lt(last, at->sequence + at->bytes) &&
					(at == tcb->held || seq_le(last, at->sequence)) &&
					seq_le(at->sequence + at->bytes, tcb->rcv_nxt - tcb->fin_received),
				"text in a frame is out of order, or not what is unread");
			CHECK(at->next || at == tcb->last_held, "the list of held frames has another end");
		}
	}
	CHECK(count == stack->limits.frames, "a place for a frame is lost");
	return NULL;
}

static bool queue_is_whole(const struct queue *queue)
{
	const struct packet *at = queue->first;

	for (unsigned left = queue->count; left > 1; left--, at = at->next) {
		if (!at->next)
			return false;
	}
	return !queue->count || (at == queue->last && !at->next);
}

static const char *packets(const struct netd *stack)
{
	unsigned count = stack->loopback.count;

	CHECK(queue_is_whole(&stack->loopback), "the loopback's queue is broken");
	for (const struct packet *at = stack->free_packets; at; at = at->next)
		CHECK(count++ < stack->limits.packets, "a packet is free twice");
	for (unsigned i = 0; i < stack->limits.neighbours; i++) {
		const struct neighbour *neighbour = &stack->neighbours[i];

		CHECK(queue_is_whole(&neighbour->waiting), "a neighbour's queue is broken");
		CHECK(!neighbour->waiting.count || neighbour->state == NEIGHBOUR_RESOLVING,
			"packets wait for a neighbour that is known, or for none");
		count += neighbour->waiting.count;
		for (unsigned j = 0; j < i; j++)
			CHECK(neighbour->state == NEIGHBOUR_FREE || stack->neighbours[j].state == NEIGHBOUR_FREE ||
					stack->neighbours[j].address != neighbour->address,
				"a neighbour is known twice");
	}
	CHECK(count == stack->limits.packets, "a packet is lost");
	return NULL;
}

static const char *listener(const struct netd *stack, const struct netd_tcp *tcb)
{
	unsigned half_open = 0, complete = 0, accepted = 0;

	for (unsigned i = 0; i < stack->limits.blocks; i++) {
		const struct netd_tcp *child = &stack->tcp.blocks[i];

		if (places[i] == FREE || child->listener != tcb)
			continue;
		if (child->state == TCP_SYN_RECEIVED)
			half_open++;
		else
			complete++;
	}
	for (const struct netd_tcp *at = tcb->accepted; at; at = at->next_accepted) {
		CHECK(at->listener == tcb && at->state != TCP_SYN_RECEIVED, "what waits to be accepted is another's");
		CHECK(accepted++ < complete, "a connection waits twice to be accepted");
	}
	CHECK(half_open == tcb->half_open && half_open <= tcb->backlog, "half-open connections are miscounted");
	CHECK(complete == tcb->waiting && accepted == complete && complete <= tcb->backlog,
		"connections that wait to be accepted are miscounted");
	return NULL;
}

static const char *sending(const struct netd_tcp *tcb)
{
	uint32_t last = tcb->snd_una;

	CHECK(seq_le(tcb->snd_una, tcb->snd_nxt), "SND.UNA is beyond SND.NXT");
	CHECK(tcb->send.used <= tcb->send.size, "the send buffer holds more than it can");
	if (tcb->send.base && tcp_synchronized(tcb)) {
		CHECK(seq_le(tcb->send_base, tcb->snd_nxt) &&
				seq_le(tcb->snd_nxt, tcb->send_base + tcb->send.used + tcb->fin),
			"SND.NXT is outside of the send buffer");
		CHECK(tcb->snd_una == tcb->send_base ||
				(tcb->fin && !tcb->send.used && tcb->snd_una == tcb->send_base + 1),
			"the send buffer does not begin at SND.UNA");
	}
	CHECK(tcb->sacked_count <= TCP_SACKED, "more pieces are SACKed than can be remembered");
	for (unsigned i = 0; i < tcb->sacked_count; i++) {
		CHECK(seq_le(last, tcb->sacked[i].start) && seq_lt(tcb->sacked[i].start, tcb->sacked[i].end) &&
				seq_le(tcb->sacked[i].end, tcb->snd_nxt),
			"what is SACKed is out of order, or was never sent");
		last = tcb->sacked[i].end;
	}
	return NULL;
}

static const char *receiving(const struct netd_tcp *tcb)
{
	CHECK(seq_le(tcb->rcv_nxt, tcb->rcv_edge), "the window's edge is behind RCV.NXT");
	CHECK(tcb->receive.used <= tcb->receive.size, "the receive buffer holds more than it can");
	CHECK(!tcb->receive.base || tcb->rcv_edge - tcb->rcv_nxt + tcb->receive.used <= tcb->receive.size,
		"the window offers more than the receive buffer has room for");
	CHECK(tcb->pieces <= TCP_PIECES, "more pieces are kept than can be");
	for (unsigned i = 0; i < tcb->pieces; i++) {
		const struct wire_tcp_range *piece = &tcb->piece[i];

		CHECK(seq_lt(tcb->rcv_nxt, piece->start) && seq_lt(piece->start, piece->end) &&
				seq_le(piece->end, tcb->rcv_edge),
			"a piece behind a hole is outside of the window");
		for (unsigned j = 0; j < i; j++)
			CHECK(seq_lt(piece->end, tcb->piece[j].start) || seq_lt(tcb->piece[j].end, piece->start),
				"pieces behind holes overlap");
	}
	return NULL;
}

static const char *connection(const struct netd *stack, const struct netd_tcp *tcb)
{
	const char *broken;

	for (unsigned i = 0; i < TIMERS; i++)
		CHECK(tcb->state == TCP_TIME_WAIT || stack->tcp.due <= tcb->timer[i],
			"a timer runs out before anybody looks");
	CHECK(tcb->state != TCP_ESTABLISHED || tcb->owned || tcb->listener, "nobody has an established connection");
	broken = sending(tcb);
	return broken || tcb->state == TCP_SYN_SENT ? broken : receiving(tcb);
}

unsigned audit_frames(const struct netd *stack)
{
	unsigned count = stack->limits.frames;

	for (const struct held *at = stack->tcp.free_held; at; at = at->next)
		count--;
	return count;
}

const char *audit(const struct netd *stack)
{
	struct netd *looked_at =
		(struct netd *)(uintptr_t)stack; /* tcp_find() is the stack's own; it changes nothing */
	const char *broken = blocks(looked_at);

	if (!broken)
		broken = buffers(stack);
	if (!broken)
		broken = frames(stack);
	if (!broken)
		broken = packets(stack);
	for (unsigned i = 0; i < stack->limits.blocks && !broken; i++) {
		if (places[i] == LISTENING)
			broken = listener(stack, &stack->tcp.blocks[i]);
		else if (places[i] == ACTIVE || places[i] == WAITING)
			broken = connection(stack, &stack->tcp.blocks[i]);
	}
	return broken;
}
