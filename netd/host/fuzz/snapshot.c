#include "snapshot.h"

#include "../../stack/tcp.h"

#include <stdlib.h>
#include <string.h>

enum {
	RANGES = 64,
	REASSEMBLY_HEAD = 64, /* of struct reassembly: all that tells whether one is in use */
};

struct range {
	uint8_t *at;
	size_t bytes;
	uint8_t *copy;
};

struct snapshot {
	unsigned count;
	struct range ranges[RANGES];
};

static void add(struct snapshot *snapshot, const void *at, size_t bytes)
{
	struct range *range = &snapshot->ranges[snapshot->count++];

	if (snapshot->count > RANGES)
		abort();
	*range = (struct range){(uint8_t *)(uintptr_t)at, bytes, malloc(bytes ? bytes : 1)};
	if (!range->copy)
		abort();
	memcpy(range->copy, at, bytes);
}

static void add_from_to(struct snapshot *snapshot, const void *from, const void *to)
{
	add(snapshot, from, (size_t)((const uint8_t *)to - (const uint8_t *)from));
}

struct snapshot *snapshot_take(const struct netd *stack)
{
	const struct netd_limits *limits = &stack->limits;
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
	size_t pair = (size_t)limits->send_bytes + limits->receive_bytes;
	const uint8_t *buffers;

	if (!snapshot)
		abort();
	add(snapshot, stack, sizeof(*stack));
	for (const struct packet *packet = stack->free_packets; packet; packet = packet->next)
		add(snapshot, packet, sizeof(*packet));
	add_from_to(snapshot, stack->neighbours, stack->reassemblies);
	for (unsigned i = 0; i < limits->reassemblies; i++)
		add(snapshot, (const uint8_t *)stack->reassemblies + i * reassembly_bytes(), REASSEMBLY_HEAD);
	add(snapshot, stack->dns.queries, limits->dns_queries * dns_query_bytes());
	add(snapshot, stack->udp, udp_bytes(limits) - limits->udp_sockets * (size_t)limits->udp_bytes);
	/* tcp_bytes(): table, blocks, then a pair of buffers for each connection, linked through their first bytes. */
	buffers = (const uint8_t *)stack->tcp.table + tcp_bytes(limits) - 64 - limits->connections * pair;
	add_from_to(snapshot, stack->tcp.table, buffers);
	for (unsigned i = 0; i < limits->connections; i++)
		add(snapshot, buffers + i * pair, sizeof(void *));
	return snapshot;
}

void snapshot_restore(const struct snapshot *snapshot)
{
	for (unsigned i = 0; i < snapshot->count; i++)
		memcpy(snapshot->ranges[i].at, snapshot->ranges[i].copy, snapshot->ranges[i].bytes);
}
