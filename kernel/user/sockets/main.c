/*
 * An application of NetD that makes socket calls as the host tells it, one line of text at a time: docs/socket-calls.md
 * has the calls, sockets.h the mailbox. No call blocks. It knows nothing of any test.
 */
#include "sockets.h"

#include "text.h"

#include <format.h>
#include <netd/statistics.h>
#include <socket.h>

enum {
	WORDS = 8,
	CALL_NS = 2000000000, /* NetD answers at once; so long means that it does not */
	FAST_NS = 1000000,    /* between two looks at the mailbox, while the host is busy with it */
	SLOW_NS = 10000000,
	FAST_LOOKS = 100,
	STREAM_CHUNK = KEUOS_SOCKET_DATA_MAX,
	USER_TIMEOUT_MS = 300000, /* NetD's own */
	OPTIONS = 11,             /* enum keuos_socket_option */
	NAMES = 4,                /* whose answers are kept */
};

volatile struct sockets_request request;
struct sockets_answer answer;
char request_text[SOCKETS_TEXT];

enum kind { FREE, FRESH_STREAM, LISTENER, STREAM, DATAGRAM };

/* What the host calls a socket. NetD makes one when it is to listen, to connect or to be bound. */
struct slot {
	enum kind kind;
	uint32_t number; /* NetD's */
	uint32_t address;
	uint16_t port;
	uint32_t set; /* options to be set when NetD has made it: bits by enum keuos_socket_option */
	uint32_t options[OPTIONS];
	uint64_t sent, received;
	int64_t bad;
	uint32_t crc;
	int error_taken;
	int at_mark;
	uint32_t remote; /* DATAGRAM: where send and send_bytes go */
	uint16_t remote_port;
};

static struct slot slots[SOCKETS_MAX];
static struct socket_client client;
static struct socket_message message;
static unsigned notices; /* of urgent data, as they came */
static uint32_t crc_table[256];
static uint8_t bytes_buffer[SOCKETS_BYTES];
static size_t answer_length;

/* A datagram that was taken while an error was looked for. */
static struct {
	const struct slot *of; /* NULL: none */
	uint64_t peer;
	uint32_t bytes;
	uint8_t data[KEUOS_SOCKET_DATA_MAX];
} kept;

/* Names that NetD was asked for. */
static struct {
	uint32_t id; /* 0: none */
	int known;
	struct keuos_socket_reply reply;
} names[NAMES];
static unsigned next_name;

/* The line of text that comes by frames. */
static struct {
	uint32_t id; /* of the request for frames */
	uint32_t number, gathered, bytes;
	int complete;
} frames;

static const char *const counter_names[] = {
#define NETD_COUNTER(name) #name,
	NETD_COUNTERS(NETD_COUNTER)
#undef NETD_COUNTER
};

/* --- answers --- */

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	answer_length +=
		user_vformat(answer.text + answer_length, sizeof(answer.text) - answer_length, format, arguments);
	va_end(arguments);
}

static void no(const char *name)
{
	answer_length = 0;
	say("no %s", name);
}

static void ok(void)
{
	say("ok");
}

static const char *name_of(int32_t result)
{
	static const char *const names[] = {"OK", "EAGAIN", "EINVAL", "EADDRINUSE", "ENOBUFS", "ECONNREFUSED",
		"ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENOTCONN", "EPIPE", "EMSGSIZE", "ENOENT", "EACCES"};

	return result <= 0 && result >= KEUOS_SOCKET_NOT_ALLOWED ? names[-result] : "EIO";
}

