/*
 * The wire formats, one line at a time: "FORMAT HEX" on the standard input is parsed, and what was read is printed as NAME=VALUE
 * words, then emitted again as emit=HEX; "bad" if it does not parse. For tests that compare with another implementation. Each input
 * lies in memory of exactly its size.
 */
#include "../../wire/arp.h"
#include "../../wire/checksum.h"
#include "../../wire/dhcp.h"
#include "../../wire/dns.h"
#include "../../wire/icmp.h"
#include "../../wire/tcp.h"
#include "../../wire/udp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void hex(const char *name, const uint8_t *data, size_t bytes)
{
	printf(" %s=", name);
	for (size_t i = 0; i < bytes; i++)
		printf("%02x", data[i]);
}

static void number(const char *name, uint64_t value)
{
	printf(" %s=%" PRIu64, name, value);
}

static bool ethernet(const uint8_t *data, size_t bytes)
{
	struct wire_ethernet header;
	uint8_t out[WIRE_ETHERNET_HEADER];

	if (!wire_ethernet_parse(&header, data, bytes))
		return false;
	hex("dst", header.destination, WIRE_MAC);
	hex("src", header.source, WIRE_MAC);
	number("type", header.type);
	wire_ethernet_emit(out, &header);
	hex("emit", out, sizeof(out));
	return true;
}

static bool arp(const uint8_t *data, size_t bytes)
{
	struct wire_arp view;
	uint8_t out[WIRE_ARP_BYTES];

	if (!wire_arp_parse(&view, data, bytes))
		return false;
	number("op", view.operation);
	number("psrc", view.sender);
	number("pdst", view.target);
	hex("hwsrc", view.sender_mac, WIRE_MAC);
	hex("hwdst", view.target_mac, WIRE_MAC);
	wire_arp_emit(out, &view);
	hex("emit", out, sizeof(out));
	return true;
}

static bool ipv4_header(struct wire_ipv4 *ip, const uint8_t *data, size_t bytes)
{
	return wire_ipv4_parse(ip, data, bytes) == WIRE_IPV4_OK;
}

static bool ipv4(const uint8_t *data, size_t bytes)
{
	struct wire_ipv4 ip;
	uint8_t out[WIRE_IPV4_HEADER];

	if (!ipv4_header(&ip, data, bytes))
		return false;
	number("src", ip.source);
	number("dst", ip.destination);
	number("id", ip.id);
	number("frag", ip.offset / 8);
	number("df", ip.dont_fragment);
	number("mf", ip.more_fragments);
	number("tos", ip.tos);
	number("ttl", ip.ttl);
	number("proto", ip.protocol);
	number("routed", ip.source_routed);
	hex("payload", ip.payload, ip.payload_bytes);
	wire_ipv4_emit(out, &ip);
	hex("emit", out, sizeof(out));
	return true;
}

static bool icmp(const uint8_t *data, size_t bytes)
{
	struct wire_icmp view;
	uint8_t out[WIRE_ICMP_HEADER];

	if (!wire_icmp_parse(&view, data, bytes))
		return false;
	number("type", view.type);
	number("code", view.code);
	number("rest", view.rest);
	hex("payload", view.payload, view.payload_bytes);
	wire_icmp_emit(out, &view);
	hex("emit", out, sizeof(out));
	return true;
}

/* Of a whole datagram: the checksum covers addresses. */
static bool udp(const uint8_t *data, size_t bytes)
{
	struct wire_ipv4 ip;
	struct wire_udp view;
	uint8_t out[WIRE_UDP_HEADER];

	if (!ipv4_header(&ip, data, bytes) || !wire_udp_parse(&view, &ip))
		return false;
	number("sport", view.source);
	number("dport", view.destination);
	hex("payload", view.payload, view.payload_bytes);
	wire_udp_emit(out, &view, &ip);
	hex("emit", out, sizeof(out));
	return true;
}

