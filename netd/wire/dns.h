/* DNS queries for A records and their answers (RFC 1035, 4), names compressed or not. */
#ifndef NETD_WIRE_DNS_H
#define NETD_WIRE_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_dns_constants {
	WIRE_DNS_PORT = 53,
	WIRE_DNS_NAME = 255,           /* bytes of a name in wire form (RFC 1035, 3.1) */
	WIRE_DNS_BYTES = 12 + 255 + 4, /* the longest query */
};

enum wire_dns_result {
	WIRE_DNS_ANSWER,    /* an address */
	WIRE_DNS_NO_NAME,   /* there is no such name, or it has no address */
	WIRE_DNS_FAILURE,   /* the server cannot or will not say, or the answer was cut short */
	WIRE_DNS_MALFORMED, /* not an answer to this question: to be ignored */
};

/* Writes a query for the A record of a dotted name. Returns its length, or 0 if that is no name. */
size_t wire_dns_emit(uint8_t data[static WIRE_DNS_BYTES], uint16_t id, const char *name, size_t name_bytes);

/*
 * Reads an answer to `query` (as emitted, `query_bytes` long): follows aliases within the answer; the first address
 * counts.
 */
enum wire_dns_result wire_dns_parse(
	uint32_t *address, const uint8_t *data, size_t bytes, const uint8_t *query, size_t query_bytes);

#endif
