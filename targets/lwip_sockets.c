/*
 * The socket calls of docs/socket-calls.md, made to lwIP's "raw" interface, as an application without threads makes them.
 *
 * The stack calls back: what it hands over is kept here until the test asks. A window opens when the test has taken what
 * is in it, as lwIP leaves that to the application (tcp_recved). The stack's send buffer has one size; with the option
 * sndbuf more than that can be sent at once, and waits here for room.
 *
 * What lwIP has no call for is refused: ENOPROTOOPT of an option, EOPNOTSUPP of urgent data.
 *
 * What must not live here: knowledge of any test.
 */
#define _GNU_SOURCE
#include "call_text.h"
#include "lwip_program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lwip/err.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
#include <lwip/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOCKETS 2048
#define DATAGRAMS 256 /* most that wait in a socket */
#define CHUNK 65535   /* most that the stack takes at a time */

struct datagram {
	struct datagram *next;
	ip_addr_t from;
	u16_t port, size;
	uint8_t bytes[];
};

struct buffer {
	uint8_t *bytes;
	size_t held, room;
};

struct socket {
	enum {
		FREE,
		TCP,
		LISTENER,
		UDP,
		CLOSING_TCP, /* closed by the test, while something waits to be sent */
	} kind;
	struct tcp_pcb *tcp; /* NULL once the stack has let go of the connection */
	struct udp_pcb *udp;
	struct stream stream;
	struct socket *accepts; /* of a connection that waits: the listener */
	uint64_t arrived;       /* of a connection that waits: its place */
	bool connected, end, time_wait;
	bool shut;         /* for sending; the stack is told once `out` is empty */
	int failure;       /* the errno that receiving and sending answer, once */
	int linger;        /* s; negative: off */
	struct buffer in;  /* what came and was not taken */
	struct buffer out; /* what was sent and the stack has no room for yet */
	size_t out_most;   /* option sndbuf: how much may wait there */
	struct datagram *first;
	unsigned datagrams;
};
static struct socket sockets[SOCKETS];

static struct socket *new_socket(int kind)
{
	for (int at = 0; at < SOCKETS; at++)
		if (sockets[at].kind == FREE) {
			sockets[at] = (struct socket){.kind = kind, .stream = fresh_stream, .linger = -1};
			return sockets + at;
		}
	return NULL;
}

static void forget(struct socket *s)
{
	free(s->in.bytes);
	free(s->out.bytes);
	for (struct datagram *d = s->first, *next; d != NULL; d = next) {
		next = d->next;
		free(d);
	}
	*s = (struct socket){.kind = FREE};
}

static void finish(err_t result)
{
	if (result == ERR_OK)
		ok("%s", "");
	else
		no(err_to_errno(result));
}

static bool append(struct buffer *buffer, const void *bytes, size_t size)
{
	if (buffer->held + size > buffer->room) {
		size_t room = 2 * (buffer->held + size);
		uint8_t *larger = realloc(buffer->bytes, room);
		if (larger == NULL)
			return false;
		buffer->bytes = larger;
		buffer->room = room;
	}
	memcpy(buffer->bytes + buffer->held, bytes, size);
	buffer->held += size;
	return true;
}

static void drop(struct buffer *buffer, size_t size)
{
	buffer->held -= size;
	memmove(buffer->bytes, buffer->bytes + size, buffer->held);
}

/* What the stack calls -------------------------------------------------------------------------------------------- */

static err_t on_received(void *argument, struct tcp_pcb *pcb, struct pbuf *p, err_t error)
{
	struct socket *s = argument;
	(void)pcb;
	(void)error;
	if (p == NULL) {
		s->end = true;
		return ERR_OK;
	}
	for (struct pbuf *part = p; part != NULL; part = part->next)
		if (!append(&s->in, part->payload, part->len))
			abort();
	pbuf_free(p);
	return ERR_OK;
}

