/*
 * How a host reaches the program `sockets`: a line of text each way. By the mailbox, into which it writes `request_text`,
 * then `request`, and reads `answer`; or, if NetD has a line for tests (netd/keuos/test_calls.h), by frames, each with a
 * piece of the text.
 */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <stdint.h>

enum sockets_limit {
	SOCKETS_MAX = 128,
	SOCKETS_TEXT = 33024,  /* a line with as much data in hexadecimal as one call carries */
	SOCKETS_BYTES = 16384, /* most that send_bytes and recv_bytes carry */
	SOCKETS_PIECE = 1024,  /* of a text, in an answer's frames */
};

struct sockets_request {
	uint32_t number; /* counts up; written last */
	uint32_t bytes;
};

struct sockets_answer {
	uint32_t number; /* answered: the last request.number */
	uint32_t bytes;
	uint32_t open; /* 1: bound to NetD; 2: NetD is gone */
	char text[SOCKETS_TEXT];
};

/* In front of each piece, both ways. Pieces come in order; the text is complete with the one that ends it. */
struct sockets_piece {
	uint32_t number; /* of the request, not 0; its answer bears it */
	uint32_t bytes;  /* the whole text's */
	uint32_t offset; /* of this piece, which goes to the end of the text, or of the frame */
	uint32_t reserved;
};

#endif
