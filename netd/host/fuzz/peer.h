/*
 * The far side of the wire, as a fuzzer plays it: it follows what the stack sends, so that the frames that it makes out of an
 * input belong to something that the stack knows: a connection's numbers, the ports of a datagram, a transaction of DHCP, a question of
 * DNS. How far they are wrong is the input's choice.
 */
#ifndef NETD_FUZZ_PEER_H
#define NETD_FUZZ_PEER_H

#include "input.h"

#include <netd/socket.h>

enum peer_constants {
	PEER_OWN = 0x0a000001, /* the stack's address */
	PEER_ADDRESS = 0x0a000002,
	PEER_GATEWAY = 0x0a0000fe,
	PEER_DNS = 0x0a000035,
	PEER_MASK = 0xffffff00,
	PEER_PORT = 4000, /* of the listener */
	PEER_FRAME = 1664,
	PEER_SLOTS = 16,  /* frames that may be on loan at a time */
	PEER_TEXT = 4096, /* that peer_text() tells */
	PEER_QUOTE = 68,
	PEER_QUESTION = 300,
};

/* What it knows. Plain data: a snapshot of it is a copy. */
struct peer {
	uint32_t seq, ack; /* of the connection that was heard last */
	uint16_t port, own_port;
	uint32_t own; /* the address that the stack sends from */
	uint32_t timestamp_echo;
	uint8_t quote[PEER_QUOTE]; /* the head of the last datagram that the stack sent */
	uint8_t question[PEER_QUESTION];
	uint16_t quote_bytes, quote_total, question_bytes, question_port;
	uint32_t transaction, server, offer;
	bool nic_busy;
	bool wild;               /* it has sent frames of any content */
	uint8_t damage, damaged; /* damage: to be done to the next frame, at byte `damaged` modulo its length */
};

extern struct peer peer;

void peer_attach(struct netd_nic *nic); /* fills in a NIC whose other end this is */
unsigned peer_lent(void);               /* frames that were not released yet */
void peer_forget(void);                 /* the stack that held them is no more */

/* All the text that it sends: what stands at this sequence number, and behind it. */
const uint8_t *peer_text(uint32_t sequence);

/* Turns to another connection: the numbers that are right for its next segment. */
void peer_turn_to(const struct netd *stack, const struct netd_tcp *connection);

/* Each sends one frame that it makes of the input. */
void peer_segment(struct netd_nic *nic, struct input *input);
/* Acknowledgments of what is in flight, in part or again and again, with SACK or without: what a loss looks like from here. */
void peer_acknowledge(struct netd_nic *nic, const struct netd_tcp *connection, struct input *input);
void peer_raw(struct netd_nic *nic, struct input *input);
void peer_arp(struct netd_nic *nic, struct input *input);
void peer_datagram(struct netd_nic *nic, struct input *input);
void peer_report(struct netd_nic *nic, struct input *input); /* an ICMP error about what was sent last */
void peer_dhcp(struct netd_nic *nic, struct input *input);
void peer_dns(struct netd_nic *nic, struct input *input);

/* And one that a well-behaved host sends. */
void peer_introduce(struct netd_nic *nic, uint32_t address);
void peer_syn(struct netd_nic *nic, uint16_t from, uint16_t to, bool options);
void peer_answer(struct netd_nic *nic, bool options); /* acknowledges what was heard last */
void peer_lease(struct netd_nic *nic, uint8_t type);

#endif
