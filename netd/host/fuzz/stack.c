/*
 * libFuzzer on the whole way in. An input is a program: its first byte chooses what has happened already (a connection, a lease, a
 * backlog that is full), the second how it ends, each step then sends a frame that belongs to it (peer.c), makes a call, or lets time pass. The peer
 * may do anything. What must hold: no finding of a sanitizer, the audit after each input, every frame is released, and the stack comes
 * to rest when it is left alone.
 */
#include "../audit.h"
#include "owner.h"
#include "peer.h"
#include "snapshot.h"

#include <netd/services.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum {
	STEPS = 100,
	SESSIONS = 3, /* of the services */
	TURNS = 3000, /* until the stack has come to rest */
	SERVICES = 3, /* listeners of theirs */
	UDP_SOCKETS = 2,
};

enum mode {
	MODE_PLAIN, /* an address, a listener, the services */
	MODE_ACCEPTED,
	MODE_ACCEPTED_PLAIN, /* without options */
	MODE_SENDING,
	MODE_SENDING_PLAIN,
	MODE_SERVICES, /* echo, discard and chargen have a connection each */
	MODE_CONNECTING,
	MODE_BACKLOG_FULL,
	MODE_DISCOVERING,
	MODE_LEASED,
	MODE_SMALL_MTU, /* and ECN */
	MODES,
};

/* All that changes beside the stack itself: put back by a copy. */
static struct world {
	struct netd_nic nic;
	struct netd_udp *udp[UDP_SOCKETS];
	netd_time now;
} world;

static struct netd *stack;
static uint8_t *memory, *services;
static const uint8_t text[3000]; /* that is sent */
static struct {
	struct snapshot *stack;
	struct world world;
	struct peer peer;
	struct owner owner;
	uint8_t *services;
} modes[MODES];

static const struct netd_limits limits = {.blocks = 12,
	.connections = 4,
	.send_bytes = 4096,
	.receive_bytes = 4096,
	.frames = 5,
	.udp_sockets = 3,
	.udp_bytes = 512,
	.neighbours = 3,
	.packets = 4,
	.reassemblies = 2,
	.routes = 1,
	.path_mtus = 2,
	.dns_queries = 2};

static void hold_up(const char *what)
{
	fprintf(stderr, "%s\n", what);
	abort();
}

static void check(void)
{
	const char *broken = audit(stack);

	if (broken)
		hold_up(broken);
}

static bool udp_deliver(void *context, struct netd_udp *socket, struct netd_endpoint from, struct netd_endpoint to,
	const uint8_t *data, size_t bytes)
{
	(void)context;
	(void)socket;
	(void)from;
	(void)to;
	return bytes && data[0] & 1;
}

static void udp_ready(void *context, struct netd_udp *socket)
{
	uint8_t buffer[100];
	struct netd_endpoint from;

	(void)context;
	if (owner.eager)
		netd_udp_receive(socket, &from, buffer, sizeof(buffer));
}

static void resolved(void *context, uint32_t address, int result)
{
	(void)context;
	if ((result == NETD_OK) != (address != 0) && result == NETD_OK)
		hold_up("a name's address is 0");
}

static const struct netd_udp_owner udp_owner = {.ready = udp_ready, .deliver = udp_deliver, .who = 1};

static void run(void)
{
	netd_run(stack, world.now);
	owner_attend();
}

static void open_connection(struct netd_tcp **socket, uint32_t to)
{
	if (!*socket && netd_tcp_open(stack, &owner_of_tcp, socket) == NETD_OK)
		netd_tcp_connect(*socket, (struct netd_endpoint){0}, (struct netd_endpoint){to, PEER_PORT});
}

static void connect_peer(uint16_t from, uint16_t to, bool options)
{
	peer_syn(&world.nic, from, to, options);
	peer_answer(&world.nic, options);
	run();
}

