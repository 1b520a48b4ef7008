/*
 * DHCP client (RFC 2131): an address for the interface, kept as long as the server lets us. Replies are believed if they carry
 * our transaction and MAC; a reply that names no server, or no address that a host can have, is not an offer.
 */
#include "../wire/dhcp.h"

#include "core.h"

static const netd_time CHECK_FOR = 1 * NETD_S;     /* RFC 2131, 4.4.1: an ARP probe before the address is used */
static const netd_time DECLINED_FOR = 10 * NETD_S; /* RFC 2131, 3.1 (5): at least, before it starts again */
static const netd_time RELEASED_FOR = 1 * NETD_S;  /* the address stays so long, for ARP to find the server */
static const uint32_t LEASE_MOST = UINT32_MAX;     /* RFC 2131, 3.3: for ever */

enum {
	REQUESTS = 4, /* for one offer */
};

static void apply(struct netd *stack, const struct netd_address *address)
{
	stack->net = *address;
	arp_forget(stack);
	arp_announce(stack);
	tcp_address_changed(stack);
}

static void transmit(struct netd *stack, uint8_t type)
{
	struct dhcp *dhcp = &stack->dhcp;
	struct wire_dhcp message = {.type = type, .transaction = dhcp->transaction};
	struct netd_endpoint server = {UINT32_MAX, WIRE_DHCP_SERVER_PORT};
	uint8_t bytes[WIRE_DHCP_BYTES];

	memcpy(message.mac, stack->nic->mac, WIRE_MAC);
	message.seconds = (uint16_t)((stack->now - dhcp->started) / NETD_S);
	/* RFC 2131, table 5: a client that holds an address names it as its own, and no server. */
	if (dhcp->state >= NETD_DHCP_BOUND) {
		message.client = stack->net.address;
		if (dhcp->state != NETD_DHCP_REBINDING || type == WIRE_DHCP_RELEASE)
			server.address = dhcp->server;
		if (type == WIRE_DHCP_RELEASE)
			message.server = dhcp->server;
	} else {
		message.broadcast = true;
		if (type != WIRE_DHCP_DISCOVER) {
			message.requested = dhcp->offered.address;
			message.server = dhcp->server;
		}
	}
	wire_dhcp_emit(bytes, &message);
	netd_udp_send(dhcp->socket, stack->net.address, server, bytes, sizeof(bytes));
}

static void discover(struct netd *stack, netd_time after)
{
	struct dhcp *dhcp = &stack->dhcp;

	dhcp->state = NETD_DHCP_SELECTING;
	dhcp->transaction = stack_random(stack);
	dhcp->tries = 0;
	dhcp->started = stack->now;
	dhcp->due = stack->now + after;
}

/* RFC 2131, 4.1: 4 s, 8 s, ... 64 s, each changed by up to a second. */
static netd_time backoff(struct netd *stack, unsigned tries)
{
	return stack->now + (4 * NETD_S << (tries < 4 ? tries : 4)) - 1 * NETD_S + stack_random(stack) % (2 * NETD_S);
}

static bool is_host(uint32_t address)
{
	return address >> 24 && !ipv4_is_loopback(address) && address < 0xe0000000;
}

static void granted(struct netd *stack, const struct wire_dhcp *message)
{
	struct dhcp *dhcp = &stack->dhcp;
	struct netd_address address = {message->yours, message->mask, message->gateway, message->dns};

	/* A mask that is none: that of the address's class, as of old. */
	if (!address.mask || (~address.mask & (~address.mask + 1)))
		address.mask = address.address >> 31 == 0 ? 0xff000000
			: address.address >> 30 == 2      ? 0xffff0000
							  : 0xffffff00;
	if ((address.gateway ^ address.address) & address.mask)
		address.gateway = 0;
	dhcp->lease = message->lease;
	/* RFC 2131, 4.4.5: half and seven eighths, if the server doesn't say, or says what can't be. */
	dhcp->renewal = message->renewal && message->renewal < dhcp->lease ? message->renewal : dhcp->lease / 2;
	dhcp->rebinding = message->rebinding > dhcp->renewal && message->rebinding < dhcp->lease
		? message->rebinding
		: dhcp->lease - dhcp->lease / 8;
	if (dhcp->renewal > dhcp->rebinding)
		dhcp->renewal = dhcp->rebinding;
	dhcp->granted = dhcp->requested;
	dhcp->offered = address;
	if (dhcp->state == NETD_DHCP_REQUESTING) {
		dhcp->state = NETD_DHCP_CHECKING;
		dhcp->due = stack->now + CHECK_FOR;
		arp_probe(stack, address.address);
		return;
	}
	if (memcmp(&stack->net, &address, sizeof(address)))
		apply(stack, &address);
	dhcp->state = NETD_DHCP_BOUND;
	dhcp->due = dhcp->lease == LEASE_MOST ? NETD_NEVER : dhcp->granted + dhcp->renewal * NETD_S;
}

static void lost(struct netd *stack)
{
	static const struct netd_address none;

	apply(stack, &none);
	discover(stack, 0);
}