static void say_address(uint32_t address, uint32_t port)
{
	say(" %u.%u.%u.%u %u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255, port);
}

/* --- calls of NetD --- */

static void take_piece(const uint8_t *data, uint32_t bytes)
{
	struct sockets_piece piece;

	if (bytes < sizeof(piece))
		return;
	memcpy(&piece, data, sizeof(piece));
	bytes -= (uint32_t)sizeof(piece);
	if (!piece.offset) {
		frames.number = piece.number;
		frames.bytes = piece.bytes;
		frames.gathered = 0;
	}
	if (piece.number != frames.number || piece.offset != frames.gathered || frames.bytes >= SOCKETS_TEXT)
		return; /* one is lost, or nonsense: the host gets no answer */
	if (bytes > frames.bytes - frames.gathered)
		bytes = frames.bytes - frames.gathered; /* Ethernet's padding */
	memcpy(request_text + frames.gathered, data + sizeof(piece), bytes);
	frames.gathered += bytes;
	frames.complete = frames.gathered == frames.bytes;
}

/* What comes unasked: pieces of the host's line, and events. Of those only urgent data counts: the host asks after
 * everything else. */
static void note(struct socket_client *of, const struct socket_message *what)
{
	if (what->opcode == KEUOS_SOCKET_EVENT && what->event.events & KEUOS_SOCKET_HAS_URGENT)
		notices++;
	else if (what->opcode == KEUOS_SOCKET_DATA && what->id == frames.id)
		take_piece(of->buffer, what->bytes);
	for (unsigned i = 0; i < NAMES; i++) {
		if (what->opcode != KEUOS_SOCKET_REPLY || what->id != names[i].id)
			continue;
		names[i].known = 1;
		names[i].reply = what->reply;
	}
}

/* Makes a call. The result; what NetD said is in `message`. 1: NetD is gone or silent. */
static int call_data(
	const struct keuos_template *template, struct keuos_socket_request *call, const void *data, uint32_t bytes)
{
	int result = socket_call(&client, template, call, data, bytes, &message, sys_time() + CALL_NS);

	if (result > 0)
		return message.opcode == KEUOS_SOCKET_REPLY ? message.reply.result : KEUOS_SOCKET_OK;
	if (result < 0)
		answer.open = 2;
	return 1;
}

static int call(const struct keuos_template *template, struct keuos_socket_request *what)
{
	return call_data(template, what, NULL, 0);
}

/* Says what went wrong. Whether something did. */
static int refused(int result)
{
	if (result == 1)
		no("ENETDOWN");
	else if (result < 0)
		no(name_of(result));
	return result != KEUOS_SOCKET_OK;
}

static void apply_options(struct slot *s)
{
	for (uint32_t i = 0; i < OPTIONS; i++) {
		struct keuos_socket_request set = {.socket = s->number, .option = i, .value = s->options[i]};

		if (s->set >> i & 1)
			call(&socket_template_set, &set);
	}
	s->set = 0;
}

/* --- the pattern --- */

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(7 * at + 3 * (at >> 8) + 31 * (at >> 16) + 101 * (at >> 24));
}

static void make_crc_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
		crc_table[i] = c;
	}
}

static void compare(struct slot *s, const uint8_t *data, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++) {
		s->crc = s->crc >> 8 ^ crc_table[(s->crc ^ data[i]) & 0xff];
		if (s->bad < 0 && data[i] != pattern(s->received + i))
			s->bad = (int64_t)(s->received + i);
	}
	s->received += bytes;
}

/* --- the host's calls --- */

static int new_slot(enum kind kind)
{
	for (int i = 0; i < SOCKETS_MAX; i++) {
		if (slots[i].kind != FREE)
			continue;
		slots[i] = (struct slot){.kind = kind, .bad = -1, .crc = 0xFFFFFFFFu};
		return i;
	}
	return -1;
}

static void give_back(struct slot *s, int abort)
{
	struct keuos_socket_request close = {.socket = s->number};

	if (s->number)
		call(abort ? &socket_template_abort : &socket_template_close, &close);
	if (kept.of == s)
		kept.of = NULL;
	s->kind = FREE;
}

/* Has NetD make the slot's socket at its end. */
static int make(
	struct slot *s, const struct keuos_template *template, struct keuos_socket_request *what, enum kind kind)
{
	int result;

	what->address = s->address;
	what->port = s->port;
	result = call(template, what);
	if (result != KEUOS_SOCKET_OK)
		return result;
	s->kind = kind;
	s->number = message.reply.value;
	s->address = message.reply.address;
	s->port = (uint16_t)message.reply.port;
	apply_options(s);
	return result;
}

