/*
 * The applications of NetD: who is at the other end of its rings, which sockets are whose, and the traffic on the rings.
 * docs/sockets.md has the protocol. Every ring is hostile: what an application does can end its own connections only.
 *
 * applications.c pairs ends, takes requests off the rings and ends applications; sockets.c carries requests out, names.c those that
 * wait for an answer from the network. All are called from the event loop alone.
 */
#ifndef NETD_KEUOS_APPLICATIONS_H
#define NETD_KEUOS_APPLICATIONS_H

#include <keuos/ring.h>
#include <keuos/socket.h>
#include <netd/socket.h>

struct application;

enum socket_kind { SOCKET_FREE, SOCKET_LISTENER, SOCKET_STREAM, SOCKET_DATAGRAM };

struct socket {
	enum socket_kind kind;
	uint16_t generation; /* never 0 in use */
	struct application *application;
	struct socket *next; /* of the same application */
	struct netd_tcp *tcp;
	struct netd_udp *udp;
	bool wants_room;    /* WRITABLE is waited for */
	bool cut;           /* the last SEND was not taken whole */
	uint32_t events;    /* that the application has not been told yet */
	uint32_t credit;    /* bytes that a standing RECEIVE still wants */
	uint32_t credit_id; /* its request */
};

struct application {
	bool used;
	bool has_requests, has_events; /* the ends that have come */
	bool attention;                /* a socket has something to tell */
	uint32_t peer;                 /* pid */
	uint32_t who;                  /* of all that ever were: netd_tcp_owner's */
	uint64_t label;
	struct keuos_consumer requests;
	struct keuos_producer events;
	bool told; /* something since the last doorbell that is worth one */
	uint32_t count;
	struct socket *sockets;
};

/* What the port counts beside the stack; read by tests out of NetD's memory. */
struct application_counters {
	uint64_t requests, events;
	uint64_t doorbells;   /* rung by NetD */
	uint64_t copied;      /* bytes, into the rings */
	uint64_t direct;      /* bytes that applications read where the NIC put them */
	uint64_t sent_copied; /* bytes, out of the rings: into the send buffers, or of datagrams into private memory */
	uint64_t violations;  /* applications that broke the rules of the rings */
	uint64_t ended;       /* applications that are gone */
	uint64_t refused;     /* ends that were given back: no place, or not for sockets */
	uint64_t blocked;     /* turns in which an application had no room for answers */
};

extern struct application_counters application_counters;

struct wire;

/* `own`: the address that the arguments name, or none, for DHCP. */
void applications_start(struct netd *stack, struct wire *wire, const struct netd_address *own);

/* New ends have been bound to this process: takes them. */
void applications_accept(void);

/* Takes requests, and sends what there is room for now. Whether anything was done. */
bool applications_serve(void);

/* Before the sleep: asks for doorbells. True: there is work already. Afterwards they are taken back. */
bool applications_arm(void);
void applications_disarm(void);

unsigned applications_count(void);

/* --- sockets.c, for applications.c --- */

void sockets_start(struct netd *stack, const struct netd_nic *nic, const struct netd_address *own);
/* As the arguments say. Returns netd_result. */
int sockets_configure(struct netd *stack, const struct netd_address *own);
void sockets_carry_out(struct application *application, uint16_t opcode, const struct keuos_socket_request *request,
	const uint8_t *data, uint32_t bytes);
/* SEND, whose data lies in the ring, in one piece or two: it is read once, for the application can change it meanwhile. */
void sockets_send(
	struct application *application, const struct keuos_socket_request *request, const struct netd_part parts[2]);
/* What a socket has to tell: events, and data on credit, as far as there is room. */
void sockets_attend(struct application *application);
/* The application has done with so many bytes that it read where the NIC put them. */
void sockets_return(struct application *application, uint32_t socket, uint32_t bytes);
/* All of the application's sockets are aborted. */
void sockets_end(struct application *application);
unsigned sockets_count(void);

/* What becomes of a request on a socket that is not the application's. NULL, or false: it is invalid. */
extern bool (*sockets_stranger)(struct application *application, uint16_t opcode,
	const struct keuos_socket_request *request, const uint8_t *data, uint32_t bytes);

/* --- names.c, for sockets.c --- */

/* Asks for a name's address. NETD_OK: the application will be answered by itself. */
int names_resolve(struct netd *stack, struct application *application, uint32_t id, const char *name, uint32_t bytes);
void names_attend(struct application *application); /* answers what is known by now, as far as there is room */
void names_end(const struct application *application);

/* --- applications.c, for sockets.c and names.c --- */

/* Sends an event of at most 104 bytes; the caller knows that there is room, or looks at the result: false if not. */
bool application_tell(struct application *application, uint16_t opcode, const void *message, uint32_t bytes);
/* How many bytes of data can be sent in one message now. */
uint32_t application_room(struct application *application);
bool application_send(struct application *application, const uint64_t cookie[2], const void *data, uint32_t bytes);
/* The same in pieces: each is put `offset` bytes behind the message's start, within the room that there is, then all are sent. */
void application_put(struct application *application, uint32_t offset, const void *data, uint32_t bytes);
bool application_send_put(struct application *application, const uint64_t cookie[2], uint32_t bytes);

#endif
