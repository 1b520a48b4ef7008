/*
 * What `net` at the prompt shows: NetD's addresses, its counters that are not zero, everybody's connections; or, with a name as its
 * arguments, that name's address. An application of NetD like any other, but bound as an observer; it asks, tells on the console, and
 * leaves.
 */
#include <format.h>
#include <netd/statistics.h>
#include <socket.h>

enum {
	ANSWER_NS = 2000000000, /* NetD answers at once; so long means that it does not */
	NAME_SECONDS = 20,      /* it gives up after 14 */
	LINE_BYTES = 200,
	CONNECTIONS_SHOWN = 64,
	PAUSE_NS = 2000000, /* until the console has room for a line again */
};

static struct socket_client client;
static struct socket_message message;

static const char *const counter_names[] = {
#define NETD_COUNTER(name) #name,
	NETD_COUNTERS(NETD_COUNTER)
#undef NETD_COUNTER
};

static void tell(const char *line)
{
	while (sys_log(line, strlen(line)) == -KEUOS_EAGAIN)
		sys_wait(0, sys_time() + PAUSE_NS);
}

__attribute__((format(printf, 1, 2))) static void tell_line(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	user_vformat(line, sizeof(line), format, arguments);
	va_end(arguments);
	tell(line);
}

static int ask(const struct keuos_template *template, uint32_t value)
{
	struct keuos_socket_request request = {.value = value};

	return socket_call(&client, template, &request, NULL, 0, &message, sys_time() + ANSWER_NS) > 0;
}

#define DOTTED(address) (address) >> 24, (address) >> 16 & 255, (address) >> 8 & 255, (address)&255

static void tell_network(const struct keuos_socket_network *n)
{
	uint32_t bits = 0;

	while (bits < 32 && n->mask << bits >> 31)
		bits++;
	tell_line("address %u.%u.%u.%u/%u gateway %u.%u.%u.%u dns %u.%u.%u.%u", DOTTED(n->address), bits,
		DOTTED(n->gateway), DOTTED(n->dns));
	tell_line("card %02x:%02x:%02x:%02x:%02x:%02x mtu %u link %s dhcp %s", n->mac[0], n->mac[1], n->mac[2],
		n->mac[3], n->mac[4], n->mac[5], n->mtu, n->link_up ? "up" : "down", n->dhcp ? "on" : "off");
	tell_line("%u applications with %u sockets", n->applications, n->sockets);
}

static void tell_counters(void)
{
	char line[LINE_BYTES];
	size_t length = 0;

	for (unsigned i = 0; i < NETD_COUNTS && (i + 1) * sizeof(uint64_t) <= message.bytes; i++) {
		uint64_t value;

		memcpy(&value, message.data + i * sizeof(value), sizeof(value));
		if (!value)
			continue;
		length += user_format(line + length, sizeof(line) - length, "%s%s %lu", length ? ", " : "",
			counter_names[i], (unsigned long)value);
		if (length < LINE_BYTES / 2)
			continue;
		tell(line);
		length = 0;
	}
	if (length)
		tell(line);
}

static int tell_connections(void)
{
	for (uint32_t i = 0; i < CONNECTIONS_SHOWN; i++) {
		const struct keuos_socket_connection *c = &message.connection;

		if (!ask(&socket_template_look, i))
			return 0;
		if (message.opcode != KEUOS_SOCKET_CONNECTION)
			return 1;
		tell_line("%-12.15s %u.%u.%u.%u:%u - %u.%u.%u.%u:%u in %lu out %lu unsent %u retransmitted %u",
			c->state, DOTTED(c->local), c->local_port, DOTTED(c->remote), c->remote_port,
			(unsigned long)c->bytes_in, (unsigned long)c->bytes_out, c->unsent, c->retransmitted);
	}
	return 1;
}

static int tell_name(const char *name)
{
	static const char *const reasons[] = {
		[-KEUOS_SOCKET_INVALID] = "that is no name",
		[-KEUOS_SOCKET_NO_ROOM] = "too many names are asked for at once",
		[-KEUOS_SOCKET_TIMED_OUT] = "the server does not answer",
		[-KEUOS_SOCKET_UNREACHABLE] = "there is no server (dns=A.B.C.D, or DHCP's), or it has failed",
		[-KEUOS_SOCKET_NO_NAME] = "there is no such name, or it has no address",
	};
	uint32_t address = 0;
	int result = socket_resolve(&client, name, &address, sys_time() + NAME_SECONDS * 1000000000ull);

	if (result == KEUOS_SOCKET_OK) {
		tell_line("%s is %u.%u.%u.%u", name, DOTTED(address));
		return 1;
	}
	tell_line("%s: %s", name,
		result > -(int)(sizeof(reasons) / sizeof(*reasons)) && reasons[-result] ? reasons[-result]
											: "NetD is gone");
	return 0;
}

int main(const char *args)
{
	if (socket_open(&client, sys_time() + ANSWER_NS) < 0) {
		tell("nobody bound this program to NetD: 'net' at the prompt does");
		return 1;
	}
	if (*args)
		return tell_name(args) ? 0 : 1;
	if (!ask(&socket_template_network, 0)) {
		tell("NetD does not answer");
		return 1;
	}
	tell_network(&message.network);
	if (ask(&socket_template_counters, 0) && message.opcode == KEUOS_SOCKET_DATA)
		tell_counters();
	return tell_connections() ? 0 : 1;
}
