/* Control blocks: made, found, freed; ports (RFC 6056); timers' bookkeeping; events for owners. */
#include "tcp.h"

static size_t aligned(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static uint32_t table_size(const struct netd_limits *limits)
{
	uint32_t size = 16;

	while (size < limits->blocks)
		size *= 2;
	return size;
}

size_t tcp_bytes(const struct netd_limits *limits)
{
	return aligned(table_size(limits) * sizeof(struct netd_tcp *)) +
		aligned(limits->blocks * sizeof(struct netd_tcp)) + aligned(limits->frames * sizeof(struct held)) + 64 +
		limits->connections * ((size_t)limits->send_bytes + limits->receive_bytes);
}

void tcp_start(struct netd *stack, uint8_t *memory)
{
	struct tcp *tcp = &stack->tcp;

	memset(memory, 0,
		tcp_bytes(&stack->limits) -
			stack->limits.connections * ((size_t)stack->limits.send_bytes + stack->limits.receive_bytes));
	tcp->table = (void *)memory;
	tcp->table_mask = table_size(&stack->limits) - 1;
	memory += aligned((tcp->table_mask + 1) * sizeof(struct netd_tcp *));
	tcp->blocks = (void *)memory;
	memory += aligned(stack->limits.blocks * sizeof(struct netd_tcp));
	for (unsigned i = 0; i < stack->limits.blocks; i++) {
		tcp->blocks[i].chain = tcp->free_blocks;
		tcp->free_blocks = &tcp->blocks[i];
	}
	for (unsigned i = 0; i < stack->limits.frames; i++) {
		struct held *held = (struct held *)(void *)memory + i;

		held->next = tcp->free_held;
		tcp->free_held = held;
	}
	memory += aligned(stack->limits.frames * sizeof(struct held));
	for (unsigned i = 0; i < stack->limits.connections; i++) {
		uint8_t *buffers = memory + i * ((size_t)stack->limits.send_bytes + stack->limits.receive_bytes);

		memcpy(buffers, &tcp->free_buffers, sizeof(tcp->free_buffers));
		tcp->free_buffers = buffers;
	}
	node_init(&tcp->listeners);
	node_init(&tcp->active);
	node_init(&tcp->time_wait);
	node_init(&tcp->work);
	tcp->due = tcp->overflowed = NETD_NEVER;
}

/* Keyed, so that nobody can choose connections that meet in one chain. */
static struct netd_tcp **slot(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote)
{
	uint64_t x = stack->key[0] ^ ((uint64_t)remote.address << 32 | (uint32_t)remote.port << 16 | local.port);

	x = (x ^ x >> 29) * (stack->key[1] | 1);
	return &stack->tcp.table[(x ^ x >> 32) & stack->tcp.table_mask];
}

/* Whether an application may have one more; TIME-WAIT that nobody holds gives way to everybody. */
static bool has_share(const struct netd *stack, uint32_t who, bool with_buffers)
{
	unsigned held = 0;

	for (unsigned i = 0; who && i < stack->limits.blocks; i++) {
		const struct netd_tcp *tcb = &stack->tcp.blocks[i];

		if (tcb->owner.who == who &&
			(with_buffers ? !!tcb->send.base : tcb->owned || tcb->state != TCP_TIME_WAIT))
			held++;
	}
	return held < stack_share(with_buffers ? stack->limits.connections : stack->limits.blocks);
}

/*
 * RFC 9293, 3.8.6.1, leaves it to the management of resources how long a closed window may last, and RFC 6429, 3, names connections
 * that nobody holds as those to be ended. `who`: only its own; 0: anybody's. False: none is old enough.
 */
static bool oldest_orphan_gives_way(struct netd *stack, uint32_t who, bool with_buffers)
{
	for (struct node *at = stack->tcp.active.next; at != &stack->tcp.active; at = at->next) {
		struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, node);

		if (tcb->owned || tcb->listener || (with_buffers && !tcb->send.base) || (who && tcb->owner.who != who))
			continue;
		if (stack->now - tcb->orphaned < TCP_ORPHAN_SAFE * NETD_S)
			return false;
		COUNT(stack, tcp_orphans_reset);
		tcp_send_reset(tcb);
		tcp_free(tcb);
		return true;
	}
	return false;
}

struct netd_tcp *tcp_new(struct netd *stack, uint32_t who, bool orphans_give_way)
{
	struct tcp *tcp = &stack->tcp;
	struct netd_tcp *tcb;
	bool allowed = has_share(stack, who, false) || (orphans_give_way && oldest_orphan_gives_way(stack, who, false));

