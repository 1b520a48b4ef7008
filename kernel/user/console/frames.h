/*
 * Frames of the HIL protocol on a line shared with text: COBS, CRC-32, and the split of input into frames and text.
 * Pure functions over bytes: no system calls, no memory beyond the caller's, every input hostile. main.c feeds it;
 * docs/hil-protocol.md is the contract.
 */
#ifndef KEUOS_CONSOLE_FRAMES_H
#define KEUOS_CONSOLE_FRAMES_H

#include <stddef.h>
#include <stdint.h>

enum frame_limit {
	FRAME_CRC = 4,
	FRAME_MAX = 4096, /* message and CRC, before COBS */
	FRAME_MESSAGE_MAX = FRAME_MAX - FRAME_CRC,
	FRAME_COBS_MAX = FRAME_MAX + FRAME_MAX / 254 + 1,
	FRAME_WIRE_MAX = FRAME_COBS_MAX + 2, /* with both delimiters */
};

/* CRC-32 of zlib and Ethernet. */
uint32_t crc32(const uint8_t *data, size_t bytes);

/* COBS-encodes; `to` holds at least bytes + bytes / 254 + 1. Returns the bytes written: no zero among them. */
size_t cobs_encode(uint8_t *to, const uint8_t *from, size_t bytes);

/*
 * Decodes COBS in place (the result is never longer than the input). Returns the bytes decoded, or -1 if the input is
 * empty, holds a zero, or ends inside a block.
 */
ptrdiff_t cobs_decode(uint8_t *data, size_t bytes);

/*
 * Makes the frame of a message of at most FRAME_MESSAGE_MAX bytes in `wire`, which holds FRAME_WIRE_MAX. Returns its
 * bytes, or 0 if the message is too long.
 */
size_t frame_encode(uint8_t wire[FRAME_WIRE_MAX], const uint8_t *message, size_t bytes);

/* What a byte of input turned out to be. */
enum frame_input {
	FRAME_TEXT,    /* the byte belongs to the text */
	FRAME_PENDING, /* the byte was taken; nothing is complete */
	FRAME_MESSAGE, /* a message is complete: splitter.data, splitter.bytes; valid until the next call */
};

/*
 * Splits input into frames and text, a byte at a time. After a frame that did not decode the closing zero is taken for
 * an opening one as well, so that a lost delimiter costs one frame and not the phase of all that follow.
 */
struct frame_splitter {
	int inside;   /* between zeros */
	int overflow; /* the frame is longer than any valid one: wait for its end */
	size_t bytes;
	uint32_t dropped; /* pieces between zeros that were no message */
	uint8_t data[FRAME_COBS_MAX];
};

enum frame_input frame_feed(struct frame_splitter *splitter, uint8_t byte);

/* Gives up an unfinished frame: the line fell silent. */
void frame_abandon(struct frame_splitter *splitter);

#endif
