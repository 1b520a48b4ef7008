/* The words behind `spawn netd`. Pure: text in, a structure out. */
#ifndef NETD_KEUOS_ARGUMENTS_H
#define NETD_KEUOS_ARGUMENTS_H

#include <netd/stack.h>

enum { ARGUMENT_BYTES = 48, ARGUMENT_ROUTES = 4 };

/* What netd_add_route() is told. */
struct argument_route {
	uint32_t network, mask, gateway;
};

struct arguments {
	struct netd_address own; /* address 0: ask by DHCP */
	struct netd_config config;
	struct argument_route routes[ARGUMENT_ROUTES];
	unsigned route_count;
	uint16_t mtu; /* 0: the NIC's */
	bool services;
};

/*
 * Reads words apart by blanks; docs/netd.md lists them. Returns true, or false and in `word` (of ARGUMENT_BYTES) the one
 * that makes no sense.
 */
bool arguments_parse(struct arguments *arguments, const char *text, char *word);

#endif
