/*
 * The socket calls of docs/socket-calls.md, made to the Linux that this runs on.
 *
 * A request is `NAME ARGUMENT...`, its answer, given to reply(), is `ok VALUE...` or `no ERRNO-NAME`. Every call returns
 * at once. How requests come and answers go is the program's business: linux_namespace.c and linux_guest.c.
 *
 * What must not live here: knowledge of any test.
 */
#define _GNU_SOURCE
#include "call_text.h"
#include "linux_program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS 1024
#define CHUNK 65536

/* One socket, and what it has sent and received. */
struct linux_socket {
	int fd;
	struct stream stream;
};
static struct linux_socket sockets[SOCKETS];

static volatile sig_atomic_t notices;

static void note_urgent(int number)
{
	(void)number;
	notices++;
}

static int new_socket(int fd)
{
	fcntl(fd, F_SETOWN, getpid()); /* SIGURG is how Linux tells of urgent data */
	for (int at = 0; at < SOCKETS; at++)
		if (sockets[at].fd < 0) {
			sockets[at] = (struct linux_socket){fd, fresh_stream};
			return at;
		}
	close(fd);
	errno = EMFILE;
	return -1;
}

static struct sockaddr_in address_of(const char *address, const char *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	inet_pton(AF_INET, address, &in.sin_addr);
	return in;
}

static void finish(int result)
{
	if (result < 0)
		no(errno);
	else
		ok("%s", "");
}

/* Options by name: the first word of docs/socket-calls.md's table. */
struct option {
	const char *name;
	int level, number;
};
static const struct option options[] = {
	{"nodelay", IPPROTO_TCP, TCP_NODELAY},
	{"keepalive", SOL_SOCKET, SO_KEEPALIVE},
	{"keepidle", IPPROTO_TCP, TCP_KEEPIDLE},
	{"keepintvl", IPPROTO_TCP, TCP_KEEPINTVL},
	{"keepcnt", IPPROTO_TCP, TCP_KEEPCNT},
	{"user_timeout", IPPROTO_TCP, TCP_USER_TIMEOUT},
	{"rcvbuf", SOL_SOCKET, SO_RCVBUF},
	{"sndbuf", SOL_SOCKET, SO_SNDBUF},
	{"tos", IPPROTO_IP, IP_TOS},
	{"ttl", IPPROTO_IP, IP_TTL},
	{"maxseg", IPPROTO_TCP, TCP_MAXSEG},
	{"reuseaddr", SOL_SOCKET, SO_REUSEADDR},
	{"oobinline", SOL_SOCKET, SO_OOBINLINE},
	{"broadcast", SOL_SOCKET, SO_BROADCAST},
	{"recverr", IPPROTO_IP, IP_RECVERR},
	{"window_clamp", IPPROTO_TCP, TCP_WINDOW_CLAMP},
	{"syncnt", IPPROTO_TCP, TCP_SYNCNT},
};

static const struct option *option_named(const char *name)
{
	for (size_t at = 0; at < sizeof options / sizeof *options; at++)
		if (strcmp(options[at].name, name) == 0)
			return options + at;
	errno = ENOPROTOOPT;
	return NULL;
}

/* The calls ------------------------------------------------------------------------------------------------------ */

