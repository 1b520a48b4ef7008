/* DHCP messages (RFC 2131, 2; options RFC 2132) as a client reads and writes them. */
#ifndef NETD_WIRE_DHCP_H
#define NETD_WIRE_DHCP_H

#include "ethernet.h"

enum wire_dhcp_type {
	WIRE_DHCP_DISCOVER = 1,
	WIRE_DHCP_OFFER = 2,
	WIRE_DHCP_REQUEST = 3,
	WIRE_DHCP_DECLINE = 4,
	WIRE_DHCP_ACK = 5,
	WIRE_DHCP_NAK = 6,
	WIRE_DHCP_RELEASE = 7,
};

enum wire_dhcp_constants {
	WIRE_DHCP_CLIENT_PORT = 68,
	WIRE_DHCP_SERVER_PORT = 67,
	WIRE_DHCP_BYTES = 300, /* what a client sends: BOOTP's length (RFC 1542, 2.1) */
};

/* Addresses and times are 0 where a message has none. */
struct wire_dhcp {
	uint8_t type;
	bool broadcast; /* the client asks for a broadcast reply */
	uint16_t seconds;
	uint32_t transaction;
	uint32_t client; /* ciaddr */
	uint32_t yours;  /* yiaddr */
	uint8_t mac[WIRE_MAC];
	uint32_t requested;
	uint32_t server; /* server identifier */
	uint32_t mask;
	uint32_t gateway;
	uint32_t dns;
	uint32_t lease, renewal, rebinding; /* seconds */
};

/* A server's reply for Ethernet. Refuses anything that is not one, options that run past the end, and no type. */
bool wire_dhcp_parse(struct wire_dhcp *dhcp, const uint8_t *data, size_t bytes);

void wire_dhcp_emit(uint8_t data[static WIRE_DHCP_BYTES], const struct wire_dhcp *dhcp);

#endif
