/* Neighbours: who has which MAC (RFC 826; RFC 1122, 2.3.2; RFC 5227). */
#include "core.h"

#include "../wire/arp.h"

enum {
	WAITING = 3,       /* packets kept per neighbour; the oldest goes (RFC 1122, 2.3.2.2: the latest stays) */
	TRIES = 3,         /* requests without an answer */
	ANNOUNCEMENTS = 2, /* RFC 5227, 1.1: ANNOUNCE_NUM */
};

static const netd_time KNOWN_FOR = 45 * NETD_S;        /* RFC 1122, 2.3.2.1: about a minute */
static const netd_time ASK_EVERY = 1 * NETD_S;         /* the same: at most one request a second */
static const netd_time ANNOUNCE_INTERVAL = 2 * NETD_S; /* RFC 5227, 1.1 */
static const netd_time DEFEND_INTERVAL = 10 * NETD_S;  /* RFC 5227, 1.1 */

static const uint8_t everybody[WIRE_MAC] = {255, 255, 255, 255, 255, 255};
static const uint8_t nobody[WIRE_MAC];

static void transmit(struct netd *stack, uint16_t operation, uint32_t sender, const uint8_t *target_mac,
	uint32_t target, const uint8_t *to)
{
	uint8_t frame[WIRE_ETHERNET_HEADER + WIRE_ARP_BYTES];
	struct netd_part part = {frame, sizeof(frame)};
	struct wire_ethernet header = {.type = WIRE_TYPE_ARP};
	struct wire_arp arp = {.operation = operation, .sender = sender, .target = target};

	memcpy(header.destination, to, WIRE_MAC);
	memcpy(header.source, stack->nic->mac, WIRE_MAC);
	memcpy(arp.sender_mac, stack->nic->mac, WIRE_MAC);
	memcpy(arp.target_mac, target_mac, WIRE_MAC);
	wire_ethernet_emit(frame, &header);
	wire_arp_emit(frame + WIRE_ETHERNET_HEADER, &arp);
	stack_transmit(stack, &part, 1);
}

static void ask(struct netd *stack, struct neighbour *neighbour)
{
	neighbour->due = stack->now + ASK_EVERY;
	stack->neighbours_due = earlier(stack->neighbours_due, neighbour->due);
	neighbour->tries++;
	COUNT(stack, arp_requests);
	transmit(stack, WIRE_ARP_REQUEST, stack->net.address, nobody, neighbour->address,
		neighbour->state == NEIGHBOUR_POLLED ? neighbour->mac : everybody);
}

static void drop_waiting(struct netd *stack, struct neighbour *neighbour)
{
	struct packet *packet;

	while ((packet = queue_take(&neighbour->waiting))) {
		COUNT(stack, arp_dropped);
		packet_free(stack, packet);
	}
}

static struct neighbour *find(struct netd *stack, uint32_t address)
{
	for (unsigned i = 0; i < stack->limits.neighbours; i++) {
		if (stack->neighbours[i].state != NEIGHBOUR_FREE && stack->neighbours[i].address == address)
			return &stack->neighbours[i];
	}
	return NULL;
}

/* A free entry, or the one not used for longest; none that packets wait for. */
static struct neighbour *new_neighbour(struct netd *stack, uint32_t address)
{
	struct neighbour *best = NULL;

	for (unsigned i = 0; i < stack->limits.neighbours; i++) {
		struct neighbour *neighbour = &stack->neighbours[i];

		if (neighbour->state == NEIGHBOUR_FREE) {
			best = neighbour;
			break;
		}
		if (neighbour->state != NEIGHBOUR_RESOLVING && (!best || neighbour->used < best->used))
			best = neighbour;
	}
	if (!best) {
		COUNT(stack, arp_full);
		return NULL;
	}
	best->address = address;
	best->tries = 0;
	best->used = stack->now;
	return best;
}

/* The mapping is known now: what waits for it leaves. */
static void learn(struct netd *stack, struct neighbour *neighbour, const uint8_t *mac)
{
	struct packet *packet;

	memcpy(neighbour->mac, mac, WIRE_MAC);
	neighbour->state = NEIGHBOUR_KNOWN;
	neighbour->tries = 0;
	neighbour->due = stack->now + KNOWN_FOR;
	while ((packet = queue_take(&neighbour->waiting))) {
		struct netd_part part = {packet->data, packet->bytes};

		memcpy(packet->data, mac, WIRE_MAC);
		stack_transmit(stack, &part, 1);
		packet_free(stack, packet);
	}
}

