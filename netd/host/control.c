/*
 * Commands: words separated by blanks, data in hexadecimal, addresses as decimal numbers. The answer is "ok ..." or "error NAME"
 * with the name of the netd_result. All calls of netd/socket.h can be made; sockets are numbers.
 *
 *   reset [NAME=VALUE ...]                a new stack: limits, mtu, msl (ms), ecn, up to what struct netd_config has
 *   step [MICROSECONDS]                   the manual clock: to the next deadline, but no further than that
 *   advance MICROSECONDS                  by that much, over all deadlines between
 *   address A MASK GATEWAY DNS | dhcp | renew | release | route NETWORK MASK GATEWAY | net | link 0|1
 *   as APPLICATION                        whose the sockets are that are made from now on; 0 after a reset
 *   listen A PORT BACKLOG | accept ID | open | connect ID A PORT A PORT
 *   send ID FLAGS HEX | recv ID BYTES | peek ID BYTES | urgent ID | hold ID BYTES | held ID
 *   shutdown ID | close ID | abort ID | set ID OPTION VALUE | get ID OPTION
 *   ready ID | events ID | error ID | soft ID | info ID | connections
 *   udp A PORT | sendto ID A PORT HEX | recvfrom ID | udpset ID OPTION VALUE
 *   resolve NAME | resolved | counters | lent | let-go
 *   audit                                 what does not hold (host/audit.h), or "whole"
 */
#include "audit.h"
#include "host.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SOCKETS = 30000, /* more than there are ports to choose from */
	DATA_MOST = 196608,
};

struct held {
	struct netd_frame frame;
	const uint8_t *data;
	size_t bytes;
	struct held *next;
};

struct socket {
	struct netd_tcp *tcp;
	struct netd_udp *udp;
	unsigned events; /* since they were asked for */
	size_t hold;     /* bytes that may still be kept where they lie */
	struct held *held, **last;
};

static struct socket sockets[SOCKETS];
static uint32_t application;
static char resolved[64];
static uint8_t data[DATA_MOST];

static const char *const counter_names[] = {
#define NETD_COUNTER(name) #name,
	NETD_COUNTERS(NETD_COUNTER)
#undef NETD_COUNTER
};

struct answer {
	char *at;
	size_t left;
};

static void say(struct answer *answer, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct answer *answer, const char *format, ...)
{
	va_list list;
	int bytes;

	va_start(list, format);
	bytes = vsnprintf(answer->at, answer->left, format, list);
	va_end(list);
	if (bytes < 0 || (size_t)bytes >= answer->left)
		abort();
	answer->at += bytes;
	answer->left -= (size_t)bytes;
}

static void say_result(struct answer *answer, long result)
{
	static const char *const names[] = {"ok", "again", "invalid", "in-use", "no-room", "refused", "reset",
		"timed-out", "unreachable", "not-connected", "shut", "too-long", "no-name"};

	if (result < 0)
		say(answer, "error %s", names[-result]);
	else
		say(answer, "ok %ld", result);
}

