/* The mailbox of the program `sockets`: a line of text each way. The host writes `text`, then `request`. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <stdint.h>

enum sockets_limit {
	SOCKETS_MAX = 128,
	SOCKETS_TEXT = 33024,  /* a line with as much data in hexadecimal as one call carries */
	SOCKETS_BYTES = 16384, /* most that send_bytes and recv_bytes carry */
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

#endif