/* The stack has let go of the connection. ERR_CLSD is no failure: both FINs are through. */
static void on_ended(void *argument, err_t error)
{
	struct socket *s = argument;
	s->tcp = NULL;
	if (s->kind == CLOSING_TCP)
		forget(s);
	else if (error == ERR_CLSD)
		s->end = true;
	else if (error == ERR_RST)
		s->failure = s->connected ? ECONNRESET : ECONNREFUSED;
	else
		s->failure = error == ERR_ABRT ? ETIMEDOUT : err_to_errno(error);
}

static err_t on_connected(void *argument, struct tcp_pcb *pcb, err_t error)
{
	(void)pcb;
	((struct socket *)argument)->connected = error == ERR_OK;
	return ERR_OK;
}

static void let_go(struct tcp_pcb *pcb, bool abort);

/* As much as the stack has room for, which of small pieces is less than its buffer; ERR_MEM if that is none. */
static err_t write_some(struct tcp_pcb *pcb, const uint8_t *bytes, size_t size, bool more, size_t *taken)
{
	err_t result = ERR_MEM;
	*taken = LWIP_MIN(size, tcp_sndbuf(pcb));
	for (; *taken > 0; *taken /= 2) {
		u8_t how = TCP_WRITE_FLAG_COPY | (more || *taken < size ? TCP_WRITE_FLAG_MORE : 0);
		result = tcp_write(pcb, bytes, (u16_t)*taken, how);
		if (result != ERR_MEM)
			break;
	}
	return result;
}

/* The stack has room again. */
static err_t on_sent(void *argument, struct tcp_pcb *pcb, u16_t size)
{
	struct socket *s = argument;
	(void)size;
	size_t taken;
	if (s->out.held > 0 && write_some(pcb, s->out.bytes, s->out.held, false, &taken) == ERR_OK)
		drop(&s->out, taken);
	if (s->out.held > 0)
		return ERR_OK;
	if (s->kind == CLOSING_TCP) {
		forget(s);
		let_go(pcb, false);
	} else if (s->shut)
		tcp_shutdown(pcb, 0, 1);
	return ERR_OK;
}

static void adopt(struct socket *s, struct tcp_pcb *pcb)
{
	s->tcp = pcb;
	tcp_arg(pcb, s);
	tcp_recv(pcb, on_received);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_ended);
}

static err_t on_accepted(void *argument, struct tcp_pcb *pcb, err_t error)
{
	static uint64_t arrived;
	struct socket *listener = argument, *s = pcb == NULL || error != ERR_OK ? NULL : new_socket(TCP);
	if (s == NULL)
		return ERR_MEM;
	s->accepts = listener;
	s->arrived = ++arrived;
	s->linger = listener->linger;
	s->out_most = listener->out_most;
	s->connected = true;
	adopt(s, pcb);
	return ERR_OK;
}

static void on_datagram(void *argument, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
	struct socket *s = argument;
	struct datagram *d = s->datagrams < DATAGRAMS ? malloc(sizeof *d + p->tot_len) : NULL;
	(void)pcb;
	if (d != NULL) {
		*d = (struct datagram){.from = *from, .port = port, .size = p->tot_len};
		pbuf_copy_partial(p, d->bytes, p->tot_len, 0);
		struct datagram **last = &s->first;
		while (*last != NULL)
			last = &(*last)->next;
		*last = d;
		s->datagrams++;
	}
	pbuf_free(p);
}

/* The calls ------------------------------------------------------------------------------------------------------ */

static int number_of(const struct socket *s)
{
	return (int)(s - sockets);
}

static void call_open(const char *kind)
{
	struct socket *s = new_socket(strcmp(kind, "udp") == 0 ? UDP : TCP);
	if (s == NULL) {
		no(EMFILE);
		return;
	}
	if (s->kind == UDP) {
		s->udp = udp_new();
		if (s->udp != NULL)
			udp_recv(s->udp, on_datagram, s);
	} else {
		struct tcp_pcb *pcb = tcp_new();
		if (pcb != NULL)
			adopt(s, pcb);
	}
	if (s->udp == NULL && s->tcp == NULL) {
		forget(s);
		no(ENOBUFS);
		return;
	}
	ok(" %d", number_of(s));
}

