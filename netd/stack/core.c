/* The instance: its memory, its random numbers, kept packets, frames in and out, and the order in which things run. */
#include "core.h"

enum {
	MTU_LEAST = 68, /* RFC 791, 3.1 */
	MTU_MOST = 9000,
	/* Rounds of loopback and output in one run: an application that talks to itself does not keep the loop from its NIC. */
	ROUNDS = 64,
};

static size_t packet_bytes(const struct netd *stack)
{
	return sizeof(struct packet) + WIRE_ETHERNET_HEADER + stack->nic->mtu;
}

static size_t aligned(size_t bytes)
{
	return (bytes + 15) & ~(size_t)15;
}

static bool power_of_two(uint32_t value, uint32_t least, uint32_t most)
{
	return value >= least && value <= most && !(value & (value - 1));
}

/* The arena, in this order; `take` is told each part's size. */
enum part {
	PART_STACK,
	PART_PACKETS,
	PART_NEIGHBOURS,
	PART_ROUTES,
	PART_PATHS,
	PART_REASSEMBLIES,
	PART_QUERIES,
	PART_UDP,
	PART_TCP,
	PARTS,
};

static void sizes(size_t bytes[PARTS], const struct netd_limits *limits)
{
	bytes[PART_STACK] = sizeof(struct netd);
	bytes[PART_PACKETS] = limits->packets * aligned(sizeof(struct packet) + WIRE_ETHERNET_HEADER + MTU_MOST);
	bytes[PART_NEIGHBOURS] = limits->neighbours * sizeof(struct neighbour);
	bytes[PART_ROUTES] = limits->routes * sizeof(struct route);
	bytes[PART_PATHS] = limits->path_mtus * sizeof(struct path_mtu);
	bytes[PART_REASSEMBLIES] = limits->reassemblies * reassembly_bytes();
	bytes[PART_QUERIES] = limits->dns_queries * dns_query_bytes();
	bytes[PART_UDP] = udp_bytes(limits);
	bytes[PART_TCP] = tcp_bytes(limits);
}

size_t netd_bytes(const struct netd_limits *limits)
{
	size_t bytes[PARTS], total = 0;

	if (!limits->blocks || !limits->connections || limits->connections > limits->blocks || !limits->neighbours ||
		!limits->packets || !limits->reassemblies || !limits->path_mtus ||
		!power_of_two(limits->send_bytes, 1024, 1u << 29) ||
		!power_of_two(limits->receive_bytes, 1024, 1u << 29) || !power_of_two(limits->udp_bytes, 512, 1u << 24))
		return 0;
	sizes(bytes, limits);
	for (int i = 0; i < PARTS; i++)
		total += aligned(bytes[i]);
	return total;
}

static void receive(void *context, struct netd_frame *frame)
{
	struct netd *stack = context;
	struct wire_ethernet header;

	COUNT(stack, frames_in);
	stack->counters[NETD_COUNT_bytes_in] += frame->bytes;
	/* RFC 1122, 2.3.3: Ethernet II; a frame of our own or from a group address is nobody's. */
	if (wire_ethernet_parse(&header, frame->data, frame->bytes) && !wire_mac_is_group(header.source) &&
		(wire_mac_is_group(header.destination) || !memcmp(header.destination, stack->nic->mac, WIRE_MAC))) {
		const uint8_t *data = frame->data + WIRE_ETHERNET_HEADER;
		size_t bytes = frame->bytes - WIRE_ETHERNET_HEADER;

		if (header.type == WIRE_TYPE_IPV4)
			ipv4_input(stack, frame, data, bytes, wire_mac_is_group(header.destination));
		else if (header.type == WIRE_TYPE_ARP)
			arp_input(stack, data, bytes);
		else
			COUNT(stack, frames_unknown);
	}
	netd_frame_release(frame);
}

static void room(void *context)
{
	struct netd *stack = context;

	stack->nic_blocked = false;
}

/* A link that comes back may be another network: neighbours are asked for again, and we say who we are. */
static void link(void *context)
{
	struct netd *stack = context;

	if (!stack->nic->link_up)
		return;
	stack->nic_blocked = false;
	arp_forget(stack);
	arp_announce(stack);
}

