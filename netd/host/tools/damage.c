/*
 * Holds the audit to its word: a stack with connections is damaged in one place after the other, and each time the audit has to name
 * what does not hold. Prints a line for each; ends with 1 if the audit is silent, or complains about a stack that nobody touched.
 */
#include "../audit.h"

#include "../../stack/tcp.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PORT = 4000,
	LOCALHOST = 0x7f000001,
	OWN = 0x0a000001,
	MASK = 0xffffff00,
};

static struct netd_nic nic;
static struct netd *stack;
static struct netd_tcp *listener, *near, *far;

static bool transmit(void *device, const struct netd_part *parts, unsigned count)
{
	(void)device;
	(void)parts;
	(void)count;
	return true;
}

/* A listener with one connection that was accepted, one that was not, and one whose peer is silent. */
static void build(void)
{
	static const struct netd_nic_driver driver = {.transmit = transmit};
	static const struct netd_tcp_owner nobody;
	static uint8_t *memory;
	struct netd_config config = {.limits = NETD_LIMITS_DEFAULT};
	struct netd_address own = {OWN, MASK, 0, 0};
	struct netd_tcp *other;

	config.limits.send_bytes = config.limits.receive_bytes = 1024;
	config.limits.udp_bytes = 512;
	free(memory);
	memory = malloc(netd_bytes(&config.limits));
	nic = (struct netd_nic){.driver = &driver, .mac = {2}, .mtu = 1500, .link_up = true};
	stack = netd_start(memory, netd_bytes(&config.limits), &config, &nic, NETD_S);
	if (!stack || netd_set_address(stack, &own) != NETD_OK ||
		netd_tcp_listen(stack, (struct netd_endpoint){0, PORT}, 4, &nobody, &listener) != NETD_OK)
		abort();
	for (int i = 0; i < 2; i++) {
		if (netd_tcp_open(stack, &nobody, &near) != NETD_OK ||
			netd_tcp_connect(near, (struct netd_endpoint){0}, (struct netd_endpoint){LOCALHOST, PORT}) !=
				NETD_OK)
			abort();
		netd_run(stack, NETD_S);
		if (!i && netd_tcp_accept(listener, &nobody, &far) != NETD_OK)
			abort();
	}
	netd_tcp_send(far, "some", 4, 0);
	if (netd_tcp_open(stack, &nobody, &other) != NETD_OK ||
		netd_tcp_connect(other, (struct netd_endpoint){0}, (struct netd_endpoint){OWN + 1, PORT}) != NETD_OK)
		abort();
	netd_run(stack, NETD_S);
}

static void lose_block(void)
{
	stack->tcp.free_blocks = stack->tcp.free_blocks->chain;
}

static void free_block_twice(void)
{
	near->chain = stack->tcp.free_blocks;
	stack->tcp.free_blocks = near;
}

static void unlink_connection(void)
{
	node_unlink(&near->node);
}

static void list_connection_as_listener(void)
{
	node_append(&stack->tcp.listeners, &near->node);
}

static void change_state(void)
{
	near->state = TCP_TIME_WAIT;
}

static void change_port(void)
{
	near->local.port++;
}

static void lose_buffers(void)
{
	near->send.base = near->receive.base = NULL;
}

static void share_buffers(void)
{
	near->send.base = far->send.base;
}

static void lose_place_for_frame(void)
{
	stack->tcp.free_held = stack->tcp.free_held->next;
}

static void release_frame(void *owner, uint64_t id)
{
	(void)owner;
	(void)id;
}

/* `near` holds a frame of `bytes` that begin `ahead` of what it has not read yet. */
static void hold_frame(uint32_t ahead, uint32_t bytes, bool released)
{
	struct held *held = stack->tcp.free_held;

	stack->tcp.free_held = held->next;
	*held = (struct held){.bytes = bytes, .sequence = tcp_unread(near) + ahead};
	if (!released)
		held->frame.release = release_frame;
	near->held = near->last_held = held;
}

static void hold_text_that_was_read(void)
{
	hold_frame(UINT32_MAX, 1, false);
}