static int bind_datagram(struct slot *s)
{
	struct keuos_socket_request bind = {0};

	return s->number ? KEUOS_SOCKET_OK : make(s, &socket_template_bind, &bind, DATAGRAM);
}

static void call_open(const char *kind)
{
	int at = new_slot(strcmp(kind, "udp") ? FRESH_STREAM : DATAGRAM);

	if (at < 0)
		no("EMFILE");
	else
		say("ok %d", at);
}

/* What POSIX tells by bind NetD tells by listen and connect. */
static int is_listened_at(uint32_t address, uint16_t port)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (slots[i].kind == LISTENER && slots[i].port == port &&
			(!slots[i].address || !address || slots[i].address == address))
			return 1;
	return 0;
}

static void call_bind(struct slot *s, char **a)
{
	if (s->number) {
		no("EINVAL");
		return;
	}
	if (s->kind == FRESH_STREAM && is_listened_at(text_address(a[1]), (uint16_t)text_number(a[2]))) {
		no("EADDRINUSE");
		return;
	}
	s->address = text_address(a[1]);
	s->port = (uint16_t)text_number(a[2]);
	if (s->kind != DATAGRAM || !refused(bind_datagram(s)))
		ok();
}

static void call_listen(struct slot *s, char **a)
{
	struct keuos_socket_request listen = {.value = (uint32_t)text_number(a[1])};

	if (s->kind != FRESH_STREAM)
		no("EINVAL");
	else if (!refused(make(s, &socket_template_listen, &listen, LISTENER)))
		ok();
}

static void call_connect(struct slot *s, char **a)
{
	struct keuos_socket_request open = {0};

	if (s->kind == DATAGRAM) {
		s->remote = text_address(a[1]);
		s->remote_port = (uint16_t)text_number(a[2]);
		if (!refused(bind_datagram(s)))
			ok();
		return;
	}
	if (s->kind != FRESH_STREAM) {
		no(s->kind == STREAM ? "EISCONN" : "EINVAL");
		return;
	}
	uint32_t address = s->address;
	uint16_t port = s->port;

	if (!s->number && refused(make(s, &socket_template_open, &open, FRESH_STREAM)))
		return;
	s->address = address;
	s->port = port;
	struct keuos_socket_request connect = {.socket = s->number,
		.address = address,
		.port = port,
		.remote = text_address(a[1]),
		.remote_port = (uint16_t)text_number(a[2])};

	if (refused(call(&socket_template_connect, &connect)))
		return;
	s->kind = STREAM;
	no("EINPROGRESS");
}

static void call_accept(struct slot *s)
{
	struct keuos_socket_request accept = {.socket = s->number};
	int at = s->kind == LISTENER ? new_slot(STREAM) : -1;

	if (at < 0) {
		no(s->kind == LISTENER ? "EMFILE" : "EINVAL");
		return;
	}
	if (refused(call(&socket_template_accept, &accept))) {
		slots[at].kind = FREE;
		return;
	}
	slots[at].number = message.reply.value;
	say("ok %d", at);
	say_address(message.reply.address, message.reply.port);
}

static uint32_t send_flags(const char *flags)
{
	return (text_has(flags, 'u') ? KEUOS_SOCKET_URGENT : 0u) | (text_has(flags, 'm') ? KEUOS_SOCKET_MORE : 0u);
}

/* Sends until `wanted` bytes are taken or no more are; flags count for the whole. The result of the last call. */
static int send_all(struct slot *s, uint64_t wanted, const char *flags, const uint8_t *literal, uint64_t *done)
{
	static uint8_t chunk[STREAM_CHUNK];

	for (*done = 0; *done < wanted;) {
		uint32_t n = wanted - *done < STREAM_CHUNK ? (uint32_t)(wanted - *done) : STREAM_CHUNK;
		struct keuos_socket_request send = {.socket = s->number, .flags = send_flags(flags)};
		int result;

		if (*done + n < wanted)
			send.flags = KEUOS_SOCKET_MORE;
		for (uint32_t i = 0; i < n; i++)
			chunk[i] = literal ? literal[*done + i] : pattern(s->sent + i);
		result = call_data(&socket_template_send, &send, chunk, n);
		if (result != KEUOS_SOCKET_OK)
			return result;
		*done += message.reply.value;
		s->sent += literal ? 0 : message.reply.value;
		if (message.reply.value < n)
			break;
	}
	return KEUOS_SOCKET_OK;
}