static void say_hex(struct answer *answer, const uint8_t *bytes, size_t count)
{
	static const char digits[] = "0123456789abcdef";

	if (answer->left <= 2 * count)
		abort();
	for (size_t i = 0; i < count; i++) {
		*answer->at++ = digits[bytes[i] >> 4];
		*answer->at++ = digits[bytes[i] & 15];
	}
	answer->left -= 2 * count;
	*answer->at = 0;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t from_hex(const char *text)
{
	size_t count = 0;

	for (; count < DATA_MOST && digit(text[0]) >= 0 && digit(text[1]) >= 0; text += 2)
		data[count++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
	return count;
}

static void tcp_ready(void *owner, struct netd_tcp *tcp, unsigned events)
{
	struct socket *socket = owner;

	if (socket->tcp != tcp)
		abort();
	socket->events |= events;
}

static size_t tcp_deliver(
	void *owner, struct netd_tcp *tcp, struct netd_frame *frame, const uint8_t *bytes, size_t count)
{
	struct socket *socket = owner;
	struct held *held;

	if (!frame->release || !socket->hold)
		return 0;
	held = malloc(sizeof(*held));
	if (!held)
		abort();
	*held = (struct held){*frame, bytes, count < socket->hold ? count : socket->hold, NULL};
	frame->release = NULL;
	socket->hold -= held->bytes;
	netd_tcp_lend(tcp, held->bytes);
	*socket->last = held;
	socket->last = &held->next;
	return held->bytes;
}

static void udp_ready(void *owner, struct netd_udp *udp)
{
	struct socket *socket = owner;

	(void)udp;
	socket->events |= NETD_READABLE;
}

static void drop_held(struct socket *socket)
{
	while (socket->held) {
		struct held *held = socket->held;

		socket->held = held->next;
		netd_frame_release(&held->frame);
		free(held);
	}
	socket->last = &socket->held;
}

void control_forget(struct host *host)
{
	(void)host;
	for (unsigned i = 0; i < SOCKETS; i++) {
		drop_held(&sockets[i]);
		memset(&sockets[i], 0, sizeof(sockets[i]));
		sockets[i].last = &sockets[i].held;
	}
	strcpy(resolved, "error again");
	application = 0;
}

static struct socket *new_socket(void)
{
	static unsigned last; /* so that a test that takes many does not look at all of them each time */

	for (unsigned i = 0; i < SOCKETS; i++) {
		struct socket *socket = &sockets[(last + i) % SOCKETS];

		if (!socket->tcp && !socket->udp) {
			socket->events = 0;
			socket->hold = 0;
			last = (unsigned)(socket - sockets);
			return socket;
		}
	}
	abort();
}

static struct netd_tcp_owner tcp_owner(struct socket *socket)
{
	return (struct netd_tcp_owner){.ready = tcp_ready, .deliver = tcp_deliver, .owner = socket, .who = application};
}

static void say_socket(struct answer *answer, int result, const struct socket *socket)
{
	say_result(answer, result == NETD_OK ? socket - sockets : result);
}

static void name_resolved(void *context, uint32_t address, int result)
{
	struct answer answer = {resolved, sizeof(resolved)};

	(void)context;
	if (result == NETD_OK)
		say(&answer, "ok %" PRIu32, address);
	else
		say_result(&answer, result);
}

static void say_info(struct answer *answer, const struct netd_tcp *tcp)
{
	struct netd_tcp_info info;

	netd_tcp_get_info(tcp, &info);
	say(answer,
		"state=%s local=%" PRIu32 ":%u remote=%" PRIu32 ":%u readable=%" PRIu32 " unsent=%" PRIu32
		" in_flight=%" PRIu32 " cwnd=%" PRIu32 " ssthresh=%" PRIu32 " mss=%" PRIu32 " window=%" PRIu32
		" srtt=%" PRIu32 " rto=%" PRIu32 " retransmitted=%" PRIu32 " bytes_in=%" PRIu64 " bytes_out=%" PRIu64,
		info.state, info.local.address, info.local.port, info.remote.address, info.remote.port, info.readable,
		info.unsent, info.in_flight, info.cwnd, info.ssthresh, info.mss, info.window, info.srtt_us, info.rto_us,
		info.retransmitted, info.bytes_in, info.bytes_out);
}

/* Moves the manual clock to `to`, with a stop at each deadline; frames that come meanwhile are seen. */
static void advance(struct host *host, netd_time to)
{
	for (;;) {
		netd_time due = netd_run(host->stack, host->now);

		if (due > to)
			break;
		if (due > host->now)
			host->now = due;
		host_drain(host);
	}
	host->now = to;
	netd_run(host->stack, to);
}

static bool set_limit(struct host *host, const char *name, unsigned long value)
{
	struct netd_limits *limits = &host->config.limits;
	const struct {
		const char *name;
		uint16_t *small;
		uint32_t *large;
	} all[] = {{"blocks", &limits->blocks, NULL}, {"connections", &limits->connections, NULL},
		{"send_bytes", NULL, &limits->send_bytes}, {"receive_bytes", NULL, &limits->receive_bytes},
		{"frames", &limits->frames, NULL}, {"udp_sockets", &limits->udp_sockets, NULL},
		{"udp_bytes", NULL, &limits->udp_bytes}, {"neighbours", &limits->neighbours, NULL},
		{"packets", &limits->packets, NULL}, {"reassemblies", &limits->reassemblies, NULL},
		{"routes", &limits->routes, NULL}, {"path_mtus", &limits->path_mtus, NULL},
		{"dns_queries", &limits->dns_queries, NULL}};

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (strcmp(all[i].name, name))
			continue;
		if (all[i].small)
			*all[i].small = (uint16_t)value;
		else
			*all[i].large = (uint32_t)value;
		return true;
	}
	return false;
}

static void reset(struct host *host, char *words, struct answer *answer)
{
	host->config = (struct netd_config){.limits = NETD_LIMITS_DEFAULT};
	host->nic.nic.mtu = 1500;
	host->nic.nic.link_up = true;
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
		char *value = strchr(word, '=');
		unsigned long n;

		if (!value) {
			say_result(answer, NETD_INVALID);
			return;
		}
		*value++ = 0;
		n = strtoul(value, NULL, 0);
		if (!strcmp(word, "mtu")) {
			host->nic.nic.mtu = (uint16_t)n;
		} else if (!strcmp(word, "msl")) {
			host->config.msl = n * NETD_MS;
		} else if (!strcmp(word, "ecn")) {
			host->config.ecn = n;
		} else if (!set_limit(host, word, n)) {
			say_result(answer, NETD_INVALID);
			return;
		}
	}
	host_start(host);
	if (host->stack) {
		say(answer, "ok %" PRIu64, host_now(host));
		return;
	}
	/* Refused: the line needs a stack to go on with. */
	say_result(answer, NETD_INVALID);
	host->config = (struct netd_config){.limits = NETD_LIMITS_DEFAULT};
	host->nic.nic.mtu = 1500;
	host_start(host);
}

