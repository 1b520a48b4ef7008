/*
 * libFuzzer on the whole way in, TCP's above all. An input is a program: each step sends a segment of a connection whose numbers the
 * harness knows (moved a little by the input, checksums right), lets raw bytes in as a frame, makes a socket call, or lets time pass.
 * The peer is the input: it may do anything. What must hold: no finding of a sanitizer, frames are released, and the stack comes to
 * rest.
 */
#include "../../wire/arp.h"
#include "../../wire/tcp.h"

#include <netd/services.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum {
	OWN = 0x0a000001,
	PEER = 0x0a000002,
	PORT = 4000,
	STEPS = 400,
};

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};

struct input {
	const uint8_t *at;
	size_t left;
};

static struct netd *stack;
static struct netd_nic nic;
static struct netd_tcp *sockets[4];
static uint32_t next_seq, next_ack;
static uint16_t peer_port, own_port;
static int lent;
static bool busy;

static uint8_t take(struct input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

/* Follows what the stack sends on the connection that is talked about. */
static bool transmit(void *device, const struct netd_part *parts, unsigned count)
{
	uint8_t frame[65600];
	size_t bytes = 0;
	struct wire_ipv4 ip;
	struct wire_tcp tcp;

	(void)device;
	if (busy)
		return false;
	for (unsigned i = 0; i < count; i++) {
		memcpy(frame + bytes, parts[i].data, parts[i].bytes);
		bytes += parts[i].bytes;
	}
	if (bytes > 34 && frame[12] == 8 && !frame[13] &&
		wire_ipv4_parse(&ip, frame + 14, bytes - 14) == WIRE_IPV4_OK && ip.protocol == WIRE_PROTOCOL_TCP &&
		!ip.offset && wire_tcp_parse(&tcp, &ip) == WIRE_TCP_OK) {
		own_port = tcp.source;
		peer_port = tcp.destination;
		if (!(tcp.flags & WIRE_TCP_RST))
			next_ack = tcp.sequence + tcp.payload_bytes + !!(tcp.flags & WIRE_TCP_SYN) +
				!!(tcp.flags & WIRE_TCP_FIN);
		if (tcp.flags & WIRE_TCP_ACK)
			next_seq = tcp.acknowledgment;
	}
	return true;
}

static void release(void *owner, uint64_t id)
{
	(void)owner;
	lent--;
	free((void *)(uintptr_t)id);
}

static void receive(const uint8_t *bytes, size_t count)
{
	uint8_t *copy = malloc(count ? count : 1);
	struct netd_frame frame = {copy, count, release, NULL, (uint64_t)(uintptr_t)copy};

	memcpy(copy, bytes, count);
	lent++;
	nic.client.receive(nic.client.stack, &frame);
}

/* Without it no answer would leave, and no connection come about. */
static void introduce_peer(void)
{
	struct wire_arp arp = {.operation = WIRE_ARP_REPLY, .sender = PEER, .target = OWN};
	uint8_t frame[14 + WIRE_ARP_BYTES] = {0};

	memcpy(arp.sender_mac, peer_mac, 6);
	memcpy(frame, own_mac, 6);
	memcpy(frame + 6, peer_mac, 6);
	frame[12] = 8;
	frame[13] = 6;
	wire_arp_emit(frame + 14, &arp);
	receive(frame, sizeof(frame));
}

static void ready(void *owner, struct netd_tcp *socket, unsigned events)
{
	(void)owner;
	(void)socket;
	(void)events;
}

static size_t deliver(void *owner, struct netd_tcp *socket, struct netd_frame *frame, const uint8_t *data, size_t bytes)
{
	(void)owner;
	(void)socket;
	(void)frame;
	return bytes ? data[0] % (bytes + 1) : 0;
}

static const struct netd_tcp_owner owner = {.ready = ready, .deliver = deliver};

static void send_segment(struct input *input)
{
	uint8_t frame[1600] = {0}, *header = frame + 34;
	struct wire_ipv4 ip = {.source = PEER, .destination = OWN, .protocol = WIRE_PROTOCOL_TCP, .ttl = 64};
	uint8_t how = take(input), options = take(input);
	struct wire_tcp tcp = {.source = peer_port,
		.destination = own_port,
		.sequence = next_seq,
		.acknowledgment = next_ack,
		.flags = take(input),
		.window = (uint16_t)(take(input) << 8),
		.shift = -1};
	size_t bytes, text = how & 1 ? (size_t)take(input) << (how >> 1 & 3) : 0;

	if (how & 8) /* a stranger, or the other connections */
		tcp.source = (uint16_t)(1000 + (take(input) & 7)), tcp.destination = PORT;
	if (how & 16)
		tcp.sequence += (uint32_t)(int8_t)take(input) * 97;
	if (how & 32)
		tcp.acknowledgment += (uint32_t)(int8_t)take(input) * 97;
	if (how & 64)
		tcp.urgent = take(input);
	if (options & 1)
		tcp.mss = (uint16_t)(take(input) << 4);
	if (options & 2)
		tcp.shift = (int8_t)(take(input) & 15);
	tcp.sack_allowed = options & 4;
	if (options & 8) {
		tcp.timestamps = true;
		tcp.timestamp = 1000u + take(input);
		tcp.timestamp_echo = take(input);
	}
	while (options & 16 && tcp.sacks < 3) {
		uint32_t start = next_ack + take(input) * 100u - 12000;

		tcp.sack[tcp.sacks++] = (struct wire_tcp_range){start, start + take(input) * 100u};
		if (tcp.sacks == 2 && !(options & 32))
			break;
	}
	memcpy(frame, own_mac, 6);
	memcpy(frame + 6, peer_mac, 6);
	frame[12] = 8;
	bytes = wire_tcp_emit(header, &tcp);
	if (text > 1400)
		text = 1400;
	memset(header + bytes, how, text);
	ip.payload_bytes = (uint16_t)(bytes + text);
	ip.tos = options >> 6;
	wire_tcp_seal(header, bytes, &ip, header + bytes, text, NULL, 0);
	wire_ipv4_emit(frame + 14, &ip);
	receive(frame, 34 + bytes + text);
	/* The next one follows on, if the input lets it. */
	if (!(how & 128))
		next_seq = tcp.sequence + (uint32_t)text + !!(tcp.flags & WIRE_TCP_SYN) + !!(tcp.flags & WIRE_TCP_FIN);
}

static void send_raw(struct input *input)
{
	uint8_t frame[256];
	size_t bytes = take(input);

	for (size_t i = 0; i < bytes; i++)
		frame[i] = take(input);
	if (bytes >= 14) {
		memcpy(frame, own_mac, 6);
		memcpy(frame + 6, peer_mac, 6);
		frame[12] = 8;
		frame[13] &= 6;
	}
	receive(frame, bytes);
}

static void call(struct input *input)
{
	static const uint8_t text[3000];
	uint8_t verb = take(input);
	struct netd_tcp **socket = &sockets[1 + verb % 3];
	uint8_t buffer[2000];
	uint16_t amount = (uint16_t)(take(input) * 8);

	switch (verb >> 4) {
	case 0:
	case 1:
		if (!*socket)
			netd_tcp_accept(sockets[0], &owner, socket);
		break;
	case 2:
		if (!*socket && netd_tcp_open(stack, &owner, socket) == NETD_OK)
			netd_tcp_connect(*socket, (struct netd_endpoint){0}, (struct netd_endpoint){PEER, 80});
		break;
	case 3:
	case 4:
		if (*socket)
			netd_tcp_send(*socket, text, amount, verb & 3);
		break;
	case 5:
	case 6:
		if (*socket)
			netd_tcp_receive(*socket, buffer, amount < sizeof(buffer) ? amount : sizeof(buffer));
		break;
	case 7:
		if (*socket)
			netd_tcp_shutdown(*socket);
		break;
	case 8:
		if (*socket)
			netd_tcp_close(*socket);
		*socket = NULL;
		break;
	case 9:
		if (*socket)
			netd_tcp_abort(*socket);
		*socket = NULL;
		break;
	case 10:
		if (*socket)
			netd_tcp_set(*socket, (enum netd_tcp_option)(amount >> 3 & 15), take(input) * 100u);
		break;
	case 11:
		busy = true;
		break;
	default:
		if (busy) {
			busy = false;
			nic.client.room(nic.client.stack);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const struct netd_nic_driver driver = {.transmit = transmit};
	static uint8_t *memory, *services;
	struct netd_config config = {.limits = {.blocks = 12,
					     .connections = 4,
					     .send_bytes = 4096,
					     .receive_bytes = 4096,
					     .udp_sockets = 2,
					     .udp_bytes = 512,
					     .neighbours = 2,
					     .packets = 4,
					     .reassemblies = 1,
					     .routes = 1,
					     .path_mtus = 2,
					     .dns_queries = 1},
		.entropy = {1, 2, 3, 4},
		.ecn = bytes & 1};
	struct netd_address address = {OWN, 0xffffff00, 0, 0};
	struct input input = {data, bytes};
	netd_time now = NETD_S, due;
	size_t needed = netd_bytes(&config.limits);

	if (!memory) {
		memory = malloc(needed);
		services = malloc(netd_services_bytes(4));
	}
	nic = (struct netd_nic){.driver = &driver, .mtu = 1500, .link_up = true};
	memcpy(nic.mac, own_mac, 6);
	memset(sockets, 0, sizeof(sockets));
	busy = false;
	next_seq = 5000, next_ack = 0;
	peer_port = 1000, own_port = PORT;
	stack = netd_start(memory, needed, &config, &nic, now);
	if (!stack || netd_set_address(stack, &address) != NETD_OK ||
		netd_services_start(stack, services, 4) != NETD_OK ||
		netd_tcp_listen(stack, (struct netd_endpoint){0, PORT}, 2, &owner, &sockets[0]) != NETD_OK)
		abort();
	introduce_peer();
	for (int step = 0; step < STEPS && input.left; step++) {
		uint8_t what = take(&input);

		switch (what & 7) {
		case 0:
			send_raw(&input);
			break;
		case 1:
		case 2:
			call(&input);
			break;
		case 3: /* time: from a millisecond to half an hour */
			now += NETD_MS << (what >> 3 & 20);
			break;
		case 4: /* to the next deadline */
			due = netd_run(stack, now);
			if (due != NETD_NEVER && due > now)
				now = due;
			break;
		default:
			send_segment(&input);
		}
		netd_set_time(stack, now);
		if (what & 8)
			netd_run(stack, now);
	}
	/* Left alone it comes to rest: every timer ends some day. */
	busy = false;
	nic.client.room(nic.client.stack);
	for (unsigned i = 0; i < 4; i++) {
		if (sockets[i])
			netd_tcp_abort(sockets[i]);
	}
	for (int turns = 0; (due = netd_run(stack, now)) != NETD_NEVER; turns++) {
		if (turns > 2000)
			abort();
		if (due > now)
			now = due;
	}
	if (lent)
		abort();
	return 0;
}
