#include "peer.h"

#include "../../stack/tcp.h"
#include "../../wire/arp.h"
#include "../../wire/dhcp.h"
#include "../../wire/dns.h"
#include "../../wire/icmp.h"
#include "../../wire/udp.h"
#include "mend.h"

#include <sanitizer/asan_interface.h>

enum {
	HEAD = WIRE_ETHERNET_HEADER,
	REDZONE = 16,
	TEXT_MOST = 1400,
	LEASE = 600,
};

static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2},
		     everybody[6] = {255, 255, 255, 255, 255, 255};

struct peer peer;

/*
 * Frames on loan. Bytes that belong to no frame are poisoned, before it, behind it and after its release, which is what malloc() would
 * do, at a hundredth of its price.
 */
static struct {
	uint8_t before[REDZONE];
	uint8_t data[PEER_FRAME];
} slots[PEER_SLOTS];
static bool used[PEER_SLOTS];

static void release(void *owner, uint64_t id)
{
	(void)owner;
	if (!used[id])
		__builtin_trap();
	used[id] = false;
	ASAN_POISON_MEMORY_REGION(slots[id].data, PEER_FRAME);
}

unsigned peer_lent(void)
{
	unsigned lent = 0;

	for (unsigned i = 0; i < PEER_SLOTS; i++)
		lent += used[i];
	return lent;
}

void peer_forget(void)
{
	memset(used, 0, sizeof(used));
	ASAN_POISON_MEMORY_REGION(slots, sizeof(slots));
}

/* Lends a copy. With all slots taken it is lost on its way. */
static void lend(struct netd_nic *nic, const uint8_t *frame, size_t bytes)
{
	for (unsigned i = 0; i < PEER_SLOTS; i++) {
		struct netd_frame lent = {slots[i].data, bytes, release, NULL, i};

		if (used[i])
			continue;
		used[i] = true;
		ASAN_UNPOISON_MEMORY_REGION(slots[i].data, bytes);
		memcpy(slots[i].data, frame, bytes);
		if (bytes)
			slots[i].data[peer.damaged % bytes] ^= peer.damage;
		peer.damage = 0;
		nic->client.receive(nic->client.stack, &lent);
		return;
	}
}

static void ethernet(uint8_t *frame, uint16_t type, const uint8_t *to)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, peer_mac, 6);
	put16(frame + 12, type);
}

/* What the stack says that matters to what comes next. */
static void follow(const struct wire_ipv4 *ip)
{
	struct wire_tcp tcp;
	struct wire_udp udp;

	if (ip->offset || ip->more_fragments)
		return;
	peer.own = ip->source;
	if (ip->protocol == WIRE_PROTOCOL_TCP && wire_tcp_parse(&tcp, ip) == WIRE_TCP_OK) {
		peer.own_port = tcp.source;
		peer.port = tcp.destination;
		if (!(tcp.flags & WIRE_TCP_RST))
			peer.ack = tcp.sequence + tcp.payload_bytes + !!(tcp.flags & WIRE_TCP_SYN) +
				!!(tcp.flags & WIRE_TCP_FIN);
		if (tcp.flags & WIRE_TCP_ACK)
			peer.seq = tcp.acknowledgment;
		if (tcp.timestamps)
			peer.timestamp_echo = tcp.timestamp;
	} else if (ip->protocol == WIRE_PROTOCOL_UDP && wire_udp_parse(&udp, ip)) {
		if (udp.destination == WIRE_DHCP_SERVER_PORT && udp.payload_bytes >= 8)
			peer.transaction = get32(udp.payload + 4);
		if (udp.destination == WIRE_DNS_PORT && udp.payload_bytes <= PEER_QUESTION) {
			peer.question_port = udp.source;
			peer.question_bytes = udp.payload_bytes;
			memcpy(peer.question, udp.payload, udp.payload_bytes);
		}
	}
}

static bool transmit(void *device, const struct netd_part *parts, unsigned count)
{
	static uint8_t frame[PEER_FRAME];
	size_t bytes = 0;
	struct wire_ipv4 ip;

	(void)device;
	if (peer.nic_busy)
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (bytes + parts[i].bytes > sizeof(frame))
			__builtin_trap(); /* larger than the MTU that it was told */
		memcpy(frame + bytes, parts[i].data, parts[i].bytes);
		bytes += parts[i].bytes;
	}
	if (get16(frame + 12) != WIRE_TYPE_IPV4)
		return true;
	if (wire_ipv4_parse(&ip, frame + HEAD, bytes - HEAD) != WIRE_IPV4_OK)
		__builtin_trap();
	peer.quote_total = (uint16_t)(bytes - HEAD);
	peer.quote_bytes = peer.quote_total < PEER_QUOTE ? peer.quote_total : PEER_QUOTE;
	memcpy(peer.quote, frame + HEAD, peer.quote_bytes);
	follow(&ip);
	return true;
}

