/* The words behind `spawn netd`. Pure: text in, a structure out. */
#ifndef NETD_KEUOS_ARGUMENTS_H
#define NETD_KEUOS_ARGUMENTS_H

#include <netd/stack.h>

struct arguments {
	struct netd_address own; /* address 0: ask by DHCP */
	struct netd_config config;
	uint16_t mtu; /* 0: the NIC's */
	bool services;
};

enum { ARGUMENT_BYTES = 40 };

/*
 * Reads words apart by blanks; docs/netd.md lists them. Returns true, or false and in `word` (of ARGUMENT_BYTES) the one
 * that makes no sense.
 */
bool arguments_parse(struct arguments *arguments, const char *text, char *word);

#endif
