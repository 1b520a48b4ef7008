/* The calls of netd/socket.h for TCP (RFC 9293, 3.9.1). */
#include "tcp.h"

static const char *const state_names[TCP_STATES] = {"CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED",
	"FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"};

/* RFC 7323, 2.2: the smallest shift by which the field can tell the whole buffer. */
static void choose_shift(struct netd_tcp *tcb)
{
	tcb->rcv_shift = 0;
	while (tcb->options[NETD_RECEIVE_BYTES] >> tcb->rcv_shift > UINT16_MAX)
		tcb->rcv_shift++;
}

static bool local_is_possible(const struct netd *stack, struct netd_endpoint local)
{
	return !local.address || ipv4_is_ours(stack, local.address);
}

/* Connections of that port don't matter (MUST-41, MUST-42), whatever state they are in. */
static bool is_listened_at(const struct netd *stack, struct netd_endpoint local, uint32_t who)
{
	for (struct node *at = stack->tcp.listeners.next; at != &stack->tcp.listeners; at = at->next) {
		const struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, node);
		bool wildcard = !tcb->local.address || !local.address;

		if (tcb->local.port == local.port &&
			(tcb->local.address == local.address || (wildcard && tcb->owner.who != who)))
			return true;
	}
	return false;
}

/* Made by netd_tcp_open(), and nothing more. */
static bool is_new(const struct netd_tcp *tcb)
{
	return tcb->state == TCP_CLOSED && !tcb->remote.port;
}

int netd_tcp_listen(struct netd *stack, struct netd_endpoint local, unsigned backlog,
	const struct netd_tcp_owner *owner, struct netd_tcp **listener)
{
	struct netd_tcp *tcb;

	if (!local.port || !local_is_possible(stack, local))
		return NETD_INVALID;
	if (is_listened_at(stack, local, owner->who))
		return NETD_IN_USE;
	tcb = tcp_new(stack, owner->who, true);
	if (!tcb)
		return NETD_NO_ROOM;
	tcb->state = TCP_LISTEN;
	tcb->local = local;
	tcb->owner = *owner;
	tcb->owned = true;
	tcb->backlog = (uint16_t)least(backlog ? backlog : 1, stack->limits.blocks);
	choose_shift(tcb);
	node_append(&stack->tcp.listeners, &tcb->node);
	*listener = tcb;
	return NETD_OK;
}

int netd_tcp_accept(struct netd_tcp *listener, const struct netd_tcp_owner *owner, struct netd_tcp **socket)
{
	struct netd_tcp *tcb = listener->accepted;

	if (listener->state != TCP_LISTEN)
		return NETD_INVALID;
	if (!tcb)
		return NETD_AGAIN;
	tcp_leave_listener(tcb);
	tcb->owner = *owner;
	tcb->owned = true;
	/* What happened before is told now. */
	tcp_event(tcb, netd_tcp_ready(tcb));
	*socket = tcb;
	return NETD_OK;
}

int netd_tcp_open(struct netd *stack, const struct netd_tcp_owner *owner, struct netd_tcp **socket)
{
	struct netd_tcp *tcb = tcp_new(stack, owner->who, true);

	if (!tcb)
		return NETD_NO_ROOM;
	tcb->owner = *owner;
	tcb->owned = true;
	choose_shift(tcb);
	*socket = tcb;
	return NETD_OK;
}

int netd_tcp_connect(struct netd_tcp *tcb, struct netd_endpoint local, struct netd_endpoint remote)
{
	struct netd *stack = tcb->stack;

	/* RFC 9293, 3.9.1.1 (MUST-46) */
	if (!is_new(tcb) || !remote.port || !remote.address || !local_is_possible(stack, local) ||
		ipv4_is_multicast(remote.address) || ipv4_is_broadcast(stack, remote.address))
		return NETD_INVALID;
	if (!local.address) /* MUST-44 */
		local.address = ipv4_source(stack, remote.address);
	if (!local.address)
		return NETD_UNREACHABLE;
	if (!local.port) {
		local.port = tcp_choose_port(stack, local, remote);
		if (!local.port)
			return NETD_NO_ROOM;
	}
	if (tcp_find(stack, local, remote))
		return NETD_IN_USE;
	if (!tcp_take_buffers(tcb))
		return NETD_NO_ROOM;
	tcb->local = local;
	tcb->remote = remote;
	tcb->state = TCP_SYN_SENT;
	tcb->scaled = tcb->sack = tcb->timestamps = true;
	tcb->ts_offset = tcp_ts_offset(stack, local, remote);
	tcb->iss = tcb->snd_una = tcp_isn(stack, local, remote);
	tcb->snd_nxt = tcb->send_base = tcb->snd_up = tcb->small_end = tcb->iss + 1;
	COUNT(stack, tcp_opened);
	tcp_insert(tcb);
	tcp_send_syn(tcb);
	return NETD_OK;
}

