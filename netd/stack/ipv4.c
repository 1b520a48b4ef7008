/* IPv4: what is for us (RFC 1122, 3.2.1.3), where things go (3.3.1), fragments out, path MTUs (RFC 1191). */
#include "core.h"

enum {
	TTL = 64,
	PATH_MTU_LEAST = 552, /* less is not believed: segments of that size leave without DF instead */
};

static const netd_time PATH_MTU_FOR = 600 * NETD_S; /* RFC 1191, 6.3: ten minutes are recommended */

bool ipv4_is_ours(const struct netd *stack, uint32_t address)
{
	return (address && address == stack->net.address) || ipv4_is_loopback(address);
}

bool ipv4_is_broadcast(const struct netd *stack, uint32_t address)
{
	uint32_t hosts = ~stack->net.mask;

	/* RFC 3021: a network of two has no broadcast address. */
	return address == UINT32_MAX ||
		(stack->net.address && hosts > 1 && (address | hosts) == address &&
			((address ^ stack->net.address) & stack->net.mask) == 0);
}

/* RFC 1122, 3.3.1.1: on the link, by the longest route, or by the gateway. 0: no way. */
static uint32_t next_hop(const struct netd *stack, uint32_t destination)
{
	uint32_t gateway = stack->net.gateway, longest = 0;

	if (ipv4_is_broadcast(stack, destination) || ipv4_is_multicast(destination))
		return destination;
	if (!stack->net.address)
		return 0;
	if (((destination ^ stack->net.address) & stack->net.mask) == 0)
		return destination;
	for (unsigned i = 0; i < stack->route_count; i++) {
		const struct route *route = &stack->routes[i];

		if (((destination ^ route->network) & route->mask) == 0 && route->mask >= longest) {
			longest = route->mask;
			gateway = route->gateway;
		}
	}
	return gateway;
}

int netd_add_route(struct netd *stack, uint32_t network, uint32_t mask, uint32_t gateway)
{
	if ((~mask & (~mask + 1)) || network & ~mask || !stack->net.address ||
		(gateway ^ stack->net.address) & stack->net.mask || gateway == stack->net.address)
		return NETD_INVALID;
	if (stack->route_count == stack->limits.routes)
		return NETD_NO_ROOM;
	stack->routes[stack->route_count++] = (struct route){network, mask, gateway};
	return NETD_OK;
}

uint32_t ipv4_source(const struct netd *stack, uint32_t destination)
{
	if (ipv4_is_ours(stack, destination))
		return destination;
	return next_hop(stack, destination) ? stack->net.address : 0;
}

void ipv4_doubt(struct netd *stack, uint32_t destination)
{
	arp_doubt(stack, next_hop(stack, destination));
}

static struct path_mtu *find_path(struct netd *stack, uint32_t destination)
{
	for (unsigned i = 0; i < stack->limits.path_mtus; i++) {
		if (stack->path_mtus[i].destination == destination)
			return &stack->path_mtus[i];
	}
	return NULL;
}

uint16_t ipv4_path_mtu(struct netd *stack, uint32_t destination)
{
	const struct path_mtu *path = find_path(stack, destination);

	if (path && stack->now < path->expires && path->mtu < stack->nic->mtu)
		return path->mtu;
	return stack->nic->mtu;
}

/* RFC 1191, 3: never below 68 (here: what is believed), and no increase from a report. */
void ipv4_learn_path_mtu(struct netd *stack, uint32_t destination, uint16_t mtu)
{
	struct path_mtu *path = find_path(stack, destination);

	if (mtu >= ipv4_path_mtu(stack, destination))
		return;
	if (!path) { /* a free one, or the one that would be forgotten first */
		path = stack->path_mtus;
		for (unsigned i = 1; i < stack->limits.path_mtus; i++) {
			if (stack->path_mtus[i].expires < path->expires)
				path = &stack->path_mtus[i];
		}
	}
	*path = (struct path_mtu){destination, mtu < PATH_MTU_LEAST ? PATH_MTU_LEAST : mtu, stack->now + PATH_MTU_FOR};
}

void ipv4_deliver(struct netd *stack, const struct wire_ipv4 *ip, struct netd_frame *frame, bool broadcast)
{
	switch (ip->protocol) {
	case WIRE_PROTOCOL_ICMP:
		icmp_input(stack, ip, broadcast);
		break;
	case WIRE_PROTOCOL_UDP:
		udp_input(stack, ip, broadcast);
		break;
	case WIRE_PROTOCOL_TCP:
		if (!broadcast) /* RFC 9293, 3.9.2.3 (MUST-57) */
			tcp_input(stack, ip, frame);
		break;
	default:
		icmp_error(stack, 3, 2, ip, broadcast); /* RFC 1122, 3.2.2.1: protocol unreachable */
	}
}

/* RFC 1122, 3.2.1.3: sources that no host can have. Class E is a host's, as everywhere today. */
static bool is_martian(const struct netd *stack, uint32_t source)
{
	return source >> 24 == 0 || ipv4_is_loopback(source) || ipv4_is_multicast(source) ||
		ipv4_is_broadcast(stack, source) || source == stack->net.address;
}

