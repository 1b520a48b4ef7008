#include "ethernet.h"

#include "bytes.h"

bool wire_ethernet_parse(struct wire_ethernet *header, const uint8_t *data, size_t bytes)
{
	if (bytes < WIRE_ETHERNET_HEADER)
		return false;
	memcpy(header->destination, data, WIRE_MAC);
	memcpy(header->source, data + 6, WIRE_MAC);
	header->type = get16(data + 12);
	return true;
}

void wire_ethernet_emit(uint8_t data[static WIRE_ETHERNET_HEADER], const struct wire_ethernet *header)
{
	memcpy(data, header->destination, WIRE_MAC);
	memcpy(data + 6, header->source, WIRE_MAC);
	put16(data + 12, header->type);
}