static bool tcp(const uint8_t *data, size_t bytes)
{
	struct wire_ipv4 ip;
	struct wire_tcp view;
	uint8_t out[WIRE_TCP_HEADER_LIMIT];
	size_t header;

	if (!ipv4_header(&ip, data, bytes) || wire_tcp_parse(&view, &ip) != WIRE_TCP_OK)
		return false;
	number("sport", view.source);
	number("dport", view.destination);
	number("seq", view.sequence);
	number("ack", view.acknowledgment);
	number("flags", view.flags);
	number("window", view.window);
	number("urgptr", view.urgent);
	number("mss", view.mss);
	printf(" shift=%d", view.shift);
	number("sackok", view.sack_allowed);
	number("ts", view.timestamps);
	number("tsval", view.timestamps ? view.timestamp : 0);
	number("tsecr", view.timestamps ? view.timestamp_echo : 0);
	printf(" sack=");
	for (unsigned i = 0; i < view.sacks; i++)
		printf("%s%" PRIu32 "-%" PRIu32, i ? "," : "", view.sack[i].start, view.sack[i].end);
	hex("payload", view.payload, view.payload_bytes);
	header = wire_tcp_emit(out, &view);
	wire_tcp_seal(out, header, &ip, view.payload, view.payload_bytes / 2, view.payload + view.payload_bytes / 2,
		view.payload_bytes - view.payload_bytes / 2);
	hex("emit", out, header);
	return true;
}

static bool dhcp(const uint8_t *data, size_t bytes)
{
	struct wire_dhcp view;
	uint8_t out[WIRE_DHCP_BYTES];

	if (!wire_dhcp_parse(&view, data, bytes))
		return false;
	number("type", view.type);
	number("xid", view.transaction);
	number("secs", view.seconds);
	number("broadcast", view.broadcast);
	number("ciaddr", view.client);
	number("yiaddr", view.yours);
	hex("chaddr", view.mac, WIRE_MAC);
	number("server", view.server);
	number("mask", view.mask);
	number("router", view.gateway);
	number("dns", view.dns);
	number("lease", view.lease);
	number("t1", view.renewal);
	number("t2", view.rebinding);
	view.requested = view.yours;
	wire_dhcp_emit(out, &view);
	hex("emit", out, sizeof(out));
	return true;
}

/* "dns NAME-IN-HEX ANSWER-IN-HEX": the query for that name, and what the answer says to it. */
static bool dns(const uint8_t *name, size_t name_bytes, const uint8_t *data, size_t bytes)
{
	uint8_t query[WIRE_DNS_BYTES];
	size_t query_bytes = wire_dns_emit(query, 0x1234, (const char *)name, name_bytes);
	uint32_t address = 0;

	if (!query_bytes)
		return false;
	number("result", wire_dns_parse(&address, data, bytes, query, query_bytes));
	number("address", address);
	hex("emit", query, query_bytes);
	return true;
}

static uint8_t *from_hex(const char *text, size_t *bytes)
{
	uint8_t *data;
	unsigned byte;

	*bytes = strlen(text) / 2;
	data = malloc(*bytes ? *bytes : 1);
	if (!data)
		abort();
	for (size_t i = 0; i < *bytes; i++) {
		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			abort();
		data[i] = (uint8_t)byte;
	}
	return data;
}

int main(void)
{
	static const struct {
		const char *name;
		bool (*show)(const uint8_t *data, size_t bytes);
	} formats[] = {{"ethernet", ethernet}, {"arp", arp}, {"ipv4", ipv4}, {"icmp", icmp}, {"udp", udp}, {"tcp", tcp},
		{"dhcp", dhcp}};
	static char line[300000];

	while (fgets(line, sizeof(line), stdin)) {
		char *name = strtok(line, " \n"), *first = strtok(NULL, " \n"), *second = strtok(NULL, " \n");
		size_t bytes, more;
		uint8_t *data = from_hex(first ? first : "", &bytes), *rest = from_hex(second ? second : "", &more);
		bool known = false;

		if (!strcmp(name, "dns")) {
			known = dns(data, bytes, rest, more);
		} else {
			for (unsigned i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
				if (!strcmp(name, formats[i].name))
					known = formats[i].show(data, bytes);
			}
		}
		printf("%s\n", known ? "" : "bad");
		fflush(stdout);
		free(data);
		free(rest);
	}
	return 0;
}