static void call_listen(struct socket *s, int backlog)
{
	err_t why = ERR_OK;
	struct tcp_pcb *pcb =
		s->tcp == NULL ? NULL : tcp_listen_with_backlog_and_err(s->tcp, (u8_t)LWIP_MIN(backlog, 255), &why);
	if (pcb == NULL) {
		no(why == ERR_OK ? EINVAL : err_to_errno(why));
		return;
	}
	s->kind = LISTENER;
	s->tcp = pcb;
	tcp_arg(pcb, s);
	tcp_accept(pcb, on_accepted);
	ok("%s", "");
}

static struct socket *longest_waiting(const struct socket *listener)
{
	struct socket *found = NULL;
	for (int at = 0; at < SOCKETS; at++)
		if (sockets[at].accepts == listener && (found == NULL || sockets[at].arrived < found->arrived))
			found = sockets + at;
	return found;
}

static void call_accept(struct socket *listener)
{
	struct socket *s = longest_waiting(listener);
	if (listener->kind != LISTENER || s == NULL) {
		no(listener->kind != LISTENER ? EINVAL : EAGAIN);
		return;
	}
	s->accepts = NULL;
	if (s->tcp == NULL)
		ok(" %d 0.0.0.0 0", number_of(s));
	else
		ok(" %d %s %d", number_of(s), ipaddr_ntoa(&s->tcp->remote_ip), s->tcp->remote_port);
}

static void call_connect(struct socket *s, const ip_addr_t *to, u16_t port)
{
	if (s->kind == UDP) {
		finish(udp_connect(s->udp, to, port));
		return;
	}
	err_t result = s->tcp == NULL ? ERR_VAL : tcp_connect(s->tcp, to, port, on_connected);
	no(result == ERR_OK ? EINPROGRESS : err_to_errno(result));
}

/* Why nothing can be received or sent, or 0. A failure is told once. */
static int take_failure(struct socket *s)
{
	int failure = s->failure;
	s->failure = 0;
	return failure;
}

/* How much the stack took; -1 with errno if nothing. */
static long write_bytes(struct socket *s, const uint8_t *bytes, size_t size, const char *flags, bool more)
{
	errno = take_failure(s);
	if (errno != 0)
		return -1;
	errno = strchr(flags, 'u') ? EOPNOTSUPP : s->tcp == NULL || s->shut ? EPIPE : s->kind != TCP ? ENOTCONN : 0;
	if (errno != 0)
		return -1;
	size_t taken = 0, waits;
	if (s->out.held == 0 && size > 0) {
		err_t result = write_some(s->tcp, bytes, size, more || strchr(flags, 'm'), &taken);
		if (result != ERR_OK && result != ERR_MEM) {
			errno = err_to_errno(result);
			return -1;
		}
	}
	waits = s->out.held < s->out_most ? LWIP_MIN(size - taken, s->out_most - s->out.held) : 0;
	if (waits > 0 && !append(&s->out, bytes + taken, waits))
		waits = 0;
	if (taken + waits == 0 && size > 0) {
		errno = EAGAIN;
		return -1;
	}
	return (long)(taken + waits);
}

static err_t send_datagram(struct socket *s, const uint8_t *bytes, size_t size, const ip_addr_t *to, u16_t port)
{
	struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)size, PBUF_RAM);
	if (p == NULL)
		return ERR_MEM;
	pbuf_take(p, bytes, (u16_t)size);
	err_t result = to == NULL ? udp_send(s->udp, p) : udp_sendto(s->udp, p, to, port);
	pbuf_free(p);
	return result;
}