void peer_attach(struct netd_nic *nic)
{
	static const struct netd_nic_driver driver = {.transmit = transmit};

	*nic = (struct netd_nic){.driver = &driver, .mtu = 1500, .link_up = true};
	memcpy(nic->mac, own_mac, 6);
	ASAN_POISON_MEMORY_REGION(slots, sizeof(slots));
}

void peer_turn_to(const struct netd *stack, const struct netd_tcp *connection)
{
	peer.port = connection->remote.port;
	peer.own_port = connection->local.port;
	peer.seq = connection->rcv_nxt;
	peer.ack = connection->snd_nxt;
	peer.timestamp_echo = tcp_ts_now(stack, connection->ts_offset);
}

/* A datagram whose payload stands at frame + HEAD + WIRE_IPV4_HEADER already. */
static void send_datagram(struct netd_nic *nic, uint8_t *frame, struct wire_ipv4 *ip)
{
	if (!ip->ttl)
		ip->ttl = 64;
	ethernet(frame, WIRE_TYPE_IPV4, ip->destination == UINT32_MAX ? everybody : own_mac);
	wire_ipv4_emit(frame + HEAD, ip);
	mend_payload(ip, frame + HEAD + WIRE_IPV4_HEADER, ip->payload_bytes);
	lend(nic, frame, HEAD + WIRE_IPV4_HEADER + (size_t)ip->payload_bytes);
}

const uint8_t *peer_text(uint32_t sequence)
{
	static uint8_t all[(UINT16_MAX + 1) + PEER_TEXT];

	if (!all[1]) {
		for (uint32_t i = 0; i < sizeof(all); i++)
			all[i] = (uint8_t)(i ^ i >> 8);
	}
	return all + (uint16_t)sequence;
}

static void send_tcp(struct netd_nic *nic, const struct wire_tcp *tcp, uint8_t tos, size_t text)
{
	uint8_t frame[PEER_FRAME], *header = frame + HEAD + WIRE_IPV4_HEADER;
	struct wire_ipv4 ip = {
		.source = PEER_ADDRESS, .destination = peer.own, .protocol = WIRE_PROTOCOL_TCP, .tos = tos};
	size_t bytes;

	memset(header, 0, WIRE_TCP_HEADER_LIMIT);
	bytes = wire_tcp_emit(header, tcp);
	memcpy(header + bytes, peer_text(tcp->sequence + !!(tcp->flags & WIRE_TCP_SYN)), text);
	ip.payload_bytes = (uint16_t)(bytes + text);
	send_datagram(nic, frame, &ip);
}

static uint32_t moved(struct input *input)
{
	return (uint32_t)(int8_t)take(input) * 97;
}

void peer_segment(struct netd_nic *nic, struct input *input)
{
	uint8_t how = take(input), options = take(input);
	struct wire_tcp tcp = {.source = peer.port,
		.destination = peer.own_port,
		.sequence = peer.seq,
		.acknowledgment = peer.ack,
		.flags = take(input),
		.window = (uint16_t)(take(input) << 8),
		.shift = -1};
	size_t text = how & 1 ? (size_t)take(input) << (how >> 1 & 3) : 0;

	if (how & 8) { /* a stranger, or one of the other connections */
		uint8_t who = take(input);
		static const uint16_t ports[] = {PEER_PORT, 7, 9, 19};

		tcp.source = (uint16_t)(1000 + (who & 7));
		tcp.destination = ports[who >> 6];
	}
	if (how & 16)
		tcp.sequence += moved(input);
	if (how & 32)
		tcp.acknowledgment += moved(input);
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
		tcp.timestamp_echo = peer.timestamp_echo;
	}
	while (options & 16 && tcp.sacks < 3) {
		uint32_t end = peer.ack - (uint32_t)take(input) * 100;

		tcp.sack[tcp.sacks++] = (struct wire_tcp_range){end - (uint32_t)take(input) * 100, end};
		if (!(options & 32))
			break;
	}
	if (text > TEXT_MOST)
		text = TEXT_MOST;
	send_tcp(nic, &tcp, options >> 6, text);
	/* The next one follows on, if the input lets it. */
	if (!(how & 128))
		peer.seq = tcp.sequence + (uint32_t)text + !!(tcp.flags & WIRE_TCP_SYN) + !!(tcp.flags & WIRE_TCP_FIN);
}