static bool deliver(void *owner, struct netd_udp *socket, struct netd_endpoint from, struct netd_endpoint to,
	const uint8_t *data, size_t bytes)
{
	struct netd *stack = owner;
	struct dhcp *dhcp = &stack->dhcp;
	struct wire_dhcp message;
	bool renewing = dhcp->state == NETD_DHCP_RENEWING || dhcp->state == NETD_DHCP_REBINDING;

	(void)socket;
	(void)to;
	if (dhcp->releasing || from.port != WIRE_DHCP_SERVER_PORT || !wire_dhcp_parse(&message, data, bytes) ||
		message.transaction != dhcp->transaction || memcmp(message.mac, stack->nic->mac, WIRE_MAC))
		return true;
	switch (message.type) {
	case WIRE_DHCP_OFFER:
		if (dhcp->state != NETD_DHCP_SELECTING || !dhcp->tries || !is_host(message.yours) || !message.server)
			break;
		dhcp->state = NETD_DHCP_REQUESTING;
		dhcp->offered.address = message.yours;
		dhcp->server = message.server;
		dhcp->tries = 0;
		dhcp->due = stack->now;
		break;
	case WIRE_DHCP_ACK:
		if ((dhcp->state != NETD_DHCP_REQUESTING && !renewing) || !dhcp->tries || !message.lease ||
			message.yours != (renewing ? stack->net.address : dhcp->offered.address) ||
			(message.server != dhcp->server && dhcp->state != NETD_DHCP_REBINDING))
			break;
		granted(stack, &message);
		break;
	case WIRE_DHCP_NAK:
		if (message.server != dhcp->server && dhcp->state != NETD_DHCP_REBINDING)
			break;
		if (renewing)
			lost(stack);
		else if (dhcp->state == NETD_DHCP_REQUESTING)
			discover(stack, DECLINED_FOR);
		break;
	default:
		break;
	}
	return true;
}

void dhcp_conflict(struct netd *stack)
{
	transmit(stack, WIRE_DHCP_DECLINE);
	discover(stack, DECLINED_FOR);
}

/* RFC 2131, 4.4.5: half of what is left, but at least a minute. */
static void ask_again(struct netd *stack, netd_time until)
{
	struct dhcp *dhcp = &stack->dhcp;
	netd_time left = until > stack->now ? (until - stack->now) / 2 : 0;

	dhcp->tries++;
	dhcp->requested = stack->now;
	transmit(stack, WIRE_DHCP_REQUEST);
	dhcp->due = left > 60 * NETD_S ? stack->now + left : earlier(until, stack->now + 60 * NETD_S);
}

netd_time dhcp_run(struct netd *stack)
{
	static const struct netd_address none;
	struct dhcp *dhcp = &stack->dhcp;
	netd_time rebinding = dhcp->granted + dhcp->rebinding * NETD_S, end = dhcp->granted + dhcp->lease * NETD_S;

	if (stack->now < dhcp->due)
		return dhcp->due;
	if (dhcp->releasing) {
		netd_set_address(stack, &none);
		return dhcp->due;
	}
	switch (dhcp->state) {
	case NETD_DHCP_OFF:
		dhcp->due = NETD_NEVER;
		break;
	case NETD_DHCP_SELECTING:
		transmit(stack, WIRE_DHCP_DISCOVER);
		dhcp->due = backoff(stack, dhcp->tries++);
		break;
	case NETD_DHCP_REQUESTING:
		if (dhcp->tries == REQUESTS) {
			discover(stack, 0);
			break;
		}
		dhcp->requested = stack->now;
		transmit(stack, WIRE_DHCP_REQUEST);
		dhcp->due = backoff(stack, dhcp->tries++);
		break;
	case NETD_DHCP_CHECKING:
		dhcp->state = NETD_DHCP_BOUND;
		dhcp->due = dhcp->lease == LEASE_MOST ? NETD_NEVER : dhcp->granted + dhcp->renewal * NETD_S;
		apply(stack, &dhcp->offered);
		break;
	case NETD_DHCP_BOUND:
		dhcp->state = NETD_DHCP_RENEWING;
		dhcp->transaction = stack_random(stack);
		dhcp->tries = 0;
		dhcp->started = stack->now;
		/* fallthrough */
	case NETD_DHCP_RENEWING:
		if (stack->now < rebinding) {
			ask_again(stack, rebinding);
			break;
		}
		dhcp->state = NETD_DHCP_REBINDING;
		/* fallthrough */
	case NETD_DHCP_REBINDING:
		if (stack->now < end)
			ask_again(stack, end);
		else
			lost(stack);
		break;
	}
	return dhcp->due;
}

int netd_dhcp_start(struct netd *stack)
{
	static const struct netd_address none;
	struct netd_udp_owner owner = {.deliver = deliver, .owner = stack};
	struct netd_udp *socket;
	int result;

	dhcp_stop(stack);
	result = udp_bind_reserved(stack, WIRE_DHCP_CLIENT_PORT, &owner, &socket);
	if (result != NETD_OK)
		return result;
	stack->dhcp.socket = socket;
	apply(stack, &none);
	/* RFC 2131, 4.4.1: not all at once after a power failure. */
	discover(stack, stack_random(stack) % NETD_S);
	return NETD_OK;
}

static bool leased(const struct dhcp *dhcp)
{
	return dhcp->state >= NETD_DHCP_BOUND && !dhcp->releasing;
}

int netd_dhcp_renew(struct netd *stack)
{
	if (!leased(&stack->dhcp))
		return NETD_INVALID;
	stack->dhcp.due = stack->now;
	return NETD_OK;
}

int netd_dhcp_release(struct netd *stack)
{
	struct dhcp *dhcp = &stack->dhcp;

	if (!leased(dhcp))
		return NETD_INVALID;
	dhcp->transaction = stack_random(stack);
	dhcp->started = stack->now;
	transmit(stack, WIRE_DHCP_RELEASE);
	dhcp->releasing = true;
	dhcp->due = stack->now + RELEASED_FOR;
	return NETD_OK;
}

void dhcp_stop(struct netd *stack)
{
	if (stack->dhcp.state != NETD_DHCP_OFF)
		netd_udp_close(stack->dhcp.socket);
	stack->dhcp = (struct dhcp){.due = NETD_NEVER};
}

enum netd_dhcp_state netd_dhcp_state(const struct netd *stack)
{
	return stack->dhcp.state;
}