/* Sends the pattern, going on where the last call ended, until `wanted` bytes are taken or no more are. */
static void call_send(struct socket *s, uint64_t wanted, const char *flags)
{
	static uint8_t chunk[CHUNK];
	uint64_t done = 0;
	if (s->kind == UDP) {
		size_t size = LWIP_MIN(wanted, CHUNK);
		write_pattern(&s->stream, chunk, size);
		err_t result = send_datagram(s, chunk, size, NULL, 0);
		if (result == ERR_OK)
			ok(" %zu %zu", size, size);
		else
			no(err_to_errno(result));
		return;
	}
	do {
		size_t n = LWIP_MIN(wanted - done, CHUNK);
		write_pattern(&s->stream, chunk, n);
		long taken = write_bytes(s, chunk, n, flags, done + n < wanted);
		if (taken < 0 && (done == 0 || errno != EAGAIN)) {
			no(errno);
			return;
		}
		if (taken <= 0)
			break;
		done += (uint64_t)taken;
		s->stream.sent += (uint64_t)taken;
	} while (done < wanted);
	if (s->tcp != NULL)
		tcp_output(s->tcp);
	ok(" %llu %llu", (unsigned long long)done, (unsigned long long)s->stream.sent);
}

static void call_send_bytes(struct socket *s, const char *text, const char *flags)
{
	static uint8_t bytes[CALL_BYTES];
	size_t size = from_hex(text, bytes, sizeof bytes);
	if (s->kind == UDP) {
		finish(send_datagram(s, bytes, size, NULL, 0));
		return;
	}
	if (write_bytes(s, bytes, size, flags, false) < 0) {
		no(errno);
		return;
	}
	tcp_output(s->tcp);
	ok("%s", "");
}

/* What there is, `most` at most, without taking it; -1 with errno if there is neither any nor the end. */
static long look(struct socket *s, size_t most)
{
	if (s->in.held > 0)
		return (long)LWIP_MIN(s->in.held, most);
	errno = take_failure(s);
	if (errno == 0 && !s->end && s->tcp != NULL)
		errno = s->kind == TCP && s->tcp->state >= SYN_SENT ? EAGAIN : ENOTCONN;
	return errno == 0 ? 0 : -1;
}

/* The first bytes have been taken: the window opens by as much. */
static void take(struct socket *s, size_t size)
{
	drop(&s->in, size);
	while (s->tcp != NULL && size > 0) {
		u16_t part = (u16_t)LWIP_MIN(size, CHUNK);
		tcp_recved(s->tcp, part);
		size -= part;
	}
}

static void call_recv(struct socket *s, size_t most)
{
	long n = look(s, most);
	if (n < 0) {
		no(errno);
		return;
	}
	take_pattern(&s->stream, s->in.bytes, (size_t)n);
	take(s, (size_t)n);
	ok_received(&s->stream, (uint64_t)n, s->in.held == 0 && (size_t)n < most && s->end);
}

static void call_recv_bytes(struct socket *s, size_t most, const char *flags)
{
	static uint8_t bytes[CALL_BYTES];
	if (strchr(flags, 'u')) {
		no(EINVAL); /* urgent data stays in the stream */
		return;
	}
	long n = look(s, LWIP_MIN(most, CALL_BYTES));
	if (n < 0) {
		no(errno);
		return;
	}
	if (n > 0)
		memcpy(bytes, s->in.bytes, (size_t)n);
	if (!strchr(flags, 'p'))
		take(s, (size_t)n);
	ok(" %s", to_hex(bytes, (size_t)n));
}

static void call_recv_from(struct socket *s)
{
	struct datagram *d = s->first;
	if (d == NULL) {
		no(EAGAIN);
		return;
	}
	s->first = d->next;
	s->datagrams--;
	ok(" %s %d %d %s", ipaddr_ntoa(&d->from), d->port, d->size, to_hex(d->bytes, LWIP_MIN(d->size, CALL_BYTES)));
	free(d);
}

/* From here on the connection is the stack's own affair. */
static void let_go(struct tcp_pcb *pcb, bool abort)
{
	tcp_arg(pcb, NULL);
	if (pcb->state != LISTEN) {
		tcp_recv(pcb, NULL);
		tcp_sent(pcb, NULL);
		tcp_err(pcb, NULL);
	}
	if (abort && pcb->state != LISTEN)
		tcp_abort(pcb);
	else if (tcp_close(pcb) != ERR_OK)
		tcp_abort(pcb);
}

