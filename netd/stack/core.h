/*
 * The stack's one object, and what its parts call of each other. A part's functions are declared under its file's name.
 *
 * Way in:  core.c (Ethernet) -> arp.c | ipv4.c -> reassembly.c -> icmp.c | udp.c | tcp_input.c
 * Way out: tcp_output.c, udp.c, icmp.c -> ipv4.c (route, fragments) -> arp.c (neighbour) -> the NIC, or the loopback
 */
#ifndef NETD_STACK_CORE_H
#define NETD_STACK_CORE_H

#include "../wire/bytes.h"
#include "../wire/ethernet.h"
#include "../wire/ipv4.h"

#include <netd/socket.h>

#define COUNT(stack, name) ((stack)->counters[NETD_COUNT_##name]++)
#define CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* A place in a ring of nodes; the ring's head is a node, too. A node outside any ring points at itself. */
struct node {
	struct node *next;
	struct node *previous;
};

static inline void node_init(struct node *node)
{
	node->next = node->previous = node;
}

static inline bool node_linked(const struct node *node)
{
	return node->next != node;
}

static inline void node_unlink(struct node *node)
{
	node->next->previous = node->previous;
	node->previous->next = node->next;
	node_init(node);
}

static inline void node_append(struct node *head, struct node *node)
{
	node_unlink(node);
	node->previous = head->previous;
	node->next = head;
	head->previous->next = node;
	head->previous = node;
}

/* A kept packet: a whole frame that waits for its neighbour, or a datagram on the loopback. */
struct packet {
	struct packet *next;
	size_t bytes;
	uint8_t data[];
};

struct queue {
	struct packet *first;
	struct packet *last;
	unsigned count;
};

enum neighbour_state {
	NEIGHBOUR_FREE,
	NEIGHBOUR_RESOLVING, /* packets wait */
	NEIGHBOUR_KNOWN,
	NEIGHBOUR_POLLED, /* known, but for too long: asked again, used meanwhile */
};

struct neighbour {
	uint32_t address;
	uint8_t mac[WIRE_MAC];
	uint8_t state;
	uint8_t tries;
	netd_time due;  /* of the next request, or until when it is known */
	netd_time used; /* last */
	struct queue waiting;
};

struct route {
	uint32_t network;
	uint32_t mask;
	uint32_t gateway;
};

struct path_mtu {
	uint32_t destination; /* 0: free */
	uint16_t mtu;
	netd_time expires;
};

struct reassembly;
struct dns_query;

struct dhcp {
	struct netd_udp *socket;
	enum netd_dhcp_state state;
	uint32_t transaction;
	uint32_t server;
	struct netd_address offered;
	uint32_t lease, renewal, rebinding; /* seconds */
	unsigned tries;
	bool releasing;      /* the lease was given back: the address goes at `due` */
	netd_time due;       /* of the next step */
	netd_time requested; /* when the REQUEST that was granted was sent: the lease counts from there */
	netd_time started;
	netd_time granted;
};

struct dns {
	struct netd_udp *socket;
	struct dns_query *queries;
};

struct tcp {
	struct netd_tcp *blocks;
	struct netd_tcp *free_blocks;
	struct held *free_held;
	uint8_t *free_buffers; /* a pair each; linked through their first bytes */
	struct netd_tcp **table;
	uint32_t table_mask;
	struct node listeners;
	struct node active;    /* every other state */
	struct node time_wait; /* oldest first */
	struct node work;      /* something to send, or an event to tell */
	netd_time due;         /* no timer of an active block is earlier */
	netd_time overflowed;  /* when a cookie was sent last; NETD_NEVER: not yet */
	uint16_t next_port;
};

struct netd {
	struct netd_nic *nic;
	netd_time now;
	struct netd_limits limits;
	netd_time msl;
	bool ecn;
	bool nic_blocked; /* transmit() refused: its room() call is awaited */
	uint64_t key[2];
	uint64_t drawn; /* random numbers so far */
	struct netd_address net;
	uint64_t counters[NETD_COUNTS];

	struct packet *free_packets;
	struct queue loopback;

	struct neighbour *neighbours;
	netd_time neighbours_due;
	unsigned announcements; /* still to be made */
	netd_time announce_due;
	netd_time defended; /* last */

	struct route *routes;
	unsigned route_count;
	struct path_mtu *path_mtus;
	uint16_t ip_id;
	struct reassembly *reassemblies;

	uint32_t icmp_tokens;
	netd_time icmp_refilled;

	struct netd_udp *udp;
	struct dhcp dhcp;
	struct dns dns;
	struct tcp tcp;
};

/* core.c */
uint32_t stack_random(struct netd *stack);
struct packet *packet_new(struct netd *stack, const struct netd_part *parts, unsigned count); /* NULL: none left */
void packet_free(struct netd *stack, struct packet *packet);
void queue_put(struct queue *queue, struct packet *packet);
struct packet *queue_take(struct queue *queue);
bool stack_transmit(struct netd *stack, const struct netd_part *parts, unsigned count); /* a frame; false: busy */

