/*
 * Fragments put together again (RFC 791, 3.2; RFC 1122, 3.3.2). Overlaps are refused as RFC 5722 does it for IPv6: a fragment
 * that repeats what is there changes nothing; one that contradicts or overlaps otherwise condemns the datagram, and
 * what else comes of it.
 */
#include "core.h"

#include "../wire/icmp.h"

enum {
	BLOCK = 8, /* bytes; the unit of fragment offsets */
	BLOCKS = (WIRE_IPV4_LIMIT + BLOCK) / BLOCK,
};

struct reassembly {
	netd_time due; /* 0: free */
	uint32_t source, destination;
	uint16_t id;
	uint8_t protocol;
	uint8_t tos;
	bool condemned;
	bool broadcast;
	uint16_t header_bytes; /* of the first fragment; 0 until it comes */
	uint32_t end;          /* of the payload; 0 until the last fragment comes */
	uint32_t received;     /* bytes */
	uint32_t furthest;     /* how far what has come reaches */
	uint8_t header[WIRE_IPV4_HEADER_LIMIT];
	uint8_t have[BLOCKS / 8 + 1]; /* a bit for each block */
	uint8_t payload[BLOCKS * BLOCK];
};

static const netd_time KEEP = 60 * NETD_S; /* RFC 1122, 3.3.2: between 60 s and 120 s, and not renewed */

size_t reassembly_bytes(void)
{
	return sizeof(struct reassembly);
}

static struct wire_ipv4 view(const struct reassembly *reassembly)
{
	return (struct wire_ipv4){.source = reassembly->source,
		.destination = reassembly->destination,
		.protocol = reassembly->protocol,
		.tos = reassembly->tos,
		.header = reassembly->header,
		.header_bytes = reassembly->header_bytes,
		.payload = reassembly->payload,
		.payload_bytes = (uint16_t)reassembly->end};
}

static void give_up(struct netd *stack, struct reassembly *reassembly)
{
	struct wire_ipv4 ip = view(reassembly);

	reassembly->due = 0;
	COUNT(stack, reassembly_timeout);
	/* RFC 1122, 3.3.2: told only if the first fragment came. What is quoted are its first bytes. */
	if (reassembly->header_bytes && !reassembly->condemned) {
		ip.payload_bytes = BLOCK;
		icmp_error(stack, WIRE_ICMP_TIME_EXCEEDED, WIRE_ICMP_REASSEMBLY_TIME, &ip, reassembly->broadcast);
	}
}

static struct reassembly *find(struct netd *stack, const struct wire_ipv4 *ip, bool broadcast)
{
	struct reassembly *best = NULL;

	for (unsigned i = 0; i < stack->limits.reassemblies; i++) {
		struct reassembly *reassembly = &stack->reassemblies[i];

		if (reassembly->due && reassembly->id == ip->id && reassembly->source == ip->source &&
			reassembly->destination == ip->destination && reassembly->protocol == ip->protocol)
			return reassembly;
		if (!best || reassembly->due < best->due)
			best = reassembly;
	}
	if (best->due)
		COUNT(stack, reassembly_full);
	best->due = stack->now + KEEP;
	best->source = ip->source;
	best->destination = ip->destination;
	best->id = ip->id;
	best->protocol = ip->protocol;
	best->tos = ip->tos;
	best->broadcast = broadcast;
	best->condemned = false;
	best->header_bytes = 0;
	best->end = best->received = best->furthest = 0;
	memset(best->have, 0, sizeof(best->have));
	return best;
}

static void condemn(struct netd *stack, struct reassembly *reassembly)
{
	COUNT(stack, reassembly_overlap);
	reassembly->condemned = true;
}

void reassembly_input(struct netd *stack, const struct wire_ipv4 *ip, bool broadcast)
{
	struct reassembly *reassembly = find(stack, ip, broadcast);
	uint32_t start = ip->offset, end = start + ip->payload_bytes;
	unsigned first = start / BLOCK, last = (end + BLOCK - 1) / BLOCK, present = 0;
	struct netd_frame frame = {0};
	struct wire_ipv4 whole;

	COUNT(stack, fragments_in);
	if (reassembly->condemned)
		return;
	/* RFC 791, 3.2: all but the last are whole blocks. A datagram's header counts in its greatest length. */
	if (end == start || (ip->more_fragments && ip->payload_bytes % BLOCK) ||
		end > WIRE_IPV4_LIMIT - WIRE_IPV4_HEADER || (reassembly->end && end > reassembly->end) ||
		(!ip->more_fragments && (end < reassembly->furthest || (reassembly->end && end != reassembly->end)))) {
		condemn(stack, reassembly);
		return;
	}
	for (unsigned block = first; block < last; block++)
		present += reassembly->have[block / 8] >> block % 8 & 1;
	if (present) {
		if (present != last - first || memcmp(reassembly->payload + start, ip->payload, ip->payload_bytes))
			condemn(stack, reassembly);
		return;
	}
	if (!ip->more_fragments)
		reassembly->end = end;
	if (end > reassembly->furthest)
		reassembly->furthest = end;
	for (unsigned block = first; block < last; block++)
		reassembly->have[block / 8] |= (uint8_t)(1 << block % 8);
	memcpy(reassembly->payload + start, ip->payload, ip->payload_bytes);
	reassembly->received += ip->payload_bytes;
	/* RFC 3168, 5.3: a mark on any fragment marks the datagram; not-ECT beside ECT counts as not marked. */
	if ((ip->tos & 3) == 3)
		reassembly->tos |= 3;
	if (!start) {
		reassembly->header_bytes = ip->header_bytes;
		memcpy(reassembly->header, ip->header, ip->header_bytes);
	}
	if (!reassembly->end || reassembly->received != reassembly->end)
		return;
	COUNT(stack, reassembled);
	whole = view(reassembly);
	frame.data = reassembly->payload;
	frame.bytes = reassembly->end;
	reassembly->due = 0;
	ipv4_deliver(stack, &whole, &frame, broadcast);
}

netd_time reassembly_run(struct netd *stack)
{
	netd_time due = NETD_NEVER;

	for (unsigned i = 0; i < stack->limits.reassemblies; i++) {
		struct reassembly *reassembly = &stack->reassemblies[i];

		if (!reassembly->due)
			continue;
		if (stack->now >= reassembly->due)
			give_up(stack, reassembly);
		else
			due = earlier(due, reassembly->due);
	}
	return due;
}