/* Brings a fresh stack into a mode. */
static void prepare(enum mode mode)
{
	struct netd_config config = {
		.limits = limits, .entropy = {1, 2, 3, 4}, .ecn = mode == MODE_SMALL_MTU || mode == MODE_CONNECTING};
	struct netd_address address = {PEER_OWN, PEER_MASK, PEER_GATEWAY, PEER_DNS};
	bool leased = mode == MODE_DISCOVERING || mode == MODE_LEASED;

	memset(&world, 0, sizeof(world));
	world.now = NETD_S;
	memset(&peer, 0, sizeof(peer));
	memset(&owner, 0, sizeof(owner));
	peer.port = 1000;
	peer.own_port = PEER_PORT;
	peer.own = peer.offer = PEER_OWN;
	peer.server = PEER_GATEWAY;
	peer.seq = 5000;
	peer_attach(&world.nic);
	if (mode == MODE_SMALL_MTU)
		world.nic.mtu = 576;
	stack = netd_start(memory, netd_bytes(&limits), &config, &world.nic, world.now);
	if (!stack || (!leased && netd_set_address(stack, &address) != NETD_OK) ||
		netd_services_start(stack, services, SESSIONS) != NETD_OK ||
		netd_tcp_listen(stack, (struct netd_endpoint){0, PEER_PORT}, 2, &owner_of_tcp, &owner.tcp[0]) !=
			NETD_OK)
		abort();
	if (leased) {
		netd_dhcp_start(stack);
		world.now += NETD_S;
		run();
		if (mode == MODE_DISCOVERING)
			return;
		peer_lease(&world.nic, 2);
		run();
		peer_lease(&world.nic, 5);
		world.now += 2 * NETD_S;
		run();
		peer_introduce(&world.nic, PEER_GATEWAY);
	}
	peer_introduce(&world.nic, PEER_ADDRESS);
	run();
	switch (mode) {
	case MODE_CONNECTING:
		open_connection(&owner.tcp[1], PEER_ADDRESS);
		break;
	case MODE_BACKLOG_FULL:
		for (uint16_t port = 1001; port < 1004; port++)
			peer_syn(&world.nic, port, PEER_PORT, true);
		break;
	case MODE_SERVICES:
		connect_peer(1007, 7, true);
		connect_peer(1009, 9, true);
		connect_peer(1019, 19, false);
		break;
	case MODE_ACCEPTED:
	case MODE_ACCEPTED_PLAIN:
	case MODE_SENDING:
	case MODE_SENDING_PLAIN:
	case MODE_SMALL_MTU:
		connect_peer(1000, PEER_PORT, mode != MODE_ACCEPTED_PLAIN && mode != MODE_SENDING_PLAIN);
		netd_tcp_accept(owner.tcp[0], &owner_of_tcp, &owner.tcp[1]);
		netd_tcp_set(owner.tcp[1], NETD_NO_DELAY, 1);
		for (int i = 0; i < 12 && (mode == MODE_SENDING || mode == MODE_SENDING_PLAIN); i++) {
			netd_tcp_send(owner.tcp[1], text, 200, 0); /* a segment each */
			run();
		}
		break;
	default:
		break;
	}
	run();
}

static void start(void)
{
	memory = malloc(netd_bytes(&limits));
	services = malloc(netd_services_bytes(SESSIONS));
	for (int i = 0; i < MODES; i++) {
		prepare((enum mode)i);
		check();
		if (peer_lent())
			hold_up("a snapshot holds frames, which are no part of it");
		modes[i].stack = snapshot_take(stack);
		modes[i].world = world;
		modes[i].peer = peer;
		modes[i].owner = owner;
		modes[i].services = malloc(netd_services_bytes(SESSIONS));
		memcpy(modes[i].services, services, netd_services_bytes(SESSIONS));
	}
}

static void restore(enum mode mode)
{
	snapshot_restore(modes[mode].stack);
	world = modes[mode].world;
	peer = modes[mode].peer;
	owner = modes[mode].owner;
	memcpy(services, modes[mode].services, netd_services_bytes(SESSIONS));
}

