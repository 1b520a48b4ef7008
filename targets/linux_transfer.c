/*
 * The first and only process of an emulated Linux that moves bulk data, to be compared with NetD: the services of the
 * program `transfer` (docs/sockets.md), on Linux's own stack with its defaults.
 *
 * Port 5001 takes bytes of the pattern until the peer's FIN, then tells how many came and where the first wrong one was;
 * port 5002 is told how many to send. One connection at a time. On the console it says `ready SYSTEM`, once.
 */
#define _GNU_SOURCE
#include "call_text.h"
#include "linux_guest_start.h"
#include "linux_program.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SINK 5001
#define SOURCE 5002
#define BLOCK 256
#define CHUNK 65536

/* 7n, for two blocks: any block of the pattern lies in it, from where 7n has the block's first byte. */
static uint8_t sevens[2 * BLOCK];

struct report {
	uint64_t bytes;
	int64_t bad;
};

void reply(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

static const uint8_t *pattern_from(uint64_t at)
{
	uint8_t first = (uint8_t)(7 * at + 3 * (at >> 8) + 31 * (at >> 16) + 101 * (at >> 24));
	return sevens + (uint8_t)(first * 183); /* 7 * 183 is 1 modulo 256 */
}

/* Bytes from `at` on that lie in one block, at most `most`. */
static size_t within_block(uint64_t at, size_t most)
{
	size_t left = BLOCK - at % BLOCK;
	return left < most ? left : most;
}

static void compare(struct report *report, const uint8_t *data, size_t size)
{
	for (size_t n; size != 0; size -= n, data += n, report->bytes += n) {
		n = within_block(report->bytes, size);
		const uint8_t *right = pattern_from(report->bytes);
		size_t same = 0;
		if (report->bad >= 0 || memcmp(data, right, n) == 0)
			continue;
		while (data[same] == right[same])
			same++;
		report->bad = (int64_t)(report->bytes + same);
	}
}

static void serve_sink(int fd, uint8_t *chunk)
{
	struct report report = {0, -1};
	ssize_t got;
	while ((got = recv(fd, chunk, CHUNK, 0)) > 0)
		compare(&report, chunk, (size_t)got);
	if (got == 0)
		send(fd, &report, sizeof report, MSG_NOSIGNAL);
}

static void serve_source(int fd, uint8_t *chunk)
{
	uint64_t wanted;
	if (recv(fd, &wanted, sizeof wanted, MSG_WAITALL) != sizeof wanted)
		return;
	for (uint64_t at = 0; at < wanted;) {
		size_t size = wanted - at < CHUNK ? (size_t)(wanted - at) : CHUNK;
		for (size_t done = 0, n; done < size; done += n) {
			n = within_block(at + done, size - done);
			memcpy(chunk + done, pattern_from(at + done), n);
		}
		for (size_t done = 0; done < size;) {
			ssize_t sent = send(fd, chunk + done, size - done, MSG_NOSIGNAL);
			if (sent < 0)
				return;
			done += (size_t)sent;
		}
		at += size;
	}
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&where, sizeof where) != 0 || listen(fd, 16) != 0)
		give_up("port %d can't be served: %s", port, strerror(errno));
	return fd;
}

int main(void)
{
	static uint8_t chunk[CHUNK];
	char *argument[8];
	for (int i = 0; i < 2 * BLOCK; i++)
		sevens[i] = (uint8_t)(7 * i);
	start_guest(argument, 8, true);
	struct pollfd listener[] = {
		{.fd = listen_on(SINK), .events = POLLIN}, {.fd = listen_on(SOURCE), .events = POLLIN}};
	reply(ready_text());
	for (;;) {
		poll(listener, 2, -1);
		for (int i = 0; i < 2; i++) {
			if (!(listener[i].revents & POLLIN))
				continue;
			int fd = accept4(listener[i].fd, NULL, NULL, SOCK_CLOEXEC);
			if (fd < 0)
				continue;
			(i == 0 ? serve_sink : serve_source)(fd, chunk);
			close(fd);
		}
	}
}
