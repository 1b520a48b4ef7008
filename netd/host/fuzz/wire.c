/* libFuzzer on the wire formats: whatever parses is emitted again, and what was emitted must parse. */
#include "../../wire/arp.h"
#include "../../wire/dhcp.h"
#include "../../wire/dns.h"
#include "../../wire/icmp.h"
#include "../../wire/tcp.h"
#include "../../wire/udp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void transport(const struct wire_ipv4 *ip)
{
	uint8_t out[WIRE_TCP_HEADER_LIMIT];
	struct wire_icmp icmp;
	struct wire_tcp tcp;
	struct wire_udp udp;
	struct wire_ipv4 quoted;
	uint16_t total;

	if (wire_tcp_parse(&tcp, ip) == WIRE_TCP_OK) {
		size_t header = wire_tcp_emit(out, &tcp);

		check(header >= WIRE_TCP_HEADER && header <= WIRE_TCP_HEADER_LIMIT && header % 4 == 0);
		wire_tcp_seal(out, header, ip, tcp.payload, tcp.payload_bytes, NULL, 0);
	}
	wire_tcp_parse_quoted(&tcp, ip);
	if (wire_udp_parse(&udp, ip))
		wire_udp_emit(out, &udp, ip);
	if (wire_icmp_parse(&icmp, ip->payload, ip->payload_bytes)) {
		wire_icmp_emit(out, &icmp);
		if (wire_ipv4_parse_quoted(&quoted, &total, icmp.payload, icmp.payload_bytes))
			check(quoted.payload_bytes <= total);
	}
}

/* The first byte chooses the format; checksums are mended, so that the code behind them is reached. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t out[WIRE_DHCP_BYTES], query[WIRE_DNS_BYTES], *copy;
	struct wire_ipv4 ip;
	struct wire_arp arp;
	struct wire_dhcp dhcp;
	struct wire_ethernet ethernet;
	uint32_t address;
	size_t query_bytes;

	if (!bytes)
		return 0;
	bytes--;
	copy = malloc(bytes ? bytes : 1);
	check(copy != NULL);
	memcpy(copy, data + 1, bytes);
	switch (*data & 3) {
	case 0:
		if (wire_ethernet_parse(&ethernet, copy, bytes))
			wire_ethernet_emit(out, &ethernet);
		if (wire_arp_parse(&arp, copy, bytes)) {
			wire_arp_emit(out, &arp);
			check(!memcmp(out, copy, WIRE_ARP_BYTES));
		}
		break;
	case 1:
		if (wire_ipv4_parse(&ip, copy, bytes) != WIRE_IPV4_MALFORMED) {
			check(ip.payload + ip.payload_bytes <= copy + bytes);
			transport(&ip);
			wire_ipv4_emit(out, &ip);
		}
		/* The same bytes as a bare payload. */
		ip = (struct wire_ipv4){.payload = copy, .payload_bytes = bytes > 1500 ? 1500 : (uint16_t)bytes};
		transport(&ip);
		break;
	case 2:
		if (wire_dhcp_parse(&dhcp, copy, bytes))
			wire_dhcp_emit(out, &dhcp);
		break;
	default:
		query_bytes = wire_dns_emit(query, bytes > 1 ? (uint16_t)(copy[0] << 8 | copy[1]) : 0, "a.example", 9);
		wire_dns_parse(&address, copy, bytes, query, query_bytes);
		wire_dns_emit(query, 1, (const char *)copy, bytes);
	}
	free(copy);
	return 0;
}
