/*
 * What each request of docs/sockets.md does: applications' sockets on top of netd/socket.h. One answer to each request;
 * applications.c has made sure that there is room for it.
 */
#include "direct.h"

#include <string.h>

_Static_assert((int)KEUOS_SOCKET_NO_NAME == (int)NETD_NO_NAME, "results are the stack's");
_Static_assert((int)KEUOS_SOCKET_DSCP == (int)NETD_DSCP, "options are the stack's");
_Static_assert((int)KEUOS_SOCKET_TROUBLE == (int)NETD_TROUBLE, "events are the stack's");

enum { INDEX_BITS = 16 };

bool (*sockets_stranger)(struct application *application, uint16_t opcode, const struct keuos_socket_request *request,
	const uint8_t *data, uint32_t bytes);

static struct netd *stack;
static const struct netd_nic *nic;
static const struct netd_address *given;
static struct socket sockets[KEUOS_SOCKETS];
static unsigned in_use;

void sockets_start(struct netd *the_stack, const struct netd_nic *the_nic, const struct netd_address *own)
{
	stack = the_stack;
	nic = the_nic;
	given = own;
}

int sockets_configure(struct netd *the_stack, const struct netd_address *own)
{
	return own->address ? netd_set_address(the_stack, own) : netd_dhcp_start(the_stack);
}

unsigned sockets_count(void)
{
	return in_use;
}

static uint32_t number_of(const struct socket *socket)
{
	return (uint32_t)(socket - sockets) | (uint32_t)socket->generation << INDEX_BITS;
}

/* The application's socket of that number, or NULL. */
static struct socket *find(const struct application *application, uint32_t number)
{
	uint32_t index = number & ((1u << INDEX_BITS) - 1);
	struct socket *socket = index < KEUOS_SOCKETS ? &sockets[index] : NULL;

	return socket && socket->kind != SOCKET_FREE && socket->application == application &&
			number_of(socket) == number
		? socket
		: NULL;
}

static struct socket *create(struct application *application, enum socket_kind kind)
{
	if (application->count == KEUOS_SOCKETS_EACH)
		return NULL;
	for (unsigned i = 0; i < KEUOS_SOCKETS; i++) {
		struct socket *socket = &sockets[i];
		uint16_t generation = (uint16_t)(socket->generation + 1);

		if (socket->kind != SOCKET_FREE)
			continue;
		*socket = (struct socket){.kind = kind,
			.generation = generation ? generation : 1,
			.application = application,
			.next = application->sockets};
		application->sockets = socket;
		application->count++;
		in_use++;
		return socket;
	}
	return NULL;
}

/* The stack's side has been given up already. */
static void forget(struct socket *socket)
{
	struct socket **at = &socket->application->sockets;

	while (*at != socket)
		at = &(*at)->next;
	*at = socket->next;
	socket->application->count--;
	in_use--;
	socket->kind = SOCKET_FREE;
	socket->application = NULL;
}

/* --- answers --- */

static void reply_whole(struct application *application, const struct keuos_socket_reply *reply)
{
	application_tell(application, KEUOS_SOCKET_REPLY, reply, sizeof(*reply));
}

static void reply(
	struct application *application, const struct keuos_socket_request *request, long result, uint32_t value)
{
	reply_whole(application,
		&(struct keuos_socket_reply){
			.id = request->id, .socket = request->socket, .result = (int32_t)result, .value = value});
}

static bool send_data(struct socket *socket, uint32_t id, uint64_t second, const void *data, uint32_t bytes)
{
	uint64_t cookie[2] = {KEUOS_SOCKET_COOKIE(id, number_of(socket)), second};

	return application_send(socket->application, cookie, data, bytes);
}

/* --- what the stack tells --- */

static void note(struct socket *socket, unsigned events)
{
	socket->events |= events;
	socket->application->attention = true;
}

static bool half_free(const struct netd_tcp *tcp)
{
	struct netd_tcp_info info;

	netd_tcp_get_info(tcp, &info);
	return info.unsent + info.in_flight <= netd_tcp_get(tcp, NETD_SEND_BYTES) / 2;
}

