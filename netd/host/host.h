/*
 * NetD on a host: the same stack over a TAP or a socketpair in place of the NIC (nic.c), by the host's clock or by one that a test
 * moves (main.c), told what to do by lines on a socket (control.c). Nothing here is part of the daemon on KeuOS.
 */
#ifndef NETD_HOST_H
#define NETD_HOST_H

#include <netd/services.h>

/* nic.c: frames from and to a descriptor of which each read and write is one frame. */
struct host_nic {
	struct netd_nic nic;
	int fd;
	bool refused;  /* a write would have blocked: room() is owed */
	unsigned lent; /* frames that were not released yet */
};

void host_nic_init(struct host_nic *host, int fd, uint16_t mtu);
int host_tap_open(const char *name); /* exits with a message on failure */
/* Reads what waits, at most `most` frames. Returns how many; -1: the other side is gone. */
int host_nic_poll(struct host_nic *host, int most);

/* main.c */
struct host {
	struct host_nic nic;
	struct netd_config config;
	struct netd *stack;
	void *memory;
	void *services;
	bool manual;
	netd_time now; /* of the manual clock */
	bool random;   /* entropy from the host at each start; else always the same */
};

netd_time host_now(const struct host *host);
void host_start(struct host *host); /* a new stack; what the old one kept is forgotten */
bool host_drain(struct host *host); /* sees all frames that wait, and runs; false: the other side is gone */

/* control.c: answers one command. `line` ends with a zero. Returns the length of the answer, at most `most`. */
size_t control(struct host *host, char *line, char *answer, size_t most);
void control_forget(struct host *host); /* the stack is about to be replaced */

#endif
