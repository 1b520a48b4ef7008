/*
 * libFuzzer on the wire formats. What parses is emitted again, and what was emitted must parse to the same; no view reaches beyond
 * its bytes.
 */
#include "../../wire/arp.h"
#include "../../wire/dhcp.h"
#include "../../wire/dns.h"
#include "../../wire/icmp.h"
#include "../../wire/tcp.h"
#include "../../wire/udp.h"
#include "mend.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static bool lies_within(const uint8_t *part, size_t part_bytes, const uint8_t *whole, size_t bytes)
{
	return part >= whole && part_bytes <= bytes && (size_t)(part - whole) <= bytes - part_bytes;
}

/* Options that TCP's header has no room for beside others are left out: SACK's blocks, and nothing else. */
static void check_same_segment(const struct wire_tcp *a, const struct wire_tcp *b)
{
	check(a->source == b->source && a->destination == b->destination && a->sequence == b->sequence &&
		a->acknowledgment == b->acknowledgment && a->flags == b->flags && a->window == b->window &&
		a->urgent == b->urgent && a->mss == b->mss && a->shift == b->shift &&
		a->sack_allowed == b->sack_allowed && a->timestamps == b->timestamps && a->sacks >= b->sacks);
	check(!a->timestamps || (a->timestamp == b->timestamp && a->timestamp_echo == b->timestamp_echo));
	check(!memcmp(a->sack, b->sack, b->sacks * sizeof(*a->sack)));
}

static void tcp(const struct wire_ipv4 *ip)
{
	uint8_t header[WIRE_TCP_HEADER_LIMIT] = {0};
	struct wire_ipv4 again = *ip;
	struct wire_tcp parsed, second, quoted;
	size_t bytes;

	if (wire_tcp_parse(&parsed, ip) != WIRE_TCP_OK)
		return;
	check(lies_within(parsed.payload, parsed.payload_bytes, ip->payload, ip->payload_bytes));
	check(wire_tcp_parse_quoted(&quoted, ip) && quoted.sequence == parsed.sequence);
	bytes = wire_tcp_emit(header, &parsed);
	check(bytes >= WIRE_TCP_HEADER && bytes <= WIRE_TCP_HEADER_LIMIT && bytes % 4 == 0);
	wire_tcp_seal(header, bytes, ip, NULL, 0, NULL, 0);
	again.payload = header;
	again.payload_bytes = (uint16_t)bytes;
	check(wire_tcp_parse(&second, &again) == WIRE_TCP_OK);
	check_same_segment(&parsed, &second);
}

static void udp(const struct wire_ipv4 *ip)
{
	uint8_t datagram[WIRE_UDP_HEADER + 2048];
	struct wire_ipv4 again = *ip;
	struct wire_udp parsed, second;

	if (!wire_udp_parse(&parsed, ip) || parsed.payload_bytes > 2048)
		return;
	check(lies_within(parsed.payload, parsed.payload_bytes, ip->payload, ip->payload_bytes));
	wire_udp_emit(datagram, &parsed, ip);
	memcpy(datagram + WIRE_UDP_HEADER, parsed.payload, parsed.payload_bytes);
	again.payload = datagram;
	again.payload_bytes = WIRE_UDP_HEADER + parsed.payload_bytes;
	check(wire_udp_parse(&second, &again) && second.source == parsed.source &&
		second.destination == parsed.destination && second.payload_bytes == parsed.payload_bytes);
}

static void icmp(const struct wire_ipv4 *ip)
{
	uint8_t header[WIRE_ICMP_HEADER];
	struct wire_ipv4 quoted;
	struct wire_icmp parsed;
	struct wire_tcp segment;
	struct wire_udp datagram;
	uint16_t total;

	if (!wire_icmp_parse(&parsed, ip->payload, ip->payload_bytes))
		return;
	check(lies_within(parsed.payload, parsed.payload_bytes, ip->payload, ip->payload_bytes));
	wire_icmp_emit(header, &parsed);
	check(header[0] == ip->payload[0] && header[1] == ip->payload[1] && !memcmp(header + 4, ip->payload + 4, 4));
	if (!wire_ipv4_parse_quoted(&quoted, &total, parsed.payload, parsed.payload_bytes))
		return;
	check(quoted.payload_bytes <= total);
	check(lies_within(quoted.payload, quoted.payload_bytes, parsed.payload, parsed.payload_bytes));
	wire_tcp_parse_quoted(&segment, &quoted);
	wire_udp_parse_quoted(&datagram, &quoted);
}

static void datagram(const uint8_t *data, size_t bytes)
{
	uint8_t header[WIRE_IPV4_HEADER];
	struct wire_ipv4 ip, again;

	if (wire_ipv4_parse(&ip, data, bytes) != WIRE_IPV4_OK)
		return;
	check(lies_within(ip.payload, ip.payload_bytes, data, bytes));
	tcp(&ip);
	udp(&ip);
	icmp(&ip);
	wire_ipv4_emit(header, &ip);
	ip.payload_bytes = 0;
	wire_ipv4_emit(header, &ip);
	check(wire_ipv4_parse(&again, header, sizeof(header)) == WIRE_IPV4_OK && again.source == ip.source &&
		again.destination == ip.destination && again.id == ip.id && again.offset == ip.offset &&
		again.dont_fragment == ip.dont_fragment && again.more_fragments == ip.more_fragments &&
		again.tos == ip.tos && again.ttl == ip.ttl && again.protocol == ip.protocol);
}

static void frame(const uint8_t *data, size_t bytes)
{
	uint8_t out[WIRE_ARP_BYTES];
	struct wire_ethernet ethernet;
	struct wire_arp arp;

	if (wire_ethernet_parse(&ethernet, data, bytes)) {
		wire_ethernet_emit(out, &ethernet);
		check(!memcmp(out, data, WIRE_ETHERNET_HEADER));
	}
	if (wire_arp_parse(&arp, data, bytes)) {
		wire_arp_emit(out, &arp);
		check(!memcmp(out, data, WIRE_ARP_BYTES));
	}
}

static void dns(const uint8_t *data, size_t bytes)
{
	static const char name[] = "a.example";
	uint8_t query[WIRE_DNS_BYTES];
	uint32_t address;
	size_t query_bytes = wire_dns_emit(query, bytes > 1 ? get16(data) : 0, name, sizeof(name) - 1);

	wire_dns_parse(&address, data, bytes, query, query_bytes);
	/* A name that comes to be a question is one that its own answer is compared with. */
	query_bytes = wire_dns_emit(query, 1, (const char *)data, bytes);
	check(query_bytes <= sizeof(query));
	if (query_bytes)
		check(wire_dns_parse(&address, query, query_bytes, query, query_bytes) == WIRE_DNS_MALFORMED);
}

/* The first byte chooses the format, and whether lengths and checksums are mended. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	uint8_t message[WIRE_DHCP_BYTES], *copy;
	struct wire_dhcp dhcp;

	if (!bytes)
		return 0;
	bytes--;
	copy = malloc(bytes ? bytes : 1);
	check(copy != NULL);
	memcpy(copy, data + 1, bytes);
	switch (*data & 3) {
	case 0:
		frame(copy, bytes);
		break;
	case 1:
		if (!(*data & 4))
			mend_datagram(copy, bytes);
		datagram(copy, bytes);
		break;
	case 2:
		if (wire_dhcp_parse(&dhcp, copy, bytes))
			wire_dhcp_emit(message, &dhcp);
		break;
	default:
		dns(copy, bytes);
	}
	free(copy);
	return 0;
}