void ipv4_input(struct netd *stack, struct netd_frame *frame, const uint8_t *data, size_t bytes, bool group)
{
	struct wire_ipv4 ip;
	enum wire_ipv4_result result = wire_ipv4_parse(&ip, data, bytes);
	bool broadcast;

	COUNT(stack, ip_in);
	if (result != WIRE_IPV4_OK) {
		if (result == WIRE_IPV4_CHECKSUM)
			COUNT(stack, ip_checksum);
		else
			COUNT(stack, ip_malformed);
		return;
	}
	if (is_martian(stack, ip.source)) {
		COUNT(stack, ip_martian);
		return;
	}
	broadcast = ipv4_is_broadcast(stack, ip.destination);
	if (!stack->net.address) { /* RFC 2131, 4.1: a reply may come to the address that it offers */
		if (stack->dhcp.state != NETD_DHCP_OFF && ip.protocol == WIRE_PROTOCOL_UDP && !ip.offset &&
			!ip.more_fragments)
			udp_input(stack, &ip, true);
		return;
	}
	/* RFC 1122, 3.3.6: for one host, but sent to many. And we are no router (3.1), nor in any group. */
	if ((!broadcast && ip.destination != stack->net.address) || (group && !broadcast)) {
		COUNT(stack, ip_not_ours);
		return;
	}
	/* RFC 6274, 3.12: what was routed by its sender is not accepted. */
	if (ip.source_routed) {
		COUNT(stack, ip_source_routed);
		return;
	}
	if (ip.offset || ip.more_fragments)
		reassembly_input(stack, &ip, broadcast);
	else
		ipv4_deliver(stack, &ip, frame, broadcast);
}

void ipv4_loopback(struct netd *stack, struct packet *packet)
{
	struct netd_frame frame = {.data = packet->data, .bytes = packet->bytes};
	struct wire_ipv4 ip;

	if (wire_ipv4_parse(&ip, packet->data, packet->bytes) != WIRE_IPV4_OK)
		return;
	if (ip.offset || ip.more_fragments)
		reassembly_input(stack, &ip, false);
	else
		ipv4_deliver(stack, &ip, &frame, false);
}

/* The parts of `from` that hold bytes [offset, offset + bytes). Returns how many. */
static unsigned slice(struct netd_part *to, const struct netd_part *from, unsigned count, size_t offset, size_t bytes)
{
	unsigned parts = 0;

	for (unsigned i = 0; i < count && bytes; i++) {
		size_t here;

		if (offset >= from[i].bytes) {
			offset -= from[i].bytes;
			continue;
		}
		here = from[i].bytes - offset < bytes ? from[i].bytes - offset : bytes;
		to[parts++] = (struct netd_part){(const uint8_t *)from[i].data + offset, here};
		bytes -= here;
		offset = 0;
	}
	return parts;
}

static enum sent send_one(
	struct netd *stack, const struct wire_ipv4 *ip, uint32_t hop, struct netd_part *parts, unsigned count)
{
	uint8_t header[WIRE_ETHERNET_HEADER + WIRE_IPV4_HEADER];
	struct wire_ethernet ethernet = {.type = WIRE_TYPE_IPV4};

	COUNT(stack, ip_out);
	wire_ipv4_emit(header + WIRE_ETHERNET_HEADER, ip);
	parts[0] = (struct netd_part){header, sizeof(header)};
	if (ipv4_is_ours(stack, ip->destination)) {
		struct packet *packet;

		parts[0] = (struct netd_part){header + WIRE_ETHERNET_HEADER, WIRE_IPV4_HEADER};
		packet = packet_new(stack, parts, count);
		if (packet)
			queue_put(&stack->loopback, packet);
		else
			COUNT(stack, loopback_dropped);
		return SENT;
	}
	memcpy(ethernet.source, stack->nic->mac, WIRE_MAC);
	wire_ethernet_emit(header, &ethernet);
	return arp_send(stack, hop, parts, count);
}

enum sent ipv4_send(struct netd *stack, struct wire_ipv4 *ip, const struct netd_part *payload, unsigned count)
{
	struct netd_part parts[NETD_PARTS];
	uint32_t hop = ip->destination;
	uint16_t total = ip->payload_bytes, room;

	if (!ipv4_is_ours(stack, hop)) {
		hop = next_hop(stack, hop);
		if (!hop) {
			COUNT(stack, ip_no_route);
			return SENT_NO_ROUTE;
		}
	}
	if (!ip->ttl)
		ip->ttl = TTL;
	ip->offset = 0;
	ip->more_fragments = false;
	room = ip->protocol == WIRE_PROTOCOL_TCP ? stack->nic->mtu : ipv4_path_mtu(stack, ip->destination);
	room -= WIRE_IPV4_HEADER;
	if (total <= room) {
		/* RFC 6864, 4: a datagram that can't be fragmented needs no id of its own. */
		ip->id = ip->dont_fragment ? 0 : stack->ip_id++;
		return send_one(stack, ip, hop, parts, 1 + slice(parts + 1, payload, count, 0, total));
	}
	ip->dont_fragment = false;
	ip->id = stack->ip_id++;
	room &= (uint16_t)~7;
	for (uint32_t offset = 0; offset < total; offset += room) { /* RFC 791, 3.2 */
		enum sent sent;

		ip->offset = (uint16_t)offset;
		ip->more_fragments = total - offset > room;
		ip->payload_bytes = (uint16_t)(ip->more_fragments ? room : total - offset);
		COUNT(stack, fragments_out);
		sent = send_one(stack, ip, hop, parts, 1 + slice(parts + 1, payload, count, offset, ip->payload_bytes));
		if (sent != SENT)
			return sent;
	}
	return SENT;
}
