/*
 * Sockets for user programs: the application's side of keuos/socket.h. Includes nothing of NetD, and is nothing but
 * messages: a program makes calls by socket_call() or sends requests and takes what comes by socket_next(). Nothing here
 * blocks without a deadline. docs/sockets.md tells what each call does.
 *
 * One file of a program includes this, because the templates that it declares are the program's. It defines what
 * keuos/ring_sleep.h asks for.
 */
#ifndef KEUOS_USER_SOCKET_H
#define KEUOS_USER_SOCKET_H

#include <keuos/ring.h>
#include <keuos/socket.h>
#include <string.h>
#include <user.h>

static uint64_t socket_doorbells; /* that this program has rung */

static inline void keuos_ring_doorbell(uint32_t capability)
{
	socket_doorbells++;
	sys_doorbell(capability);
}

static inline void keuos_ring_wait(uint32_t capability)
{
	sys_wait(sys_bit(capability), KEUOS_FOREVER);
}

#include <keuos/ring_sleep.h>

#define SOCKET_REQUEST_TEMPLATE(name, opcode)                                                                          \
	static KEUOS_TEMPLATE(name, opcode, sizeof(struct keuos_socket_request), KEUOS_DATA_ALIGNMENT, 0)
SOCKET_REQUEST_TEMPLATE(socket_template_open, KEUOS_SOCKET_OPEN);
SOCKET_REQUEST_TEMPLATE(socket_template_listen, KEUOS_SOCKET_LISTEN);
SOCKET_REQUEST_TEMPLATE(socket_template_accept, KEUOS_SOCKET_ACCEPT);
SOCKET_REQUEST_TEMPLATE(socket_template_connect, KEUOS_SOCKET_CONNECT);
SOCKET_REQUEST_TEMPLATE(socket_template_bind, KEUOS_SOCKET_BIND);
static KEUOS_TEMPLATE(socket_template_send, KEUOS_SOCKET_SEND, KEUOS_SOCKET_DATA_MAX, KEUOS_DATA_ALIGNMENT, 0);
static KEUOS_TEMPLATE(socket_template_send_to, KEUOS_SOCKET_SEND_TO, KEUOS_SOCKET_DATA_MAX, KEUOS_DATA_ALIGNMENT, 0);
SOCKET_REQUEST_TEMPLATE(socket_template_receive, KEUOS_SOCKET_RECEIVE);
SOCKET_REQUEST_TEMPLATE(socket_template_shutdown, KEUOS_SOCKET_SHUTDOWN);
SOCKET_REQUEST_TEMPLATE(socket_template_close, KEUOS_SOCKET_CLOSE);
SOCKET_REQUEST_TEMPLATE(socket_template_abort, KEUOS_SOCKET_ABORT);
SOCKET_REQUEST_TEMPLATE(socket_template_set, KEUOS_SOCKET_SET);
SOCKET_REQUEST_TEMPLATE(socket_template_get, KEUOS_SOCKET_GET);
SOCKET_REQUEST_TEMPLATE(socket_template_ready, KEUOS_SOCKET_READY);
SOCKET_REQUEST_TEMPLATE(socket_template_error, KEUOS_SOCKET_ERROR);
SOCKET_REQUEST_TEMPLATE(socket_template_info, KEUOS_SOCKET_INFO);
SOCKET_REQUEST_TEMPLATE(socket_template_network, KEUOS_SOCKET_NETWORK);
SOCKET_REQUEST_TEMPLATE(socket_template_look, KEUOS_SOCKET_LOOK);
SOCKET_REQUEST_TEMPLATE(socket_template_counters, KEUOS_SOCKET_COUNTERS);
static KEUOS_TEMPLATE(socket_template_resolve, KEUOS_SOCKET_RESOLVE, KEUOS_SOCKET_DATA_MAX, KEUOS_DATA_ALIGNMENT, 0);
SOCKET_REQUEST_TEMPLATE(socket_template_configure, KEUOS_SOCKET_CONFIGURE);

