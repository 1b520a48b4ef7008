/* What the host tells `reader` and reads back from it. */
#ifndef READER_H
#define READER_H

#include <stdint.h>

enum reader_limit {
	READER_PORT = 5003, /* takes one connection; another port by its argument */
};

struct reader_params {
	uint32_t credits; /* counts up: a standing RECEIVE of `bytes` is to be given */
	uint32_t bytes;
	uint32_t asks;    /* counts up: so many questions are to be asked in all */
	uint32_t open;    /* nonzero: they are for a further socket each, and not whether the connection is ready */
	uint32_t hold;    /* nonzero: what NetD says stays in the ring */
	uint32_t stop_at; /* the bytes of this message with data, counted from 1, are not read before this changes */
};

struct reader_results {
	uint32_t listening;
	uint32_t accepted;
	uint32_t credits;         /* given: the last params.credits */
	uint32_t asked, answered; /* of the questions; the latter in the order of the former */
	uint32_t no_room;         /* of the answers */
	uint32_t turns;           /* of the loop */
	uint32_t messages;        /* with data */
	uint32_t stopped_at;      /* the last params.stop_at that was come to */
	uint32_t ended;    /* the end of the stream was told; nonzero: how many messages with data came before it */
	int32_t error;     /* enum keuos_socket_result that a credit ended with */
	uint32_t after;    /* messages with data that came after an end or an error */
	uint64_t received; /* bytes */
	int64_t bad;       /* offset of the first byte that is not the pattern's (docs/socket-calls.md), or -1 */
};

#endif
