/*
 * Sockets over rings: the messages between an application and NetD. docs/sockets.md has the contracts; the code that
 * uses them is kernel/user/lib/socket.h (application) and netd/keuos/ (NetD). The host reads every number from DWARF.
 *
 * An application has two channels with NetD, both KEUOS_POLLED_PROOF, bound with the same label by the first process:
 *
 *   requests  application -> NetD   one opcode for each call; data of SEND and SEND_TO in the data ring
 *   events    NetD -> application   one answer for each request, and what happens to sockets meanwhile
 */
#ifndef KEUOS_SOCKET_H
#define KEUOS_SOCKET_H

#include <stdint.h>

enum keuos_socket_limit {
	KEUOS_SOCKET_ORDER = 4,             /* of both data rings: 2^4 pages */
	KEUOS_SOCKET_DIRECT_ORDER = 6,      /* of the events' data ring in direct mode: half of it takes frames */
	KEUOS_SOCKET_FRAMES_BYTES = 131072, /* that half */
	KEUOS_SOCKET_DATA_MAX = 16384,      /* bytes of a stream or a datagram in one message */
	KEUOS_SOCKET_APPLICATIONS = 16,     /* with NetD at a time; further ends are given back */
	KEUOS_SOCKETS = 256,                /* of all applications */
	KEUOS_SOCKETS_EACH = 128,           /* of one. Reached: NO_ROOM */
	KEUOS_SOCKET_STATE_BYTES = 16,
	KEUOS_SOCKET_NAMES_EACH = 2, /* names that one application may be waiting for. Reached: NO_ROOM */
};

/* The label of both channels: the mark in the upper half, flags and the binder's own number below. */
enum keuos_socket_label {
	KEUOS_SOCKET_MARK = 0x736f636b,
	KEUOS_SOCKET_MARK_SHIFT = 32,
	KEUOS_SOCKET_OBSERVER = 1,      /* may look at everybody's connections and counters */
	KEUOS_SOCKET_ADMINISTRATOR = 2, /* may say where the address comes from */
	KEUOS_SOCKET_ALONE = 4,         /* has the NIC to itself, in direct mode */
	KEUOS_SOCKET_PAIR = 256,        /* the lowest bit of the binder's number */
};

static inline int keuos_is_socket_label(uint64_t label)
{
	return label >> KEUOS_SOCKET_MARK_SHIFT == KEUOS_SOCKET_MARK;
}

/* Opcodes. Requests carry struct keuos_socket_request, but for SEND, SEND_TO and RESOLVE. */
enum keuos_socket_opcode {
	KEUOS_SOCKET_OPEN = 0x5300,   /* -> REPLY: a TCP socket that is not connected yet */
	KEUOS_SOCKET_LISTEN = 0x5301, /* address, port, value: backlog -> REPLY: socket */
	KEUOS_SOCKET_ACCEPT = 0x5302, /* socket -> REPLY: new socket, and the peer */
	KEUOS_SOCKET_CONNECT =
		0x5303, /* socket, remote; address, port: own -> REPLY: own; WRITABLE, CLOSED tell the end */
	KEUOS_SOCKET_BIND = 0x5304,     /* address, port -> REPLY: UDP socket */
	KEUOS_SOCKET_SEND = 0x5305,     /* data -> REPLY: how much was taken */
	KEUOS_SOCKET_SEND_TO = 0x5306,  /* data: one datagram -> REPLY */
	KEUOS_SOCKET_RECEIVE = 0x5307,  /* socket, value: most, flags -> DATA, or REPLY: why not */
	KEUOS_SOCKET_SHUTDOWN = 0x5308, /* socket -> REPLY: no more is sent */
	KEUOS_SOCKET_CLOSE = 0x5309,    /* socket -> REPLY: in good order */
	KEUOS_SOCKET_ABORT = 0x530a,    /* socket -> REPLY: by a reset */
	KEUOS_SOCKET_SET = 0x530b,      /* socket, option, value -> REPLY */
	KEUOS_SOCKET_GET = 0x530c,      /* socket, option -> REPLY: value */
	KEUOS_SOCKET_READY = 0x530d,    /* socket -> REPLY: events that hold now */
	KEUOS_SOCKET_ERROR =
		0x530e, /* socket -> REPLY: result: why it is closed; value: the soft error, taken, negated */
	KEUOS_SOCKET_INFO = 0x530f,    /* socket -> CONNECTION */
	KEUOS_SOCKET_NETWORK = 0x5310, /* -> NETWORK_IS */
	/* For observers. */
	KEUOS_SOCKET_LOOK = 0x5311,     /* value: index -> CONNECTION of anybody, or REPLY INVALID past the last */
	KEUOS_SOCKET_COUNTERS = 0x5312, /* -> DATA: enum netd_counter's values, 64 bits each */