static int is_stream(const struct slot *s)
{
	if (s->kind == STREAM)
		return 1;
	no("ENOTCONN");
	return 0;
}

static void call_send(struct slot *s, char **a)
{
	uint64_t done;
	int result;

	if (!is_stream(s))
		return;
	result = send_all(s, (uint64_t)text_number(a[1]), a[2], NULL, &done);
	if (done == 0 && refused(result))
		return;
	say("ok %lu %lu", (unsigned long)done, (unsigned long)s->sent);
}

/* One message of the stream: its bytes are in the client's buffer. Negative: result; 0 with *end: the stream's end. */
static int64_t receive_once(struct slot *s, uint64_t most, int peek, int *end)
{
	struct keuos_socket_request receive = {.socket = s->number,
		.value = most < KEUOS_SOCKET_DATA_MAX ? (uint32_t)most : KEUOS_SOCKET_DATA_MAX,
		.flags = peek ? KEUOS_SOCKET_PEEK : 0};
	int result = call(&socket_template_receive, &receive);

	if (result != KEUOS_SOCKET_OK)
		return result == 1 ? -1000 : result;
	*end = (message.second & KEUOS_SOCKET_END) != 0;
	if (!peek && message.bytes)
		s->at_mark = (message.second & KEUOS_SOCKET_URGENT) != 0;
	return message.bytes;
}

static void call_recv(struct slot *s, char **a)
{
	uint64_t most = (uint64_t)text_number(a[1]), done = 0;
	int end = 0;

	if (!is_stream(s))
		return;
	while (done < most && !end) {
		int64_t got = receive_once(s, most - done, 0, &end);

		if (got < 0 && done > 0)
			break; /* the error comes again */
		if (got < 0) {
			refused(got == -1000 ? 1 : (int)got);
			return;
		}
		compare(s, message.data, (uint32_t)got);
		done += (uint64_t)got;
	}
	say("ok %lu %d %lu %ld %u", (unsigned long)done, end, (unsigned long)s->received, (long)s->bad, ~s->crc);
}

static void call_recv_bytes(struct slot *s, char **a)
{
	uint64_t most = (uint64_t)text_number(a[1]);
	int end = 0;
	int64_t got;

	if (text_has(a[2], 'u')) {
		no("EINVAL"); /* urgent data stays in the stream (RFC 6093) */
		return;
	}
	if (!is_stream(s))
		return;
	got = receive_once(s, most < SOCKETS_BYTES ? most : SOCKETS_BYTES, text_has(a[2], 'p'), &end);
	if (got < 0) {
		refused(got == -1000 ? 1 : (int)got);
		return;
	}
	say("ok ");
	answer_length += text_to_hex(answer.text + answer_length, message.data, (size_t)got);
}

/* Sends what stands in bytes_buffer. */
static void send_datagram(struct slot *s, uint32_t remote, uint16_t port, size_t bytes)
{
	int result = s->kind == DATAGRAM ? bind_datagram(s) : KEUOS_SOCKET_INVALID;
	struct keuos_socket_request send = {.socket = s->number, .remote = remote, .remote_port = port};

	if (!refused(result) && !refused(call_data(&socket_template_send_to, &send, bytes_buffer, (uint32_t)bytes)))
		ok();
}

static void call_send_bytes(struct slot *s, char **a)
{
	size_t bytes = text_from_hex(a[1], bytes_buffer, sizeof(bytes_buffer));
	uint64_t done;

	if (s->kind == DATAGRAM && s->remote)
		send_datagram(s, s->remote, s->remote_port, bytes);
	else if (is_stream(s) && !refused(send_all(s, bytes, a[2], bytes_buffer, &done)))
		ok();
}

