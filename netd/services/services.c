#include <netd/services.h>

enum {
	ECHO = 7,
	DISCARD = 9,
	CHARGEN = 19,
	BACKLOG = 16,
	KINDS = 3,
	LINE = 74, /* RFC 864: 72 characters and an end of line */
	CHARACTERS = 95,
	UNPRIVILEGED = 1024,
};

struct services;

struct session {
	struct services *services;
	struct netd_tcp *socket; /* NULL: free */
	uint16_t port;
	uint32_t position; /* chargen: in its endless text */
};

struct services {
	struct netd *stack;
	unsigned connections;
	struct netd_tcp *listeners[KINDS];
	struct session sessions[];
};

static void end(struct session *session)
{
	netd_tcp_close(session->socket);
	session->socket = NULL;
}

static void echo(struct session *session)
{
	const void *data;
	long bytes;

	while ((bytes = netd_tcp_peek(session->socket, 0, &data)) > 0) {
		long sent = netd_tcp_send(session->socket, data, (size_t)bytes, 0);

		if (sent < 0) {
			if (sent != NETD_AGAIN)
				end(session);
			return;
		}
		netd_tcp_consume(session->socket, (size_t)sent);
	}
	if (bytes != NETD_AGAIN)
		end(session);
}

static void discard(struct session *session)
{
	const void *data;
	long bytes;

	while ((bytes = netd_tcp_peek(session->socket, 0, &data)) > 0)
		netd_tcp_consume(session->socket, (size_t)bytes);
	if (bytes != NETD_AGAIN)
		end(session);
}

/* The character at a position of the text: each line starts one character further in the alphabet. */
static uint8_t character(uint32_t position)
{
	uint32_t line = position / LINE, column = position % LINE;

	if (column == LINE - 2)
		return '\r';
	if (column == LINE - 1)
		return '\n';
	return (uint8_t)(' ' + (line + column) % CHARACTERS);
}

static void chargen(struct session *session)
{
	uint8_t text[512];
	const void *data;
	long bytes;

	while ((bytes = netd_tcp_peek(session->socket, 0, &data)) > 0) /* RFC 864: what comes is thrown away */
		netd_tcp_consume(session->socket, (size_t)bytes);
	for (;;) {
		for (unsigned i = 0; i < sizeof(text); i++)
			text[i] = character(session->position + i);
		bytes = netd_tcp_send(session->socket, text, sizeof(text), 0);
		if (bytes < 0)
			break;
		session->position = (session->position + (uint32_t)bytes) % (LINE * CHARACTERS);
	}
	if (bytes != NETD_AGAIN)
		end(session);
}

static void ready(void *owner, struct netd_tcp *socket, unsigned events)
{
	struct session *session = owner;

	(void)socket;
	if (!(events & (NETD_READABLE | NETD_WRITABLE | NETD_CLOSED)))
		return;
	if (session->port == ECHO)
		echo(session);
	else if (session->port == DISCARD)
		discard(session);
	else
		chargen(session);
}

/* Discard needs no copy at all: what arrives in order is done with where it lies. */
static size_t swallow(void *owner, struct netd_tcp *socket, struct netd_frame *frame, const uint8_t *data, size_t bytes)
{
	(void)owner;
	(void)socket;
	(void)frame;
	(void)data;
	return bytes;
}

static struct session *free_session(struct services *services)
{
	for (unsigned i = 0; i < services->connections; i++) {
		if (!services->sessions[i].socket)
			return &services->sessions[i];
	}
	return NULL;
}

static void accept(void *context, struct netd_tcp *listener, unsigned events)
{
	static const uint16_t ports[KINDS] = {ECHO, DISCARD, CHARGEN};
	struct services *services = context;
	unsigned kind = 0;

	(void)events;
	while (services->listeners[kind] != listener)
		kind++;
	for (;;) {
		struct session *session = free_session(services);
		struct netd_tcp_owner owner = {
			.ready = ready, .deliver = ports[kind] == DISCARD ? swallow : NULL, .owner = session};
		struct netd_tcp *socket;

		if (netd_tcp_accept(listener, &owner, &socket) != NETD_OK)
			return;
		if (!session) {
			netd_tcp_abort(socket);
			continue;
		}
		*session = (struct session){.services = services, .socket = socket, .port = ports[kind]};
	}
}

/* RFC 862. Not to a service's own port: two echoes would keep each other busy for ever. */
static bool echo_datagram(void *owner, struct netd_udp *socket, struct netd_endpoint from, struct netd_endpoint to,
	const uint8_t *data, size_t bytes)
{
	struct services *services = owner;
	struct netd_address own;

	netd_get_address(services->stack, &own);
	if (from.port >= UNPRIVILEGED)
		netd_udp_send(socket, to.address == own.address ? to.address : 0, from, data, bytes);
	return true;
}

size_t netd_services_bytes(unsigned connections)
{
	return sizeof(struct services) + connections * sizeof(struct session);
}

int netd_services_start(struct netd *stack, void *memory, unsigned connections)
{
	static const uint16_t ports[KINDS] = {ECHO, DISCARD, CHARGEN};
	struct services *services = memory;
	struct netd_tcp_owner owner = {.ready = accept, .owner = services};
	struct netd_udp_owner datagrams = {.deliver = echo_datagram, .owner = services};
	struct netd_udp *socket;
	int result;

	services->stack = stack;
	services->connections = connections;
	for (unsigned i = 0; i < connections; i++)
		services->sessions[i].socket = NULL;
	for (unsigned i = 0; i < KINDS; i++) {
		result = netd_tcp_listen(
			stack, (struct netd_endpoint){0, ports[i]}, BACKLOG, &owner, &services->listeners[i]);
		if (result != NETD_OK)
			return result;
	}
	return netd_udp_bind(stack, (struct netd_endpoint){0, ECHO}, &datagrams, &socket);
}