static void tcp_command(struct socket *socket, const char *verb, char *rest, struct answer *answer)
{
	struct netd_tcp *tcp = socket->tcp;
	unsigned a = 0, b = 0, c = 0, d = 0;
	const void *peeked;
	int at = 0;
	long result;

	if (!strcmp(verb, "send")) {
		if (sscanf(rest, "%u %n", &a, &at) < 1)
			say_result(answer, NETD_INVALID);
		else
			say_result(answer, netd_tcp_send(tcp, data, from_hex(rest + at), a));
	} else if (!strcmp(verb, "recv")) {
		a = (unsigned)strtoul(rest, NULL, 0);
		result = netd_tcp_receive(tcp, data, a < DATA_MOST ? a : DATA_MOST);
		if (result < 0) {
			say_result(answer, result);
		} else {
			say(answer, "ok ");
			say_hex(answer, data, (size_t)result);
		}
	} else if (!strcmp(verb, "urgent")) {
		say(answer, "ok %zu", netd_tcp_urgent(tcp));
	} else if (!strcmp(verb, "hold")) {
		socket->hold = strtoul(rest, NULL, 0);
		say_result(answer, NETD_OK);
	} else if (!strcmp(verb, "held")) {
		say(answer, "ok ");
		for (const struct held *held = socket->held; held; held = held->next) {
			say_hex(answer, held->data, held->bytes);
			netd_tcp_return(tcp, held->bytes);
		}
		drop_held(socket);
	} else if (!strcmp(verb, "shutdown")) {
		say_result(answer, netd_tcp_shutdown(tcp));
	} else if (!strcmp(verb, "close") || !strcmp(verb, "abort")) {
		if (*verb == 'c')
			netd_tcp_close(tcp);
		else
			netd_tcp_abort(tcp);
		drop_held(socket);
		socket->tcp = NULL;
		say_result(answer, NETD_OK);
	} else if (!strcmp(verb, "set") && sscanf(rest, "%u %u", &a, &b) == 2) {
		say_result(answer, netd_tcp_set(tcp, (enum netd_tcp_option)a, b));
	} else if (!strcmp(verb, "get") && sscanf(rest, "%u", &a) == 1) {
		say(answer, "ok %" PRIu32, netd_tcp_get(tcp, (enum netd_tcp_option)a));
	} else if (!strcmp(verb, "ready")) {
		say(answer, "ok %u", netd_tcp_ready(tcp));
	} else if (!strcmp(verb, "events")) {
		say(answer, "ok %u", socket->events);
		socket->events = 0;
	} else if (!strcmp(verb, "error")) {
		say_result(answer, netd_tcp_error(tcp));
	} else if (!strcmp(verb, "soft")) {
		say_result(answer, netd_tcp_soft_error(tcp));
	} else if (!strcmp(verb, "info")) {
		say(answer, "ok ");
		say_info(answer, tcp);
	} else if (!strcmp(verb, "connect") && sscanf(rest, "%u %u %u %u", &a, &b, &c, &d) == 4) {
		say_result(answer,
			netd_tcp_connect(
				tcp, (struct netd_endpoint){a, (uint16_t)b}, (struct netd_endpoint){c, (uint16_t)d}));
	} else if (!strcmp(verb, "peek")) {
		result = netd_tcp_peek(tcp, 0, &peeked);
		if (result < 0) {
			say_result(answer, result);
		} else {
			a = (unsigned)strtoul(rest, NULL, 0);
			say(answer, "ok ");
			say_hex(answer, peeked, (size_t)result < a ? (size_t)result : a);
		}
	} else if (!strcmp(verb, "accept")) {
		struct socket *new = new_socket();
		struct netd_tcp_owner owner = tcp_owner(new);

		say_socket(answer, netd_tcp_accept(tcp, &owner, &new->tcp), new);
	} else {
		say_result(answer, NETD_INVALID);
	}
}

