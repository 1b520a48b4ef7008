/* Resolver: asks the configured server for a name's address (RFC 1035). Ids and ports are random (RFC 5452, 4 and 5). */
#include "../wire/dns.h"

#include "core.h"

enum {
	TRIES = 3,
};

struct dns_query {
	struct netd_udp *socket; /* NULL: free; a port of its own for each question */
	struct netd *stack;
	void (*done)(void *context, uint32_t address, int result);
	void *context;
	netd_time due;
	unsigned tries;
	bool answered; /* `address` and `result` are to be told */
	uint32_t address;
	int result;
	uint32_t server;
	size_t bytes;
	uint8_t question[WIRE_DNS_BYTES];
};

static const netd_time ANSWER_WITHIN = 2 * NETD_S; /* doubled with each try */

size_t dns_query_bytes(void)
{
	return sizeof(struct dns_query);
}

static void answer(struct dns_query *query, uint32_t address, int result)
{
	query->answered = true;
	query->address = address;
	query->result = result;
}

static bool deliver(void *owner, struct netd_udp *socket, struct netd_endpoint from, struct netd_endpoint to,
	const uint8_t *data, size_t bytes)
{
	struct dns_query *query = owner;
	uint32_t address;

	(void)socket;
	(void)to;
	if (from.address != query->server || from.port != WIRE_DNS_PORT)
		return true;
	switch (wire_dns_parse(&address, data, bytes, query->question, query->bytes)) {
	case WIRE_DNS_ANSWER:
		answer(query, address, NETD_OK);
		break;
	case WIRE_DNS_NO_NAME:
		answer(query, 0, NETD_NO_NAME);
		break;
	case WIRE_DNS_FAILURE:
		answer(query, 0, NETD_UNREACHABLE);
		break;
	case WIRE_DNS_MALFORMED: /* a forgery that missed: the real one may still come */
		break;
	}
	return true;
}

int netd_resolve(struct netd *stack, const char *name, size_t name_bytes,
	void (*done)(void *context, uint32_t address, int result), void *context)
{
	struct dns_query *query = NULL;
	struct netd_udp_owner owner = {.deliver = deliver};
	struct netd_udp *socket;
	int result;

	for (unsigned i = 0; i < stack->limits.dns_queries && !query; i++) {
		if (!stack->dns.queries[i].socket)
			query = &stack->dns.queries[i];
	}
	if (!query)
		return NETD_NO_ROOM;
	if (!stack->net.dns)
		return NETD_UNREACHABLE;
	*query = (struct dns_query){
		.stack = stack, .done = done, .context = context, .due = stack->now, .server = stack->net.dns};
	query->bytes = wire_dns_emit(query->question, (uint16_t)stack_random(stack), name, name_bytes);
	if (!query->bytes)
		return NETD_INVALID;
	owner.owner = query;
	result = udp_bind_reserved(stack, 0, &owner, &socket);
	if (result == NETD_OK)
		query->socket = socket;
	return result;
}

netd_time dns_run(struct netd *stack)
{
	netd_time due = NETD_NEVER;

	for (unsigned i = 0; i < stack->limits.dns_queries; i++) {
		struct dns_query *query = &stack->dns.queries[i];

		if (!query->socket)
			continue;
		if (!query->answered && stack->now >= query->due) {
			if (query->tries < TRIES) {
				netd_udp_send(query->socket, 0, (struct netd_endpoint){query->server, WIRE_DNS_PORT},
					query->question, query->bytes);
				query->due = stack->now + (ANSWER_WITHIN << query->tries++);
			} else {
				answer(query, 0, NETD_TIMED_OUT);
			}
		}
		if (query->answered) {
			netd_udp_close(query->socket);
			query->socket = NULL; /* free before its owner is told, who may ask the next question */
			query->done(query->context, query->address, query->result);
			due = stack->now;
		} else {
			due = earlier(due, query->due);
		}
	}
	return due;
}