/* What one application can have of a limit, so that something is left for others; at least one. */
static inline unsigned stack_share(unsigned limit)
{
	return limit - limit / 4;
}

static inline netd_time earlier(netd_time a, netd_time b)
{
	return a < b ? a : b;
}

/* siphash.c: SipHash-2-4 */
uint64_t stack_hash(const uint64_t key[2], const void *bytes, size_t count);

/* arp.c. `header` is the frame's first part, whose addresses are filled in. */
enum sent {
	SENT, /* or lost in a way that is nobody's business: kept for a neighbour, dropped at a limit */
	SENT_BUSY,
	SENT_NO_ROUTE,
};

void arp_input(struct netd *stack, const uint8_t *data, size_t bytes);
enum sent arp_send(struct netd *stack, uint32_t next_hop, const struct netd_part *parts, unsigned count);
void arp_probe(struct netd *stack, uint32_t address);
void arp_announce(struct netd *stack);
void arp_doubt(struct netd *stack, uint32_t next_hop);
void arp_forget(struct netd *stack);
netd_time arp_run(struct netd *stack);

/* ipv4.c */
bool ipv4_is_ours(const struct netd *stack, uint32_t address);
bool ipv4_is_broadcast(const struct netd *stack, uint32_t address);
uint32_t ipv4_source(const struct netd *stack, uint32_t destination); /* the address to send from; 0: no route */
void ipv4_doubt(struct netd *stack, uint32_t destination); /* nothing comes back: is the neighbour still there? */
uint16_t ipv4_path_mtu(struct netd *stack, uint32_t destination);
void ipv4_learn_path_mtu(struct netd *stack, uint32_t destination, uint16_t mtu);
void ipv4_input(struct netd *stack, struct netd_frame *frame, const uint8_t *data, size_t bytes, bool group);
void ipv4_loopback(struct netd *stack, struct packet *packet);
/* A whole datagram: to its protocol. */
void ipv4_deliver(struct netd *stack, const struct wire_ipv4 *ip, struct netd_frame *frame, bool broadcast);
/* Sends a payload of ip->payload_bytes, in fragments if it must and may. Sets what of `ip` the caller didn't. */
enum sent ipv4_send(struct netd *stack, struct wire_ipv4 *ip, const struct netd_part *payload, unsigned count);

static inline bool ipv4_is_multicast(uint32_t address)
{
	return address >> 28 == 14;
}

static inline bool ipv4_is_loopback(uint32_t address)
{
	return address >> 24 == 127;
}

/* reassembly.c. `data` of a fragment is copied; a datagram that is complete is delivered from inside. */
size_t reassembly_bytes(void);
void reassembly_input(struct netd *stack, const struct wire_ipv4 *ip, bool broadcast);
netd_time reassembly_run(struct netd *stack);

/* icmp.c */
void icmp_input(struct netd *stack, const struct wire_ipv4 *ip, bool broadcast);
void icmp_error(struct netd *stack, uint8_t type, uint8_t code, const struct wire_ipv4 *about, bool broadcast);

/* An error that a router or host reports about something that we sent. */
struct icmp_report {
	struct wire_ipv4 ip; /* what was quoted: source is ours */
	uint16_t total_bytes;
	uint8_t type;
	uint8_t code;
	uint16_t mtu; /* of the next hop, for fragmentation needed; 0: not told */
};

/* udp.c */
size_t udp_bytes(const struct netd_limits *limits);
void udp_start(struct netd *stack, uint8_t *memory);
void udp_input(struct netd *stack, const struct wire_ipv4 *ip, bool broadcast);
void udp_report(struct netd *stack, const struct icmp_report *report);
/* A socket for the stack's own use, at any of our addresses; port 0: one that is chosen. Its owner's deliver() takes everything. */
int udp_bind_reserved(struct netd *stack, uint16_t port, const struct netd_udp_owner *owner, struct netd_udp **socket);
bool udp_run(struct netd *stack); /* tells owners what came; false: nothing */

/* dhcp.c */
void dhcp_stop(struct netd *stack);
void dhcp_conflict(struct netd *stack);
netd_time dhcp_run(struct netd *stack);

/* dns.c */
size_t dns_query_bytes(void);
netd_time dns_run(struct netd *stack);

/* tcp: see tcp.h for what only its own files need */
size_t tcp_bytes(const struct netd_limits *limits);
void tcp_start(struct netd *stack, uint8_t *memory);
void tcp_input(struct netd *stack, const struct wire_ipv4 *ip, struct netd_frame *frame);
void tcp_report(struct netd *stack, const struct icmp_report *report);
void tcp_address_changed(struct netd *stack);
netd_time tcp_run(struct netd *stack); /* timers, then output */
void tcp_flush(struct netd *stack);
bool tcp_tell(struct netd *stack); /* tells one owner one event; false: there was none */

#endif