static void tcp_call(struct input *input)
{
	uint8_t verb = take(input);
	unsigned which = verb % OWNER_SOCKETS;
	struct netd_tcp **socket = &owner.tcp[which];
	uint16_t amount = (uint16_t)(take(input) * 8);
	struct netd_tcp_info info;
	const void *data;

	if (socket == &owner.tcp[0] &&
		(verb >> 4 == 8 || verb >> 4 == 9)) { /* the listener stays; here is another one */
		if (!owner.tcp[1])
			netd_tcp_listen(stack, (struct netd_endpoint){0, PEER_PORT + (verb >> 4 & 1)}, amount,
				&owner_of_tcp, &owner.tcp[1]);
		return;
	}
	if (verb >> 4 < 3) {
		if (verb >> 4 == 2)
			open_connection(socket, verb & 8 ? 0x7f000001 : verb & 4 ? peer.own : PEER_ADDRESS);
		else if (!*socket)
			netd_tcp_accept(owner.tcp[0], &owner_of_tcp, socket);
		return;
	}
	if (!*socket)
		return;
	switch (verb >> 4) {
	case 3:
	case 4:
		netd_tcp_send(*socket, text, amount, verb & 3);
		break;
	case 5:
		owner_receive(which, amount);
		break;
	case 6:
		netd_tcp_peek(*socket, 0, &data);
		netd_tcp_consume(*socket, amount);
		break;
	case 7:
		netd_tcp_shutdown(*socket);
		break;
	case 8:
		netd_tcp_close(*socket);
		owner_gone(which);
		break;
	case 9:
		netd_tcp_abort(*socket);
		owner_gone(which);
		break;
	case 10:
	case 11:
		netd_tcp_set(*socket, (enum netd_tcp_option)(amount >> 3 & 15), take(input) * (verb & 16 ? 100u : 1u));
		break;
	case 12: /* a credit, or one RECEIVE */
		if (which && verb & 4)
			owner_pass(which, amount);
		else
			owner.credit[which] += amount;
		break;
	case 13: /* the application reads what it was given */
		owner.room += amount;
		owner_give_back(verb >> 2);
		break;
	case 14:
		if (verb & 8)
			owner.direct = true;
		else if (verb & 4)
			owner_leave(stack);
		else
			owner.credit[which] = 0;
		break;
	default:
		netd_tcp_get_info(*socket, &info);
		netd_tcp_get(*socket, (enum netd_tcp_option)(amount >> 3 & 15));
		netd_tcp_error(*socket);
		netd_tcp_soft_error(*socket);
		netd_tcp_ready(*socket);
	}
}

static void udp_call(struct input *input)
{
	uint8_t verb = take(input), buffer[64];
	struct netd_udp **socket = &world.udp[verb % UDP_SOCKETS];
	struct netd_endpoint from = {verb & 8 ? 0x7f000001 : PEER_ADDRESS, 5000};

	if (!*socket) {
		netd_udp_bind(stack, (struct netd_endpoint){verb & 4 ? peer.own : 0, verb & 8 ? 5000 : 0}, &udp_owner,
			socket);
		return;
	}
	switch (verb >> 5) {
	case 0:
		netd_udp_close(*socket);
		*socket = NULL;
		break;
	case 1:
		netd_udp_set(*socket, (enum netd_tcp_option)take(input), take(input));
		break;
	case 2:
	case 3:
		netd_udp_receive(*socket, &from, buffer, sizeof(buffer));
		break;
	default:
		netd_udp_send(*socket, verb & 16 ? peer.own : 0, from, text, (size_t)take(input) * 8);
		netd_udp_local(*socket);
	}
}

static void stack_call(struct input *input)
{
	static const char *const names[] = {"a.example", "", "a..b", "www.a.very.long.name.of.a.host.example."};
	uint8_t verb = take(input);
	struct netd_address address = {PEER_OWN, PEER_MASK, PEER_GATEWAY, PEER_DNS};

	switch (verb & 7) {
	case 0:
	case 1:
		netd_resolve(stack, names[verb >> 3 & 3], strlen(names[verb >> 3 & 3]), resolved, NULL);
		break;
	case 2:
		address.address += verb >> 7;
		netd_set_address(stack, &address);
		break;
	case 3:
		if (verb & 8)
			netd_dhcp_renew(stack);
		else if (verb & 16)
			netd_dhcp_release(stack);
		else
			netd_dhcp_start(stack);
		break;
	case 4:
		netd_add_route(stack, 0xc0000000, 0xff000000 << (verb >> 3 & 7), PEER_GATEWAY + (verb >> 6));
		break;
	case 5:
		world.nic.link_up = verb & 8;
		world.nic.client.link(world.nic.client.stack);
		break;
	case 6:
		peer.nic_busy = true;
		break;
	default:
		netd_get_address(stack, &address);
		netd_count(stack, (enum netd_counter)(verb >> 3));
		netd_dhcp_state(stack);
		peer.nic_busy = false;
		world.nic.client.room(world.nic.client.stack);
		owner_give_back(verb >> 3);
	}
}

