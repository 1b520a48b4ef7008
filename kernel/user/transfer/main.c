/*
 * An application of NetD that moves bulk data by itself: whoever connects to one port sends, whoever connects to the
 * other is sent to. Data comes on standing credit. It sleeps in one place and serves all its connections by turns.
 */
#include "transfer.h"

#include <socket.h>

enum {
	PATTERN_BLOCK = 256,
	CHUNK = KEUOS_SOCKET_DATA_MAX,
	CREDIT = 1u << 20,
	ROOM = 2 * CHUNK, /* half of a send buffer: WRITABLE tells that there is so much */
};

enum kind { FREE, SINK, SOURCE };

enum phase {
	CREDITING, /* a credit is to be given */
	READING,
	SENDING, /* the pattern, or the report */
	CLOSING,
};

struct connection {
	enum kind kind;
	enum phase phase;
	uint32_t number;
	uint32_t waits; /* the request that has no answer yet; 0: none */
	uint32_t credit;
	int failed;
	uint64_t received, to_send;
	uint64_t sent;    /* NetD has it */
	uint64_t offered; /* the next SEND's first byte; behind `sent` by the SENDs that have no answer yet */
	uint32_t sends;   /* without an answer */
	int cut;          /* one was not taken whole: those behind it are not taken at all */
	uint32_t room;    /* bytes that may be offered: NetD has said that there is so much, at least */
	int64_t bad;
	uint8_t head[sizeof(uint64_t)];
};

struct listener {
	uint16_t port;
	enum kind kind;
	uint32_t number;
	uint32_t waits;
	int ready;
};

struct transfer_results results;

static struct socket_client client;
static struct socket_message message;
static struct listener listeners[] = {{.port = TRANSFER_SINK, .kind = SINK}, {.port = TRANSFER_SOURCE, .kind = SOURCE}};
static struct connection connections[TRANSFER_CONNECTIONS];

enum { LISTENERS = sizeof(listeners) / sizeof(listeners[0]) };

/* --- the pattern of docs/socket-calls.md --- */

/* 7n, for two periods: a block of the pattern begins where 7n has the block's first byte. */
static uint8_t sevens[2 * PATTERN_BLOCK];

static const uint8_t *pattern_from(uint64_t at)
{
	uint8_t first = (uint8_t)(7 * at + 3 * (at >> 8) + 31 * (at >> 16) + 101 * (at >> 24));

	return sevens + (uint8_t)(first * 183); /* 7 * 183 is 1 modulo 256 */
}

static uint32_t to_block_end(uint64_t at, uint32_t most)
{
	uint32_t left = PATTERN_BLOCK - (uint32_t)(at % PATTERN_BLOCK);

	return left < most ? left : most;
}

static void make_pattern(uint8_t *to, uint64_t at, uint32_t bytes)
{
	for (uint32_t n; bytes; bytes -= n, at += n, to += n) {
		n = to_block_end(at, bytes);
		memcpy(to, pattern_from(at), n);
	}
}

static void compare(struct connection *c, const uint8_t *data, uint32_t bytes)
{
	for (uint32_t n; bytes; bytes -= n, c->received += n, data += n) {
		n = to_block_end(c->received, bytes);
		const uint8_t *right = pattern_from(c->received);

		if (c->bad < 0 && memcmp(data, right, n)) {
			uint32_t same = 0;

			while (data[same] == right[same])
				same++;
			c->bad = (int64_t)(c->received + same);
			results.bad++;
		}
	}
}

/* --- requests --- */

/* False: the ring is full, so later. */
static int ask(struct connection *c, const struct keuos_template *template, struct keuos_socket_request request)
{
	request.socket = c->number;
	if (socket_request(&client, template, &request) != KEUOS_RING_OK)
		return 0;
	c->waits = request.id;
	return 1;
}

static uint32_t chunk_at(const struct connection *c, uint64_t at)
{
	return c->to_send - at < CHUNK ? (uint32_t)(c->to_send - at) : CHUNK;
}

/* The next SEND. Many are under way at a time, so that a wake-up of NetD's is worth it. */
static int send_next(struct connection *c)
{
	static uint8_t chunk[CHUNK];
	int again = c->cut && !c->sends && c->room;
	struct keuos_socket_request request = {.socket = c->number, .flags = again ? 0 : KEUOS_SOCKET_FOLLOWS};

	if (again)
		c->offered = c->sent;
	if ((c->cut && !again) || !c->room || c->offered == c->to_send)
		return 0;
	uint32_t bytes = chunk_at(c, c->offered);

	if (c->kind == SOURCE) {
		make_pattern(chunk, c->offered, bytes);
	} else {
		struct transfer_report report = {.bytes = c->received, .bad = c->bad};

		memcpy(chunk, (const uint8_t *)&report + c->offered, bytes);
	}
	if (c->offered + bytes < c->to_send)
		request.flags |= KEUOS_SOCKET_MORE | KEUOS_SOCKET_QUIET;
	if (socket_request_data(&client, &socket_template_send, &request, chunk, bytes) != KEUOS_RING_OK)
		return 0;
	c->cut = 0;
	c->room -= bytes < c->room ? bytes : c->room;
	c->offered += bytes;
	c->sends++;
	return 1;
}

/* Whether something was asked for. */
static int go_on(struct connection *c)
{
	if (c->waits)
		return 0;
	switch (c->phase) {
	case CREDITING:
		if (!ask(c, &socket_template_receive,
			    (struct keuos_socket_request){.value = c->kind == SINK ? CREDIT : sizeof(c->head),
				    .flags = KEUOS_SOCKET_STANDING}))
			return 0;
		c->credit += CREDIT;
		c->waits = 0; /* a credit has no answer of its own */
		c->phase = READING;
		return 1;
	case SENDING:
		return send_next(c);
	case CLOSING:
		return ask(c, &socket_template_close, (struct keuos_socket_request){0});
	case READING:
		break;
	}
	return 0;
}