static void call_send_to(struct slot *s, char **a)
{
	size_t bytes = text_from_hex(a[3], bytes_buffer, sizeof(bytes_buffer));

	send_datagram(s, text_address(a[1]), (uint16_t)text_number(a[2]), bytes);
}

/* Takes a datagram and keeps it. enum keuos_socket_result, or 1: NetD is gone. */
static int receive_datagram(struct slot *s)
{
	struct keuos_socket_request receive = {.socket = s->number, .value = KEUOS_SOCKET_DATA_MAX};
	int result = s->kind == DATAGRAM && s->number ? call(&socket_template_receive, &receive) : KEUOS_SOCKET_AGAIN;

	if (result == KEUOS_SOCKET_OK) {
		kept.of = s;
		kept.peer = message.second;
		kept.bytes = message.bytes;
		memcpy(kept.data, message.data, message.bytes);
	}
	return result;
}

static void call_recv_from(struct slot *s)
{
	if (kept.of != s && refused(receive_datagram(s)))
		return;
	ok();
	say_address((uint32_t)(kept.peer >> 32), (uint16_t)(kept.peer >> 16));
	say(" %u ", kept.bytes);
	answer_length += text_to_hex(answer.text + answer_length, kept.data, kept.bytes);
	kept.of = NULL;
}

static void call_shutdown(struct slot *s, char **a)
{
	struct keuos_socket_request shutdown = {.socket = s->number};

	if (is_stream(s) && (!strcmp(a[1], "read") || !refused(call(&socket_template_shutdown, &shutdown))))
		ok();
}

/* --- options --- */

static const struct {
	const char *name;
	uint32_t option;
} options[] = {
	{"nodelay", KEUOS_SOCKET_NO_DELAY},
	{"keepalive", KEUOS_SOCKET_KEEPALIVE},
	{"keepidle", KEUOS_SOCKET_KEEPALIVE_IDLE},
	{"keepintvl", KEUOS_SOCKET_KEEPALIVE_INTERVAL},
	{"keepcnt", KEUOS_SOCKET_KEEPALIVE_COUNT},
	{"user_timeout", KEUOS_SOCKET_USER_TIMEOUT},
	{"rcvbuf", KEUOS_SOCKET_RECEIVE_BYTES},
	{"sndbuf", KEUOS_SOCKET_SEND_BYTES},
	{"ttl", KEUOS_SOCKET_TTL},
	{"tos", KEUOS_SOCKET_DSCP},
	{"linger", KEUOS_SOCKET_LINGER},
};

static int option_named(const char *name)
{
	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (!strcmp(options[i].name, name))
			return (int)options[i].option;
	return -1;
}

static void call_set(struct slot *s, char **a)
{
	int option = option_named(a[1]);
	int64_t value = text_number(a[2]);

	if (!strcmp(a[1], "reuseaddr") || !strcmp(a[1], "recverr") || !strcmp(a[1], "broadcast") ||
		(!strcmp(a[1], "oobinline") && value)) {
		ok(); /* NetD never does otherwise */
		return;
	}
	if (option < 0) {
		no("ENOPROTOOPT");
		return;
	}
	if (option == KEUOS_SOCKET_DSCP)
		value >>= 2; /* the two low bits are ECN's */
	if (option == KEUOS_SOCKET_LINGER && value < 0)
		value = UINT32_MAX;
	if (option == KEUOS_SOCKET_USER_TIMEOUT && value == 0)
		value = USER_TIMEOUT_MS; /* the default again */
	struct keuos_socket_request set = {.socket = s->number, .option = (uint32_t)option, .value = (uint32_t)value};

	s->options[option] = (uint32_t)value;
	if (!s->number)
		s->set |= 1u << option;
	if (!s->number || !refused(call(&socket_template_set, &set)))
		ok();
}

static void call_get(struct slot *s, char **a)
{
	int option = option_named(a[1]);
	struct keuos_socket_request get = {.socket = s->number, .option = (uint32_t)option};

	if (option < 0)
		no("ENOPROTOOPT");
	else if (!s->number)
		say("ok %u", s->options[option]);
	else if (!refused(call(&socket_template_get, &get)))
		say("ok %u", option == KEUOS_SOCKET_DSCP ? message.reply.value << 2 : message.reply.value);
}

