#include "dns.h"

#include "bytes.h"

enum {
	HEADER = 12,
	TYPE_A = 1,
	TYPE_CNAME = 5,
	CLASS_IN = 1,
	LABEL_LIMIT = 63,
	POINTER = 0xc0,
	RESPONSE = 0x8000,
	OPCODE = 0x7800,
	TRUNCATED = 0x0200,
	RECURSION_DESIRED = 0x0100,
	RCODE = 0x000f,
	NAME_ERROR = 3,
	ALIASES = 8, /* followed in one answer */
};

size_t wire_dns_emit(uint8_t data[static WIRE_DNS_BYTES], uint16_t id, const char *name, size_t name_bytes)
{
	uint8_t *label = data + HEADER, *at = label + 1;

	if (name_bytes && name[name_bytes - 1] == '.')
		name_bytes--;
	/* In wire form a name takes a length before and a zero behind. */
	if (!name_bytes || name_bytes + 2 > WIRE_DNS_NAME)
		return 0;
	for (size_t i = 0; i <= name_bytes; i++) {
		if (i < name_bytes && name[i] != '.') {
			*at++ = (uint8_t)name[i];
			continue;
		}
		if (at - label - 1 < 1 || at - label - 1 > LABEL_LIMIT)
			return 0;
		*label = (uint8_t)(at - label - 1);
		label = at++;
	}
	*label = 0;
	put16(data, id);
	put16(data + 2, RECURSION_DESIRED);
	put16(data + 4, 1);
	memset(data + 6, 0, 6);
	put16(at, TYPE_A);
	put16(at + 2, CLASS_IN);
	return (size_t)(at + 4 - data);
}

/*
 * Unpacks the name at `at` into `name`. Returns where the message goes on, or 0. Pointers must go back (RFC 1035,
 * 4.1.4: to a prior occurrence), so that it ends.
 */
static size_t unpack(uint8_t name[static WIRE_DNS_NAME], size_t *length, const uint8_t *data, size_t bytes, size_t at)
{
	size_t end = 0, lowest = at;

	for (*length = 0; at < bytes;) {
		uint8_t label = data[at];

		if ((label & POINTER) == POINTER) {
			size_t target;

			if (bytes - at < 2)
				return 0;
			target = get16(data + at) & 0x3fff;
			if (!end)
				end = at + 2;
			if (target >= lowest)
				return 0;
			at = lowest = target;
			continue;
		}
		if (label > LABEL_LIMIT || label >= bytes - at || *length + 1u + label > WIRE_DNS_NAME)
			return 0;
		for (size_t i = 0; i <= label; i++) { /* RFC 1035, 2.3.3: case does not count */
			uint8_t c = data[at + i];

			name[*length + i] = i && c >= 'A' && c <= 'Z' ? c | 0x20 : c;
		}
		*length += 1u + label;
		at += 1u + label;
		if (!label)
			return end ? end : at;
	}
	return 0;
}

enum wire_dns_result wire_dns_parse(
	uint32_t *address, const uint8_t *data, size_t bytes, const uint8_t *query, size_t query_bytes)
{
	uint8_t wanted[WIRE_DNS_NAME], name[WIRE_DNS_NAME];
	size_t wanted_bytes, name_bytes, at, first;
	uint16_t flags, answers;

	if (bytes < HEADER || query_bytes < HEADER || get16(data) != get16(query) || get16(data + 4) != 1)
		return WIRE_DNS_MALFORMED;
	flags = get16(data + 2);
	if (!(flags & RESPONSE) || flags & OPCODE)
		return WIRE_DNS_MALFORMED;
	if (!unpack(wanted, &wanted_bytes, query, query_bytes, HEADER))
		return WIRE_DNS_MALFORMED;
	at = unpack(name, &name_bytes, data, bytes, HEADER);
	if (!at || bytes - at < 4 || name_bytes != wanted_bytes || memcmp(name, wanted, name_bytes) ||
		get16(data + at) != TYPE_A || get16(data + at + 2) != CLASS_IN)
		return WIRE_DNS_MALFORMED;
	if ((flags & RCODE) == NAME_ERROR)
		return WIRE_DNS_NO_NAME;
	if (flags & (RCODE | TRUNCATED))
		return WIRE_DNS_FAILURE;
	first = at + 4;
	answers = get16(data + 6);
	/* An alias may stand behind what it points to: after each, the records are looked through once more. */
	for (unsigned aliases = 0; aliases <= ALIASES; aliases++) {
		bool followed = false;

		at = first;
		for (unsigned i = 0; i < answers && !followed; i++) {
			uint16_t type, length;

			at = unpack(name, &name_bytes, data, bytes, at);
			if (!at || bytes - at < 10)
				return WIRE_DNS_FAILURE;
			type = get16(data + at);
			length = get16(data + at + 8);
			if (length > bytes - at - 10)
				return WIRE_DNS_FAILURE;
			if (get16(data + at + 2) == CLASS_IN && name_bytes == wanted_bytes &&
				!memcmp(name, wanted, name_bytes)) {
				if (type == TYPE_A && length == 4) {
					*address = get32(data + at + 10);
					return WIRE_DNS_ANSWER;
				}
				if (type == TYPE_CNAME) {
					if (!unpack(wanted, &wanted_bytes, data, bytes, at + 10))
						return WIRE_DNS_FAILURE;
					followed = true;
				}
			}
			at += 10u + length;
		}
		if (!followed)
			return WIRE_DNS_NO_NAME;
	}
	return WIRE_DNS_FAILURE;
}
