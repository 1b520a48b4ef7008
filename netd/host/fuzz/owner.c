#include "owner.h"

#include "../../stack/tcp.h"
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

struct owner owner;

/* The peer's text is known by its sequence numbers, unless frames were sent that hold anything. */
static void compare(const struct netd_tcp *tcp, uint32_t sequence, const void *data, size_t bytes)
{
	if (peer.wild || tcp->remote.address != PEER_ADDRESS || tcp->local.address == PEER_ADDRESS)
		return;
	if (memcmp(peer_text(sequence), data, bytes)) {
		fprintf(stderr, "%zu bytes at %u of a connection are not what the peer sent\n", bytes, sequence);
		abort();
	}
}

static unsigned index_of(const struct netd_tcp *tcp)
{
	unsigned i = 0;

	while (i < OWNER_SOCKETS && owner.tcp[i] != tcp)
		i++;
	return i;
}

/* Keeps the frame, whose next `bytes` the application reads where they lie. */
static bool keep(unsigned socket, struct netd_frame *frame, size_t bytes)
{
	if (!owner.direct || !frame->release || owner.lent == OWNER_LOANS)
		return false;
	owner.loans[owner.lent++] = (struct owner_loan){*frame, (uint32_t)bytes, owner.generation[socket], socket};
	frame->release = NULL;
	netd_tcp_lend(owner.tcp[socket], bytes);
	return true;
}

static size_t deliver(void *context, struct netd_tcp *tcp, struct netd_frame *frame, const uint8_t *data, size_t bytes)
{
	unsigned socket = index_of(tcp);
	size_t most;

	(void)context;
	if (socket == OWNER_SOCKETS)
		return 0;
	compare(tcp, tcp->rcv_nxt, data, bytes);
	most = least(owner.credit[socket], owner.room);
	if (bytes > owner.credit[socket] || !keep(socket, frame, bytes)) {
		if (bytes > most)
			bytes = most;
		owner.room -= (uint32_t)bytes;
	}
	owner.credit[socket] -= (uint32_t)bytes;
	return bytes;
}

static void ready(void *context, struct netd_tcp *tcp, unsigned events)
{
	unsigned socket = index_of(tcp);

	(void)context;
	if (!socket || socket == OWNER_SOCKETS || !owner.eager)
		return;
	owner.eager--;
	if (events & NETD_READABLE)
		owner_receive(socket, 700);
	if (events & NETD_WRITABLE)
		netd_tcp_send(tcp, peer_text(0), 1 + events, 0);
}

const struct netd_tcp_owner owner_of_tcp = {.ready = ready, .deliver = deliver, .who = 1};

void owner_behave(uint8_t how)
{
	static const uint32_t credits[] = {0, UINT32_MAX, 1000, 5000};

	owner.eager = how & 1 ? OWNER_EAGER : 0;
	owner.direct = how & 2;
	owner.room = how & 4 ? 300 : UINT32_MAX / 2;
	for (unsigned i = 0; i < OWNER_SOCKETS; i++)
		owner.credit[i] = credits[how >> 3 & 3];
}

void owner_receive(unsigned socket, size_t bytes)
{
	uint8_t buffer[2048];
	struct netd_tcp *tcp = owner.tcp[socket];
	uint32_t sequence = tcp_unread(tcp);
	long got = netd_tcp_receive(tcp, buffer, bytes);

	if (got > 0)
		compare(tcp, sequence, buffer, (size_t)got);
}

long owner_pass(unsigned socket, uint32_t most)
{
	struct netd_tcp *tcp = owner.tcp[socket];
	struct netd_frame *frame = netd_tcp_frame(tcp);
	uint32_t bytes = 0, sequence = tcp_unread(tcp);
	const void *data;
	long piece = netd_tcp_peek(tcp, 0, &data);

	if (frame && (uint32_t)piece <= most && keep(socket, frame, (size_t)piece)) {
		compare(tcp, sequence, data, (size_t)piece);
		netd_tcp_consume(tcp, (size_t)piece);
		return piece;
	}
	most = least(most, owner.room);
	for (; bytes < most && piece > 0; piece = netd_tcp_peek(tcp, bytes, &data)) {
		uint32_t part = least((uint32_t)piece, most - bytes);

		compare(tcp, sequence + bytes, data, part);
		bytes += part;
	}
	if (!bytes)
		return piece < 0 ? piece : 0;
	owner.room -= bytes;
	netd_tcp_consume(tcp, bytes);
	return bytes;
}

void owner_attend(void)
{
	for (unsigned i = 1; i < OWNER_SOCKETS; i++) {
		long bytes = 1;

		while (owner.tcp[i] && owner.credit[i] && bytes > 0) {
			bytes = owner_pass(i, owner.credit[i]);
			owner.credit[i] -= bytes > 0 ? (uint32_t)bytes : 0;
		}
	}
}

void owner_give_back(unsigned loan)
{
	struct owner_loan *at = &owner.loans[owner.lent ? loan % owner.lent : 0];

	if (!owner.lent)
		return;
	netd_frame_release(&at->frame);
	if (owner.tcp[at->socket] && owner.generation[at->socket] == at->generation)
		netd_tcp_return(owner.tcp[at->socket], at->bytes);
	*at = owner.loans[--owner.lent];
}

void owner_leave(struct netd *stack)
{
	while (owner.lent)
		owner_give_back(0);
	owner.direct = false;
	netd_let_go(stack);
}

void owner_gone(unsigned socket)
{
	owner.tcp[socket] = NULL;
	owner.generation[socket]++;
}
