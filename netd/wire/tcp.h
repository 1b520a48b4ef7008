/* TCP segments (RFC 9293, 3.1 and 3.2) and the options that NetD knows (RFC 7323, RFC 2018). */
#ifndef NETD_WIRE_TCP_H
#define NETD_WIRE_TCP_H

#include "ipv4.h"

enum wire_tcp_flags {
	WIRE_TCP_FIN = 0x01,
	WIRE_TCP_SYN = 0x02,
	WIRE_TCP_RST = 0x04,
	WIRE_TCP_PSH = 0x08,
	WIRE_TCP_ACK = 0x10,
	WIRE_TCP_URG = 0x20,
	WIRE_TCP_ECE = 0x40,
	WIRE_TCP_CWR = 0x80,
};

enum wire_tcp_constants {
	WIRE_TCP_HEADER = 20, /* without options */
	WIRE_TCP_HEADER_LIMIT = 60,
	WIRE_TCP_SACKS = 4,
	WIRE_TCP_TIMESTAMP_BYTES = 12, /* with the padding that it is sent with */
};

struct wire_tcp_range {
	uint32_t start;
	uint32_t end; /* one past the last */
};

struct wire_tcp {
	uint16_t source;
	uint16_t destination;
	uint32_t sequence;
	uint32_t acknowledgment;
	uint8_t flags;
	uint16_t window; /* as it stands in the header */
	uint16_t urgent;
	/* Options. Parsing yields the first of a kind whose length is right. */
	uint16_t mss;      /* 0: none */
	int8_t shift;      /* -1: no window scale option; otherwise as received, 0 to 127 (more reads as 127) */
	bool sack_allowed; /* SACK permitted */
	bool timestamps;
	uint8_t sacks;
	uint32_t timestamp;
	uint32_t timestamp_echo;
	struct wire_tcp_range sack[WIRE_TCP_SACKS];
	const uint8_t *payload;
	uint32_t payload_bytes;
};

enum wire_tcp_result {
	WIRE_TCP_OK,
	WIRE_TCP_MALFORMED,
	WIRE_TCP_CHECKSUM,
};

enum wire_tcp_result wire_tcp_parse(struct wire_tcp *tcp, const struct wire_ipv4 *ip);

/* Ports and sequence number of a segment quoted by an ICMP error, of which 8 bytes are there; nothing else is set. */
bool wire_tcp_parse_quoted(struct wire_tcp *tcp, const struct wire_ipv4 *ip);

/*
 * Writes header and options. Returns their length, a multiple of four. SACK blocks that don't fit are left out. The
 * checksum field stays zero: see wire_tcp_seal().
 */
size_t wire_tcp_emit(uint8_t data[static WIRE_TCP_HEADER_LIMIT], const struct wire_tcp *tcp);

/* Stores the checksum over the header and a payload in two pieces, between the addresses of `ip`. */
void wire_tcp_seal(uint8_t *header, size_t header_bytes, const struct wire_ipv4 *ip, const void *first,
	size_t first_bytes, const void *second, size_t second_bytes);

#endif
