/*
 * UDP (RFC 768; RFC 1122, 4.1): sockets, each with a ring of datagrams that wait for their reader. The first are for applications and
 * services; behind them lies a reserve that nobody else can use up, for DHCP and one for each of the resolver's
 * questions. Their owners take what comes at once, so they have no ring.
 */
#include "../wire/udp.h"

#include "../wire/icmp.h"
#include "core.h"

#define RESERVED UINT32_MAX /* whose the reserve's sockets are: no application's */

enum {
	DHCP_SOCKETS = 1,
	PORT_FIRST = 49152,
	PORT_COUNT = 16384,
};

/* A datagram's head in the ring; the payload follows. */
struct head {
	struct netd_endpoint from;
	uint32_t bytes;
};

struct netd_udp {
	struct netd *stack;
	bool used;
	bool told; /* of what came since the last event */
	uint8_t ttl;
	uint8_t dscp;
	int error; /* of an earlier send, until it is reported */
	struct netd_endpoint local;
	struct netd_udp_owner owner;
	uint8_t *ring;          /* NULL: one of the reserve */
	uint32_t read, written; /* free-running */
};

static unsigned count(const struct netd_limits *limits)
{
	return limits->udp_sockets + DHCP_SOCKETS + limits->dns_queries;
}

size_t udp_bytes(const struct netd_limits *limits)
{
	return count(limits) * sizeof(struct netd_udp) + limits->udp_sockets * (size_t)limits->udp_bytes;
}

void udp_start(struct netd *stack, uint8_t *memory)
{
	uint8_t *rings = memory + count(&stack->limits) * sizeof(struct netd_udp);

	stack->udp = (void *)memory;
	for (unsigned i = 0; i < stack->limits.udp_sockets; i++)
		stack->udp[i].ring = rings + i * (size_t)stack->limits.udp_bytes;
}

/* The socket of a port, one bound to this very address first. */
static struct netd_udp *find(struct netd *stack, uint32_t address, uint16_t port)
{
	struct netd_udp *any = NULL;

	for (unsigned i = 0; i < count(&stack->limits); i++) {
		struct netd_udp *socket = &stack->udp[i];

		if (!socket->used || socket->local.port != port)
			continue;
		if (socket->local.address == address)
			return socket;
		if (!socket->local.address)
			any = socket;
	}
	return any;
}

static void ring_copy(struct netd_udp *socket, uint32_t at, void *data, uint32_t bytes, bool out)
{
	uint32_t size = socket->stack->limits.udp_bytes, first = size - (at & (size - 1));
	uint8_t *place = socket->ring + (at & (size - 1));

	if (first > bytes)
		first = bytes;
	memcpy(out ? data : place, out ? place : data, first);
	memcpy(out ? (uint8_t *)data + first : socket->ring, out ? socket->ring : (uint8_t *)data + first,
		bytes - first);
}

void udp_input(struct netd *stack, const struct wire_ipv4 *ip, bool broadcast)
{
	struct head head = {.from.address = ip->source};
	struct netd_udp *socket;
	struct wire_udp udp;

	COUNT(stack, udp_in);
	if (!wire_udp_parse(&udp, ip)) {
		COUNT(stack, udp_malformed);
		return;
	}
	socket = find(stack, ip->destination, udp.destination);
	/* Without an address of our own only DHCP's replies are for us. */
	if (!socket || (!stack->net.address && socket != stack->dhcp.socket && !ipv4_is_loopback(ip->destination))) {
		COUNT(stack, udp_no_port);
		icmp_error(stack, WIRE_ICMP_UNREACHABLE, WIRE_ICMP_PORT_UNREACHABLE, ip, broadcast);
		return;
	}
	head.from.port = udp.source;
	head.bytes = udp.payload_bytes;
	if (socket->owner.deliver &&
		socket->owner.deliver(socket->owner.owner, socket, head.from,
			(struct netd_endpoint){ip->destination, udp.destination}, udp.payload, udp.payload_bytes))
		return;
	if (!socket->ring || sizeof(head) + head.bytes > stack->limits.udp_bytes - (socket->written - socket->read)) {
		COUNT(stack, udp_full);
		return;
	}
	ring_copy(socket, socket->written, &head, sizeof(head), false);
	ring_copy(socket, socket->written + sizeof(head), (void *)(uintptr_t)udp.payload, head.bytes, false);
	socket->written += (uint32_t)sizeof(head) + head.bytes;
	socket->told = false;
}