static void udp_command(struct socket *socket, const char *verb, char *rest, struct answer *answer)
{
	struct netd_endpoint peer;
	unsigned a = 0, b = 0;
	int at = 0;
	long result;

	if (!strcmp(verb, "sendto") && sscanf(rest, "%u %u %n", &a, &b, &at) == 2) {
		peer = (struct netd_endpoint){a, (uint16_t)b};
		say_result(answer, netd_udp_send(socket->udp, 0, peer, data, from_hex(rest + at)));
	} else if (!strcmp(verb, "recvfrom")) {
		result = netd_udp_receive(socket->udp, &peer, data, DATA_MOST);
		if (result < 0) {
			say_result(answer, result);
		} else {
			say(answer, "ok %" PRIu32 " %u ", peer.address, peer.port);
			say_hex(answer, data, (size_t)result);
		}
	} else if (!strcmp(verb, "udpset") && sscanf(rest, "%u %u", &a, &b) == 2) {
		say_result(answer, netd_udp_set(socket->udp, (enum netd_tcp_option)a, b));
	} else if (!strcmp(verb, "close")) {
		netd_udp_close(socket->udp);
		socket->udp = NULL;
		say_result(answer, NETD_OK);
	} else if (!strcmp(verb, "info")) {
		peer = netd_udp_local(socket->udp);
		say(answer, "ok local=%" PRIu32 ":%u", peer.address, peer.port);
	} else if (!strcmp(verb, "events")) {
		say(answer, "ok %u", socket->events);
		socket->events = 0;
	} else {
		say_result(answer, NETD_INVALID);
	}
}