struct netd *netd_start(
	void *memory, size_t bytes, const struct netd_config *config, struct netd_nic *nic, netd_time now)
{
	struct netd *stack = memory;
	size_t part[PARTS], needed = netd_bytes(&config->limits);
	uint8_t *at = memory;
	uint8_t *place[PARTS];

	if (!needed || bytes < needed || nic->mtu < MTU_LEAST || nic->mtu > MTU_MOST || wire_mac_is_group(nic->mac))
		return NULL;
	sizes(part, &config->limits);
	for (int i = 0; i < PARTS; i++) {
		place[i] = at;
		at += aligned(part[i]);
	}
	memset(memory, 0, (size_t)(place[PART_TCP] - place[0])); /* buffers are written before they are read */
	stack->nic = nic;
	stack->now = now;
	stack->limits = config->limits;
	stack->msl = config->msl ? config->msl : 30 * NETD_S;
	stack->ecn = config->ecn;
	stack->key[0] = stack_hash(config->entropy, "key", 3);
	stack->key[1] = stack_hash(config->entropy + 2, "key", 3);
	for (unsigned i = 0; i < config->limits.packets; i++)
		packet_free(stack, (void *)(place[PART_PACKETS] + i * aligned(packet_bytes(stack))));
	stack->neighbours = (void *)place[PART_NEIGHBOURS];
	stack->neighbours_due = stack->announce_due = NETD_NEVER;
	stack->routes = (void *)place[PART_ROUTES];
	stack->path_mtus = (void *)place[PART_PATHS];
	stack->reassemblies = (void *)place[PART_REASSEMBLIES];
	stack->dns.queries = (void *)place[PART_QUERIES];
	stack->ip_id = (uint16_t)stack_random(stack);
	stack->dhcp.due = NETD_NEVER;
	udp_start(stack, place[PART_UDP]);
	tcp_start(stack, place[PART_TCP]);
	nic->client = (struct netd_nic_client){.receive = receive, .room = room, .link = link, .stack = stack};
	return stack;
}

uint32_t stack_random(struct netd *stack)
{
	stack->drawn++;
	return (uint32_t)(stack_hash(stack->key, &stack->drawn, sizeof(stack->drawn)) >> 16);
}

struct packet *packet_new(struct netd *stack, const struct netd_part *parts, unsigned count)
{
	struct packet *packet = stack->free_packets;

	if (!packet)
		return NULL;
	stack->free_packets = packet->next;
	packet->next = NULL;
	packet->bytes = 0;
	for (unsigned i = 0; i < count; i++) {
		memcpy(packet->data + packet->bytes, parts[i].data, parts[i].bytes);
		packet->bytes += parts[i].bytes;
	}
	return packet;
}

void packet_free(struct netd *stack, struct packet *packet)
{
	packet->next = stack->free_packets;
	stack->free_packets = packet;
}

void queue_put(struct queue *queue, struct packet *packet)
{
	if (queue->count++)
		queue->last->next = packet;
	else
		queue->first = packet;
	queue->last = packet;
}

struct packet *queue_take(struct queue *queue)
{
	struct packet *packet = queue->first;

	if (!queue->count)
		return NULL;
	queue->first = packet->next;
	queue->count--;
	packet->next = NULL;
	return packet;
}

bool stack_transmit(struct netd *stack, const struct netd_part *parts, unsigned count)
{
	if (stack->nic_blocked)
		return false;
	if (!stack->nic->driver->transmit(stack->nic->device, parts, count)) {
		/* With no link there is no room() to wait for: what is sent is lost, and TCP's timers carry on. */
		stack->nic_blocked = stack->nic->link_up;
		COUNT(stack, nic_busy);
		return !stack->nic_blocked;
	}
	COUNT(stack, frames_out);
	for (unsigned i = 0; i < count; i++)
		stack->counters[NETD_COUNT_bytes_out] += parts[i].bytes;
	return true;
}

void netd_set_time(struct netd *stack, netd_time now)
{
	if (now > stack->now)
		stack->now = now;
}

static void run_loopback(struct netd *stack)
{
	for (unsigned left = stack->loopback.count; left; left--) {
		struct packet *packet = queue_take(&stack->loopback);

		ipv4_loopback(stack, packet);
		packet_free(stack, packet);
	}
}

netd_time netd_run(struct netd *stack, netd_time now)
{
	netd_time due = NETD_NEVER;

	netd_set_time(stack, now);
	for (unsigned round = 0; round < ROUNDS; round++) {
		run_loopback(stack);
		due = earlier(arp_run(stack), reassembly_run(stack));
		due = earlier(due, earlier(dhcp_run(stack), dns_run(stack)));
		due = earlier(due, tcp_run(stack));
		/* An owner who was told something may have started anything. */
		if (udp_run(stack))
			due = stack->now;
		while (tcp_tell(stack))
			due = stack->now;
		if (due > stack->now && !stack->loopback.count)
			return due;
	}
	return stack->now;
}

uint64_t netd_count(const struct netd *stack, enum netd_counter counter)
{
	return stack->counters[counter];
}

int netd_set_address(struct netd *stack, const struct netd_address *address)
{
	uint32_t host = address->address & ~address->mask;

	/* A mask is ones, then zeros; an address is a host's (RFC 1122, 3.2.1.3). */
	if (address->address &&
		((~address->mask & (~address->mask + 1)) || ipv4_is_multicast(address->address) ||
			ipv4_is_loopback(address->address) || address->address >> 24 == 0 ||
			address->address >= 0xf0000000 || (~address->mask > 1 && (!host || host == ~address->mask))))
		return NETD_INVALID;
	dhcp_stop(stack);
	stack->net = *address;
	arp_forget(stack);
	arp_announce(stack);
	tcp_address_changed(stack);
	return NETD_OK;
}

void netd_get_address(const struct netd *stack, struct netd_address *address)
{
	*address = stack->net;
}