/* RFC 826, "packet reception"; RFC 5227, 2.4. */
void arp_input(struct netd *stack, const uint8_t *data, size_t bytes)
{
	struct wire_arp arp;
	struct neighbour *known;
	uint32_t own = stack->net.address;

	COUNT(stack, arp_in);
	if (!wire_arp_parse(&arp, data, bytes) || wire_mac_is_group(arp.sender_mac)) {
		COUNT(stack, arp_malformed);
		return;
	}
	if (!memcmp(arp.sender_mac, stack->nic->mac, WIRE_MAC))
		return; /* our own, come back */
	if (stack->dhcp.state == NETD_DHCP_CHECKING) {
		/* RFC 5227, 2.1.1: somebody has the address, or probes for it just as we do. */
		uint32_t wanted = stack->dhcp.offered.address;

		if (arp.sender == wanted || (!arp.sender && arp.target == wanted && arp.operation == WIRE_ARP_REQUEST))
			dhcp_conflict(stack);
	}
	if (!own)
		return;
	if (arp.sender == own) {
		COUNT(stack, arp_conflicts);
		if (!stack->defended || stack->now - stack->defended >= DEFEND_INTERVAL) {
			stack->defended = stack->now ? stack->now : 1;
			transmit(stack, WIRE_ARP_REQUEST, own, nobody, own, everybody);
		}
		return;
	}
	/* RFC 5227, 2.1: a probe has no sender, and leaves no entry; neither do addresses that no host has. */
	known = NULL;
	if (arp.sender && !ipv4_is_broadcast(stack, arp.sender) && !ipv4_is_multicast(arp.sender)) {
		known = find(stack, arp.sender);
		if (!known && arp.target == own)
			known = new_neighbour(stack, arp.sender);
		if (known)
			learn(stack, known, arp.sender_mac);
	}
	if (arp.target == own && arp.operation == WIRE_ARP_REQUEST && (known || !arp.sender))
		transmit(stack, WIRE_ARP_REPLY, own, arp.sender_mac, arp.sender, arp.sender_mac);
}

enum sent arp_send(struct netd *stack, uint32_t next_hop, const struct netd_part *parts, unsigned count)
{
	/* The caller's own header: the only part that is not const where it was made. */
	uint8_t *destination = (uint8_t *)(uintptr_t)parts[0].data;
	struct neighbour *neighbour;
	struct packet *packet;

	if (ipv4_is_broadcast(stack, next_hop)) {
		memcpy(destination, everybody, WIRE_MAC);
		return stack_transmit(stack, parts, count) ? SENT : SENT_BUSY;
	}
	if (ipv4_is_multicast(next_hop)) { /* RFC 1112, 6.4 */
		put16(destination, 0x0100);
		put32(destination + 2, 0x5e000000 | (next_hop & 0x7fffff));
		return stack_transmit(stack, parts, count) ? SENT : SENT_BUSY;
	}
	neighbour = find(stack, next_hop);
	if (!neighbour) {
		neighbour = new_neighbour(stack, next_hop);
		if (!neighbour)
			return SENT;
		neighbour->state = NEIGHBOUR_RESOLVING;
		ask(stack, neighbour);
	}
	neighbour->used = stack->now;
	if (neighbour->state == NEIGHBOUR_KNOWN && stack->now >= neighbour->due) {
		/* RFC 1122, 2.3.2.1 (2): asked directly first, so that a reply that is lost costs nothing. */
		neighbour->state = NEIGHBOUR_POLLED;
		ask(stack, neighbour);
	}
	if (neighbour->state != NEIGHBOUR_RESOLVING) {
		memcpy(destination, neighbour->mac, WIRE_MAC);
		return stack_transmit(stack, parts, count) ? SENT : SENT_BUSY;
	}
	if (neighbour->waiting.count >= WAITING) {
		COUNT(stack, arp_dropped);
		packet_free(stack, queue_take(&neighbour->waiting));
	}
	packet = packet_new(stack, parts, count);
	if (packet)
		queue_put(&neighbour->waiting, packet);
	else
		COUNT(stack, arp_dropped);
	return SENT;
}

/* RFC 5227, 2.1.1 */
void arp_probe(struct netd *stack, uint32_t address)
{
	transmit(stack, WIRE_ARP_REQUEST, 0, nobody, address, everybody);
}

/* RFC 5227, 2.3 */
void arp_announce(struct netd *stack)
{
	stack->announcements = stack->net.address ? ANNOUNCEMENTS : 0;
	stack->announce_due = stack->net.address ? stack->now : NETD_NEVER;
}

/* RFC 1122, 2.3.2.1 (4): a hint from above that the mapping may be out of date. */
void arp_doubt(struct netd *stack, uint32_t next_hop)
{
	struct neighbour *neighbour = find(stack, next_hop);

	if (neighbour && neighbour->state == NEIGHBOUR_KNOWN)
		neighbour->due = stack->now;
}

void arp_forget(struct netd *stack)
{
	for (unsigned i = 0; i < stack->limits.neighbours; i++) {
		drop_waiting(stack, &stack->neighbours[i]);
		stack->neighbours[i].state = NEIGHBOUR_FREE;
	}
}

netd_time arp_run(struct netd *stack)
{
	if (stack->announcements && stack->now >= stack->announce_due) {
		transmit(stack, WIRE_ARP_REQUEST, stack->net.address, nobody, stack->net.address, everybody);
		stack->announce_due = --stack->announcements ? stack->now + ANNOUNCE_INTERVAL : NETD_NEVER;
	}
	if (stack->now >= stack->neighbours_due) {
		stack->neighbours_due = NETD_NEVER;
		for (unsigned i = 0; i < stack->limits.neighbours; i++) {
			struct neighbour *neighbour = &stack->neighbours[i];

			if (neighbour->state != NEIGHBOUR_RESOLVING && neighbour->state != NEIGHBOUR_POLLED)
				continue;
			if (stack->now >= neighbour->due) {
				if (neighbour->tries < TRIES) {
					ask(stack, neighbour);
				} else {
					COUNT(stack, arp_failed);
					drop_waiting(stack, neighbour);
					neighbour->state = NEIGHBOUR_FREE;
					continue;
				}
			}
			stack->neighbours_due = earlier(stack->neighbours_due, neighbour->due);
		}
	}
	return earlier(stack->neighbours_due, stack->announce_due);
}