	KEUOS_SOCKET_RESOLVE = 0x5313, /* data: a name -> REPLY, when it is known: its address, or why there is none */
	/* For administrators. */
	KEUOS_SOCKET_CONFIGURE = 0x5314, /* value: enum keuos_socket_configuration -> REPLY */

	KEUOS_SOCKET_REPLY = 0x5381,      /* struct keuos_socket_reply */
	KEUOS_SOCKET_DATA = 0x5382,       /* in the data ring; cookies below */
	KEUOS_SOCKET_EVENT = 0x5383,      /* struct keuos_socket_event; answers nothing */
	KEUOS_SOCKET_CONNECTION = 0x5384, /* struct keuos_socket_connection */
	KEUOS_SOCKET_NETWORK_IS = 0x5385, /* struct keuos_socket_network */
	KEUOS_SOCKET_DIRECT = 0x5386,     /* struct keuos_socket_direct: as DATA, of bytes that lie in a frame */
};

/* Addresses and ports are numbers in host order; address 0: any of NetD's, port 0: one that it chooses. */
struct keuos_socket_request {
	uint32_t id; /* the application's own; the answer bears it */
	uint32_t socket;
	uint32_t address;
	uint32_t remote;
	uint16_t port;
	uint16_t remote_port;
	uint32_t value;
	uint32_t option; /* enum keuos_socket_option */
	uint32_t flags;  /* enum keuos_socket_flag */
};

/*
 * The cookies of SEND, SEND_TO, RESOLVE and DATA. The first is the id below and the socket above; the second the flags below, and
 * for datagrams the peer: address in bits 63 to 32, port in 31 to 16.
 */
#define KEUOS_SOCKET_COOKIE(low, high) ((uint64_t)(high) << 32 | (uint32_t)(low))
#define KEUOS_SOCKET_PEER(address, port, flags)                                                                        \
	((uint64_t)(address) << 32 | (uint32_t)(uint16_t)(port) << 16 | (uint16_t)(flags))

enum keuos_socket_flag {
	KEUOS_SOCKET_MORE = 1,     /* SEND: more follows at once; only full segments leave */
	KEUOS_SOCKET_URGENT = 2,   /* SEND: the last byte ends urgent data. DATA: it does */
	KEUOS_SOCKET_PEEK = 4,     /* RECEIVE: look without taking; streams only */
	KEUOS_SOCKET_STANDING = 8, /* RECEIVE: a credit: DATA comes as it arrives, until `value` bytes have */
	KEUOS_SOCKET_END = 16,     /* DATA: of no bytes, the end of the stream */
	KEUOS_SOCKET_FOLLOWS = 32, /* SEND: is AGAIN unless the SEND before it was taken whole */
	/* SEND: its answer is no reason to wake anybody, unless it is an error; WRITABLE will, at half the buffer's room. */
	KEUOS_SOCKET_QUIET = 64,
};

struct keuos_socket_reply {
	uint32_t id;
	uint32_t socket;
	int32_t result; /* enum keuos_socket_result */
	uint32_t value;
	uint32_t address; /* ACCEPT: the peer; CONNECT, LISTEN, BIND: the own end; RESOLVE: the name's */
	uint32_t port;
};

/* Where NetD's address comes from. */
enum keuos_socket_configuration {
	KEUOS_SOCKET_AS_GIVEN = 0,     /* as its arguments say, from the start */
	KEUOS_SOCKET_DHCP = 1,         /* a server of DHCP is asked; the address there is is given up */
	KEUOS_SOCKET_DHCP_RENEW = 2,   /* the server is asked now to extend the lease; INVALID without one */
	KEUOS_SOCKET_DHCP_RELEASE = 3, /* the lease is given back, and there is no address; INVALID without one */
};