void peer_syn(struct netd_nic *nic, uint16_t from, uint16_t to, bool options)
{
	struct wire_tcp tcp = {.source = from,
		.destination = to,
		.sequence = 5000,
		.flags = WIRE_TCP_SYN,
		.window = 32768,
		.mss = 1460,
		.shift = options ? 2 : -1,
		.sack_allowed = options,
		.timestamps = options,
		.timestamp = 1000};

	send_tcp(nic, &tcp, 0, 0);
}

void peer_answer(struct netd_nic *nic, bool options)
{
	struct wire_tcp tcp = {.source = peer.port,
		.destination = peer.own_port,
		.sequence = peer.seq,
		.acknowledgment = peer.ack,
		.flags = WIRE_TCP_ACK,
		.window = 32768,
		.shift = -1,
		.timestamps = options,
		.timestamp = 1000,
		.timestamp_echo = peer.timestamp_echo};

	send_tcp(nic, &tcp, 0, 0);
}

void peer_acknowledge(struct netd_nic *nic, const struct netd_tcp *connection, struct input *input)
{
	uint8_t how = take(input), where = take(input);
	uint32_t flight = connection->snd_nxt - connection->snd_una;
	struct wire_tcp tcp = {.source = connection->remote.port,
		.destination = connection->local.port,
		.sequence = connection->rcv_nxt,
		.acknowledgment = connection->snd_una + flight * (how & 7) / 8,
		.flags = WIRE_TCP_ACK | (how & 128 ? WIRE_TCP_ECE : 0),
		.window = (uint16_t)(connection->snd_wnd >> (connection->scaled ? connection->snd_shift : 0)),
		.shift = -1,
		.timestamps = connection->timestamps,
		.timestamp = connection->ts_recent,
		.timestamp_echo = tcp_ts_now(connection->stack, connection->ts_offset)};

	peer.own = connection->local.address;
	for (unsigned times = how >> 3 & 3; times <= 3; times++) {
		if (how & 32) {
			tcp.sacks = 1;
			tcp.sack[0].start = tcp.acknowledgment + flight * (where & 15) / 16;
			tcp.sack[0].end = tcp.sack[0].start + 1 + flight * (where >> 4) / 64;
			where += 0x23;
		}
		send_tcp(nic, &tcp, 0, 0);
	}
}

void peer_raw(struct netd_nic *nic, struct input *input)
{
	uint8_t frame[512], how = take(input);
	size_t bytes = take(input);

	peer.wild = true;
	for (size_t i = 0; i < bytes; i++)
		frame[i] = take(input);
	if (how & 1 && bytes >= HEAD) { /* else not even Ethernet's header is right */
		ethernet(frame,
			how & 2           ? WIRE_TYPE_IPV4
				: how & 4 ? WIRE_TYPE_ARP
					  : get16(frame + 12),
			how & 8 ? everybody : own_mac);
		if (how & 16 && bytes >= HEAD + WIRE_IPV4_HEADER) {
			put32(frame + HEAD + 12, PEER_ADDRESS);
			put32(frame + HEAD + 16, peer.own);
		}
		if (how & 2)
			mend_datagram(frame + HEAD, bytes - HEAD);
	}
	lend(nic, frame, bytes);
}

/* Addresses that matter to somebody. */
static uint32_t address(uint8_t which)
{
	static const uint32_t all[] = {PEER_ADDRESS, PEER_OWN, PEER_GATEWAY, PEER_DNS, 0, UINT32_MAX, 0x0a0000ff,
		0xe0000001, 0x7f000001, 0xc0000201, 0x0a000003, 0x0a000004, 0x0a000005};

	which &= 15;
	return which < sizeof(all) / sizeof(*all) ? all[which] : which & 1 ? peer.own : peer.offer;
}

static void send_arp(struct netd_nic *nic, uint16_t operation, uint32_t sender, uint32_t target, const uint8_t *mac)
{
	struct wire_arp arp = {.operation = operation, .sender = sender, .target = target};
	uint8_t frame[HEAD + WIRE_ARP_BYTES];

	memcpy(arp.sender_mac, mac, 6);
	ethernet(frame, WIRE_TYPE_ARP, own_mac);
	wire_arp_emit(frame + HEAD, &arp);
	lend(nic, frame, sizeof(frame));
}