/* --- looking --- */

static int is_past_fin(const char *state)
{
	static const char *const states[] = {"CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT", "CLOSED"};

	for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (!strcmp(states[i], state))
			return 1;
	return 0;
}

static void call_ready(struct slot *s)
{
	struct keuos_socket_request what = {.socket = s->number};
	uint32_t events;

	if (s->kind == DATAGRAM || !s->number) {
		say("ok w");
		return;
	}
	if (refused(call(&socket_template_ready, &what)))
		return;
	events = message.reply.value;
	if (refused(call(&socket_template_info, &what)))
		return;
	int hung_up = s->kind == STREAM && is_past_fin(message.connection.state);

	if (refused(call(&socket_template_error, &what) == 1))
		return;
	int error = message.reply.result != KEUOS_SOCKET_OK && !s->error_taken;

	say("ok %s%s%s%s%s%s", events & KEUOS_SOCKET_READABLE ? "r" : "", events & KEUOS_SOCKET_WRITABLE ? "w" : "",
		events & KEUOS_SOCKET_HAS_URGENT ? "u" : "", hung_up ? "h" : "", error ? "e" : "",
		events || hung_up || error ? "" : "-");
}

static void call_error(struct slot *s)
{
	struct keuos_socket_request what = {.socket = s->number};
	int result;

	if (s->kind == DATAGRAM) { /* told by what is received next */
		result = kept.of == s ? KEUOS_SOCKET_OK : receive_datagram(s);
		if (result == 1)
			refused(result);
		else
			say("ok %s", result < 0 && result != KEUOS_SOCKET_AGAIN ? name_of(result) : "-");
		return;
	}
	if (!s->number) {
		say("ok -");
		return;
	}
	result = call(&socket_template_error, &what);
	if (result == 1) {
		refused(result);
		return;
	}
	if (result == KEUOS_SOCKET_OK || s->error_taken)
		result = -(int)message.reply.value;
	else
		s->error_taken = 1;
	say("ok %s", result ? name_of(result) : "-");
}

static void call_info(struct slot *s)
{
	struct keuos_socket_request what = {.socket = s->number};
	const struct keuos_socket_connection *c = &message.connection;

	if (!s->number)
		say("ok CLOSED 0 0 0 0");
	else if (!refused(call(&socket_template_info, &what)))
		say("ok %.15s %u %u %u %u", c->state, c->rto_us, c->srtt_us, c->mss ? c->cwnd / c->mss : 0, c->unsent);
}

static void call_name(struct slot *s)
{
	struct keuos_socket_request what = {.socket = s->number};

	if (s->number && s->kind != DATAGRAM) {
		if (refused(call(&socket_template_info, &what)))
			return;
		s->address = message.connection.local;
		s->port = message.connection.local_port;
	}
	ok();
	say_address(s->address, s->port);
}

static void call_notices(struct slot *s)
{
	struct keuos_socket_request what = {.socket = s->number};

	/* An EVENT is sent before what is answered later: what comes ahead of this answer has been counted. */
	if (s->number && s->kind != DATAGRAM && refused(call(&socket_template_info, &what)))
		return;
	say("ok %u", notices);
}

static void call_reset(void)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (slots[i].kind != FREE)
			give_back(&slots[i], 1);
	ok();
}

/* Beyond docs/socket-calls.md: the stack's counters, `NAME=VALUE` each. */
static void call_counters(void)
{
	struct keuos_socket_request what = {0};
	uint64_t value;

	if (refused(call(&socket_template_counters, &what)))
		return;
	ok();
	for (unsigned i = 0; i < NETD_COUNTS && (i + 1) * sizeof(value) <= message.bytes; i++) {
		memcpy(&value, message.data + i * sizeof(value), sizeof(value));
		say(" %s=%lu", counter_names[i], (unsigned long)value);
	}
}