static void call_shutdown(struct socket *s, const char *how)
{
	bool read = strcmp(how, "write") != 0, write = strcmp(how, "read") != 0;
	if (s->kind != TCP || s->tcp == NULL) {
		no(ENOTCONN);
		return;
	}
	if (read && write) {
		let_go(s->tcp, false);
		s->tcp = NULL;
		s->end = true;
		ok("%s", "");
		return;
	}
	s->shut |= write;
	err_t result = tcp_shutdown(s->tcp, read, write && s->out.held == 0);
	finish(result);
}

static void close_socket(struct socket *s, bool abort)
{
	for (struct socket *waits; s->kind == LISTENER && (waits = longest_waiting(s)) != NULL;)
		close_socket(waits, true);
	if (s->udp != NULL)
		udp_remove(s->udp);
	if (s->tcp != NULL && s->out.held > 0 && !abort && s->linger != 0) {
		s->kind = CLOSING_TCP;
		return;
	}
	if (s->tcp != NULL)
		let_go(s->tcp, abort || s->linger == 0);
	forget(s);
}

/* Options -------------------------------------------------------------------------------------------------------- */

/* What UDP's and TCP's control blocks begin with. */
static struct ip_pcb *block_of(struct socket *s)
{
	return s->udp != NULL ? (struct ip_pcb *)s->udp : (struct ip_pcb *)s->tcp;
}

static bool set_flag(struct ip_pcb *pcb, u8_t flag, int value)
{
	if (value)
		ip_set_option(pcb, flag);
	else
		ip_reset_option(pcb, flag);
	return true;
}

static bool set_option(struct socket *s, const char *name, int value)
{
	struct ip_pcb *pcb = block_of(s);
	struct tcp_pcb *tcp = s->kind == TCP ? s->tcp : NULL; /* a listener's is shorter */
	if (strcmp(name, "tos") == 0)
		pcb->tos = (u8_t)value;
	else if (strcmp(name, "ttl") == 0)
		pcb->ttl = (u8_t)value;
	else if (strcmp(name, "reuseaddr") == 0)
		return set_flag(pcb, SOF_REUSEADDR, value);
	else if (strcmp(name, "broadcast") == 0)
		return set_flag(pcb, SOF_BROADCAST, value);
	else if (tcp != NULL && strcmp(name, "user_timeout") == 0 && value == 0)
		return true; /* there is none */
	else if (strcmp(name, "linger") == 0 && value <= 0)
		s->linger = value;
	else if (strcmp(name, "keepalive") == 0)
		return set_flag(pcb, SOF_KEEPALIVE, value);
	else if (strcmp(name, "rcvbuf") == 0 || (strcmp(name, "oobinline") == 0 && value))
		return true; /* the receive window has one size; urgent data stays in the stream anyway */
	else if (tcp != NULL && strcmp(name, "sndbuf") == 0)
		s->out_most = value > TCP_SND_BUF ? (size_t)(value - TCP_SND_BUF) : 0;
	else if (tcp != NULL && strcmp(name, "nodelay") == 0 && value)
		tcp_nagle_disable(tcp);
	else if (tcp != NULL && strcmp(name, "nodelay") == 0)
		tcp_nagle_enable(tcp);
	else if (tcp != NULL && strcmp(name, "keepidle") == 0)
		tcp->keep_idle = (u32_t)value * 1000;
	else if (tcp != NULL && strcmp(name, "keepintvl") == 0)
		tcp->keep_intvl = (u32_t)value * 1000;
	else if (tcp != NULL && strcmp(name, "keepcnt") == 0)
		tcp->keep_cnt = (u32_t)value;
	else
		return false;
	return true;
}