/* Room is told to who waits for it, and when it is worth a wake-up; the stack tells of it with every acknowledgment. */
static void tcp_ready(void *owner, struct netd_tcp *tcp, unsigned events)
{
	struct socket *socket = owner;

	if (events & NETD_WRITABLE && !(events & NETD_CLOSED)) {
		if (socket->wants_room && half_free(tcp))
			socket->wants_room = false;
		else
			events &= ~(unsigned)NETD_WRITABLE;
	}
	if (events)
		note(socket, events);
}

/* Data on credit goes from the frame into the ring: the one copy. In direct mode a whole frame's stays where it is. */
static size_t tcp_deliver(
	void *owner, struct netd_tcp *tcp, struct netd_frame *frame, const uint8_t *data, size_t bytes)
{
	struct socket *socket = owner;
	uint32_t room = socket->credit ? application_room(socket->application) : 0;

	if (room && bytes <= socket->credit &&
		direct_tell(socket->application, socket->credit_id, number_of(socket), frame, data, (uint32_t)bytes)) {
		netd_tcp_lend(tcp, bytes);
		socket->credit -= (uint32_t)bytes;
		return bytes;
	}
	if (bytes > room)
		bytes = room;
	if (bytes > socket->credit)
		bytes = socket->credit;
	if (!bytes || !send_data(socket, socket->credit_id, 0, data, (uint32_t)bytes))
		return 0;
	socket->credit -= (uint32_t)bytes;
	return bytes;
}

static void udp_ready(void *owner, struct netd_udp *udp)
{
	(void)udp;
	note(owner, NETD_READABLE);
}

static struct netd_tcp_owner tcp_owner(struct socket *socket)
{
	return (struct netd_tcp_owner){
		.ready = tcp_ready, .deliver = tcp_deliver, .owner = socket, .who = socket->application->who};
}

/* --- receiving --- */

/* In direct mode: tells of the text of one frame, if it is to be read next. How much it was; 0: it is to be copied. */
static uint32_t pass_frame(struct socket *socket, uint32_t id, uint32_t most)
{
	struct netd_frame *frame = netd_tcp_frame(socket->tcp);
	const void *data;
	long bytes = frame ? netd_tcp_peek(socket->tcp, 0, &data) : 0;

	if (!frame || (unsigned long)bytes > most ||
		!direct_tell(socket->application, id, number_of(socket), frame, data, (uint32_t)bytes))
		return 0;
	netd_tcp_lend(socket->tcp, (size_t)bytes);
	netd_tcp_consume(socket->tcp, (size_t)bytes);
	return (uint32_t)bytes;
}

/* Sends at most `most` bytes of the stream in one message; how many, 0 at its end, or netd_result. */
static long pass_stream(struct socket *socket, uint32_t id, uint32_t most, bool peek)
{
	const uint64_t name = KEUOS_SOCKET_COOKIE(id, number_of(socket));
	uint32_t room = application_room(socket->application), bytes = 0;
	size_t urgent = netd_tcp_urgent(socket->tcp);
	const void *data;
	long piece;

	if (!room)
		return NETD_AGAIN;
	if (!peek && (bytes = pass_frame(socket, id, most)))
		return bytes;
	if (most > room)
		most = room;
	while (bytes < most && (piece = netd_tcp_peek(socket->tcp, bytes, &data)) > 0) {
		if ((unsigned long)piece > most - bytes)
			piece = most - bytes;
		application_put(socket->application, bytes, data, (uint32_t)piece);
		bytes += (uint32_t)piece;
	}
	if (!bytes && piece < 0)
		return piece;
	unsigned flags = bytes == 0 ? KEUOS_SOCKET_END : urgent && bytes >= urgent ? KEUOS_SOCKET_URGENT : 0;

	if (!application_send_put(socket->application, (const uint64_t[]){name, flags}, bytes))
		return NETD_AGAIN;
	if (bytes && !peek)
		netd_tcp_consume(socket->tcp, bytes);
	return bytes;
}