static const struct netd_tcp *connection(unsigned which)
{
	const struct netd_tcp *tcb = NULL;

	while ((tcb = netd_tcp_next(stack, tcb)) && which--)
		;
	return tcb;
}

static void step(struct input *input)
{
	uint8_t what = take(input);
	const struct netd_tcp *of;
	netd_time due;

	if ((what & 0x70) == 0x70) {
		peer.damage = take(input);
		peer.damaged = take(input);
	}
	switch (what & 15) {
	case 0:
		peer_raw(&world.nic, input);
		break;
	case 1:
		peer_arp(&world.nic, input);
		break;
	case 2:
		peer_datagram(&world.nic, input);
		break;
	case 3:
		peer_report(&world.nic, input);
		break;
	case 4:
		peer_dhcp(&world.nic, input);
		break;
	case 5:
		peer_dns(&world.nic, input);
		break;
	case 6:
	case 7:
		tcp_call(input);
		break;
	case 8:
		udp_call(input);
		break;
	case 9:
		stack_call(input);
		break;
	case 10: /* time: from a millisecond to half an hour */
		world.now += NETD_MS << (what >> 3 & 20);
		break;
	case 12:
	case 13:
		of = connection(what >> 4 & 7);
		if (of && (what & 1))
			peer_acknowledge(&world.nic, of, input);
		else if (of)
			peer_turn_to(stack, of);
		break;
	case 11: /* to the next deadline */
		due = netd_run(stack, world.now);
		if (due != NETD_NEVER && due > world.now)
			world.now = due;
		break;
	default:
		peer_segment(&world.nic, input);
	}
	netd_set_time(stack, world.now);
	if (what & 128)
		run();
}

/* Left alone it comes to rest, and nothing is left of what was: every timer ends some day. */
static void come_to_rest(void)
{
	struct netd_address none = {0};
	const struct netd_tcp *tcb = NULL;
	unsigned blocks = 0;
	netd_time due;

	owner.eager = 0;
	world.nic.link_up = true;
	peer.nic_busy = false;
	world.nic.client.room(world.nic.client.stack);
	for (unsigned i = 0; i < OWNER_SOCKETS; i++) {
		if (!owner.tcp[i])
			continue;
		netd_tcp_abort(owner.tcp[i]);
		owner_gone(i);
	}
	for (unsigned i = 0; i < UDP_SOCKETS; i++) {
		if (world.udp[i])
			netd_udp_close(world.udp[i]);
	}
	netd_set_address(stack, &none);
	for (int turns = 0; (due = netd_run(stack, world.now)) != NETD_NEVER; turns++) {
		if (turns > TURNS)
			hold_up("the stack does not come to rest");
		if (due > world.now)
			world.now = due;
	}
	while ((tcb = netd_tcp_next(stack, tcb)))
		blocks++;
	if (blocks != SERVICES)
		hold_up("a connection is left that nobody holds");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input input = {data, bytes};
	uint8_t how = take(&input), then = take(&input);

	if (!memory)
		start();
	restore((enum mode)(how % MODES));
	owner_behave((uint8_t)((then & 1) | (then >> 1 & 30)));
	for (int steps = 0; steps < STEPS && input.left; steps++)
		step(&input);
	run();
	check();
	if (then & 2) {
		come_to_rest();
		check();
	}
	if (peer_lent() != audit_frames(stack) + owner.lent)
		hold_up("a frame was not released");
	peer_forget();
	return 0;
}
