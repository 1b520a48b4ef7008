/*
 * An application of NetD that reads one connection by standing credit, as a host says: how much credit there is, and
 * whether what comes is taken out of the ring at all, or taken and not looked at. The host watches what NetD does meanwhile.
 */
#include "reader.h"

#include <socket.h>

enum {
	LOOK_NS = 1000000, /* between two looks at what the host wants */
	ASKED = 256,       /* more questions than both rings hold */
};

volatile struct reader_params params;
struct reader_results results = {.bad = -1};

static struct socket_client client;
static struct socket_message message;
static uint32_t listener, connection;
static uint32_t asked[ASKED]; /* the ids of the questions, at their number modulo ASKED */
static uint32_t accepting;    /* the ACCEPT that has no answer yet; 0: none */

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(7 * at + 3 * (at >> 8) + 31 * (at >> 16) + 101 * (at >> 24));
}

static void take_data(void)
{
	if (results.ended || results.error) {
		results.after++;
		return;
	}
	if (!message.bytes) {
		results.ended = results.messages + 1;
		return;
	}
	results.messages++;
	while (params.stop_at == results.messages) {
		results.stopped_at = results.messages;
		sys_wait(0, sys_time() + LOOK_NS);
	}
	for (uint32_t i = 0; i < message.bytes; i++, results.received++)
		if (results.bad < 0 && message.data[i] != pattern(results.received))
			results.bad = (int64_t)results.received;
}

static void accept(void)
{
	struct keuos_socket_request request = {.socket = listener};

	if (!results.accepted && !accepting &&
		socket_request(&client, &socket_template_accept, &request) == KEUOS_RING_OK)
		accepting = request.id;
}

static void take(void)
{
	if (message.opcode == KEUOS_SOCKET_EVENT && message.socket == listener) {
		accept();
	} else if (message.opcode == KEUOS_SOCKET_REPLY && accepting && message.id == accepting) {
		accepting = 0;
		if (message.reply.result != KEUOS_SOCKET_OK)
			return; /* an event tells of the next */
		connection = message.reply.value;
		results.accepted = 1;
	} else if (message.opcode == KEUOS_SOCKET_DATA && message.socket == connection) {
		take_data();
	} else if (message.opcode == KEUOS_SOCKET_REPLY && results.answered != results.asked &&
		message.id == asked[results.answered % ASKED]) {
		results.answered++;
		results.no_room += message.reply.result == KEUOS_SOCKET_NO_ROOM;
	} else if (message.opcode == KEUOS_SOCKET_REPLY && message.socket == connection) {
		results.error = message.reply.result; /* a credit has no other answer */
	}
}

static void give_credit(void)
{
	struct keuos_socket_request request = {
		.socket = connection, .value = params.bytes, .flags = KEUOS_SOCKET_STANDING};

	if (results.credits != params.credits && results.accepted &&
		socket_request(&client, &socket_template_receive, &request) == KEUOS_RING_OK)
		results.credits++;
}

static void ask(void)
{
	struct keuos_socket_request request = {.socket = connection};

	while (results.asked != params.asks && results.asked - results.answered < ASKED &&
		socket_request(&client, params.open ? &socket_template_open : &socket_template_ready, &request) ==
			KEUOS_RING_OK)
		asked[results.asked++ % ASKED] = request.id;
}

int main(const char *args)
{
	struct keuos_socket_request listen = {.port = READER_PORT, .value = 1};

	for (uint32_t port = 0; *args >= '0' && *args <= '9'; args++)
		listen.port = (uint16_t)(port = port * 10 + (uint32_t)(*args - '0'));
	if (socket_open(&client, KEUOS_FOREVER) < 0 ||
		socket_call(&client, &socket_template_listen, &listen, NULL, 0, &message, KEUOS_FOREVER) <= 0 ||
		message.reply.result != KEUOS_SOCKET_OK)
		return 1;
	listener = message.reply.value;
	results.listening = 1;
	accept();
	for (;; results.turns++) {
		int result = 0;

		while (!params.hold && (result = socket_next(&client, &message)) > 0)
			take();
		if (result < 0)
			return 2;
		give_credit();
		ask();
		socket_tell(&client);
		if (params.hold)
			sys_wait(0, sys_time() + LOOK_NS);
		else
			socket_wait(&client, sys_time() + LOOK_NS);
	}
}