/* Why nothing can be sent or received any more; NETD_OK: it can, or it ended in good order. */
static int failure(const struct netd_tcp *tcb)
{
	return tcb->state == TCP_LISTEN ? NETD_INVALID : is_new(tcb) ? NETD_NOT_CONNECTED : tcb->error;
}

long netd_tcp_send(struct netd_tcp *tcb, const void *data, size_t bytes, unsigned flags)
{
	return netd_tcp_send_pieces(tcb, (const struct netd_part[2]){{data, bytes}}, flags);
}

long netd_tcp_send_pieces(struct netd_tcp *tcb, const struct netd_part pieces[2], unsigned flags)
{
	uint32_t size = least(tcb->options[NETD_SEND_BYTES], tcb->send.size), taken, first;
	size_t bytes = pieces[0].bytes + pieces[1].bytes;

	if (failure(tcb))
		return failure(tcb);
	if (tcb->fin || tcb->state == TCP_CLOSED)
		return NETD_SHUT;
	if (!bytes)
		return NETD_INVALID;
	if (tcb->send.used >= size)
		return NETD_AGAIN;
	taken = (uint32_t)(bytes < size - tcb->send.used ? bytes : size - tcb->send.used);
	first = (uint32_t)(pieces[0].bytes < taken ? pieces[0].bytes : taken);
	buffer_copy_in(&tcb->send, tcb->send.used, pieces[0].data, first);
	if (taken > first)
		buffer_copy_in(&tcb->send, tcb->send.used + first, pieces[1].data, taken - first);
	tcb->send.used += taken;
	tcb->more = flags & NETD_SEND_MORE && taken == bytes;
	if (flags & NETD_SEND_URGENT) {
		tcb->snd_up = tcb->send_base + tcb->send.used;
		tcb->urgent = true;
		tcb->ack_now |= tcp_synchronized(tcb) && !tcb->snd_wnd; /* told even if the data must wait */
	}
	tcp_want_output(tcb);
	return taken;
}

/* Bytes that may be read in one go: up to the urgent mark, if that lies ahead (RFC 9293, 3.8.5). */
static uint32_t readable(const struct netd_tcp *tcb)
{
	size_t urgent = netd_tcp_urgent(tcb);

	return urgent && urgent < tcb->receive.used ? (uint32_t)urgent : tcb->receive.used;
}

long netd_tcp_peek(struct netd_tcp *tcb, size_t offset, const void **data)
{
	uint32_t bytes = readable(tcb);
	struct netd_part part;

	if (offset && offset >= bytes)
		return NETD_AGAIN;
	if (bytes) {
		part = tcp_text(tcb, (uint32_t)offset);
		*data = part.data;
		return (long)least((uint32_t)part.bytes, bytes - (uint32_t)offset);
	}
	if (failure(tcb))
		return failure(tcb);
	if (tcb->fin_received || tcb->state == TCP_CLOSED)
		return 0;
	return NETD_AGAIN;
}

static void tell_window(struct netd_tcp *tcb)
{
	if (tcb->state != TCP_CLOSED && !tcb->fin_received && tcp_window_grown(tcb)) {
		tcb->ack_now = true;
		tcp_want_output(tcb);
	}
}

void netd_tcp_consume(struct netd_tcp *tcb, size_t bytes)
{
	if (bytes > tcb->receive.used)
		bytes = tcb->receive.used;
	tcp_consume_text(tcb, (uint32_t)bytes);
	tcb->stack->counters[NETD_COUNT_bytes_delivered] += bytes;
	if (tcb->rcv_urgent && seq_le(tcb->rcv_up, tcp_unread(tcb)))
		tcb->rcv_urgent = false;
	tell_window(tcb);
}

void netd_tcp_lend(struct netd_tcp *tcb, size_t bytes)
{
	tcb->lent += (uint32_t)bytes;
}

void netd_tcp_return(struct netd_tcp *tcb, size_t bytes)
{
	tcb->lent -= least((uint32_t)bytes, tcb->lent);
	tell_window(tcb);
}

struct netd_frame *netd_tcp_frame(struct netd_tcp *tcb)
{
	struct held *held = tcb->held;
	uint32_t unread = tcp_unread(tcb);

	return held && seq_le(held->sequence, unread) && held->sequence + held->bytes - unread <= readable(tcb)
		? &held->frame
		: NULL;
}

