/*
 * The program of the target `lwip`: lwIP, as Debian builds it, with a wire that is a socket, and a clock that is wound.
 *
 * It is started by targets/lwip.py with an end of each of two SOCK_SEQPACKET pairs, and ends when the other end of one
 * closes. On the wire a datagram is a frame. On the control line this program says first `ready SYSTEM`, or `no TEXT`;
 * then a datagram is a request: a socket call (lwip_sockets.c), or
 *
 *     step SEEN NS    wind the clock until the stack has sent more than SEEN frames since the start, or by NS
 *                     nanoseconds; the answer is `ok NOW`, the clock in nanoseconds
 *
 * Frames that were sent before a request are seen by the stack before it.
 *
 * The library brings threads, mailboxes and a clock of the host's. Here there is one thread, which calls the stack
 * directly (lwIP's "raw" interface), and the clock is this program's: sys_now() and tcpip_try_callback() are resolved to
 * the program's before the library's, as the dynamic linker does with every name that both have.
 *
 * What must not live here: knowledge of any test.
 */
#define _GNU_SOURCE
#include "call_text.h"
#include "lwip_program.h"

#include <errno.h>
#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/netif.h>
#include <lwip/sys.h>
#include <lwip/tcpip.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_MAX 65536
#define MS 1000000ULL /* of nanoseconds, in which the clock is kept */
#define NO_TIMER 0xFFFFFFFFu

static int wire, control;
static uint64_t now_ns;
static uint64_t frames_sent;

u32_t sys_now(void)
{
	return (u32_t)(now_ns / MS);
}

/* What the stack puts off until it has returned: frames to its own addresses. */
#define LATER 16
static struct {
	tcpip_callback_fn call;
	void *argument;
} later[LATER];
static int put_off;

err_t tcpip_try_callback(tcpip_callback_fn call, void *argument)
{
	if (put_off == LATER)
		return ERR_MEM;
	later[put_off].call = call;
	later[put_off++].argument = argument;
	return ERR_OK;
}

/* That may put off more. */
static void do_what_was_put_off(void)
{
	for (int at = 0; at < put_off; at++)
		later[at].call(later[at].argument);
	put_off = 0;
}

void reply(const char *text)
{
	if (send(control, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(0); /* the test is gone */
}

static void __attribute__((noreturn)) give_up(const char *what, const char *value)
{
	char text[256];
	snprintf(text, sizeof text, "no %s: %s", what, value);
	reply(text);
	_exit(1);
}

/* The interface -------------------------------------------------------------------------------------------------- */

/* A wire that is full loses the frame. */
static err_t send_frame(struct netif *netif, struct pbuf *p)
{
	static uint8_t frame[FRAME_MAX];
	(void)netif;
	u16_t size = pbuf_copy_partial(p, frame, p->tot_len, 0);
	if (send(wire, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL) == size)
		frames_sent++;
	return ERR_OK;
}

/* Not into the pool's buffers: those of Debian's 2.1.3 have room for 592 bytes, and pbuf_alloc() reckons with 1,536. */
static void take_frame(struct netif *netif, const uint8_t *frame, size_t size)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)size, PBUF_RAM);
	if (p == NULL)
		return;
	if (pbuf_take(p, frame, (u16_t)size) != ERR_OK || netif->input(p, netif) != ERR_OK)
		pbuf_free(p);
	do_what_was_put_off();
}

/* What the wire holds; the other end's close ends the program. */
static void take_frames(struct netif *netif)
{
	static uint8_t frame[FRAME_MAX];
	for (;;) {
		ssize_t size = recv(wire, frame, sizeof frame, MSG_DONTWAIT);
		if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
			_exit(0);
		if (size < 0)
			return;
		take_frame(netif, frame, (size_t)size);
	}
}

static err_t set_up(struct netif *netif)
{
	netif->name[0] = 'w';
	netif->name[1] = 'i';
	netif->hwaddr_len = ETH_HWADDR_LEN;
	netif->flags =
		NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_IGMP | NETIF_FLAG_LINK_UP;
	netif->output = etharp_output;
	netif->linkoutput = send_frame;
	return ERR_OK;
}

static ip4_addr_t address_of(const char *text)
{
	ip4_addr_t address;
	if (!ip4addr_aton(text, &address))
		give_up("no address", text);
	return address;
}

static void start(struct netif *netif, char **argument)
{
	unsigned seed = 0, octet[ETH_HWADDR_LEN];
	if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		give_up("no random numbers", strerror(errno));
	srand(seed); /* what lwIP draws from */
	lwip_init();
	ip4_addr_t address = address_of(argument[1]), mask = address_of(argument[2]), gateway = address_of(argument[3]);
	if (netif_add(netif, &address, &mask, &gateway, NULL, set_up, ethernet_input) == NULL)
		give_up("no interface", "refused");
	if (sscanf(argument[0], "%x:%x:%x:%x:%x:%x", octet, octet + 1, octet + 2, octet + 3, octet + 4, octet + 5) != 6)
		give_up("no hardware address", argument[0]);
	for (int i = 0; i < ETH_HWADDR_LEN; i++)
		netif->hwaddr[i] = (u8_t)octet[i];
	netif->mtu = (u16_t)atoi(argument[4]);
	netif_set_default(netif);
	netif_set_up(netif);
}

/* Time ----------------------------------------------------------------------------------------------------------- */

/* From timer to timer, all of which are the stack's own. */
static void step(uint64_t seen, uint64_t ns)
{
	uint64_t end = now_ns + ns;
	let_go_of_time_wait();
	while (frames_sent <= seen && now_ns < end) {
		u32_t idle = sys_timeouts_sleeptime();
		uint64_t next = idle == NO_TIMER ? end : (now_ns / MS + idle) * MS;
		now_ns = next < end ? next : end;
		sys_check_timeouts();
		do_what_was_put_off();
	}
	ok(" %llu", (unsigned long long)now_ns);
}

static void deal_with(char *request)
{
	unsigned long long seen, ns;
	if (sscanf(request, "step %llu %llu", &seen, &ns) == 2)
		step(seen, ns);
	else
		serve(request);
	do_what_was_put_off();
}

/* Arguments: wire-fd control-fd mac address mask gateway mtu. */
int main(int argc, char **argv)
{
	static char request[CALL_MESSAGE];
	static struct netif netif;
	if (argc != 8)
		return 2;
	wire = atoi(argv[1]);
	control = atoi(argv[2]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	start(&netif, argv + 3);
	reply("ready lwIP " LWIP_VERSION_STRING);
	struct pollfd ends[] = {{.fd = wire, .events = POLLIN}, {.fd = control, .events = POLLIN}};
	for (;;) {
		if (poll(ends, 2, -1) < 0)
			continue;
		take_frames(&netif);
		if (ends[1].revents == 0)
			continue;
		ssize_t size = recv(control, request, sizeof request - 1, 0);
		if (size <= 0)
			return 0;
		take_frames(&netif); /* those that came between the two */
		request[size] = 0;
		deal_with(request);
	}
}