static int option_of(struct socket *s, const char *name)
{
	struct ip_pcb *pcb = block_of(s);
	struct tcp_pcb *tcp = s->kind == TCP ? s->tcp : NULL; /* a listener's is shorter */
	if (strcmp(name, "tos") == 0)
		return pcb->tos;
	if (strcmp(name, "ttl") == 0)
		return pcb->ttl;
	if (strcmp(name, "keepalive") == 0)
		return ip_get_option(pcb, SOF_KEEPALIVE) != 0;
	if (strcmp(name, "reuseaddr") == 0)
		return ip_get_option(pcb, SOF_REUSEADDR) != 0;
	if (strcmp(name, "broadcast") == 0)
		return ip_get_option(pcb, SOF_BROADCAST) != 0;
	if (strcmp(name, "linger") == 0)
		return s->linger;
	if (tcp != NULL && strcmp(name, "sndbuf") == 0)
		return (int)(TCP_SND_BUF + s->out_most);
	if (tcp != NULL && strcmp(name, "nodelay") == 0)
		return tcp_nagle_disabled(tcp) != 0;
	if (tcp != NULL && strcmp(name, "keepidle") == 0)
		return (int)(tcp->keep_idle / 1000);
	if (tcp != NULL && strcmp(name, "keepintvl") == 0)
		return (int)(tcp->keep_intvl / 1000);
	if (tcp != NULL && strcmp(name, "keepcnt") == 0)
		return (int)tcp->keep_cnt;
	if (tcp != NULL && strcmp(name, "maxseg") == 0)
		return tcp_mss(tcp);
	errno = ENOPROTOOPT;
	return 0;
}

static void call_option(struct socket *s, const char *name, const char *value)
{
	errno = 0;
	if (s->tcp == NULL && s->udp == NULL)
		no(EINVAL);
	else if (value == NULL) {
		int found = option_of(s, name);
		if (errno != 0)
			no(errno);
		else
			ok(" %d", found);
	} else if (set_option(s, name, atoi(value)))
		ok("%s", "");
	else
		no(ENOPROTOOPT);
}

/* What is known of a socket -------------------------------------------------------------------------------------- */

static void call_ready(struct socket *s)
{
	bool gone = s->kind == TCP && s->tcp == NULL;
	bool readable = s->kind == UDP ? s->first != NULL
		: s->kind == LISTENER  ? longest_waiting(s) != NULL
				       : s->in.held > 0 || s->end || gone;
	bool writable =
		s->kind == UDP || gone || (s->kind == TCP && s->connected && !s->shut && tcp_sndbuf(s->tcp) > 0);
	char letters[8];
	snprintf(letters, sizeof letters, "%s%s%s%s", readable ? "r" : "", writable ? "w" : "",
		s->end || gone ? "h" : "", s->failure != 0 ? "e" : "");
	ok(" %s", *letters ? letters : "-");
}

static void call_info(struct socket *s)
{
	static const char *states[] = {
		"CLOSED",
		"LISTEN",
		"SYN-SENT",
		"SYN-RECEIVED",
		"ESTABLISHED",
		"FIN-WAIT-1",
		"FIN-WAIT-2",
		"CLOSE-WAIT",
		"CLOSING",
		"LAST-ACK",
		"TIME-WAIT",
	};
	if (s->kind != TCP || s->tcp == NULL) {
		ok(" %s 0 0 0 0", s->kind == LISTENER ? "LISTEN" : s->time_wait ? "TIME-WAIT" : "CLOSED");
		return;
	}
	const struct tcp_pcb *pcb = s->tcp;
	size_t unsent = s->out.held;
	for (const struct tcp_seg *segment = pcb->unsent; segment != NULL; segment = segment->next)
		unsent += segment->len;
	ok(" %s %u %u %u %zu", states[pcb->state], (unsigned)pcb->rto * TCP_SLOW_INTERVAL * 1000,
		(unsigned)(pcb->sa >> 3) * TCP_SLOW_INTERVAL * 1000, (unsigned)(pcb->cwnd / LWIP_MAX(pcb->mss, 1)),
		unsent);
}

static void call_name(struct socket *s)
{
	if (s->udp != NULL)
		ok(" %s %d", ipaddr_ntoa(&s->udp->local_ip), s->udp->local_port);
	else if (s->tcp != NULL)
		ok(" %s %d", ipaddr_ntoa(&s->tcp->local_ip), s->tcp->local_port);
	else
		no(EINVAL);
}