/* Beyond docs/socket-calls.md: how many control blocks the stack holds, everybody's, in whatever state. */
static void call_connections(void)
{
	struct keuos_socket_request look = {0};
	int result;

	while ((result = call(&socket_template_look, &look)) == KEUOS_SOCKET_OK)
		look.value++;
	if (result != KEUOS_SOCKET_INVALID)
		refused(result);
	else
		say("ok %u", look.value);
}

static int look_at_network(void)
{
	struct keuos_socket_request look = {0};

	return call(&socket_template_network, &look);
}

/* Asks, and does not wait: the answer may take seconds. A refusal comes at once. */
static void call_resolve(const char *name)
{
	struct keuos_socket_request ask = {0};
	unsigned at = next_name;

	if (socket_request_data(&client, &socket_template_resolve, &ask, name, (uint32_t)strlen(name)) !=
		KEUOS_RING_OK) {
		no("ENETDOWN");
		return;
	}
	next_name = (at + 1) % NAMES;
	names[at].id = ask.id;
	names[at].known = 0;
	if (refused(look_at_network()) || (names[at].known && refused(names[at].reply.result)))
		return;
	say("ok %u", ask.id);
}

static void call_resolved(int64_t id)
{
	/* What was told before is there when this is answered. */
	if (refused(look_at_network()))
		return;
	for (unsigned i = 0; i < NAMES; i++) {
		uint32_t address = names[i].reply.address;

		if (!names[i].id || names[i].id != id)
			continue;
		if (!names[i].known)
			no("EAGAIN");
		else if (!refused(names[i].reply.result))
			say("ok %u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
		return;
	}
	no("EINVAL");
}

/* By number of enum keuos_socket_configuration. */
static const char *const configurations[] = {"as_given", "dhcp", "renew", "release"};

static void call_network(const char *what)
{
	static const char *const states[] = {
		"off", "selecting", "requesting", "checking", "bound", "renewing", "rebinding"};
	const struct keuos_socket_network *n = &message.network;
	struct keuos_socket_request configure = {0};

	while (configure.value < sizeof(configurations) / sizeof(configurations[0]) &&
		strcmp(what, configurations[configure.value]))
		configure.value++;
	if (strcmp(what, "-") && refused(call(&socket_template_configure, &configure)))
		return;
	if (!refused(look_at_network()))
		say("ok %u.%u.%u.%u %s", n->address >> 24, n->address >> 16 & 255, n->address >> 8 & 255,
			n->address & 255, n->dhcp < sizeof(states) / sizeof(states[0]) ? states[n->dhcp] : "-");
}

static void call_on_socket(struct slot *s, const char *name, char **a)
{
	if (!strcmp(name, "bind"))
		call_bind(s, a);
	else if (!strcmp(name, "connect"))
		call_connect(s, a);
	else if (!strcmp(name, "listen"))
		call_listen(s, a);
	else if (!strcmp(name, "accept"))
		call_accept(s);
	else if (!strcmp(name, "send"))
		call_send(s, a);
	else if (!strcmp(name, "recv"))
		call_recv(s, a);
	else if (!strcmp(name, "send_bytes"))
		call_send_bytes(s, a);
	else if (!strcmp(name, "recv_bytes"))
		call_recv_bytes(s, a);
	else if (!strcmp(name, "send_to"))
		call_send_to(s, a);
	else if (!strcmp(name, "recv_from"))
		call_recv_from(s);
	else if (!strcmp(name, "shutdown"))
		call_shutdown(s, a);
	else if (!strcmp(name, "close") || !strcmp(name, "abort")) {
		give_back(s, *name == 'a');
		ok();
	} else if (!strcmp(name, "set"))
		call_set(s, a);
	else if (!strcmp(name, "get"))
		call_get(s, a);
	else if (!strcmp(name, "ready"))
		call_ready(s);
	else if (!strcmp(name, "error"))
		call_error(s);
	else if (!strcmp(name, "info"))
		call_info(s);
	else if (!strcmp(name, "name"))
		call_name(s);
	else if (!strcmp(name, "at_mark"))
		say("ok %d", s->at_mark);
	else if (!strcmp(name, "notices"))
		call_notices(s);
	else
		no("ENOSYS");
}

static void serve(char *line)
{
	static char none[] = "-";
	char *words[WORDS];
	unsigned count = text_words(line, words, WORDS);
	int64_t number;

	for (unsigned i = count; i < WORDS; i++)
		words[i] = none;
	number = count > 1 ? text_number(words[1]) : -1;
	if (!strcmp(words[0], "open"))
		call_open(words[1]);
	else if (!strcmp(words[0], "reset"))
		call_reset();
	else if (!strcmp(words[0], "network"))
		call_network(words[1]);
	else if (!strcmp(words[0], "resolve"))
		call_resolve(words[1]);
	else if (!strcmp(words[0], "resolved"))
		call_resolved(number);
	else if (!strcmp(words[0], "counters"))
		call_counters();
	else if (!strcmp(words[0], "connections"))
		call_connections();
	else if (number < 0 || number >= SOCKETS_MAX || slots[number].kind == FREE)
		no("EBADF");
	else
		call_on_socket(&slots[number], words[0], words + 1);
}

/* Asks for the frames of NetD's line. A NetD that has none refuses, which changes nothing. */
static void ask_for_frames(void)
{
	struct keuos_socket_request receive = {.value = UINT32_MAX, .flags = KEUOS_SOCKET_STANDING};

	if (socket_request(&client, &socket_template_receive, &receive) == KEUOS_RING_OK)
		frames.id = receive.id;
}

static void answer_by_frames(uint32_t number)
{
	static uint8_t frame[sizeof(struct sockets_piece) + SOCKETS_PIECE];
	struct sockets_piece piece = {.number = number, .bytes = (uint32_t)answer_length};

	do {
		uint32_t bytes =
			piece.bytes - piece.offset < SOCKETS_PIECE ? piece.bytes - piece.offset : SOCKETS_PIECE;
		struct keuos_socket_request send = {0};
		int result;

		memcpy(frame, &piece, sizeof(piece));
		memcpy(frame + sizeof(piece), answer.text + piece.offset, bytes);
		result = call_data(&socket_template_send_to, &send, frame, (uint32_t)sizeof(piece) + bytes);
		if (result == KEUOS_SOCKET_AGAIN)
			continue;
		if (result != KEUOS_SOCKET_OK)
			return;
		piece.offset += bytes;
	} while (piece.offset < piece.bytes);
}

/* Carries out the line of text that has come, of so many bytes. */
static void serve_text(uint32_t bytes)
{
	request_text[bytes < SOCKETS_TEXT ? bytes : SOCKETS_TEXT - 1] = 0;
	answer_length = 0;
	serve(request_text);
}

/* Takes the host's next line, if there is one. Whether there was. */
static int take_line(void)
{
	uint32_t number = request.number;

	if (frames.complete) {
		frames.complete = 0;
		serve_text(frames.bytes);
		answer_by_frames(frames.number);
		return 1;
	}
	if (number == answer.number)
		return 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	serve_text(request.bytes);
	answer.bytes = (uint32_t)answer_length;
	__atomic_store_n(&answer.number, number, __ATOMIC_RELEASE);
	return 1;
}

int main(const char *args)
{
	uint32_t idle = 0;

	(void)args;
	make_crc_table();
	client.other = note;
	if (socket_open(&client, KEUOS_FOREVER) < 0)
		return 1;
	ask_for_frames();
	answer.open = 1;
	for (;;) {
		if (take_line()) {
			idle = 0;
			continue;
		}
		while (!frames.complete && socket_next(&client, &message) > 0)
			note(&client, &message);
		if (frames.complete)
			continue;
		if (client.in.ring.status->state != KEUOS_CHANNEL_OPEN)
			answer.open = 2;
		idle += idle < FAST_LOOKS;
		uint64_t look = sys_time() + (idle < FAST_LOOKS ? FAST_NS : SLOW_NS);

		if (answer.open == 2)
			sys_wait(0, look);
		else
			socket_wait(&client, look);
	}
}