	/* The oldest TIME-WAIT that nobody holds makes room. */
	for (struct node *at = tcp->time_wait.next; allowed && !tcp->free_blocks && at != &tcp->time_wait;
		at = at->next) {
		tcb = CONTAINER(at, struct netd_tcp, node);
		if (!tcb->owned) {
			COUNT(stack, tcp_recycled);
			tcp_free(tcb);
			break;
		}
	}
	if (allowed && !tcp->free_blocks && orphans_give_way)
		oldest_orphan_gives_way(stack, 0, false);
	tcb = allowed ? tcp->free_blocks : NULL;
	if (!tcb) {
		COUNT(stack, tcp_no_block);
		return NULL;
	}
	tcp->free_blocks = tcb->chain;
	memset(tcb, 0, sizeof(*tcb));
	tcb->stack = stack;
	tcb->owner.who = who;
	node_init(&tcb->node);
	node_init(&tcb->work);
	for (unsigned i = 0; i < TIMERS; i++)
		tcb->timer[i] = NETD_NEVER;
	tcb->options[NETD_KEEPALIVE_IDLE] = 7200; /* RFC 9293, 3.8.4 (MUST-28) */
	tcb->options[NETD_KEEPALIVE_INTERVAL] = 75;
	tcb->options[NETD_KEEPALIVE_COUNT] = 9;
	tcb->options[NETD_USER_TIMEOUT] = 300000; /* RFC 9293, 3.9.1.1: five minutes */
	tcb->options[NETD_LINGER] = UINT32_MAX;
	tcb->options[NETD_SEND_BYTES] = stack->limits.send_bytes;
	tcb->options[NETD_RECEIVE_BYTES] = stack->limits.receive_bytes;
	tcb->options[NETD_TTL] = 64;
	tcb->rto = TCP_RTO_FIRST;
	tcb->peer_mss = TCP_MSS_DEFAULT;
	tcb->peer_segment = TCP_MSS_DEFAULT;
	tcb->path_mtu = stack->nic->mtu;
	return tcb;
}

struct netd_tcp *tcp_find(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote)
{
	struct netd_tcp *tcb = *slot(stack, local, remote);

	while (tcb &&
		(tcb->remote.address != remote.address || tcb->remote.port != remote.port ||
			tcb->local.port != local.port || tcb->local.address != local.address))
		tcb = tcb->chain;
	return tcb;
}

/* One bound to this very address comes first. */
struct netd_tcp *tcp_find_listener(struct netd *stack, struct netd_endpoint local)
{
	struct netd_tcp *any = NULL;

	for (struct node *at = stack->tcp.listeners.next; at != &stack->tcp.listeners; at = at->next) {
		struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, node);

		if (tcb->local.port != local.port)
			continue;
		if (tcb->local.address == local.address)
			return tcb;
		if (!tcb->local.address)
			any = tcb;
	}
	return any;
}

void tcp_insert(struct netd_tcp *tcb)
{
	struct netd_tcp **at = slot(tcb->stack, tcb->local, tcb->remote);

	tcb->chain = *at;
	*at = tcb;
	node_append(&tcb->stack->tcp.active, &tcb->node);
}

bool tcp_has_buffers(struct netd *stack, uint32_t who)
{
	if (!has_share(stack, who, true) && !oldest_orphan_gives_way(stack, who, true))
		return false;
	return stack->tcp.free_buffers || oldest_orphan_gives_way(stack, 0, true);
}

bool tcp_take_buffers(struct netd_tcp *tcb)
{
	struct netd *stack = tcb->stack;
	uint8_t *buffers;

	if (!tcp_has_buffers(stack, tcb->owner.who)) {
		COUNT(stack, tcp_no_buffer);
		return false;
	}
	buffers = stack->tcp.free_buffers;
	memcpy(&stack->tcp.free_buffers, buffers, sizeof(void *));
	tcb->send = (struct buffer){buffers, stack->limits.send_bytes, 0, 0};
	tcb->receive = (struct buffer){buffers + stack->limits.send_bytes, stack->limits.receive_bytes, 0, 0};
	return true;
}