/* Commands that name no socket. False: it is none of them. */
static bool stack_command(struct host *host, const char *verb, char *rest, struct answer *answer)
{
	struct netd *stack = host->stack;
	unsigned a = 0, b = 0, c = 0, d = 0;
	int count = sscanf(rest, "%u %u %u %u", &a, &b, &c, &d);
	struct netd_address own;
	netd_time due;

	if (!strcmp(verb, "reset")) {
		reset(host, rest, answer);
	} else if (!strcmp(verb, "step") && host->manual) {
		due = netd_run(stack, host->now);
		if (count >= 1 && due > host->now + a)
			due = host->now + a;
		if (due == NETD_NEVER) {
			say(answer, "ok never");
			return true;
		}
		if (due > host->now)
			host->now = due;
		netd_run(stack, host->now);
		say(answer, "ok %" PRIu64, host->now);
	} else if (!strcmp(verb, "advance") && host->manual) {
		advance(host, host->now + strtoull(rest, NULL, 0));
		say(answer, "ok %" PRIu64, host->now);
	} else if (!strcmp(verb, "address") && count == 4) {
		own = (struct netd_address){a, b, c, d};
		say_result(answer, netd_set_address(stack, &own));
	} else if (!strcmp(verb, "dhcp")) {
		say_result(answer, netd_dhcp_start(stack));
	} else if (!strcmp(verb, "renew")) {
		say_result(answer, netd_dhcp_renew(stack));
	} else if (!strcmp(verb, "release")) {
		say_result(answer, netd_dhcp_release(stack));
	} else if (!strcmp(verb, "route") && count >= 3) {
		say_result(answer, netd_add_route(stack, a, b, c));
	} else if (!strcmp(verb, "net")) {
		netd_get_address(stack, &own);
		say(answer, "ok %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %u", own.address, own.mask, own.gateway,
			own.dns, netd_dhcp_state(stack));
	} else if (!strcmp(verb, "link") && count >= 1) {
		host->nic.nic.link_up = a;
		host->nic.nic.client.link(host->nic.nic.client.stack);
		say_result(answer, NETD_OK);
	} else if (!strcmp(verb, "as") && count >= 1) {
		application = a;
		say_result(answer, NETD_OK);
	} else if (!strcmp(verb, "listen") && count >= 3) {
		struct socket *new = new_socket();
		struct netd_tcp_owner owner = tcp_owner(new);

		say_socket(answer, netd_tcp_listen(stack, (struct netd_endpoint){a, (uint16_t)b}, c, &owner, &new->tcp),
			new);
	} else if (!strcmp(verb, "open")) {
		struct socket *new = new_socket();
		struct netd_tcp_owner owner = tcp_owner(new);

		say_socket(answer, netd_tcp_open(stack, &owner, &new->tcp), new);
	} else if (!strcmp(verb, "udp") && count >= 2) {
		struct socket *new = new_socket();
		struct netd_udp_owner owner = {.ready = udp_ready, .owner = new, .who = application};

		say_socket(
			answer, netd_udp_bind(stack, (struct netd_endpoint){a, (uint16_t)b}, &owner, &new->udp), new);
	} else if (!strcmp(verb, "resolve")) {
		strcpy(resolved, "error again");
		say_result(answer, netd_resolve(stack, rest, strlen(rest), name_resolved, NULL));
	} else if (!strcmp(verb, "resolved")) {
		say(answer, "%s", resolved);
	} else if (!strcmp(verb, "counters")) {
		say(answer, "ok");
		for (int i = 0; i < NETD_COUNTS; i++)
			say(answer, " %s=%" PRIu64, counter_names[i], netd_count(stack, (enum netd_counter)i));
	} else if (!strcmp(verb, "connections")) {
		say(answer, "ok");
		for (const struct netd_tcp *tcp = NULL; (tcp = netd_tcp_next(stack, tcp));) {
			say(answer, " ;");
			say_info(answer, tcp);
		}
	} else if (!strcmp(verb, "lent")) {
		say(answer, "ok %u", host->nic.lent);
	} else if (!strcmp(verb, "let-go")) {
		netd_let_go(stack);
		say(answer, "ok");
	} else if (!strcmp(verb, "audit")) {
		say(answer, "ok %s", audit(stack) ? audit(stack) : "whole");
	} else {
		return false;
	}
	return true;
}

size_t control(struct host *host, char *line, char *text, size_t most)
{
	struct answer answer = {text, most};
	char *rest = strchr(line, ' '), *end;
	unsigned long id;

	if (rest)
		*rest++ = 0;
	else
		rest = line + strlen(line);
	if (!stack_command(host, line, rest, &answer)) {
		id = strtoul(rest, &end, 0);
		if (end == rest || id >= SOCKETS || (!sockets[id].tcp && !sockets[id].udp))
			say_result(&answer, NETD_INVALID);
		else if (sockets[id].tcp)
			tcp_command(&sockets[id], line, end, &answer);
		else
			udp_command(&sockets[id], line, end, &answer);
	}
	return (size_t)(answer.at - text);
}
