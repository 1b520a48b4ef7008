/* ICMP messages (RFC 792; the next-hop MTU of RFC 1191, 4). */
#ifndef NETD_WIRE_ICMP_H
#define NETD_WIRE_ICMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_icmp_type {
	WIRE_ICMP_ECHO_REPLY = 0,
	WIRE_ICMP_UNREACHABLE = 3,
	WIRE_ICMP_SOURCE_QUENCH = 4,
	WIRE_ICMP_REDIRECT = 5,
	WIRE_ICMP_ECHO = 8,
	WIRE_ICMP_TIME_EXCEEDED = 11,
	WIRE_ICMP_PARAMETER_PROBLEM = 12,
};

enum wire_icmp_code {
	WIRE_ICMP_PROTOCOL_UNREACHABLE = 2,
	WIRE_ICMP_PORT_UNREACHABLE = 3,
	WIRE_ICMP_FRAGMENTATION_NEEDED = 4,
	WIRE_ICMP_REASSEMBLY_TIME = 1,
};

enum wire_icmp_constants {
	WIRE_ICMP_HEADER = 8,
};

struct wire_icmp {
	uint8_t type;
	uint8_t code;
	uint32_t rest; /* echo: identifier and sequence number; fragmentation needed: low half the MTU */
	const uint8_t *payload;
	uint16_t payload_bytes;
};

/* Refuses short messages and wrong checksums. */
bool wire_icmp_parse(struct wire_icmp *icmp, const uint8_t *data, size_t bytes);

/* Writes the header with a checksum over it and the payload that the view names. */
void wire_icmp_emit(uint8_t data[static WIRE_ICMP_HEADER], const struct wire_icmp *icmp);

#endif