void tcp_drop_buffers(struct netd_tcp *tcb)
{
	if (!tcb->send.base)
		return;
	tcp_consume_text(tcb, tcb->receive.used);
	memcpy(tcb->send.base, &tcb->stack->tcp.free_buffers, sizeof(void *));
	tcb->stack->tcp.free_buffers = tcb->send.base;
	tcb->send = tcb->receive = (struct buffer){0};
	tcb->pieces = 0;
}

static void remove(struct netd_tcp *tcb)
{
	struct netd_tcp **at = slot(tcb->stack, tcb->local, tcb->remote);

	while (*at && *at != tcb)
		at = &(*at)->chain;
	if (*at)
		*at = tcb->chain;
	node_unlink(&tcb->node);
}

/* A connection that nobody has accepted yet is no longer its listener's. */
void tcp_leave_listener(struct netd_tcp *tcb)
{
	struct netd_tcp *listener = tcb->listener;
	struct netd_tcp **at;

	if (!listener)
		return;
	tcb->listener = NULL;
	if (tcb->state == TCP_SYN_RECEIVED) {
		listener->half_open--;
		return;
	}
	for (at = &listener->accepted; *at != tcb; at = &(*at)->next_accepted)
		;
	*at = tcb->next_accepted;
	listener->waiting--;
}

void tcp_free(struct netd_tcp *tcb)
{
	struct netd *stack = tcb->stack;

	tcp_leave_listener(tcb);
	tcp_drop_buffers(tcb);
	remove(tcb);
	node_unlink(&tcb->work);
	tcb->state = TCP_CLOSED;
	tcb->owner.who = 0;
	tcb->chain = stack->tcp.free_blocks;
	stack->tcp.free_blocks = tcb;
}

void tcp_event(struct netd_tcp *tcb, unsigned events)
{
	tcb->events |= (uint8_t)events;
	if (!node_linked(&tcb->work))
		node_append(&tcb->stack->tcp.work, &tcb->work);
}

void tcp_want_output(struct netd_tcp *tcb)
{
	tcb->output = true;
	tcp_event(tcb, 0);
}

void tcp_set_timer(struct netd_tcp *tcb, enum tcp_timer timer, netd_time at)
{
	tcb->timer[timer] = at;
	tcb->stack->tcp.due = earlier(tcb->stack->tcp.due, at);
}

void tcp_closed(struct netd_tcp *tcb, int error)
{
	if (!tcb->owned) {
		tcp_free(tcb);
		return;
	}
	/* What was received before can still be read, unless it failed. */
	if (error)
		tcp_drop_buffers(tcb);
	remove(tcb);
	tcb->state = TCP_CLOSED;
	tcb->output = false;
	for (unsigned i = 0; i < TIMERS; i++)
		tcb->timer[i] = NETD_NEVER;
	tcb->error = (int8_t)error;
	tcp_event(tcb, NETD_CLOSED | NETD_READABLE | NETD_WRITABLE);
}

void tcp_restart_time_wait(struct netd_tcp *tcb)
{
	tcb->timer[TIMER_CLOSE] = tcb->stack->now + 2 * tcb->stack->msl;
	node_append(&tcb->stack->tcp.time_wait, &tcb->node);
}

void tcp_time_wait(struct netd_tcp *tcb)
{
	tcb->state = TCP_TIME_WAIT;
	for (unsigned i = 0; i < TIMERS; i++)
		tcb->timer[i] = NETD_NEVER;
	tcp_restart_time_wait(tcb);
	if (tcb->owned)
		tcp_event(tcb, NETD_CLOSED);
	else
		tcp_drop_buffers(tcb);
}

/* FIN-WAIT-2 that nobody holds: nothing more is sent, nobody will read, and the peer has a minute to end it. */
void tcp_orphan(struct netd_tcp *tcb)
{
	tcp_drop_buffers(tcb);
	tcp_set_timer(tcb, TIMER_CLOSE, tcb->stack->now + 60 * NETD_S);
}

/* The ports to choose from at which somebody listens, a bit each: looked through once, not for each port that is tried. */
static void find_listening(const struct netd *stack, uint32_t address, uint8_t listening[(TCP_PORT_COUNT + 7) / 8])
{
	memset(listening, 0, (TCP_PORT_COUNT + 7) / 8);
	for (struct node *at = stack->tcp.listeners.next; at != &stack->tcp.listeners; at = at->next) {
		const struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, node);
		uint32_t port = tcb->local.port - (uint32_t)TCP_PORT_FIRST;

		if (port < TCP_PORT_COUNT && (!tcb->local.address || tcb->local.address == address))
			listening[port / 8] |= (uint8_t)(1 << port % 8);
	}
}