static long pass_datagram(struct socket *socket, uint32_t id)
{
	static uint8_t datagram[UINT16_MAX]; /* as long as one can be: the stack keeps it until it is taken whole */
	struct netd_endpoint from;
	long bytes = netd_udp_receive(socket->udp, &from, datagram, sizeof(datagram));

	if (bytes > KEUOS_SOCKET_DATA_MAX)
		return NETD_TOO_LONG;
	if (bytes < 0)
		return bytes;
	send_data(socket, id, KEUOS_SOCKET_PEER(from.address, from.port, 0), datagram, (uint32_t)bytes);
	return bytes;
}

/* Data on credit, as far as there is room. */
static void pass_on_credit(struct socket *socket)
{
	struct application *application = socket->application;

	while (socket->credit) {
		uint32_t room = application_room(application);
		long bytes;

		if (room < (socket->kind == SOCKET_DATAGRAM ? KEUOS_SOCKET_DATA_MAX : 1)) {
			application->attention = true;
			return;
		}
		if (room > socket->credit)
			room = socket->credit;
		bytes = socket->kind == SOCKET_DATAGRAM ? pass_datagram(socket, socket->credit_id)
							: pass_stream(socket, socket->credit_id, room, false);
		if (bytes == NETD_AGAIN)
			return;
		if (bytes < 0)
			reply_whole(application,
				&(struct keuos_socket_reply){.id = socket->credit_id,
					.socket = number_of(socket),
					.result = (int32_t)bytes});
		if (bytes < 0 || (bytes == 0 && socket->kind != SOCKET_DATAGRAM))
			socket->credit = 0; /* the end of it, however large the credit was */
		else
			socket->credit -= (uint32_t)bytes < socket->credit ? (uint32_t)bytes : socket->credit;
	}
}

void sockets_attend(struct application *application)
{
	application->attention = false;
	names_attend(application);
	for (struct socket *socket = application->sockets; socket; socket = socket->next) {
		if (socket->credit)
			pass_on_credit(socket);
		if (!socket->events)
			continue;
		struct keuos_socket_event event = {.socket = number_of(socket), .events = socket->events};

		if (application_room(application) &&
			application_tell(application, KEUOS_SOCKET_EVENT, &event, sizeof(event)))
			socket->events = 0;
		else
			application->attention = true;
	}
}

/* --- requests --- */

static void receive(struct socket *socket, const struct keuos_socket_request *request)
{
	struct application *application = socket->application;
	uint32_t most = request->value < KEUOS_SOCKET_DATA_MAX ? request->value : KEUOS_SOCKET_DATA_MAX;
	long bytes;

	if (socket->kind == SOCKET_LISTENER || !request->value) {
		reply(application, request, NETD_INVALID, 0);
		return;
	}
	if (request->flags & KEUOS_SOCKET_STANDING) {
		uint32_t credit = socket->credit + request->value;

		socket->credit = credit < socket->credit ? UINT32_MAX : credit;
		socket->credit_id = request->id;
		pass_on_credit(socket);
		return;
	}
	bytes = socket->kind == SOCKET_DATAGRAM
		? pass_datagram(socket, request->id)
		: pass_stream(socket, request->id, most, (request->flags & KEUOS_SOCKET_PEEK) != 0);
	if (bytes < 0)
		reply(application, request, bytes, 0);
}

static void reply_new(struct application *application, const struct keuos_socket_request *request,
	struct socket *socket, int result, struct netd_endpoint end)
{
	if (result != NETD_OK) {
		forget(socket);
		reply(application, request, result, 0);
		return;
	}
	reply_whole(application,
		&(struct keuos_socket_reply){.id = request->id,
			.socket = request->socket,
			.value = number_of(socket),
			.address = end.address,
			.port = end.port});
}

static struct netd_endpoint own_end(const struct socket *socket)
{
	struct netd_tcp_info info;

	if (socket->kind == SOCKET_DATAGRAM)
		return netd_udp_local(socket->udp);
	netd_tcp_get_info(socket->tcp, &info);
	return info.local;
}