KEUOS_ACCEPTS(KEUOS_SOCKET_REPLY, sizeof(struct keuos_socket_reply), KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_DATA, KEUOS_SOCKET_DATA_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_EVENT, sizeof(struct keuos_socket_event), KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_CONNECTION, sizeof(struct keuos_socket_connection), KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_NETWORK_IS, sizeof(struct keuos_socket_network), KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_DIRECT, sizeof(struct keuos_socket_direct), KEUOS_DATA_ALIGNMENT, 0);

/* A message from NetD, in private memory. */
struct socket_message {
	uint16_t opcode; /* enum keuos_socket_opcode */
	uint32_t id;     /* of the request that it answers; 0: an EVENT */
	uint32_t socket;
	uint64_t second;     /* DATA: KEUOS_SOCKET_PEER() of peer and flags */
	uint32_t bytes;      /* DATA */
	const uint8_t *data; /* DATA: until the next message is taken; in direct mode maybe where the NIC put them */
	union {
		struct keuos_socket_reply reply;
		struct keuos_socket_event event;
		struct keuos_socket_connection connection;
		struct keuos_socket_network network;
	};
};

struct socket_client {
	struct keuos_producer out;
	struct keuos_consumer in;
	uint32_t id; /* of the last request */
	int has_out, has_in;
	int full;              /* the last request found no room */
	int untold;            /* requests were sent, and NetD was not told yet */
	uint32_t taken;        /* messages since NetD was told of the room that they made */
	const uint8_t *frames; /* direct mode: the upper half of the data ring; else 0 */
	uint32_t told;         /* direct mode: the tail that NetD knows: what lies before may be overwritten */
	/* Is told what comes while socket_call() waits for something else; may be 0. Must not call NetD. */
	void (*other)(struct socket_client *client, const struct socket_message *message);
	uint8_t buffer[KEUOS_SOCKET_DATA_MAX]; /* DATA's bytes that were copied out of the ring */
};

/*
 * Accepts the two ends that the first process bound, as they come. 0, or -KEUOS_EAGAIN when the deadline (ns of TIME) has
 * passed. Ends of other channels that are bound meanwhile are given back.
 */
static inline int64_t socket_open(struct socket_client *client, uint64_t deadline)
{
	struct keuos_endpoint end;

	while (!client->has_out || !client->has_in) {
		int64_t error = sys_channel_accept(&end);

		if (error == -KEUOS_EAGAIN) {
			if (!sys_wait(sys_bit(KEUOS_CAP_SELF), deadline))
				return error;
			continue;
		}
		if (error < 0)
			return error;
		if (!keuos_is_socket_label(end.label)) {
			sys_channel_unmap(end.capability);
		} else if (end.role == KEUOS_PRODUCER) {
			client->out = keuos_producer_init(&end);
			client->has_out = 1;
		} else {
			if (end.label & KEUOS_SOCKET_ALONE)
				end.data_bytes /= 2;
			client->in = keuos_consumer_init(&end);
			client->frames = end.label & KEUOS_SOCKET_ALONE ? client->in.ring.payload + end.data_bytes : 0;
			client->told = 0;
			client->has_in = 1;
		}
	}
	return 0;
}

/* Gives both ends back; NetD aborts every connection. The client can be opened again. */
static inline void socket_shut(struct socket_client *client)
{
	if (client->has_out)
		sys_channel_unmap(client->out.ring.capability);
	if (client->has_in)
		sys_channel_unmap(client->in.ring.capability);
	client->has_out = client->has_in = 0;
}

/* Tells NetD of the requests sent. socket_wait() and whatever waits does it; who does not wait does it itself. */
static inline void socket_tell(struct socket_client *client)
{
	if (!client->untold)
		return;
	client->untold = 0;
	keuos_producer_wake(&client->out);
}

/* Behind a request that was put into the ring, or was not. */
static inline int socket_requested(struct socket_client *client, uint32_t id, int result)
{
	client->full = result == KEUOS_RING_FULL;
	if (client->full)
		socket_tell(client);
	if (result != KEUOS_RING_OK)
		return result;
	client->id = id;
	client->untold = 1;
	return result;
}