static int go_on_listening(struct listener *l)
{
	struct keuos_socket_request accept = {.socket = l->number};

	if (!l->ready || l->waits || socket_request(&client, &socket_template_accept, &accept) != KEUOS_RING_OK)
		return 0;
	l->waits = accept.id;
	return 1;
}

/* --- what comes --- */

static struct connection *connection_of(uint32_t number)
{
	for (int i = 0; i < TRANSFER_CONNECTIONS; i++)
		if (connections[i].kind != FREE && connections[i].number == number)
			return &connections[i];
	return NULL;
}

static struct connection *free_connection(void)
{
	for (int i = 0; i < TRANSFER_CONNECTIONS; i++)
		if (connections[i].kind == FREE)
			return &connections[i];
	return NULL;
}

static void take_accepted(struct listener *l)
{
	struct connection *c = free_connection();

	l->waits = 0;
	if (message.reply.result != KEUOS_SOCKET_OK) {
		l->ready = 0; /* an event tells of the next */
		return;
	}
	*c = (struct connection){.kind = l->kind, .number = message.reply.value, .bad = -1, .room = ROOM};
	results.accepted++;
	l->ready = free_connection() != NULL;
}

static void end(struct connection *c)
{
	results.failed += c->failed;
	results.finished += !c->failed;
	c->kind = FREE;
	for (int i = 0; i < LISTENERS; i++)
		listeners[i].ready = 1; /* some may have waited for a place */
}

/* The connection broke: its socket is given up, whatever was under way. */
static void give_up(struct connection *c)
{
	c->failed = 1;
	c->phase = CLOSING;
}

static void take_sent(struct connection *c, int32_t result)
{
	uint32_t taken = result == KEUOS_SOCKET_OK ? message.reply.value : 0;

	c->cut = c->cut || taken < chunk_at(c, c->sent);
	c->sends--;
	c->sent += taken;
	results.sent += taken;
	if (result != KEUOS_SOCKET_OK && result != KEUOS_SOCKET_AGAIN)
		give_up(c);
	else if (c->sent == c->to_send)
		c->phase = CLOSING;
}

static void take_reply(struct connection *c)
{
	int32_t result = message.reply.result;

	if (c->phase == CLOSING) {
		if (c->waits == message.id)
			end(c);
	} else if (c->phase == SENDING) {
		take_sent(c, result);
	} else if (result != KEUOS_SOCKET_OK) {
		give_up(c); /* the standing credit's last word */
	}
}

static void take_data(struct connection *c)
{
	if (c->phase != READING && c->phase != CREDITING)
		return;
	if (!message.bytes) {
		c->phase = c->kind == SINK ? SENDING : CLOSING;
		c->to_send = sizeof(struct transfer_report);
		return;
	}
	results.received += message.bytes;
	c->credit -= message.bytes;
	if (c->kind == SINK) {
		compare(c, message.data, message.bytes);
		if (c->credit < CREDIT / 2)
			c->phase = CREDITING;
		return;
	}
	for (uint32_t i = 0; i < message.bytes && c->received < sizeof(c->head); i++)
		c->head[c->received++] = message.data[i];
	if (c->received < sizeof(c->head))
		return;
	memcpy(&c->to_send, c->head, sizeof(c->to_send));
	c->phase = c->to_send ? SENDING : CLOSING;
}

static void take(void)
{
	struct connection *c = connection_of(message.socket);

	for (int i = 0; i < LISTENERS; i++) {
		if (listeners[i].number != message.socket)
			continue;
		if (message.opcode == KEUOS_SOCKET_EVENT)
			listeners[i].ready = free_connection() != NULL;
		else
			take_accepted(&listeners[i]);
		return;
	}
	if (!c)
		return;
	if (message.opcode == KEUOS_SOCKET_DATA)
		take_data(c);
	else if (message.opcode == KEUOS_SOCKET_REPLY)
		take_reply(c);
	else if (message.event.events & (KEUOS_SOCKET_WRITABLE | KEUOS_SOCKET_CLOSED))
		c->room = ROOM;
}

/* --- the loop --- */

static int listen(void)
{
	for (int i = 0; i < LISTENERS; i++) {
		struct keuos_socket_request request = {.port = listeners[i].port, .value = TRANSFER_BACKLOG};

		if (socket_call(&client, &socket_template_listen, &request, NULL, 0, &message, KEUOS_FOREVER) <= 0 ||
			message.reply.result != KEUOS_SOCKET_OK)
			return 0;
		listeners[i].number = message.reply.value;
		listeners[i].ready = 1;
	}
	return 1;
}

int main(const char *args)
{
	(void)args;
	for (uint32_t i = 0; i < sizeof(sevens); i++)
		sevens[i] = (uint8_t)(7 * i);
	if (socket_open(&client, KEUOS_FOREVER) < 0 || !listen())
		return 1;
	results.listening = 1;
	for (;;) {
		int result, any = 0;

		while ((result = socket_next(&client, &message)) > 0) {
			take();
			any = 1;
		}
		if (result < 0) {
			results.ended = 1;
			return 2;
		}
		for (int i = 0; i < LISTENERS; i++)
			any |= go_on_listening(&listeners[i]);
		for (int i = 0; i < TRANSFER_CONNECTIONS; i++)
			any |= connections[i].kind != FREE && go_on(&connections[i]);
		results.doorbells = socket_doorbells;
		if (any)
			continue;
		results.sleeps++;
		socket_wait(&client, KEUOS_FOREVER);
	}
}
