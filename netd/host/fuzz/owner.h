/*
 * Who holds the TCP sockets, as a fuzzer plays it. It does with received text what KeuOS's port does (netd/keuos/sockets.c, direct.c):
 * on credit it is copied as far as a ring has room, or, in direct mode, goes out in its frame, which comes back late, in any
 * order, or never. What has no credit stays with the stack. All that is read is held against what the peer has sent.
 */
#ifndef NETD_FUZZ_OWNER_H
#define NETD_FUZZ_OWNER_H

#include <netd/socket.h>

enum owner_constants {
	OWNER_SOCKETS = 4,
	OWNER_LOANS = 4, /* frames that it keeps at a time */
	OWNER_EAGER =
		30, /* without an end two owners on the loopback would talk to each other for as long as the stack runs */
};

struct owner_loan {
	struct netd_frame frame;
	uint32_t bytes, generation;
	unsigned socket;
};

/* Plain data: a snapshot of it is a copy, as long as nothing is on loan. */
struct owner {
	struct netd_tcp *tcp[OWNER_SOCKETS]; /* the first listens */
	uint32_t generation[OWNER_SOCKETS];  /* of what is closed nothing comes back */
	uint32_t credit[OWNER_SOCKETS];
	uint32_t room; /* in the ring */
	bool direct;
	unsigned eager; /* how often owners still do what they are told can be done */
	struct owner_loan loans[OWNER_LOANS];
	unsigned lent;
};

extern struct owner owner;
extern const struct netd_tcp_owner owner_of_tcp;

/* How the application behaves from now on: five bits, three for its credit and its ring, one each for direct mode and eagerness. */
void owner_behave(uint8_t how);

void owner_attend(void); /* passes on what there is credit for */
long owner_pass(
	unsigned socket, uint32_t most); /* at most so much of what is to be read next; netd_tcp_peek()'s result */
void owner_receive(unsigned socket, size_t bytes);
void owner_give_back(unsigned loan);  /* one frame: that one of those on loan, modulo how many there are */
void owner_leave(struct netd *stack); /* direct mode ends: no frame is kept by anybody */
void owner_gone(unsigned socket);     /* its handle was given up */

#endif