void peer_arp(struct netd_nic *nic, struct input *input)
{
	uint8_t how = take(input), who = take(input);

	send_arp(nic, how & 1 ? WIRE_ARP_REPLY : WIRE_ARP_REQUEST, address(who), address(who >> 4),
		how & 2           ? own_mac
			: how & 4 ? everybody
				  : peer_mac);
}

/* Without it no answer would leave, and no connection come about. */
void peer_introduce(struct netd_nic *nic, uint32_t at)
{
	send_arp(nic, WIRE_ARP_REPLY, at, PEER_OWN, peer_mac);
}

/* UDP, ICMP, or a protocol that nobody knows; whole, or a fragment. */
void peer_datagram(struct netd_nic *nic, struct input *input)
{
	uint8_t frame[PEER_FRAME], how = take(input), who = take(input), *payload = frame + HEAD + WIRE_IPV4_HEADER;
	struct wire_ipv4 ip = {.source = address(who), .destination = address(who >> 4), .tos = how >> 6};
	static const uint16_t ports[] = {7, 68, 53, 5000};
	static const uint8_t types[] = {WIRE_ICMP_ECHO, WIRE_ICMP_REDIRECT, WIRE_ICMP_SOURCE_QUENCH, 13};
	size_t bytes = 8 + ((size_t)take(input) << (how >> 4 & 3));
	uint8_t text = take(input);

	if (bytes > TEXT_MOST)
		bytes = TEXT_MOST;
	memset(payload, text, bytes);
	if (how & 8) {
		ip.id = text & 3;
		ip.more_fragments = text & 4;
		ip.offset = (uint16_t)(take(input) * 8 << (text & 8 ? 5 : 0));
		if (text & 16)
			bytes &= ~(size_t)7;
	}
	ip.payload_bytes = (uint16_t)bytes;
	if ((how & 3) == 0) {
		ip.protocol = WIRE_PROTOCOL_ICMP;
		payload[0] = types[text & 3];
	} else if ((how & 3) == 3) {
		ip.protocol = 47;
	} else {
		ip.protocol = WIRE_PROTOCOL_UDP;
		put16(payload, (uint16_t)(how & 4 ? 7 : 2000 + (text & 3)));
		put16(payload + 2, ports[text >> 4 & 3]);
		put16(payload + 4, (uint16_t)(text & 128 ? take(input) : bytes));
	}
	send_datagram(nic, frame, &ip);
}

void peer_report(struct netd_nic *nic, struct input *input)
{
	static const uint8_t types[] = {WIRE_ICMP_UNREACHABLE, WIRE_ICMP_TIME_EXCEEDED, WIRE_ICMP_PARAMETER_PROBLEM, 3};
	uint8_t frame[PEER_FRAME], how = take(input), *payload = frame + HEAD + WIRE_IPV4_HEADER;
	struct wire_ipv4 ip = {.source = PEER_GATEWAY, .destination = peer.own, .protocol = WIRE_PROTOCOL_ICMP};
	size_t quoted = how & 16 ? take(input) : peer.quote_bytes;

	payload[0] = types[how & 3];
	payload[1] = how >> 2 & 3;
	if (how & 128)
		payload[1] = WIRE_ICMP_FRAGMENTATION_NEEDED;
	put32(payload + 4, how & 32 ? take16(input) : 0);
	if (quoted > peer.quote_bytes)
		quoted = peer.quote_bytes;
	memcpy(payload + 8, peer.quote, quoted);
	if (how & 64 && quoted)
		payload[8 + take(input) % quoted] ^= take(input);
	ip.payload_bytes = (uint16_t)(8 + quoted);
	send_datagram(nic, frame, &ip);
}

static void send_udp(struct netd_nic *nic, uint8_t *frame, uint32_t source, uint32_t destination, uint16_t from,
	uint16_t to, size_t bytes)
{
	uint8_t *payload = frame + HEAD + WIRE_IPV4_HEADER;
	struct wire_ipv4 ip = {.source = source, .destination = destination, .protocol = WIRE_PROTOCOL_UDP};

	put16(payload, from);
	put16(payload + 2, to);
	put16(payload + 4, (uint16_t)(WIRE_UDP_HEADER + bytes));
	ip.payload_bytes = (uint16_t)(WIRE_UDP_HEADER + bytes);
	send_datagram(nic, frame, &ip);
}

static uint8_t *put_option(uint8_t *at, uint8_t option, uint32_t value)
{
	at[0] = option;
	at[1] = 4;
	put32(at + 2, value);
	return at + 6;
}