void netd_let_go(struct netd *stack)
{
	for (unsigned i = 0; i < stack->limits.blocks; i++)
		tcp_copy_held(&stack->tcp.blocks[i]);
}

long netd_tcp_receive(struct netd_tcp *tcb, void *to, size_t bytes)
{
	const void *data;
	long got, taken = 0;

	if (!bytes)
		return NETD_INVALID;
	while ((size_t)taken < bytes && (got = netd_tcp_peek(tcb, (size_t)taken, &data)) > 0) {
		if ((size_t)got > bytes - (size_t)taken)
			got = (long)(bytes - (size_t)taken);
		memcpy((uint8_t *)to + taken, data, (size_t)got);
		taken += got;
	}
	if (!taken)
		return got;
	tcb->stack->counters[NETD_COUNT_bytes_copied] += (uint64_t)taken;
	netd_tcp_consume(tcb, (size_t)taken);
	return taken;
}

size_t netd_tcp_urgent(const struct netd_tcp *tcb)
{
	return tcb->rcv_urgent ? tcb->rcv_up - tcp_unread(tcb) : 0;
}

/* RFC 9293, 3.10.4: CLOSE */
int netd_tcp_shutdown(struct netd_tcp *tcb)
{
	switch (tcb->state) {
	case TCP_LISTEN:
		return NETD_INVALID;
	case TCP_CLOSED:
		return tcb->error ? tcb->error : NETD_NOT_CONNECTED;
	case TCP_SYN_SENT:
		tcp_closed(tcb, NETD_RESET);
		return NETD_OK;
	case TCP_ESTABLISHED:
		tcb->state = TCP_FIN_WAIT_1;
		break;
	case TCP_CLOSE_WAIT:
		tcb->state = TCP_LAST_ACK;
		break;
	default: /* SYN-RECEIVED: the state follows when it is established; others: done already */
		break;
	}
	if (!tcb->fin) {
		tcb->fin = true;
		tcb->more = false;
		tcp_want_output(tcb);
	}
	return NETD_OK;
}

static void abort_connection(struct netd_tcp *tcb)
{
	/* RFC 9293, 3.10.5: nobody is told in states in which the peer knows of nothing. */
	if (tcb->state == TCP_SYN_RECEIVED || (tcp_synchronized(tcb) && tcb->state != TCP_TIME_WAIT))
		tcp_send_reset(tcb);
	tcp_free(tcb);
}

static void close_listener(struct netd_tcp *listener)
{
	struct tcp *tcp = &listener->stack->tcp;
	struct node *next;

	for (struct node *at = tcp->active.next; at != &tcp->active; at = next) {
		struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, node);

		next = at->next;
		if (tcb->listener == listener)
			abort_connection(tcb);
	}
	for (struct node *at = tcp->time_wait.next; at != &tcp->time_wait; at = next) {
		struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, node);

		next = at->next;
		if (tcb->listener == listener)
			tcp_free(tcb);
	}
	tcp_free(listener);
}

void netd_tcp_abort(struct netd_tcp *tcb)
{
	if (tcb->state == TCP_LISTEN)
		close_listener(tcb);
	else
		abort_connection(tcb);
}

void netd_tcp_close(struct netd_tcp *tcb)
{
	uint32_t linger = tcb->options[NETD_LINGER];

	if (tcb->state == TCP_LISTEN || tcb->state == TCP_CLOSED || tcb->state == TCP_SYN_SENT) {
		netd_tcp_abort(tcb);
		return;
	}
	/* RFC 9293, 3.6.1 (SHLD-3): what nobody reads was not received. */
	if (tcb->receive.used || !linger) {
		abort_connection(tcb);
		return;
	}
	tcb->owned = false;
	tcb->events = 0;
	if (tcb->state == TCP_TIME_WAIT) {
		tcp_drop_buffers(tcb);
		return;
	}
	tcb->orphaned = tcb->stack->now;
	node_append(&tcb->stack->tcp.active, &tcb->node);
	tcp_set_timer(tcb, TIMER_CLOSE, tcb->orphaned + least(linger, TCP_ORPHAN_MOST) * NETD_S);
	netd_tcp_shutdown(tcb);
	if (tcb->state == TCP_FIN_WAIT_2)
		tcp_orphan(tcb);
}

