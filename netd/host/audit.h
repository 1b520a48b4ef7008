/*
 * Accounts for all that the stack hands out: each control block, pair of buffers and packet is in exactly one place, counts and lists
 * agree, and a connection's numbers are in the order that RFC 9293 (3.3.1) gives them. For the fuzzers and the soak: it knows the
 * stack's insides, and the daemon does without it.
 */
#ifndef NETD_HOST_AUDIT_H
#define NETD_HOST_AUDIT_H

#include <netd/stack.h>

/* What does not hold, in a sentence; NULL: everything does. Holds between two calls of the stack, whatever was called. */
const char *audit(const struct netd *stack);

/* How many frames it keeps, with text that nobody has read. */
unsigned audit_frames(const struct netd *stack);

#endif
