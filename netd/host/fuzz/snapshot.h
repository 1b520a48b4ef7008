/*
 * A stack as it is, kept, and put back: what lets each input of a fuzzer begin in the middle of a connection's or a lease's life at the
 * price of copying some 20 KB. What the stack does not read before it has written it is left out: packets' and fragments' bytes, the
 * contents of buffers and of the rings of UDP.
 */
#ifndef NETD_FUZZ_SNAPSHOT_H
#define NETD_FUZZ_SNAPSHOT_H

#include <netd/stack.h>

struct snapshot;

/* Of a stack that has neither a packet waiting nor a datagram in reassembly. Never freed. */
struct snapshot *snapshot_take(const struct netd *stack);
void snapshot_restore(const struct snapshot *snapshot);

#endif
