/*
 * Numbers that nobody outside can foretell: initial sequence numbers (RFC 6528), offsets of timestamps (RFC 7323, 5.4 and 7.1),
 * and SYN cookies (RFC 4987, 3.6).
 *
 * A cookie is the initial sequence number of a SYN-ACK for which nothing is kept: 3 bits choose the MSS from a table, one tells
 * which of two secrets made it, 28 are a MAC over both endpoints, the peer's sequence number and all that the cookie
 * says. The secret changes every 64 s and the one before is still accepted, so that a cookie lives for 64 s to 128 s. Window
 * scale, SACK and ECN, which don't fit, travel in the low 6 bits of our timestamp, if the peer sends any, and are covered by
 * the MAC as well.
 */
#include "tcp.h"

static const netd_time SECRET_FOR = 64 * NETD_S;
static const uint16_t mss_table[8] = {TCP_MSS_LEAST, 256, 536, 1024, 1220, 1360, 1440, 1460};

enum {
	NO_SHIFT = 15,
	OPTION_BITS = 6,
};

uint64_t tcp_tuple_hash(
	struct netd *stack, uint64_t purpose, struct netd_endpoint local, struct netd_endpoint remote, uint64_t more)
{
	const uint64_t words[] = {purpose, (uint64_t)local.address << 32 | remote.address,
		(uint64_t)local.port << 16 | remote.port, more};

	return stack_hash(stack->key, words, sizeof(words));
}

/* RFC 9293, 3.4.1: a clock that ticks every 4 microseconds, and a function of the connection's two ends and a secret. */
uint32_t tcp_isn(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote)
{
	return (uint32_t)(stack->now / 4) + (uint32_t)tcp_tuple_hash(stack, 'i', local, remote, 0);
}

uint32_t tcp_ts_offset(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote)
{
	return (uint32_t)tcp_tuple_hash(stack, 't', local, remote, 0);
}

bool cookie_recent(const struct netd *stack)
{
	return stack->tcp.overflowed != NETD_NEVER && stack->now - stack->tcp.overflowed < 2 * SECRET_FOR;
}

/* What the 28 bits are taken from. */
static uint32_t mac(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote, uint32_t irs,
	uint64_t epoch, unsigned mss, unsigned options)
{
	uint64_t secret = tcp_tuple_hash(stack, 's', (struct netd_endpoint){0}, (struct netd_endpoint){0}, epoch);

	return (uint32_t)tcp_tuple_hash(stack, secret, local, remote, (uint64_t)irs << 32 | mss << 8 | options) >> 4;
}

void cookie_make(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote,
	const struct wire_tcp *segment, struct cookie *cookie)
{
	uint64_t epoch = stack->now / SECRET_FOR;
	uint16_t peer = segment->mss ? segment->mss : TCP_MSS_DEFAULT;
	unsigned mss = 7, options = 0;

	while (mss && mss_table[mss] > peer)
		mss--;
	cookie->mss = mss_table[mss];
	cookie->timestamps = segment->timestamps;
	cookie->sack = cookie->ecn = false;
	cookie->shift = -1;
	if (segment->timestamps) {
		uint32_t now = tcp_ts_now(stack, tcp_ts_offset(stack, local, remote));

		cookie->shift = segment->shift > TCP_SHIFT_MOST ? TCP_SHIFT_MOST : segment->shift;
		cookie->sack = segment->sack_allowed;
		cookie->ecn = (segment->flags & (WIRE_TCP_ECE | WIRE_TCP_CWR)) == (WIRE_TCP_ECE | WIRE_TCP_CWR);
		options = (cookie->shift < 0 ? NO_SHIFT : (unsigned)cookie->shift) | (unsigned)cookie->sack << 4 |
			(unsigned)cookie->ecn << 5;
		cookie->timestamp = (now & ~((1u << OPTION_BITS) - 1)) | options;
		if (seq_lt(now, cookie->timestamp)) /* the clock never goes ahead of itself */
			cookie->timestamp -= 1u << OPTION_BITS;
	}
	cookie->iss = (uint32_t)mss << 29 | (uint32_t)(epoch & 1) << 28 |
		mac(stack, local, remote, segment->sequence, epoch, mss, options);
	stack->tcp.overflowed = stack->now;
}

bool cookie_check(struct netd *stack, struct netd_endpoint local, struct netd_endpoint remote,
	const struct wire_tcp *segment, struct cookie *cookie)
{
	uint32_t iss = segment->acknowledgment - 1;
	uint64_t epoch = stack->now / SECRET_FOR;
	unsigned mss = iss >> 29, options = 0;

	if ((epoch ^ iss >> 28) & 1)
		epoch--;
	if (segment->timestamps)
		options = segment->timestamp_echo & ((1u << OPTION_BITS) - 1);
	if ((iss & 0xfffffff) != mac(stack, local, remote, segment->sequence - 1, epoch, mss, options))
		return false;
	cookie->iss = iss;
	cookie->mss = mss_table[mss];
	cookie->timestamps = segment->timestamps;
	cookie->shift = !segment->timestamps || (options & 15) == NO_SHIFT ? -1 : (int8_t)(options & 15);
	cookie->sack = options >> 4 & 1;
	cookie->ecn = options >> 5 & 1;
	return true;
}