int netd_tcp_set(struct netd_tcp *tcb, enum netd_tcp_option option, uint32_t value)
{
	const struct netd_limits *limits = &tcb->stack->limits;
	bool valid;

	switch (option) {
	case NETD_NO_DELAY:
	case NETD_KEEPALIVE:
		valid = value <= 1;
		break;
	case NETD_KEEPALIVE_IDLE:
	case NETD_KEEPALIVE_INTERVAL:
	case NETD_KEEPALIVE_COUNT:
	case NETD_USER_TIMEOUT:
		valid = value > 0;
		break;
	case NETD_LINGER:
		valid = true;
		break;
	case NETD_SEND_BYTES:
		valid = value > 0 && value <= limits->send_bytes;
		break;
	case NETD_RECEIVE_BYTES: /* less than is offered already takes effect as the peer uses that up */
		valid = value >= 1024 && value <= limits->receive_bytes;
		break;
	case NETD_TTL:
		valid = value >= 1 && value <= 255;
		break;
	case NETD_DSCP:
		valid = value <= 63;
		break;
	default:
		valid = false;
	}
	if (!valid)
		return NETD_INVALID;
	tcb->options[option] = value;
	if (option == NETD_RECEIVE_BYTES && (tcb->state == TCP_LISTEN || is_new(tcb)))
		choose_shift(tcb);
	if (option == NETD_KEEPALIVE || option == NETD_KEEPALIVE_IDLE) {
		tcb->timer[TIMER_KEEPALIVE] = NETD_NEVER;
		if (tcb->options[NETD_KEEPALIVE] && tcp_synchronized(tcb))
			tcp_set_timer(
				tcb, TIMER_KEEPALIVE, tcb->stack->now + tcb->options[NETD_KEEPALIVE_IDLE] * NETD_S);
	}
	if (option == NETD_NO_DELAY)
		tcp_want_output(tcb);
	return NETD_OK;
}

uint32_t netd_tcp_get(const struct netd_tcp *tcb, enum netd_tcp_option option)
{
	return option < NETD_TCP_OPTIONS ? tcb->options[option] : 0;
}

unsigned netd_tcp_ready(const struct netd_tcp *tcb)
{
	unsigned events = 0;

	if (tcb->state == TCP_LISTEN)
		return tcb->accepted ? NETD_READABLE : 0;
	if (tcb->receive.used || tcb->fin_received || tcb->state == TCP_CLOSED)
		events |= NETD_READABLE;
	if (tcb->state == TCP_CLOSED ||
		(tcp_synchronized(tcb) && !tcb->fin && tcb->send.used < tcb->options[NETD_SEND_BYTES]))
		events |= NETD_WRITABLE;
	if (tcb->rcv_urgent)
		events |= NETD_URGENT;
	if (tcb->state == TCP_CLOSED || tcb->state == TCP_TIME_WAIT)
		events |= NETD_CLOSED;
	return events;
}

int netd_tcp_error(const struct netd_tcp *tcb)
{
	return tcb->error;
}

int netd_tcp_soft_error(struct netd_tcp *tcb)
{
	int error = tcb->soft_error;

	tcb->soft_error = NETD_OK;
	return error;
}

void netd_tcp_get_info(const struct netd_tcp *tcb, struct netd_tcp_info *info)
{
	*info = (struct netd_tcp_info){.state = state_names[tcb->state],
		.local = tcb->local,
		.remote = tcb->remote,
		.readable = tcb->receive.used,
		.unsent = tcb->send_base + tcb->send.used - tcb->snd_nxt,
		.in_flight = tcb->snd_nxt - tcb->snd_una,
		.cwnd = tcb->cwnd,
		.ssthresh = tcb->ssthresh,
		.mss = tcp_segment_room(tcb),
		.window = tcb->snd_wnd,
		.srtt_us = (uint32_t)tcb->srtt,
		.rto_us = (uint32_t)tcb->rto,
		.retransmitted = tcb->retransmitted,
		.bytes_in = tcb->bytes_in,
		.bytes_out = tcb->bytes_out};
	if (tcb->state == TCP_LISTEN || (int32_t)info->unsent < 0) /* the FIN counts in SND.NXT */
		info->unsent = 0;
}

const struct netd_tcp *netd_tcp_next(const struct netd *stack, const struct netd_tcp *after)
{
	size_t i = after ? (size_t)(after - stack->tcp.blocks) + 1 : 0;

	for (; i < stack->limits.blocks; i++) {
		if (stack->tcp.blocks[i].state != TCP_CLOSED)
			return &stack->tcp.blocks[i];
	}
	return NULL;
}

/* RFC 1122, 3.3.4.2: a connection keeps its address for life; without it, it has none. */
void tcp_address_changed(struct netd *stack)
{
	struct tcp *tcp = &stack->tcp;

	for (struct node *at = tcp->active.next, *next; at != &tcp->active; at = next) {
		struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, node);

		next = at->next;
		if (!ipv4_is_ours(stack, tcb->local.address)) {
			tcp_leave_listener(tcb);
			tcp_closed(tcb, NETD_UNREACHABLE);
		}
	}
}