void let_go_of_time_wait(void)
{
	for (int at = 0; at < SOCKETS; at++) {
		struct socket *s = sockets + at;
		if (s->kind != TCP || s->tcp == NULL || s->tcp->state != TIME_WAIT)
			continue;
		let_go(s->tcp, false);
		s->tcp = NULL;
		s->time_wait = true;
	}
}

static void call_reset(void)
{
	for (int at = 0; at < SOCKETS; at++)
		if (sockets[at].kind != FREE)
			close_socket(sockets + at, true);
	ok("%s", "");
}

static ip_addr_t address_of(const char *text)
{
	ip_addr_t address;
	if (!ipaddr_aton(text, &address))
		ip_addr_set_zero_ip4(&address);
	return address;
}

/* Those that concern a socket; false if there is no such call. */
static bool call_socket(struct socket *s, const char *name, char **a)
{
	static uint8_t bytes[CALL_BYTES];
	ip_addr_t address = address_of(a[1]);
	u16_t port = (u16_t)atoi(a[2]);
	if (strcmp(name, "bind") == 0)
		finish(s->udp != NULL            ? udp_bind(s->udp, &address, port)
				: s->tcp != NULL ? tcp_bind(s->tcp, &address, port)
						 : ERR_VAL);
	else if (strcmp(name, "connect") == 0)
		call_connect(s, &address, port);
	else if (strcmp(name, "listen") == 0)
		call_listen(s, atoi(a[1]));
	else if (strcmp(name, "accept") == 0)
		call_accept(s);
	else if (strcmp(name, "send") == 0)
		call_send(s, strtoull(a[1], NULL, 10), a[2]);
	else if (strcmp(name, "recv") == 0)
		call_recv(s, strtoull(a[1], NULL, 10));
	else if (strcmp(name, "send_bytes") == 0)
		call_send_bytes(s, a[1], a[2]);
	else if (strcmp(name, "recv_bytes") == 0)
		call_recv_bytes(s, strtoull(a[1], NULL, 10), a[2]);
	else if (strcmp(name, "send_to") == 0 && s->udp != NULL)
		finish(send_datagram(s, bytes, from_hex(a[3], bytes, sizeof bytes), &address, port));
	else if (strcmp(name, "recv_from") == 0)
		call_recv_from(s);
	else if (strcmp(name, "shutdown") == 0)
		call_shutdown(s, a[1]);
	else if (strcmp(name, "close") == 0 || strcmp(name, "abort") == 0) {
		close_socket(s, *name == 'a');
		ok("%s", "");
	} else if (strcmp(name, "set") == 0)
		call_option(s, a[1], a[2]);
	else if (strcmp(name, "get") == 0)
		call_option(s, a[1], NULL);
	else if (strcmp(name, "ready") == 0)
		call_ready(s);
	else if (strcmp(name, "error") == 0)
		ok(" %s", s->failure == 0 ? "-" : error_name(take_failure(s)));
	else if (strcmp(name, "info") == 0)
		call_info(s);
	else if (strcmp(name, "name") == 0)
		call_name(s);
	else if (strcmp(name, "notices") == 0 || strcmp(name, "at_mark") == 0)
		ok(" %d", 0); /* lwIP tells of no urgent data */
	else
		return false;
	return true;
}

void serve(char *request)
{
	char *word[CALL_WORDS];
	int words = split_request(request, word), number = atoi(word[1]);
	if (strcmp(word[0], "open") == 0)
		call_open(word[1]);
	else if (strcmp(word[0], "reset") == 0)
		call_reset();
	else if (strcmp(word[0], "network") == 0 || strcmp(word[0], "resolve") == 0)
		no(ENOSYS); /* its address was given, and its resolver is not built in */
	else if (words < 2 || number < 0 || number >= SOCKETS || sockets[number].kind == FREE ||
		sockets[number].kind == CLOSING_TCP)
		no(EBADF);
	else if (!call_socket(sockets + number, word[0], word + 1))
		no(ENOSYS);
}
