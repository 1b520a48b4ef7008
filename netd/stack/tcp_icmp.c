/* Reports from the path about a connection (RFC 9293, 3.9.2.2; RFC 5927): never more than a hint once it is synchronized. */
#include "../wire/icmp.h"
#include "tcp.h"

/* RFC 1191, 7.1: what a router that does not tell its MTU may have meant. */
static uint16_t plateau(uint16_t total)
{
	static const uint16_t mtus[] = {8166, 4352, 2002, 1492, 1006, 576};

	for (unsigned i = 0; i < sizeof(mtus) / sizeof(*mtus); i++) {
		if (mtus[i] < total)
			return mtus[i];
	}
	return 0;
}

void tcp_report(struct netd *stack, const struct icmp_report *report)
{
	struct netd_endpoint local = {report->ip.source, 0}, remote = {report->ip.destination, 0};
	struct netd_tcp *tcb;
	struct wire_tcp quoted;

	if (!wire_tcp_parse_quoted(&quoted, &report->ip))
		return;
	local.port = quoted.source;
	remote.port = quoted.destination;
	tcb = tcp_find(stack, local, remote);
	/* RFC 5927, 4.1: it must be about something that is in flight. */
	if (!tcb || !seq_le(tcb->snd_una, quoted.sequence) || !seq_lt(quoted.sequence, tcb->snd_nxt))
		return;
	if (report->type == WIRE_ICMP_UNREACHABLE && report->code == WIRE_ICMP_FRAGMENTATION_NEEDED) {
		uint16_t mtu = report->mtu ? report->mtu : plateau(report->total_bytes);

		/* RFC 1191, 3: smaller than what was too large, or it makes no sense. */
		if (!mtu || mtu >= report->total_bytes || mtu >= tcb->path_mtu || report->total_bytes > stack->nic->mtu)
			return;
		COUNT(stack, tcp_path_mtu);
		ipv4_learn_path_mtu(stack, remote.address, mtu);
		tcb->path_mtu = ipv4_path_mtu(stack, remote.address);
		tcb->path_mtu_due = stack->now + 60 * NETD_S;
		/* RFC 1191, 3: a path below what is believed must be able to fragment. */
		tcb->fragment |= mtu < tcb->path_mtu;
		if (tcp_synchronized(tcb) && tcb->recovery == RECOVERY_NONE) {
			/* RFC 1191, 6.5: sent again at once; nothing was lost by congestion. */
			congestion_reopen(tcb);
			tcp_want_output(tcb);
		}
		return;
	}
	tcb->soft_error = NETD_UNREACHABLE;
	/* RFC 9293, 3.9.2.2: protocol and port unreachable end an attempt to connect. RFC 5927, 5.2: and nothing later. */
	if (tcb->state == TCP_SYN_SENT && report->type == WIRE_ICMP_UNREACHABLE &&
		(report->code == WIRE_ICMP_PROTOCOL_UNREACHABLE || report->code == WIRE_ICMP_PORT_UNREACHABLE))
		tcp_closed(tcb, NETD_REFUSED);
	else
		tcp_event(tcb, NETD_TROUBLE); /* MUST-47 */
}