/* OPEN, LISTEN, BIND: a socket out of nothing. */
static void open(struct application *application, uint16_t opcode, const struct keuos_socket_request *request)
{
	struct netd_endpoint local = {request->address, request->port};
	struct socket *socket = create(application,
		opcode == KEUOS_SOCKET_LISTEN         ? SOCKET_LISTENER
			: opcode == KEUOS_SOCKET_BIND ? SOCKET_DATAGRAM
						      : SOCKET_STREAM);
	int result;

	if (!socket) {
		reply(application, request, NETD_NO_ROOM, 0);
		return;
	}
	struct netd_tcp_owner owner = tcp_owner(socket);
	struct netd_udp_owner datagrams = {.ready = udp_ready, .owner = socket, .who = application->who};

	if (opcode == KEUOS_SOCKET_LISTEN)
		result = netd_tcp_listen(stack, local, request->value, &owner, &socket->tcp);
	else if (opcode == KEUOS_SOCKET_BIND)
		result = netd_udp_bind(stack, local, &datagrams, &socket->udp);
	else
		result = netd_tcp_open(stack, &owner, &socket->tcp);
	reply_new(application, request, socket, result, result == NETD_OK ? own_end(socket) : local);
}

static void accept(struct socket *listener, const struct keuos_socket_request *request)
{
	struct application *application = listener->application;
	struct socket *socket = create(application, SOCKET_STREAM);
	struct netd_tcp_info info = {0};

	if (!socket) {
		reply(application, request, NETD_NO_ROOM, 0);
		return;
	}
	struct netd_tcp_owner owner = tcp_owner(socket);
	int result = netd_tcp_accept(listener->tcp, &owner, &socket->tcp);

	if (result == NETD_OK)
		netd_tcp_get_info(socket->tcp, &info);
	reply_new(application, request, socket, result, info.remote);
}

static void connect(struct socket *socket, const struct keuos_socket_request *request)
{
	struct netd_endpoint local = {request->address, request->port};
	struct netd_endpoint remote = {request->remote, request->remote_port};
	int result = netd_tcp_connect(socket->tcp, local, remote);

	socket->wants_room = true; /* WRITABLE tells that it is connected */
	if (result == NETD_OK)
		local = own_end(socket);
	reply_whole(socket->application,
		&(struct keuos_socket_reply){.id = request->id,
			.socket = request->socket,
			.result = result,
			.address = local.address,
			.port = local.port});
}

static void describe(struct application *application, const struct keuos_socket_request *request, uint32_t socket,
	const struct netd_tcp *tcp)
{
	struct keuos_socket_connection out = {.id = request->id, .socket = socket};
	struct netd_tcp_info info;

	netd_tcp_get_info(tcp, &info);
	for (unsigned i = 0; i + 1 < sizeof(out.state) && info.state[i]; i++)
		out.state[i] = info.state[i];
	out.local = info.local.address;
	out.local_port = info.local.port;
	out.remote = info.remote.address;
	out.remote_port = info.remote.port;
	out.urgent = socket ? (uint32_t)netd_tcp_urgent(tcp) : 0;
	out.readable = info.readable;
	out.unsent = info.unsent;
	out.in_flight = info.in_flight;
	out.cwnd = info.cwnd;
	out.ssthresh = info.ssthresh;
	out.mss = info.mss;
	out.window = info.window;
	out.srtt_us = info.srtt_us;
	out.rto_us = info.rto_us;
	out.retransmitted = info.retransmitted;
	out.bytes_in = info.bytes_in;
	out.bytes_out = info.bytes_out;
	application_tell(application, KEUOS_SOCKET_CONNECTION, &out, sizeof(out));
}

static void describe_network(struct application *application, const struct keuos_socket_request *request)
{
	struct netd_address own;
	struct keuos_socket_network out = {.id = request->id};

	netd_get_address(stack, &own);
	out.address = own.address;
	out.mask = own.mask;
	out.gateway = own.gateway;
	out.dns = own.dns;
	out.dhcp = netd_dhcp_state(stack);
	out.mtu = nic->mtu;
	memcpy(out.mac, nic->mac, sizeof(out.mac));
	out.link_up = nic->link_up;
	out.applications = applications_count();
	out.sockets = in_use;
	application_tell(application, KEUOS_SOCKET_NETWORK_IS, &out, sizeof(out));
}

