/*
 * Services for peers that nobody here wrote: echo (RFC 862), discard (RFC 863) and character generator (RFC 864) over TCP, and echo
 * over UDP. Applications of netd/socket.h like any other, inside NetD.
 */
#ifndef NETD_SERVICES_H
#define NETD_SERVICES_H

#include <netd/socket.h>

/* Memory for so many connections at a time, of all services together; more are reset when they come. */
size_t netd_services_bytes(unsigned connections);

/* Starts all of them. Returns netd_result. */
int netd_services_start(struct netd *stack, void *memory, unsigned connections);

#endif
