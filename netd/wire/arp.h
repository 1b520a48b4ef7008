/* ARP for IPv4 over Ethernet (RFC 826). Other hardware, protocols and lengths don't parse; any opcode does. */
#ifndef NETD_WIRE_ARP_H
#define NETD_WIRE_ARP_H

#include "ethernet.h"

enum wire_arp_constants {
	WIRE_ARP_BYTES = 28,
	WIRE_ARP_REQUEST = 1,
	WIRE_ARP_REPLY = 2,
};

struct wire_arp {
	uint16_t operation;
	uint8_t sender_mac[WIRE_MAC];
	uint32_t sender;
	uint8_t target_mac[WIRE_MAC];
	uint32_t target;
};

bool wire_arp_parse(struct wire_arp *arp, const uint8_t *data, size_t bytes);
void wire_arp_emit(uint8_t data[static WIRE_ARP_BYTES], const struct wire_arp *arp);

#endif
