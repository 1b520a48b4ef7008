/* The two services of `transfer`, and what a host reads of it. docs/sockets.md, "A program that moves bulk data". */
#ifndef TRANSFER_H
#define TRANSFER_H

#include <stdint.h>

enum transfer_limit {
	TRANSFER_SINK =
		5001, /* port: takes bytes of the pattern until the peer's FIN, then tells struct transfer_report */
	TRANSFER_SOURCE =
		5002, /* port: is told how many (8 bytes, little-endian), sends as many of the pattern, and closes */
	TRANSFER_BACKLOG = 16,
	TRANSFER_CONNECTIONS = 64, /* at a time. Reached: further ones wait to be accepted */
};

/* Little-endian, to the peer. */
struct transfer_report {
	uint64_t bytes;
	int64_t bad; /* offset of the first byte that is not the pattern's, or -1 */
};

struct transfer_results {
	uint32_t listening; /* 1: both ports are served */
	uint32_t ended;     /* 1: NetD is gone */
	uint64_t accepted, finished, failed;
	uint64_t received, sent; /* bytes, of all connections */
	uint64_t bad;            /* connections with a byte that was not the pattern's */
	uint64_t doorbells;      /* rung by this program */
	uint64_t sleeps;
};

extern struct transfer_results results;

#endif