/* The bytes stay where they are until the tail that is published passes this message. */
struct keuos_socket_direct {
	uint32_t id;
	uint32_t socket;
	uint32_t offset; /* behind the start of the data ring's upper half */
	uint32_t bytes;
};

struct keuos_socket_event {
	uint32_t socket;
	uint32_t events; /* enum keuos_socket_events, or-ed */
};

enum keuos_socket_events {
	KEUOS_SOCKET_READABLE = 1, /* data, the end of the stream, or a connection to accept */
	KEUOS_SOCKET_WRITABLE = 2, /* connected, or room again after AGAIN */
	KEUOS_SOCKET_HAS_URGENT = 4,
	KEUOS_SOCKET_CLOSED = 8,   /* both directions are done, or it failed */
	KEUOS_SOCKET_TROUBLE = 16, /* a report that may pass; ERROR tells it */
};

enum keuos_socket_result {
	KEUOS_SOCKET_OK = 0,
	KEUOS_SOCKET_AGAIN = -1,         /* not now: an EVENT will tell */
	KEUOS_SOCKET_INVALID = -2,       /* an argument makes no sense, or not in this state; or no such socket */
	KEUOS_SOCKET_IN_USE = -3,        /* the address and port are taken */
	KEUOS_SOCKET_NO_ROOM = -4,       /* a limit is reached */
	KEUOS_SOCKET_REFUSED = -5,       /* the peer answered the opening with a reset */
	KEUOS_SOCKET_RESET = -6,         /* the peer reset the connection */
	KEUOS_SOCKET_TIMED_OUT = -7,     /* the peer is silent */
	KEUOS_SOCKET_UNREACHABLE = -8,   /* no route, or a router or host says so */
	KEUOS_SOCKET_NOT_CONNECTED = -9, /* and never was */
	KEUOS_SOCKET_SHUT = -10,         /* this direction was shut down here */
	KEUOS_SOCKET_TOO_LONG = -11,     /* no datagram can be so long */
	KEUOS_SOCKET_NO_NAME = -12,      /* there is no such name, or it has no address */
	KEUOS_SOCKET_NOT_ALLOWED =
		-13, /* the label of the channels does not say so, or another application has the NIC to itself */
};

enum keuos_socket_option {
	KEUOS_SOCKET_NO_DELAY = 0,
	KEUOS_SOCKET_KEEPALIVE = 1,
	KEUOS_SOCKET_KEEPALIVE_IDLE = 2,     /* seconds */
	KEUOS_SOCKET_KEEPALIVE_INTERVAL = 3, /* seconds */
	KEUOS_SOCKET_KEEPALIVE_COUNT = 4,
	KEUOS_SOCKET_USER_TIMEOUT = 5, /* milliseconds */
	KEUOS_SOCKET_LINGER = 6,       /* seconds; 0 at once, at most 300 */
	KEUOS_SOCKET_SEND_BYTES = 7,
	KEUOS_SOCKET_RECEIVE_BYTES = 8,
	KEUOS_SOCKET_TTL = 9,
	KEUOS_SOCKET_DSCP = 10,
};

struct keuos_socket_connection {
	uint32_t id;
	uint32_t socket;                      /* LOOK: 0 */
	char state[KEUOS_SOCKET_STATE_BYTES]; /* RFC 9293's name */
	uint32_t local, remote;
	uint16_t local_port, remote_port;
	uint32_t urgent; /* bytes up to the end of urgent data */
	uint32_t readable, unsent, in_flight;
	uint32_t cwnd, ssthresh, mss, window;
	uint32_t srtt_us, rto_us;
	uint32_t retransmitted;
	uint64_t bytes_in, bytes_out;
};

struct keuos_socket_network {
	uint32_t id;
	uint32_t address, mask, gateway, dns;
	uint32_t dhcp; /* enum netd_dhcp_state */
	uint16_t mtu;
	uint8_t mac[6];
	uint32_t link_up;
	uint32_t applications;
	uint32_t sockets; /* of applications */
};

_Static_assert(sizeof(struct keuos_socket_request) == 32, "request");
_Static_assert(sizeof(struct keuos_socket_connection) <= 104, "a message with proof of two slots");
_Static_assert(sizeof(struct keuos_socket_network) <= 104, "a message with proof of two slots");

#endif
