/* UDP headers (RFC 768). */
#ifndef NETD_WIRE_UDP_H
#define NETD_WIRE_UDP_H

#include "ipv4.h"

enum wire_udp_constants {
	WIRE_UDP_HEADER = 8,
};

struct wire_udp {
	uint16_t source;
	uint16_t destination;
	const uint8_t *payload;
	uint16_t payload_bytes;
};

/* Refuses impossible lengths and wrong checksums; a checksum of zero means that there is none. */
bool wire_udp_parse(struct wire_udp *udp, const struct wire_ipv4 *ip);

/* The ports of a datagram quoted by an ICMP error, of which 8 bytes are there. */
bool wire_udp_parse_quoted(struct wire_udp *udp, const struct wire_ipv4 *ip);

/* Writes a header with a checksum over it and the payload, between the addresses of `ip`. */
void wire_udp_emit(uint8_t data[static WIRE_UDP_HEADER], const struct wire_udp *udp, const struct wire_ipv4 *ip);

#endif
