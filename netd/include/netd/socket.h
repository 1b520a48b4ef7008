/*
 * Sockets inside NetD: what the server of the applications' rings and the built-in services call. Nothing blocks; what
 * can't be done now returns NETD_AGAIN, and an event tells when to try again.
 *
 * A handle is its owner's from the call that returned it until netd_tcp_close(), netd_tcp_abort() or netd_udp_close(),
 * whatever happens to the connection meanwhile. Events are delivered by netd_run() only, never from inside a call made
 * here; a handler may call anything here, on any socket.
 */
#ifndef NETD_SOCKET_H
#define NETD_SOCKET_H

#include <netd/stack.h>

enum netd_result {
	NETD_OK = 0,
	NETD_AGAIN = -1,         /* not now: an event will tell */
	NETD_INVALID = -2,       /* an argument makes no sense, or not in this state */
	NETD_IN_USE = -3,        /* the address and port are taken */
	NETD_NO_ROOM = -4,       /* a limit is reached; see struct netd_limits */
	NETD_REFUSED = -5,       /* the peer answered the opening with a reset */
	NETD_RESET = -6,         /* the peer reset the connection, or it was aborted here */
	NETD_TIMED_OUT = -7,     /* the peer is silent */
	NETD_UNREACHABLE = -8,   /* no route, or a router or host says so */
	NETD_NOT_CONNECTED = -9, /* and never was */
	NETD_SHUT = -10,         /* this direction was shut down here */
	NETD_TOO_LONG = -11,     /* no datagram can be so long, or the buffer is too small for it */
	NETD_NO_NAME = -12,      /* there is no such name, or it has no address */
};

enum netd_event {
	NETD_READABLE = 1, /* data, the end of the stream, or a connection to accept */
	NETD_WRITABLE = 2, /* connected, or room again after NETD_AGAIN */
	NETD_URGENT = 4,   /* urgent data was announced: netd_tcp_urgent() */
	NETD_CLOSED = 8,   /* both directions are done, or it failed: netd_tcp_error() */
	NETD_TROUBLE = 16, /* a report that may pass: retransmissions (RFC 9293, 3.8.3, R1) or an ICMP error */
};

/* Address 0 stands for any of our own, port 0 for one that is chosen. */
struct netd_endpoint {
	uint32_t address;
	uint16_t port;
};

struct netd_tcp;
struct netd_udp;

struct netd_tcp_owner {
	void (*ready)(void *owner, struct netd_tcp *socket, unsigned events);
	/*
	 * Data that has just arrived in order while nothing older is unread, where it lies in its frame. Takes as much as it
	 * wants and returns how much; the rest stays in its frame for netd_tcp_receive(). To keep the bytes where they are it copies
	 * *frame and sets frame->release to NULL; a frame without release (reassembled, or looped back) can't be kept.
	 * Called from inside the input path: must not call the stack. NULL: everything is kept for netd_tcp_receive().
	 */
	size_t (*deliver)(
		void *owner, struct netd_tcp *socket, struct netd_frame *frame, const uint8_t *data, size_t bytes);
	void *owner;
	uint32_t who; /* the application; 0: NetD's own services. A port is one application's, at whatever addresses */
};

/*
 * Waits for connections. `backlog` bounds half-open ones and those not accepted yet, each. NETD_IN_USE: somebody listens at the very
 * address and port, or another application at an address that includes this one or is included (address 0 is all).
 */
int netd_tcp_listen(struct netd *stack, struct netd_endpoint local, unsigned backlog,
	const struct netd_tcp_owner *owner, struct netd_tcp **listener);

/* Takes the oldest connection; its options are those of the listener. NETD_AGAIN: there is none. */
int netd_tcp_accept(struct netd_tcp *listener, const struct netd_tcp_owner *owner, struct netd_tcp **socket);

/* Makes a socket that is not connected yet, so that its options can be set before it is. */
int netd_tcp_open(struct netd *stack, const struct netd_tcp_owner *owner, struct netd_tcp **socket);

/* Starts to open a connection: NETD_WRITABLE or NETD_CLOSED tells the end of it. Data can be sent at once. */
int netd_tcp_connect(struct netd_tcp *socket, struct netd_endpoint local, struct netd_endpoint remote);

enum netd_send_flags {
	NETD_SEND_MORE = 1,   /* more follows at once: only full segments leave */
	NETD_SEND_URGENT = 2, /* the last byte ends urgent data */
};

/* Queues data. Returns how much was taken, at least 1, or netd_result. */
long netd_tcp_send(struct netd_tcp *socket, const void *data, size_t bytes, unsigned flags);

/* The same of data that lies in two pieces, the second maybe empty. Each byte is read once. */
long netd_tcp_send_pieces(struct netd_tcp *socket, const struct netd_part pieces[2], unsigned flags);

/* Reads data. Returns how much, 0 at the end of the stream, or netd_result. Stops at an urgent mark. */
long netd_tcp_receive(struct netd_tcp *socket, void *to, size_t bytes);

/*
 * The same without a copy: what lies in one piece, `offset` bytes behind what is to be read next. NETD_AGAIN: there is not so
 * much. netd_tcp_consume() then tells how much was read; until then, and until the next netd_run(), it stays where it is.
 */
