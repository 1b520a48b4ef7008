/*
 * IPv4 headers (RFC 791). Parsing checks version, lengths and header checksum, and leaves addresses and options to be
 * judged above; options are skipped, none is sent.
 */
#ifndef NETD_WIRE_IPV4_H
#define NETD_WIRE_IPV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_ipv4_constants {
	WIRE_IPV4_HEADER = 20, /* without options */
	WIRE_IPV4_HEADER_LIMIT = 60,
	WIRE_IPV4_LIMIT = 65535,
	WIRE_PROTOCOL_ICMP = 1,
	WIRE_PROTOCOL_TCP = 6,
	WIRE_PROTOCOL_UDP = 17,
};

struct wire_ipv4 {
	uint32_t source;
	uint32_t destination;
	uint16_t id;
	uint16_t offset; /* of this fragment's payload, in bytes */
	bool dont_fragment;
	bool more_fragments;
	uint8_t tos; /* DSCP and ECN field */
	uint8_t ttl;
	uint8_t protocol;
	bool source_routed; /* carries a loose or strict source route that is not yet used up, or cannot be read */
	const uint8_t *header;
	const uint8_t *payload;
	uint16_t header_bytes;
	uint16_t payload_bytes;
};

enum wire_ipv4_result {
	WIRE_IPV4_OK,
	WIRE_IPV4_MALFORMED,
	WIRE_IPV4_CHECKSUM,
};

/* `bytes` may exceed the total length: a short frame is padded. */
enum wire_ipv4_result wire_ipv4_parse(struct wire_ipv4 *ip, const uint8_t *data, size_t bytes);

/*
 * The same for a header quoted by an ICMP error: its payload may be cut off (payload_bytes is what is there,
 * total_bytes what the header said) and its checksum may have changed on the way.
 */
bool wire_ipv4_parse_quoted(struct wire_ipv4 *ip, uint16_t *total_bytes, const uint8_t *data, size_t bytes);

/* Writes a header without options for `payload_bytes` of payload, checksum included. */
void wire_ipv4_emit(uint8_t data[static WIRE_IPV4_HEADER], const struct wire_ipv4 *ip);

#endif
