/*
 * Requests and answers of docs/socket-calls.md as text, and the pattern that streams carry: what every program of this
 * folder that makes socket calls has in common, whatever stack it makes them to.
 *
 * What must not live here: calls to a stack, and how texts are carried.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The longest request or answer, with its NUL. */
#define CALL_MESSAGE 65536
/* The most words of a request: its name, and arguments. */
#define CALL_WORDS 9
/* Most bytes that send_bytes, recv_bytes and a datagram carry. */
#define CALL_BYTES 16384

/* The program's own: sends a message to the test. */
void reply(const char *text);

/* Replies `ok`, and what is formatted behind it: nothing, or a blank and values. */
void __attribute__((format(printf, 1, 2))) ok(const char *format, ...);

/* Replies `no` and the name of that errno. */
void no(int error);

/* The name of an errno, EIO of one that has none. */
const char *error_name(int error);

/* Takes a request apart. The words behind its last are "-", so that all CALL_WORDS can be read; how many it has. */
int split_request(char *request, char *word[CALL_WORDS]);

/* What one socket has sent and received of the pattern. */
struct stream {
	uint64_t sent;
	uint64_t received;
	int64_t bad; /* offset of the first received byte that is not the pattern's, or -1 */
	uint32_t crc;
};

/* Of a socket that was just opened. */
extern const struct stream fresh_stream;

/* The next `size` bytes that `stream` sends; they count once they are added to its `sent`. */
void write_pattern(const struct stream *stream, uint8_t *bytes, size_t size);

/* Bytes that came, compared with the pattern and put into the CRC. */
void take_pattern(struct stream *stream, const uint8_t *bytes, size_t size);

/* Replies as `recv` does: `count` bytes now, and whether the end was reached. */
void ok_received(const struct stream *stream, uint64_t count, int end);

/* Bytes of a text in hexadecimal, `room` at most; "-" is none. */
size_t from_hex(const char *text, uint8_t *bytes, size_t room);

/* The text of at most CALL_BYTES bytes, which lasts until the next call. */
const char *to_hex(const uint8_t *bytes, size_t size);