static void observe(struct application *application, uint16_t opcode, const struct keuos_socket_request *request)
{
	uint64_t counters[NETD_COUNTS], cookie[2] = {request->id, 0};
	const struct netd_tcp *tcp = NULL;

	if (!(application->label & KEUOS_SOCKET_OBSERVER)) {
		reply(application, request, KEUOS_SOCKET_NOT_ALLOWED, 0);
		return;
	}
	if (opcode == KEUOS_SOCKET_COUNTERS) {
		for (unsigned i = 0; i < NETD_COUNTS; i++)
			counters[i] = netd_count(stack, (enum netd_counter)i);
		application_send(application, cookie, counters, sizeof(counters));
		return;
	}
	tcp = netd_tcp_next(stack, NULL);
	for (uint32_t i = 0; tcp && i < request->value; i++)
		tcp = netd_tcp_next(stack, tcp);
	if (tcp)
		describe(application, request, 0, tcp);
	else
		reply(application, request, NETD_INVALID, 0);
}

static void configure(struct application *application, const struct keuos_socket_request *request)
{
	int result = NETD_INVALID;

	if (!(application->label & KEUOS_SOCKET_ADMINISTRATOR))
		result = KEUOS_SOCKET_NOT_ALLOWED;
	else if (request->value == KEUOS_SOCKET_AS_GIVEN)
		result = sockets_configure(stack, given);
	else if (request->value == KEUOS_SOCKET_DHCP)
		result = netd_dhcp_start(stack);
	else if (request->value == KEUOS_SOCKET_DHCP_RENEW)
		result = netd_dhcp_renew(stack);
	else if (request->value == KEUOS_SOCKET_DHCP_RELEASE)
		result = netd_dhcp_release(stack);
	reply(application, request, result, 0);
}

static void resolve(struct application *application, const struct keuos_socket_request *request, const uint8_t *data,
	uint32_t bytes)
{
	int result = names_resolve(stack, application, request->id, (const char *)data, bytes);

	if (result != NETD_OK)
		reply(application, request, result, 0);
}

static void give_up(struct socket *socket, bool abort)
{
	if (socket->kind == SOCKET_DATAGRAM)
		netd_udp_close(socket->udp);
	else if (abort)
		netd_tcp_abort(socket->tcp);
	else
		netd_tcp_close(socket->tcp);
	forget(socket);
}

static void send_stream(
	struct socket *socket, const struct keuos_socket_request *request, const struct netd_part parts[2])
{
	struct application *application = socket->application;
	bool told = application->told, quiet = request->flags & KEUOS_SOCKET_QUIET;
	unsigned flags = (request->flags & KEUOS_SOCKET_MORE ? NETD_SEND_MORE : 0) |
		(request->flags & KEUOS_SOCKET_URGENT ? NETD_SEND_URGENT : 0);
	long bytes = (long)(parts[0].bytes + parts[1].bytes);
	long result = socket->cut && request->flags & KEUOS_SOCKET_FOLLOWS
		? NETD_AGAIN
		: netd_tcp_send_pieces(socket->tcp, parts, flags);

	application_counters.sent_copied += result > 0 ? (uint64_t)result : 0;
	socket->cut = result < bytes;
	socket->wants_room = socket->wants_room || socket->cut || quiet;
	reply(application, request, result > 0 ? NETD_OK : result, result > 0 ? (uint32_t)result : 0);
	if (quiet && (result > 0 || result == NETD_AGAIN))
		application->told = told;
}