/* RFC 1122, 4.1.3.3: errors are for the application. */
void udp_report(struct netd *stack, const struct icmp_report *report)
{
	struct netd_udp *socket;
	struct wire_udp udp;

	if (!wire_udp_parse_quoted(&udp, &report->ip))
		return;
	socket = find(stack, report->ip.source, udp.source);
	if (!socket)
		return;
	if (report->type == WIRE_ICMP_UNREACHABLE && report->code == WIRE_ICMP_FRAGMENTATION_NEEDED) {
		/* RFC 1191, 5: an old router tells no MTU; then what every host takes is used. */
		uint16_t mtu = report->mtu ? report->mtu : 576;

		if (mtu < report->total_bytes)
			ipv4_learn_path_mtu(stack, report->ip.destination, mtu);
		return;
	}
	socket->error = report->code == WIRE_ICMP_PORT_UNREACHABLE && report->type == WIRE_ICMP_UNREACHABLE
		? NETD_REFUSED
		: NETD_UNREACHABLE;
	socket->told = false;
}

bool udp_run(struct netd *stack)
{
	bool any = false;

	for (unsigned i = 0; i < count(&stack->limits); i++) {
		struct netd_udp *socket = &stack->udp[i];

		if (socket->used && !socket->told) {
			socket->told = any = true;
			if (socket->owner.ready)
				socket->owner.ready(socket->owner.owner, socket);
		}
	}
	return any;
}

static bool port_taken(const struct netd *stack, uint16_t port)
{
	for (unsigned i = 0; i < count(&stack->limits); i++) {
		if (stack->udp[i].used && stack->udp[i].local.port == port)
			return true;
	}
	return false;
}

/* RFC 6056, 3.3.1: from a number that nobody can guess on, the first port that no socket has, at whatever address. 0: none. */
static uint16_t choose_port(struct netd *stack)
{
	uint32_t start = stack_random(stack);

	for (uint32_t i = 0; i < PORT_COUNT; i++) {
		uint16_t port = (uint16_t)(PORT_FIRST + (start + i) % PORT_COUNT);

		if (!port_taken(stack, port))
			return port;
	}
	return 0;
}

/* A port is not to be had twice at one address, nor by another application at one that includes it. */
static bool in_the_way(const struct netd_udp *socket, struct netd_endpoint local, uint32_t who)
{
	bool wildcard = !socket->local.address || !local.address;

	return socket->used && socket->local.port == local.port &&
		(socket->local.address == local.address || (wildcard && socket->owner.who != who));
}

/* A socket among those from `first` up to `end`. */
static int bind(struct netd *stack, unsigned first, unsigned end, struct netd_endpoint local,
	const struct netd_udp_owner *owner, struct netd_udp **socket)
{
	for (unsigned i = 0; i < count(&stack->limits); i++) {
		if (in_the_way(&stack->udp[i], local, owner->who))
			return NETD_IN_USE;
	}
	while (first < end && stack->udp[first].used)
		first++;
	if (first == end)
		return NETD_NO_ROOM;
	if (!local.port)
		local.port = choose_port(stack);
	if (!local.port)
		return NETD_NO_ROOM;
	*socket = &stack->udp[first];
	**socket = (struct netd_udp){
		.stack = stack, .used = true, .told = true, .local = local, .owner = *owner, .ring = (*socket)->ring};
	return NETD_OK;
}