/*
 * Sends a request, whose id it chooses; NetD is told of it later (socket_tell). enum keuos_ring_result; KEUOS_RING_FULL: take
 * what has come, and try again.
 */
static inline int socket_request(
	struct socket_client *client, const struct keuos_template *template, struct keuos_socket_request *request)
{
	request->id = client->id + 1 ? client->id + 1 : 1;
	return socket_requested(client, request->id,
		keuos_send(&client->out, keuos_template_index(template), request, sizeof(*request)));
}

/* The same with data: of SEND, SEND_TO or RESOLVE, and at most KEUOS_SOCKET_DATA_MAX bytes. */
static inline int socket_request_data(struct socket_client *client, const struct keuos_template *template,
	struct keuos_socket_request *request, const void *data, uint32_t bytes)
{
	uint64_t cookie[2];

	request->id = client->id + 1 ? client->id + 1 : 1;
	cookie[0] = KEUOS_SOCKET_COOKIE(request->id, request->socket);
	cookie[1] = KEUOS_SOCKET_PEER(request->remote, request->remote_port, request->flags);
	return socket_requested(client, request->id,
		keuos_send_descriptor(&client->out, keuos_template_index(template), data, bytes, cookie));
}

enum { SOCKET_TAKEN = 32 }; /* half the ring */

/* NetD, if it waits for room, is told of it when there is a good deal: each message's would be a doorbell each. */
static inline void socket_made_room(struct socket_client *client, int all)
{
	if (!all && ++client->taken < SOCKET_TAKEN)
		return;
	client->taken = 0;
	keuos_consumer_wake(&client->in);
}

/*
 * In direct mode what was taken before is done with now, and not sooner: the ring library must not publish the tail behind
 * a message whose bytes still lie in their frame.
 */
static inline void socket_done(struct socket_client *client, int all)
{
	struct keuos_consumer *in = &client->in;

	if (!client->frames)
		return;
	if (in->tail - client->told >= (all ? 1 : KEUOS_TAIL_EVERY)) {
		keuos_consumer_publish(in);
		client->told = in->tail;
	}
	in->publish_at = in->tail + KEUOS_SLOTS;
}

/* Payload that lies in its frame. NetD is not believed that it lies there. */
static inline int socket_direct(struct socket_client *client, struct socket_message *message)
{
	struct keuos_socket_direct direct;

	memcpy(&direct, client->buffer, sizeof(direct));
	if (!client->frames || direct.offset > KEUOS_SOCKET_FRAMES_BYTES ||
		direct.bytes > KEUOS_SOCKET_FRAMES_BYTES - direct.offset)
		return KEUOS_RING_VIOLATION;
	*message = (struct socket_message){.opcode = KEUOS_SOCKET_DATA,
		.id = direct.id,
		.socket = direct.socket,
		.bytes = direct.bytes,
		.data = client->frames + direct.offset};
	return 1;
}

/* Takes the next message. 1; 0: there is none; negative: KEUOS_RING_CLOSED (NetD is gone) or KEUOS_RING_VIOLATION. */
static inline int socket_next(struct socket_client *client, struct socket_message *message)
{
	uint64_t cookie[2] = {0, 0};
	uint32_t template = 0;
	int bytes;

	socket_done(client, 0);
	bytes = keuos_receive_cookie(&client->in, client->buffer, sizeof(client->buffer), &template, cookie);

	if (bytes == KEUOS_RING_EMPTY) {
		socket_done(client, 1);
		socket_made_room(client, 1);
		return 0;
	}
	if (bytes < 0)
		return bytes;
	socket_made_room(client, 0);
	*message = (struct socket_message){.opcode = client->in.ring.tags[template & (KEUOS_TEMPLATES_MAX - 1)].opcode,
		.bytes = (uint32_t)bytes,
		.data = client->buffer};
	if (message->opcode == KEUOS_SOCKET_DIRECT)
		return socket_direct(client, message);
	if (message->opcode == KEUOS_SOCKET_DATA) {
		message->id = (uint32_t)cookie[0];
		message->socket = (uint32_t)(cookie[0] >> 32);
		message->second = cookie[1];
		return 1;
	}
	memcpy(&message->reply, client->buffer,
		(uint32_t)bytes < sizeof(message->connection) ? (uint32_t)bytes : sizeof(message->connection));
	if (message->opcode == KEUOS_SOCKET_EVENT) {
		message->socket = message->event.socket;
	} else {
		message->id = message->reply.id;
		message->socket = message->opcode == KEUOS_SOCKET_NETWORK_IS ? 0 : message->reply.socket;
	}
	return 1;
}

