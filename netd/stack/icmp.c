/* ICMP: echo, errors about what came (RFC 1122, 3.2.2), errors about what we sent. Redirects are ignored: see docs/netd.md. */
#include "../wire/icmp.h"

#include "core.h"

enum {
	QUOTE = 576 - 20 - 8, /* RFC 1812, 4.3.2.3: as much of the datagram as fits into 576 bytes */
	BURST = 50,           /* errors at once */
};

static const netd_time REFILL = 20 * NETD_MS; /* one more error may be sent */

/* RFC 1812, 4.3.2.8: errors are rate limited. Echo replies are not errors. */
static bool allowed(struct netd *stack)
{
	uint64_t earned = (stack->now - stack->icmp_refilled) / REFILL;

	if (!stack->icmp_refilled || stack->icmp_tokens + earned >= BURST) {
		stack->icmp_tokens = BURST;
		stack->icmp_refilled = stack->now ? stack->now : 1;
	} else {
		stack->icmp_tokens += (uint32_t)earned;
		stack->icmp_refilled += earned * REFILL;
	}
	if (!stack->icmp_tokens) {
		COUNT(stack, icmp_limited);
		return false;
	}
	stack->icmp_tokens--;
	return true;
}

static void transmit(struct netd *stack, struct wire_ipv4 *ip, const struct wire_icmp *icmp,
	const struct netd_part *payload, unsigned count)
{
	uint8_t header[WIRE_ICMP_HEADER];
	struct netd_part parts[3] = {{header, sizeof(header)}};

	for (unsigned i = 0; i < count; i++)
		parts[1 + i] = payload[i];
	wire_icmp_emit(header, icmp);
	ip->protocol = WIRE_PROTOCOL_ICMP;
	ip->payload_bytes = WIRE_ICMP_HEADER + icmp->payload_bytes;
	ip->dont_fragment = true;
	ipv4_send(stack, ip, parts, 1 + count);
}

void icmp_error(struct netd *stack, uint8_t type, uint8_t code, const struct wire_ipv4 *about, bool broadcast)
{
	struct wire_ipv4 ip = {.source = about->destination, .destination = about->source};
	uint8_t quote[QUOTE];
	struct wire_icmp icmp = {.type = type, .code = code, .payload = quote};
	struct netd_part part = {quote, 0};

	/* RFC 1122, 3.2.2: not about errors (here: any ICMP but echo), what many got, later fragments, or odd sources. */
	if (broadcast || about->offset || !about->source || ipv4_is_broadcast(stack, about->source) ||
		(about->protocol == WIRE_PROTOCOL_ICMP &&
			(!about->payload_bytes || about->payload[0] != WIRE_ICMP_ECHO)) ||
		!allowed(stack))
		return;
	part.bytes = QUOTE - about->header_bytes;
	if (part.bytes > about->payload_bytes)
		part.bytes = about->payload_bytes;
	memcpy(quote, about->header, about->header_bytes);
	memcpy(quote + about->header_bytes, about->payload, part.bytes);
	part.bytes += about->header_bytes;
	icmp.payload_bytes = (uint16_t)part.bytes;
	COUNT(stack, icmp_errors_out);
	transmit(stack, &ip, &icmp, &part, 1);
}

static void echo(struct netd *stack, const struct wire_ipv4 *ip, const struct wire_icmp *request)
{
	struct wire_ipv4 reply = {.source = ip->destination, .destination = ip->source, .tos = ip->tos & ~3};
	struct wire_icmp icmp = *request;
	struct netd_part part = {request->payload, request->payload_bytes};

	icmp.type = WIRE_ICMP_ECHO_REPLY;
	icmp.code = 0;
	COUNT(stack, icmp_echoes);
	tcp_flush(stack); /* an echo says that what came before it has been dealt with: answers to that go first */
	transmit(stack, &reply, &icmp, &part, 1);
}

static void error(struct netd *stack, const struct wire_icmp *icmp)
{
	struct icmp_report report = {.type = icmp->type, .code = icmp->code, .mtu = (uint16_t)icmp->rest};

	COUNT(stack, icmp_errors_in);
	/* RFC 5927, 4.1: only about something that we may have sent. */
	if (!wire_ipv4_parse_quoted(&report.ip, &report.total_bytes, icmp->payload, icmp->payload_bytes) ||
		report.ip.source != stack->net.address || report.ip.offset)
		return;
	if (report.ip.protocol == WIRE_PROTOCOL_TCP)
		tcp_report(stack, &report);
	else if (report.ip.protocol == WIRE_PROTOCOL_UDP)
		udp_report(stack, &report);
}

void icmp_input(struct netd *stack, const struct wire_ipv4 *ip, bool broadcast)
{
	struct wire_icmp icmp;

	COUNT(stack, icmp_in);
	if (!wire_icmp_parse(&icmp, ip->payload, ip->payload_bytes)) {
		COUNT(stack, icmp_malformed);
		return;
	}
	switch (icmp.type) {
	case WIRE_ICMP_ECHO:
		if (!broadcast) /* RFC 1122, 3.2.2.6: may be dropped, and nobody can be flooded through us */
			echo(stack, ip, &icmp);
		break;
	case WIRE_ICMP_UNREACHABLE:
	case WIRE_ICMP_TIME_EXCEEDED:
	case WIRE_ICMP_PARAMETER_PROBLEM:
		if (!broadcast)
			error(stack, &icmp);
		break;
	default: /* RFC 1122, 3.2.2: unknown types; RFC 6633: source quench; redirects */
		break;
	}
}