int netd_udp_bind(
	struct netd *stack, struct netd_endpoint local, const struct netd_udp_owner *owner, struct netd_udp **socket)
{
	unsigned held = 0;

	if (local.address && !ipv4_is_ours(stack, local.address))
		return NETD_INVALID;
	for (unsigned i = 0; owner->who && i < stack->limits.udp_sockets; i++)
		held += stack->udp[i].used && stack->udp[i].owner.who == owner->who;
	if (held >= stack_share(stack->limits.udp_sockets))
		return NETD_NO_ROOM;
	return bind(stack, 0, stack->limits.udp_sockets, local, owner, socket);
}

int udp_bind_reserved(struct netd *stack, uint16_t port, const struct netd_udp_owner *owner, struct netd_udp **socket)
{
	struct netd_udp_owner reserved = *owner;

	reserved.who = RESERVED;
	return bind(stack, stack->limits.udp_sockets, count(&stack->limits), (struct netd_endpoint){0, port}, &reserved,
		socket);
}

int netd_udp_send(struct netd_udp *socket, uint32_t from, struct netd_endpoint to, const void *data, size_t bytes)
{
	struct netd *stack = socket->stack;
	struct wire_ipv4 ip = {.destination = to.address,
		.protocol = WIRE_PROTOCOL_UDP,
		.ttl = socket->ttl,
		.tos = (uint8_t)(socket->dscp << 2),
		.dont_fragment = true};
	struct wire_udp udp = {.source = socket->local.port, .destination = to.port, .payload = data};
	uint8_t header[WIRE_UDP_HEADER];
	const struct netd_part parts[] = {{header, sizeof(header)}, {data, bytes}};
	enum sent sent;

	if (!to.address || !to.port || (from && from != stack->net.address && !ipv4_is_loopback(from)))
		return NETD_INVALID;
	if (bytes > WIRE_IPV4_LIMIT - WIRE_IPV4_HEADER - WIRE_UDP_HEADER)
		return NETD_TOO_LONG;
	ip.source = from ? from : socket->local.address ? socket->local.address : ipv4_source(stack, to.address);
	/* RFC 2131, 4.1: a client without an address sends from 0. */
	if (!ip.source && socket != stack->dhcp.socket)
		return NETD_UNREACHABLE;
	udp.payload_bytes = (uint16_t)bytes;
	ip.payload_bytes = (uint16_t)(WIRE_UDP_HEADER + bytes);
	wire_udp_emit(header, &udp, &ip);
	COUNT(stack, udp_out);
	sent = ipv4_send(stack, &ip, parts, 2);
	return sent == SENT ? NETD_OK : sent == SENT_BUSY ? NETD_AGAIN : NETD_UNREACHABLE;
}

long netd_udp_receive(struct netd_udp *socket, struct netd_endpoint *from, void *to, size_t bytes)
{
	struct head head;
	int error = socket->error;

	if (error) {
		socket->error = NETD_OK;
		return error;
	}
	if (socket->read == socket->written)
		return NETD_AGAIN;
	ring_copy(socket, socket->read, &head, sizeof(head), true);
	if (head.bytes > bytes)
		return NETD_TOO_LONG;
	ring_copy(socket, socket->read + sizeof(head), to, head.bytes, true);
	socket->read += (uint32_t)sizeof(head) + head.bytes;
	*from = head.from;
	return head.bytes;
}

int netd_udp_set(struct netd_udp *socket, enum netd_tcp_option option, uint32_t value)
{
	if (option == NETD_TTL && value >= 1 && value <= 255)
		socket->ttl = (uint8_t)value;
	else if (option == NETD_DSCP && value <= 63)
		socket->dscp = (uint8_t)value;
	else
		return NETD_INVALID;
	return NETD_OK;
}

struct netd_endpoint netd_udp_local(const struct netd_udp *socket)
{
	return socket->local;
}

void netd_udp_close(struct netd_udp *socket)
{
	socket->used = false;
}