/* What streams and listeners alone can do. */
static void stream_call(struct socket *socket, uint16_t opcode, const struct keuos_socket_request *request)
{
	struct application *application = socket->application;
	struct netd_tcp *tcp = socket->tcp;
	long result = NETD_INVALID;
	uint32_t value = 0;

	switch (opcode) {
	case KEUOS_SOCKET_ACCEPT:
		if (socket->kind == SOCKET_LISTENER) {
			accept(socket, request);
			return;
		}
		break;
	case KEUOS_SOCKET_CONNECT:
		if (socket->kind == SOCKET_STREAM) {
			connect(socket, request);
			return;
		}
		break;
	case KEUOS_SOCKET_SHUTDOWN:
		result = netd_tcp_shutdown(tcp);
		break;
	case KEUOS_SOCKET_SET:
		result = request->option < NETD_TCP_OPTIONS
			? netd_tcp_set(tcp, (enum netd_tcp_option)request->option, request->value)
			: NETD_INVALID;
		break;
	case KEUOS_SOCKET_GET:
		if (request->option < NETD_TCP_OPTIONS) {
			value = netd_tcp_get(tcp, (enum netd_tcp_option)request->option);
			result = NETD_OK;
		}
		break;
	case KEUOS_SOCKET_READY:
		value = netd_tcp_ready(tcp);
		result = NETD_OK;
		break;
	case KEUOS_SOCKET_ERROR:
		result = netd_tcp_error(tcp);
		value = (uint32_t)-netd_tcp_soft_error(tcp);
		break;
	case KEUOS_SOCKET_INFO:
		describe(application, request, number_of(socket), tcp);
		return;
	default:
		break;
	}
	reply(application, request, result, value);
}

static void datagram_call(struct socket *socket, uint16_t opcode, const struct keuos_socket_request *request,
	const uint8_t *data, uint32_t bytes)
{
	struct netd_endpoint to = {request->remote, request->remote_port};
	long result = NETD_INVALID;

	if (opcode == KEUOS_SOCKET_SEND_TO)
		result = netd_udp_send(socket->udp, 0, to, data, bytes);
	else if (opcode == KEUOS_SOCKET_SET && request->option < NETD_TCP_OPTIONS)
		result = netd_udp_set(socket->udp, (enum netd_tcp_option)request->option, request->value);
	reply(socket->application, request, result, 0);
}

void sockets_carry_out(struct application *application, uint16_t opcode, const struct keuos_socket_request *request,
	const uint8_t *data, uint32_t bytes)
{
	struct socket *socket;

	switch (opcode) {
	case KEUOS_SOCKET_OPEN:
	case KEUOS_SOCKET_LISTEN:
	case KEUOS_SOCKET_BIND:
		if (direct_excludes(application))
			reply(application, request, KEUOS_SOCKET_NOT_ALLOWED, 0);
		else
			open(application, opcode, request);
		return;
	case KEUOS_SOCKET_NETWORK:
		describe_network(application, request);
		return;
	case KEUOS_SOCKET_LOOK:
	case KEUOS_SOCKET_COUNTERS:
		observe(application, opcode, request);
		return;
	case KEUOS_SOCKET_RESOLVE:
		resolve(application, request, data, bytes);
		return;
	case KEUOS_SOCKET_CONFIGURE:
		configure(application, request);
		return;
	default:
		break;
	}
	socket = find(application, request->socket);
	if (!socket) {
		if (!sockets_stranger || !sockets_stranger(application, opcode, request, data, bytes))
			reply(application, request, NETD_INVALID, 0);
	} else if (opcode == KEUOS_SOCKET_RECEIVE) {
		receive(socket, request);
	} else if (opcode == KEUOS_SOCKET_CLOSE || opcode == KEUOS_SOCKET_ABORT) {
		give_up(socket, opcode == KEUOS_SOCKET_ABORT);
		reply(application, request, NETD_OK, 0);
	} else if (socket->kind == SOCKET_DATAGRAM) {
		datagram_call(socket, opcode, request, data, bytes);
	} else {
		stream_call(socket, opcode, request);
	}
}

void sockets_send(
	struct application *application, const struct keuos_socket_request *request, const struct netd_part parts[2])
{
	struct socket *socket = find(application, request->socket);

	if (socket && socket->kind == SOCKET_STREAM && parts[0].bytes)
		send_stream(socket, request, parts);
	else
		reply(application, request, NETD_INVALID, 0);
}

void sockets_return(struct application *application, uint32_t number, uint32_t bytes)
{
	struct socket *socket = find(application, number);

	if (socket)
		netd_tcp_return(socket->tcp, bytes);
}

void sockets_end(struct application *application)
{
	names_end(application);
	while (application->sockets)
		give_up(application->sockets, true);
}