static void hold_text_of_the_future(void)
{
	hold_frame(1, near->receive.used, false);
}

static void hold_released_frame(void)
{
	hold_frame(0, 1, true);
}

static void lose_end_of_held_frames(void)
{
	hold_frame(0, 1, false);
	near->last_held = stack->tcp.free_held;
}

static void lose_packet(void)
{
	stack->free_packets = stack->free_packets->next;
}

static void lose_waiting_packet(void)
{
	for (unsigned i = 0; i < stack->limits.neighbours; i++) {
		if (stack->neighbours[i].waiting.count)
			stack->neighbours[i].waiting.count--;
	}
}

static void know_neighbour_with_packets(void)
{
	for (unsigned i = 0; i < stack->limits.neighbours; i++) {
		if (stack->neighbours[i].waiting.count)
			stack->neighbours[i].state = NEIGHBOUR_KNOWN;
	}
}

static void miscount_half_open(void)
{
	listener->half_open++;
}

static void miscount_waiting(void)
{
	listener->waiting--;
}

static void drop_accepted(void)
{
	listener->accepted = NULL;
}

static void acknowledge_too_much(void)
{
	near->snd_una++;
}

static void send_from_nowhere(void)
{
	near->snd_nxt += 2;
}

static void offer_too_much(void)
{
	near->rcv_edge += near->receive.size;
}

static void move_window_back(void)
{
	near->rcv_edge = near->rcv_nxt - 1;
}

static void keep_old_piece(void)
{
	near->piece[near->pieces++] = (struct wire_tcp_range){near->rcv_nxt - 10, near->rcv_nxt + 10};
}

static void keep_overlapping_pieces(void)
{
	near->piece[near->pieces++] = (struct wire_tcp_range){near->rcv_nxt + 10, near->rcv_nxt + 20};
	near->piece[near->pieces++] = (struct wire_tcp_range){near->rcv_nxt + 15, near->rcv_nxt + 30};
}

static void believe_sack_of_the_future(void)
{
	near->sacked[near->sacked_count++] = (struct wire_tcp_range){near->snd_nxt, near->snd_nxt + 5};
}

static void miss_timer(void)
{
	near->timer[TIMER_KEEPALIVE] = stack->now;
}

static void disown(void)
{
	near->owned = false;
}

static const struct {
	const char *name;
	void (*apply)(void);
} damages[] = {{"lose a block", lose_block}, {"free a block twice", free_block_twice},
	{"unlink a connection", unlink_connection}, {"list a connection as a listener", list_connection_as_listener},
	{"change a state", change_state}, {"change a port", change_port}, {"lose buffers", lose_buffers},
	{"share buffers", share_buffers}, {"lose a place for a frame", lose_place_for_frame},
	{"hold text that was read", hold_text_that_was_read}, {"hold text of the future", hold_text_of_the_future},
	{"hold a released frame", hold_released_frame}, {"lose the end of held frames", lose_end_of_held_frames},
	{"lose a packet", lose_packet}, {"lose a packet that waits", lose_waiting_packet},
	{"let packets wait for a neighbour that is known", know_neighbour_with_packets},
	{"miscount half-open connections", miscount_half_open}, {"miscount waiting connections", miscount_waiting},
	{"drop what waits to be accepted", drop_accepted}, {"acknowledge too much", acknowledge_too_much},
	{"send what is not there", send_from_nowhere}, {"offer too much", offer_too_much},
	{"move the window back", move_window_back}, {"keep an old piece", keep_old_piece},
	{"keep overlapping pieces", keep_overlapping_pieces},
	{"believe in SACK of the future", believe_sack_of_the_future}, {"miss a timer", miss_timer},
	{"leave a connection to nobody", disown}};

int main(void)
{
	int status = 0;

	for (unsigned i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
		const char *broken;

		build();
		broken = audit(stack);
		if (broken) {
			printf("before %s: %s\n", damages[i].name, broken);
			return 1;
		}
		damages[i].apply();
		broken = audit(stack);
		printf("%s: %s\n", damages[i].name, broken ? broken : "NOT NOTICED");
		status |= !broken;
	}
	return status;
}
