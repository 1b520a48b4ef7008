/* Ethernet II headers (RFC 894). A frame with an 802.3 length (or a VLAN tag) parses; its type is then nobody's. */
#ifndef NETD_WIRE_ETHERNET_H
#define NETD_WIRE_ETHERNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_ethernet_constants {
	WIRE_ETHERNET_HEADER = 14,
	WIRE_MAC = 6,
	WIRE_TYPE_IPV4 = 0x0800,
	WIRE_TYPE_ARP = 0x0806,
};

struct wire_ethernet {
	uint8_t destination[WIRE_MAC];
	uint8_t source[WIRE_MAC];
	uint16_t type;
};

bool wire_ethernet_parse(struct wire_ethernet *header, const uint8_t *data, size_t bytes);
void wire_ethernet_emit(uint8_t data[static WIRE_ETHERNET_HEADER], const struct wire_ethernet *header);

static inline bool wire_mac_is_group(const uint8_t mac[static WIRE_MAC])
{
	return mac[0] & 1;
}

#endif
