/*
 * The stack as its event loop sees it: one instance, one interface, one thread. The loop tells it the time, hands it
 * frames through the NIC's client calls, and runs it:
 *
 *     netd_set_time(stack, now);  driver polls: nic->client.receive(...) for each frame;  wait until netd_run(stack, now)
 *
 * Nothing is allocated after netd_start(), and every limit stands in struct netd_limits.
 */
#ifndef NETD_STACK_H
#define NETD_STACK_H

#include <netd/clock.h>
#include <netd/nic.h>
#include <netd/statistics.h>

/* A limit, and what happens when it is reached. One application can have three quarters of blocks, connections and udp_sockets. */
struct netd_limits {
	/* Control blocks: listeners, half-open connections, TIME-WAIT included. Reached: the oldest TIME-WAIT is given up, or, but
	 * not for a SYN, the connection that nobody has held for longest, and for two seconds; if there is none, a SYN is answered
	 * with a cookie and connect() and listen() return NETD_NO_ROOM. */
	uint16_t blocks;
	/* Control blocks that hold buffers. Reached: the connection that nobody has held for longest, and for two seconds, is
	 * reset; if there is none, connect() returns NETD_NO_ROOM, and a handshake is not completed until there is room, and the
	 * peer repeats itself. */
	uint16_t connections;
	uint32_t send_bytes;    /* per connection, a power of two. Reached: send() takes less */
	uint32_t receive_bytes; /* per connection, a power of two, at most 2^29. Reached: the window is closed */
	/* Received frames whose text stays unread where the NIC wrote it. Reached: text is copied into the receive buffer. */
	uint16_t frames;
	/* Reached: bind() returns NETD_NO_ROOM. DHCP and the resolver have sockets of their own beyond these. */
	uint16_t udp_sockets;
	uint32_t udp_bytes; /* per UDP socket, a power of two. Reached: datagrams are dropped and counted */
	/* Neighbours. Reached: the one not used for longest is forgotten, but none that is being resolved: then the packet is
	 * dropped. */
	uint16_t neighbours;
	/* Packets kept: for neighbours that are being resolved, and on the loopback. Reached: packets are dropped. */
	uint16_t packets;
	/* Datagrams in reassembly. Reached: the oldest is given up. */
	uint16_t reassemblies;
	uint16_t routes;      /* besides the interface's own and the gateway. Reached: NETD_NO_ROOM */
	uint16_t path_mtus;   /* remembered. Reached: the oldest is forgotten */
	uint16_t dns_queries; /* at a time. Reached: NETD_NO_ROOM */
};

/* 64 connections, and datagrams of any size, in about 11 MB. */
#define NETD_LIMITS_DEFAULT                                                                                            \
	((struct netd_limits){.blocks = 256,                                                                           \
		.connections = 64,                                                                                     \
		.send_bytes = 65536,                                                                                   \
		.receive_bytes = 65536,                                                                                \
		.frames = 96,                                                                                          \
		.udp_sockets = 16,                                                                                     \
		.udp_bytes = 131072,                                                                                   \
		.neighbours = 32,                                                                                      \
		.packets = 32,                                                                                         \
		.reassemblies = 4,                                                                                     \
		.routes = 4,                                                                                           \
		.path_mtus = 16,                                                                                       \
		.dns_queries = 4})

struct netd_config {
	struct netd_limits limits;
	uint64_t entropy[4]; /* from the hardware; sequence numbers, ports, ids and cookies depend on it */
	netd_time msl;       /* maximum segment lifetime; 0 stands for 30 s */
	bool ecn;            /* ask for ECN in connections that are opened here; it is always granted when asked for */
};

struct netd;

/* The memory that netd_start() takes for these limits, or 0 if one of them is out of range. */
size_t netd_bytes(const struct netd_limits *limits);

/*
 * Makes a stack in `memory` (of netd_bytes(), aligned on 16) on a NIC, and becomes its client. Returns NULL if the
 * configuration or the NIC's MTU or MAC is out of range.
 */
struct netd *netd_start(
	void *memory, size_t bytes, const struct netd_config *config, struct netd_nic *nic, netd_time now);

/* Time goes on; a time before the last one is ignored. Frames are judged by the last time that was told. */
void netd_set_time(struct netd *stack, netd_time now);

/*
 * Does all that is due: timers, acknowledgments and data to send, loopback, events for the sockets' owners (who are
 * called from here). Returns when it wants to run next: at most `now` if more can be done at once, or NETD_NEVER.
 */
netd_time netd_run(struct netd *stack, netd_time now);

/* Addresses are numbers in host order: 10.0.0.1 is 0x0a000001. */
struct netd_address {
	uint32_t address; /* 0: none yet */
	uint32_t mask;
	uint32_t gateway; /* 0: none */
	uint32_t dns;     /* 0: none */
};

enum netd_dhcp_state {
	NETD_DHCP_OFF,
	NETD_DHCP_SELECTING,
	NETD_DHCP_REQUESTING,
	NETD_DHCP_CHECKING, /* whether the address is in use already */
	NETD_DHCP_BOUND,
	NETD_DHCP_RENEWING,
	NETD_DHCP_REBINDING,
};

/* Sets the address by hand, and ends DHCP. Connections from another address are reset. Returns netd_result. */
int netd_set_address(struct netd *stack, const struct netd_address *address);
void netd_get_address(const struct netd *stack, struct netd_address *address);
/* Asks for an address by DHCP, and gives up the one there is. NETD_IN_USE: somebody has bound the client's port, 68. */
int netd_dhcp_start(struct netd *stack);
/* Asks the server now to extend the lease (RFC 2131, 4.4.5). NETD_INVALID: there is none. */
int netd_dhcp_renew(struct netd *stack);
/* Gives the lease back (RFC 2131, 4.4.6); the address goes a moment later, and DHCP is off. NETD_INVALID: there is none. */
int netd_dhcp_release(struct netd *stack);
enum netd_dhcp_state netd_dhcp_state(const struct netd *stack);

/* Datagrams for a network go to a gateway on the link. The longest mask wins. Returns netd_result. */
int netd_add_route(struct netd *stack, uint32_t network, uint32_t mask, uint32_t gateway);

/* Gives back every frame that it keeps; text that nobody has read is copied first. */
void netd_let_go(struct netd *stack);

uint64_t netd_count(const struct netd *stack, enum netd_counter counter);

/* Looks up a name's address. `done` is called later, once, from netd_run(): with 0 and the reason if there is none. */
int netd_resolve(struct netd *stack, const char *name, size_t name_bytes,
	void (*done)(void *context, uint32_t address, int result), void *context);

#endif