/* Sleeps until there is a message, or room if the last request found none, or the deadline (ns of TIME). */
static inline void socket_wait(struct socket_client *client, uint64_t deadline)
{
	const struct keuos_slot *slot = keuos_slot_of(&client->in.ring, client->in.tail);

	socket_tell(client);
	keuos_ring_sleeping(&client->in.ring, 1);
	keuos_ring_sleeping(&client->out.ring, client->full != 0);
	if ((uint32_t)(__atomic_load_n(&slot->word, __ATOMIC_ACQUIRE) >> KEUOS_WORD_SEQUENCE_SHIFT) !=
			client->in.tail + 1 &&
		client->in.ring.status->state == KEUOS_CHANNEL_OPEN)
		sys_wait(sys_bit(client->in.ring.capability) | sys_bit(client->out.ring.capability), deadline);
	keuos_ring_sleeping(&client->in.ring, 0);
	keuos_ring_sleeping(&client->out.ring, 0);
}

/* Waits for the answer to a request. As socket_next(); 0: the deadline has passed. */
static inline int socket_answer(
	struct socket_client *client, uint32_t id, struct socket_message *message, uint64_t deadline)
{
	socket_tell(client);
	for (;;) {
		int result = socket_next(client, message);

		if (result < 0)
			return result;
		if (result && message->id == id)
			return 1;
		if (result && client->other)
			client->other(client, message);
		if (!result && sys_time() >= deadline)
			return 0;
		if (!result)
			socket_wait(client, deadline);
	}
}

/*
 * Makes a call and waits for its answer; data: NULL but for SEND, SEND_TO and RESOLVE. 1, 0 if the deadline (ns of TIME) has
 * passed, or negative as socket_next().
 */
static inline int socket_call(struct socket_client *client, const struct keuos_template *template,
	struct keuos_socket_request *request, const void *data, uint32_t bytes, struct socket_message *message,
	uint64_t deadline)
{
	int result;

	for (;;) {
		result = data ? socket_request_data(client, template, request, data, bytes)
			      : socket_request(client, template, request);
		if (result != KEUOS_RING_FULL)
			break;
		/* NetD takes no request while its answers lie unread. */
		while ((result = socket_next(client, message)) > 0)
			if (client->other)
				client->other(client, message);
		if (result < 0)
			return result;
		if (sys_time() >= deadline)
			return 0;
		socket_wait(client, deadline);
	}
	return result < 0 ? result : socket_answer(client, request->id, message, deadline);
}

/*
 * Looks up a name's address. enum keuos_socket_result, TIMED_OUT when the deadline (ns of TIME) has passed too, or what socket_next()
 * says of a NetD that is gone: below KEUOS_SOCKET_NOT_ALLOWED.
 */
static inline int socket_resolve(struct socket_client *client, const char *name, uint32_t *address, uint64_t deadline)
{
	struct keuos_socket_request request = {0};
	struct socket_message message;
	int result = socket_call(
		client, &socket_template_resolve, &request, name, (uint32_t)strlen(name), &message, deadline);

	if (result < 0)
		return KEUOS_SOCKET_NOT_ALLOWED + result;
	if (!result)
		return KEUOS_SOCKET_TIMED_OUT;
	*address = message.reply.address;
	return message.reply.result;
}

#endif