long netd_tcp_peek(struct netd_tcp *socket, size_t offset, const void **data);
void netd_tcp_consume(struct netd_tcp *socket, size_t bytes);

/*
 * The frame in which what is to be read next lies, if all that netd_tcp_peek() tells there is the rest of its text; else NULL. Its
 * reference may be moved elsewhere; then the text has to be consumed at once.
 */
struct netd_frame *netd_tcp_frame(struct netd_tcp *socket);

/*
 * Text that was taken and still lies in a frame that the owner keeps counts against the window until the owner has done with it, so
 * that a peer can't fill more frames than there are. netd_tcp_lend() may be called from inside deliver().
 */
void netd_tcp_lend(struct netd_tcp *socket, size_t bytes);
void netd_tcp_return(struct netd_tcp *socket, size_t bytes);

/* Bytes up to and including the end of urgent data, 0 if there is none. */
size_t netd_tcp_urgent(const struct netd_tcp *socket);

/* No more is sent: what is queued, then the end of the stream, go to the peer. Returns netd_result. */
int netd_tcp_shutdown(struct netd_tcp *socket);

/* Gives up the handle. What is queued is still sent, by the rules of NETD_LINGER; unread data resets the connection. */
void netd_tcp_close(struct netd_tcp *socket);

/* Gives up the handle and resets the connection. */
void netd_tcp_abort(struct netd_tcp *socket);

enum netd_tcp_option {
	NETD_NO_DELAY,           /* 1: small segments wait for nothing (RFC 9293, 3.7.4) */
	NETD_KEEPALIVE,          /* 1: on (RFC 9293, 3.8.4) */
	NETD_KEEPALIVE_IDLE,     /* seconds of silence before the first probe; 7200 */
	NETD_KEEPALIVE_INTERVAL, /* seconds between probes; 75 */
	NETD_KEEPALIVE_COUNT,    /* unanswered probes that end the connection; 9 */
	NETD_USER_TIMEOUT,       /* milliseconds that data may stay unacknowledged (RFC 9293, 3.8.3, R2); 300000 */
	NETD_LINGER,     /* after close: seconds until a reset; 0 at once, at most 300, UINT32_MAX (the default) too */
	NETD_SEND_BYTES, /* at most the limit */
	NETD_RECEIVE_BYTES, /* from 1024 to the limit; what a window of more than 65535 needs is settled at the opening */
	NETD_TTL,           /* 1 to 255; 64 */
	NETD_DSCP,          /* 0 to 63 */
	NETD_TCP_OPTIONS,
};

int netd_tcp_set(struct netd_tcp *socket, enum netd_tcp_option option, uint32_t value);
uint32_t netd_tcp_get(const struct netd_tcp *socket, enum netd_tcp_option option);

/* Which events hold now. */
unsigned netd_tcp_ready(const struct netd_tcp *socket);

/* Why it is closed (NETD_OK: in good order, or it is not). */
int netd_tcp_error(const struct netd_tcp *socket);

/* The last report that did not end the connection, and forgets it: netd_result. */
int netd_tcp_soft_error(struct netd_tcp *socket);

struct netd_tcp_info {
	const char *state; /* RFC 9293's name */
	struct netd_endpoint local, remote;
	uint32_t readable, unsent, in_flight;
	uint32_t cwnd, ssthresh, mss, window;
	uint32_t srtt_us, rto_us;
	uint32_t retransmitted; /* segments */
	uint64_t bytes_in, bytes_out;
};

void netd_tcp_get_info(const struct netd_tcp *socket, struct netd_tcp_info *info);

/* The connections, one after the other: pass NULL first; NULL at the end. Only for looking at. */
const struct netd_tcp *netd_tcp_next(const struct netd *stack, const struct netd_tcp *after);

struct netd_udp_owner {
	void (*ready)(void *owner, struct netd_udp *socket); /* a datagram or an error came; may be NULL */
	/* A datagram where it lies. Returns whether it was taken; else it is queued. May call netd_udp_send(). May be NULL. */
	bool (*deliver)(void *owner, struct netd_udp *socket, struct netd_endpoint from, struct netd_endpoint to,
		const uint8_t *data, size_t bytes);
	void *owner;
	uint32_t who; /* as in struct netd_tcp_owner */
};

/* NETD_IN_USE as for netd_tcp_listen(); the ports of DHCP and of the resolver's questions are theirs at every address. */
int netd_udp_bind(
	struct netd *stack, struct netd_endpoint local, const struct netd_udp_owner *owner, struct netd_udp **socket);

/* Sends one datagram; `from` 0 stands for the address the socket is bound to, or the interface's. */
int netd_udp_send(struct netd_udp *socket, uint32_t from, struct netd_endpoint to, const void *data, size_t bytes);

/* Takes one datagram; returns its length, or netd_result: an ICMP error of an earlier send is reported once. */
long netd_udp_receive(struct netd_udp *socket, struct netd_endpoint *from, void *to, size_t bytes);
int netd_udp_set(struct netd_udp *socket, enum netd_tcp_option option, uint32_t value); /* NETD_TTL, NETD_DSCP */
struct netd_endpoint netd_udp_local(const struct netd_udp *socket);
void netd_udp_close(struct netd_udp *socket);

#endif