static void call_open(char **a)
{
	int type = strcmp(a[0], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int at = fd < 0 ? -1 : new_socket(fd);
	if (at < 0)
		no(errno);
	else
		ok(" %d", at);
}

static void call_accept(struct linux_socket *s)
{
	struct sockaddr_in peer;
	socklen_t size = sizeof peer;
	int fd = accept4(s->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int at = fd < 0 ? -1 : new_socket(fd);
	if (at < 0) {
		no(errno);
		return;
	}
	ok(" %d %s %d", at, inet_ntoa(peer.sin_addr), ntohs(peer.sin_port));
}

static int flags_of(const char *text)
{
	int flags = MSG_NOSIGNAL;
	if (strchr(text, 'u'))
		flags |= MSG_OOB;
	if (strchr(text, 'p'))
		flags |= MSG_PEEK;
	if (strchr(text, 'm'))
		flags |= MSG_MORE;
	return flags;
}

/* Sends the pattern, going on where the last call ended, until `wanted` bytes are taken or no more are. */
static void call_send(struct linux_socket *s, uint64_t wanted, const char *flags)
{
	static uint8_t chunk[CHUNK];
	uint64_t done = 0;
	while (done < wanted) {
		size_t n = wanted - done < CHUNK ? wanted - done : CHUNK;
		write_pattern(&s->stream, chunk, n);
		ssize_t taken = send(s->fd, chunk, n, flags_of(flags));
		if (taken < 0) {
			if (done > 0 && errno == EAGAIN)
				break;
			no(errno);
			return;
		}
		done += (uint64_t)taken;
		s->stream.sent += (uint64_t)taken;
		if ((size_t)taken < n)
			break;
	}
	ok(" %llu %llu", (unsigned long long)done, (unsigned long long)s->stream.sent);
}

/* Receives up to `most` bytes and compares them with the pattern. */
static void call_recv(struct linux_socket *s, uint64_t most)
{
	static uint8_t chunk[CHUNK];
	uint64_t done = 0;
	int end = 0;
	while (done < most && !end) {
		ssize_t n = recv(s->fd, chunk, most - done < CHUNK ? most - done : CHUNK, 0);
		if (n < 0) {
			if (done > 0 && errno == EAGAIN)
				break;
			no(errno);
			return;
		}
		end = n == 0;
		take_pattern(&s->stream, chunk, (size_t)n);
		done += (uint64_t)n;
	}
	ok_received(&s->stream, done, end);
}

static void call_recv_bytes(struct linux_socket *s, size_t most, const char *flags)
{
	static uint8_t bytes[CALL_BYTES];
	ssize_t n = recv(s->fd, bytes, most < CALL_BYTES ? most : CALL_BYTES, flags_of(flags));
	if (n < 0)
		no(errno);
	else
		ok(" %s", to_hex(bytes, (size_t)n));
}

static void call_recv_from(struct linux_socket *s)
{
	static uint8_t bytes[CALL_BYTES];
	struct sockaddr_in from = {0};
	socklen_t size = sizeof from;
	ssize_t n = recvfrom(s->fd, bytes, sizeof bytes, MSG_TRUNC, (struct sockaddr *)&from, &size);
	if (n < 0)
		no(errno);
	else
		ok(" %s %d %zd %s", inet_ntoa(from.sin_addr), ntohs(from.sin_port), n,
			to_hex(bytes, (size_t)n < sizeof bytes ? (size_t)n : sizeof bytes));
}

static void call_ready(struct linux_socket *s)
{
	struct pollfd poller = {.fd = s->fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
	char flags[8] = "";
	poll(&poller, 1, 0);
	snprintf(flags, sizeof flags, "%s%s%s%s%s", poller.revents & POLLIN ? "r" : "",
		poller.revents & POLLOUT ? "w" : "", poller.revents & POLLPRI ? "u" : "",
		poller.revents & (POLLHUP | POLLRDHUP) ? "h" : "", poller.revents & POLLERR ? "e" : "");
	ok(" %s", *flags ? flags : "-");
}

static void call_info(struct linux_socket *s)
{
	static const char *states[] = {
		"?",
		"ESTABLISHED",
		"SYN-SENT",
		"SYN-RECEIVED",
		"FIN-WAIT-1",
		"FIN-WAIT-2",
		"TIME-WAIT",
		"CLOSED",
		"CLOSE-WAIT",
		"LAST-ACK",
		"LISTEN",
		"CLOSING",
		"SYN-RECEIVED",
	};
	struct tcp_info info = {0};
	socklen_t size = sizeof info;
	if (getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
		no(errno);
		return;
	}
	int unsent = 0;
	ioctl(s->fd, SIOCOUTQNSD, &unsent);
	ok(" %s %u %u %u %d", states[info.tcpi_state < 13 ? info.tcpi_state : 0], info.tcpi_rto, info.tcpi_rtt,
		info.tcpi_snd_cwnd, unsent);
}

static void call_set(struct linux_socket *s, const char *name, int value)
{
	if (strcmp(name, "linger") == 0) {
		struct linger linger = {.l_onoff = value >= 0, .l_linger = value < 0 ? 0 : value};
		finish(setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
		return;
	}
	const struct option *option = option_named(name);
	finish(option == NULL ? -1 : setsockopt(s->fd, option->level, option->number, &value, sizeof value));
}

static void call_get(struct linux_socket *s, const char *name)
{
	const struct option *option = option_named(name);
	int value = 0;
	socklen_t size = sizeof value;
	if (option == NULL || getsockopt(s->fd, option->level, option->number, &value, &size) != 0)
		no(errno);
	else
		ok(" %d", value);
}

static void call_error(struct linux_socket *s)
{
	int value = 0;
	socklen_t size = sizeof value;
	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &value, &size);
	ok(" %s", value == 0 ? "-" : error_name(value));
}

static void call_name(struct linux_socket *s)
{
	struct sockaddr_in own = {0};
	socklen_t size = sizeof own;
	if (getsockname(s->fd, (struct sockaddr *)&own, &size) != 0)
		no(errno);
	else
		ok(" %s %d", inet_ntoa(own.sin_addr), ntohs(own.sin_port));
}

static void close_socket(struct linux_socket *s, bool abort)
{
	if (abort) {
		struct linger now = {.l_onoff = 1, .l_linger = 0};
		setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	}
	close(s->fd);
	s->fd = -1;
}

static void call_reset(void)
{
	for (int at = 0; at < SOCKETS; at++)
		if (sockets[at].fd >= 0)
			close_socket(sockets + at, true);
	ok("%s", "");
}

/* Carries out one request: its words, the name first. */
static void make_call(char **word, int words)
{
	static uint8_t bytes[CALL_BYTES];
	char *name = word[0], **a = word + 1;
	if (strcmp(name, "open") == 0) {
		call_open(a);
		return;
	}
	if (strcmp(name, "reset") == 0) {
		call_reset();
		return;
	}
	if (strcmp(name, "network") == 0 || strcmp(name, "resolve") == 0) {
		no(ENOSYS); /* its address was given, and names are its C library's */
		return;
	}
	int number = atoi(a[0]);
	if (words < 2 || number < 0 || number >= SOCKETS || sockets[number].fd < 0) {
		no(EBADF);
		return;
	}
	struct linux_socket *s = sockets + number;
	struct sockaddr_in in = address_of(a[1], a[2]);
	if (strcmp(name, "bind") == 0)
		finish(bind(s->fd, (struct sockaddr *)&in, sizeof in));
	else if (strcmp(name, "connect") == 0)
		finish(connect(s->fd, (struct sockaddr *)&in, sizeof in));
	else if (strcmp(name, "listen") == 0)
		finish(listen(s->fd, atoi(a[1])));
	else if (strcmp(name, "accept") == 0)
		call_accept(s);
	else if (strcmp(name, "send") == 0)
		call_send(s, strtoull(a[1], NULL, 10), a[2]);
	else if (strcmp(name, "recv") == 0)
		call_recv(s, strtoull(a[1], NULL, 10));
	else if (strcmp(name, "send_bytes") == 0)
		finish((int)send(s->fd, bytes, from_hex(a[1], bytes, sizeof bytes), flags_of(a[2])));
	else if (strcmp(name, "recv_bytes") == 0)
		call_recv_bytes(s, strtoull(a[1], NULL, 10), a[2]);
	else if (strcmp(name, "send_to") == 0)
		finish((int)sendto(s->fd, bytes, from_hex(a[3], bytes, sizeof bytes), MSG_NOSIGNAL,
			(struct sockaddr *)&in, sizeof in));
	else if (strcmp(name, "recv_from") == 0)
		call_recv_from(s);
	else if (strcmp(name, "shutdown") == 0)
		finish(shutdown(s->fd,
			strcmp(a[1], "read") == 0           ? SHUT_RD
				: strcmp(a[1], "both") == 0 ? SHUT_RDWR
							    : SHUT_WR));
	else if (strcmp(name, "close") == 0 || strcmp(name, "abort") == 0) {
		close_socket(s, *name == 'a');
		ok("%s", "");
	} else if (strcmp(name, "set") == 0)
		call_set(s, a[1], atoi(a[2]));
	else if (strcmp(name, "get") == 0)
		call_get(s, a[1]);
	else if (strcmp(name, "ready") == 0)
		call_ready(s);
	else if (strcmp(name, "error") == 0)
		call_error(s);
	else if (strcmp(name, "info") == 0)
		call_info(s);
	else if (strcmp(name, "name") == 0)
		call_name(s);
	else if (strcmp(name, "notices") == 0)
		ok(" %d", (int)notices);
	else if (strcmp(name, "at_mark") == 0) {
		int mark = sockatmark(s->fd);
		if (mark < 0)
			no(errno);
		else
			ok(" %d", mark);
	} else
		no(ENOSYS);
}

void prepare_sockets(void)
{
	for (int at = 0; at < SOCKETS; at++)
		sockets[at].fd = -1;
	signal(SIGPIPE, SIG_IGN);
	struct sigaction urgent = {.sa_handler = note_urgent, .sa_flags = SA_RESTART};
	sigaction(SIGURG, &urgent, NULL);
}

void serve(char *request)
{
	char *word[CALL_WORDS];
	int words = split_request(request, word);
	if (words > 0)
		make_call(word, words);
}