/* A server's message: the options whose bits are set in `which`. Returns where it ends. */
static uint8_t *dhcp_message(uint8_t *at, uint8_t type, uint8_t which, uint32_t lease)
{
	struct wire_dhcp message = {.type = type, .transaction = peer.transaction};

	memcpy(message.mac, own_mac, 6);
	wire_dhcp_emit(at, &message);
	at[0] = 2; /* BOOTREPLY */
	put32(at + 16, peer.offer);
	at += 243; /* behind the type */
	if (which & 1)
		at = put_option(at, 54, peer.server);
	if (which & 2)
		at = put_option(at, 51, lease);
	if (which & 4)
		at = put_option(at, 1, PEER_MASK);
	if (which & 8)
		at = put_option(at, 3, PEER_GATEWAY);
	if (which & 16)
		at = put_option(at, 6, PEER_DNS);
	if (which & 32)
		at = put_option(at, 58, lease / 4);
	if (which & 64)
		at = put_option(at, 59, lease / 2);
	return at;
}

void peer_dhcp(struct netd_nic *nic, struct input *input)
{
	static const uint8_t types[] = {WIRE_DHCP_OFFER, WIRE_DHCP_ACK, WIRE_DHCP_NAK, WIRE_DHCP_DISCOVER};
	static const uint32_t leases[] = {LEASE, 1, 30, UINT32_MAX};
	uint8_t frame[PEER_FRAME], *begin = frame + HEAD + WIRE_IPV4_HEADER + WIRE_UDP_HEADER, *at;
	uint8_t how = take(input), which = take(input);

	if (how & 16)
		peer.offer = address(take(input));
	if (how & 32)
		peer.server ^= 1;
	at = dhcp_message(begin, types[how & 3], which, leases[how >> 2 & 3]);
	if (how & 64) { /* whatever the input wants behind it */
		for (unsigned left = take(input) & 31; left; left--)
			*at++ = take(input);
	}
	*at++ = 255;
	if (which & 128)
		begin[take(input)] ^= take(input);
	send_udp(nic, frame, PEER_GATEWAY, how & 128 ? peer.offer : UINT32_MAX, WIRE_DHCP_SERVER_PORT,
		WIRE_DHCP_CLIENT_PORT, (size_t)(at - begin));
}

void peer_lease(struct netd_nic *nic, uint8_t type)
{
	uint8_t frame[PEER_FRAME], *begin = frame + HEAD + WIRE_IPV4_HEADER + WIRE_UDP_HEADER;
	uint8_t *at = dhcp_message(begin, type, 1 | 2 | 4 | 8 | 16, LEASE);

	*at++ = 255;
	send_udp(nic, frame, PEER_GATEWAY, UINT32_MAX, WIRE_DHCP_SERVER_PORT, WIRE_DHCP_CLIENT_PORT,
		(size_t)(at - begin));
}

/* The question comes back, with records behind it. */
void peer_dns(struct netd_nic *nic, struct input *input)
{
	uint8_t frame[PEER_FRAME], *begin = frame + HEAD + WIRE_IPV4_HEADER + WIRE_UDP_HEADER, *at = begin;
	uint8_t how = take(input), records = how & 3;

	memcpy(begin, peer.question, peer.question_bytes);
	if (peer.question_bytes < 12)
		memset(begin, 0, 12);
	at += peer.question_bytes < 12 ? 12 : peer.question_bytes;
	put16(begin + 2, (uint16_t)(0x8180 | (how & 4 ? take(input) & 15 : 0) | (how & 8 ? 0x200 : 0)));
	put16(begin + 6, records);
	for (unsigned i = 0; i < records; i++) {
		uint8_t kind = take(input);
		uint16_t length = kind & 1 ? 4 : 2;

		put16(at, 0xc000 | (kind & 2 ? take(input) : 12)); /* a pointer: most often to the question's name */
		put16(at + 2, kind & 1 ? 1 : kind & 4 ? 5 : take(input));
		put16(at + 4, 1);
		put32(at + 6, 60);
		put16(at + 10, kind & 8 ? take(input) : length);
		at += 12;
		if (kind & 1)
			put32(at, 0xc0000200 | take(input));
		else
			put16(at, 0xc000 | (uint16_t)(kind & 16 ? take(input) : at - begin - 12));
		at += length;
	}
	if (how & 16)
		begin[take(input) % (at - begin)] ^= take(input);
	send_udp(nic, frame, how & 32 ? PEER_ADDRESS : PEER_DNS, peer.own, WIRE_DNS_PORT, peer.question_port,
		(size_t)(at - begin));
}