/*
 * RFC 6056, 3.3.3 (double-hash): a start that depends on the peer, and counts on from there. A pair of ports that a connection
 * or its TIME-WAIT still holds is passed over.
 */
uint16_t tcp_choose_port(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote)
{
	uint8_t listening[(TCP_PORT_COUNT + 7) / 8];
	uint32_t start;

	local.port = 0;
	start = (uint32_t)tcp_tuple_hash(stack, 'p', local, remote, 0);
	find_listening(stack, local.address, listening);
	for (uint32_t tries = 0; tries < TCP_PORT_COUNT; tries++) {
		uint32_t port = (start + stack->tcp.next_port++) % TCP_PORT_COUNT;

		local.port = (uint16_t)(TCP_PORT_FIRST + port);
		if (!(listening[port / 8] >> port % 8 & 1) && !tcp_find(stack, local, remote))
			return local.port;
	}
	return 0;
}

void buffer_copy_in(struct buffer *buffer, uint32_t offset, const void *data, uint32_t bytes)
{
	uint32_t at = (buffer->start + offset) & (buffer->size - 1), first = least(buffer->size - at, bytes);

	memcpy(buffer->base + at, data, first);
	memcpy(buffer->base, (const uint8_t *)data + first, bytes - first);
}

unsigned buffer_parts(struct netd_part parts[2], const struct buffer *buffer, uint32_t offset, uint32_t bytes)
{
	uint32_t at = (buffer->start + offset) & (buffer->size - 1), first = least(buffer->size - at, bytes);

	parts[0] = (struct netd_part){buffer->base + at, first};
	parts[1] = (struct netd_part){buffer->base, bytes - first};
	return bytes > first ? 2 : 1;
}

void buffer_consume(struct buffer *buffer, uint32_t bytes)
{
	buffer->start = (buffer->start + bytes) & (buffer->size - 1);
	buffer->used -= bytes;
}

/* Sends what connections have to say. */
void tcp_flush(struct netd *stack)
{
	struct tcp *tcp = &stack->tcp;
	struct node *next;

	for (struct node *at = tcp->work.next; at != &tcp->work && !stack->nic_blocked; at = next) {
		struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, work);

		next = at->next;
		if (tcb->output) {
			tcb->output = false;
			tcp_output(tcb);
		}
		if (!tcb->events && !tcb->output)
			node_unlink(&tcb->work);
	}
}

netd_time tcp_run(struct netd *stack)
{
	struct tcp *tcp = &stack->tcp;
	netd_time due;

	while (node_linked(&tcp->time_wait)) {
		struct netd_tcp *tcb = CONTAINER(tcp->time_wait.next, struct netd_tcp, node);

		if (stack->now < tcb->timer[TIMER_CLOSE])
			break;
		tcp_closed(tcb, NETD_OK);
	}
	if (stack->now >= tcp->due) {
		struct node *next;

		tcp->due = NETD_NEVER;
		for (struct node *at = tcp->active.next; at != &tcp->active; at = next) {
			next = at->next;
			tcp_timers(CONTAINER(at, struct netd_tcp, node)); /* may free it, and no other one */
		}
	}
	tcp_flush(stack);
	/* Exactly the next deadline: the timers of a few connections are looked through faster than kept in order. */
	due = node_linked(&tcp->time_wait) ? CONTAINER(tcp->time_wait.next, struct netd_tcp, node)->timer[TIMER_CLOSE]
					   : NETD_NEVER;
	tcp->due = NETD_NEVER;
	for (struct node *at = tcp->active.next; at != &tcp->active; at = at->next) {
		const struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, node);

		for (unsigned i = 0; i < TIMERS; i++)
			tcp->due = earlier(tcp->due, tcb->timer[i]);
	}
	return earlier(due, tcp->due);
}

bool tcp_tell(struct netd *stack)
{
	for (struct node *at = stack->tcp.work.next; at != &stack->tcp.work; at = at->next) {
		struct netd_tcp *tcb = CONTAINER(at, struct netd_tcp, work);
		unsigned events = tcb->events;

		if (!events)
			continue;
		tcb->events = 0;
		if (!tcb->output)
			node_unlink(&tcb->work);
		if (tcb->owned && tcb->owner.ready) {
			tcb->owner.ready(tcb->owner.owner, tcb, events);
			return true;
		}
		at = &stack->tcp.work; /* the list has changed: from the start */
	}
	return false;
}
