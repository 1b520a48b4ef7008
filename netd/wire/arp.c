#include "arp.h"

#include "bytes.h"

/* Hardware type Ethernet, protocol IPv4, lengths 6 and 4. */
static const uint8_t prefix[] = {0, 1, 8, 0, 6, 4};

bool wire_arp_parse(struct wire_arp *arp, const uint8_t *data, size_t bytes)
{
	if (bytes < WIRE_ARP_BYTES || memcmp(data, prefix, sizeof(prefix)))
		return false;
	arp->operation = get16(data + 6);
	memcpy(arp->sender_mac, data + 8, WIRE_MAC);
	arp->sender = get32(data + 14);
	memcpy(arp->target_mac, data + 18, WIRE_MAC);
	arp->target = get32(data + 24);
	return true;
}

void wire_arp_emit(uint8_t data[static WIRE_ARP_BYTES], const struct wire_arp *arp)
{
	memcpy(data, prefix, sizeof(prefix));
	put16(data + 6, arp->operation);
	memcpy(data + 8, arp->sender_mac, WIRE_MAC);
	put32(data + 14, arp->sender);
	memcpy(data + 18, arp->target_mac, WIRE_MAC);
	put32(data + 24, arp->target);
}
