/*
 * The first and only process of the target `linux-guest`: a Linux in an emulated machine, whose stack is under test.
 *
 * It loads the NIC's drivers, sets the interface up, and makes socket calls as it is told (linux_sockets.c). Requests and
 * answers travel on the test's own wire, in frames of a type of their own, so they are ordered with the frames under test:
 * a request is seen behind all that was sent before it, and all that the stack had sent before an answer has left
 * before it. They never reach the stack: no protocol of it has that type.
 *
 * The emulator's clock counts instructions and jumps ahead while the machine is idle. So the program never idles while
 * the test thinks: it looks for a request again and again, and the clock crawls. Between two looks it reads a port that
 * nobody has (PORT): that is one instruction here, and leaves the translated code for the emulator's devices, so that the
 * host spends more time on it than on hundreds of others. The clock crawls ever slower, and what waits in the emulator to
 * be handed over, as everything of an emulated machine does while others keep the host busy, arrives earlier by the
 * guest's own clock. What lets time pass is a request:
 *
 *     step SEEN NS    wait until the interface has sent more than SEEN frames since the start, or for NS nanoseconds
 *                     of this machine's time; the answer is `ok SENT`
 *
 * A message is cut into frames: destination, source, ETHERTYPE, and a `struct head` in network order. Its number is
 * chosen by the request and repeated by the answer; number 0 is what this program says unasked, once: `ready SYSTEM`, or
 * `no TEXT` when it gives up. Beside it in the initrd stands the file `arguments`, a line each: address, mask, gateway,
 * MTU, the test's hardware address, and then settings as PATH=VALUE below /proc/sys/net; and the file `modules`, with the
 * names of the drivers in the order of their loading.
 *
 * What must not live here: knowledge of any test.
 */
#define _GNU_SOURCE
#include "call_text.h"
#include "linux_guest_start.h"
#include "linux_program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ETHERTYPE 0x88B6 /* IEEE Std 802: local experimental ethertype 2 */
#define ROOM (64 << 20)  /* bytes of frames noticed and not yet counted */
#define PORT 0x80        /* POST's; writes are shown on some boards, a read finds nothing */
#define LOOKS 256        /* reads of it between two looks for a request */

struct head {
	uint32_t number;
	uint16_t part, parts, bytes; /* this frame's place, how many there are, and what it carries of the text */
	uint64_t now;                /* of an answer: this machine's monotonic clock, in ns */
} __attribute__((packed));

struct frame {
	struct ethhdr ethernet;
	struct head head;
	char text[65536];
} __attribute__((packed));

static int calls = -1;    /* frames of ETHERTYPE */
static int sendings = -1; /* a message for each other frame that the interface has sent */
static uint64_t sent;
static struct frame frame; /* the one that goes out */
static size_t carried;     /* bytes of text in a frame at most */
static uint32_t number;    /* the request's that is dealt with */

void reply(const char *text)
{
	if (number == 0)
		fprintf(stderr, "%s\n", text);
	if (calls < 0)
		return; /* nobody hears more than the console */
	size_t size = strlen(text), parts = size <= carried ? 1 : (size + carried - 1) / carried;
	for (size_t part = 0; part < parts; part++) {
		size_t at = part * carried, bytes = size - at < carried ? size - at : carried;
		frame.head = (struct head){htonl(number), htons((uint16_t)part), htons((uint16_t)parts),
			htons((uint16_t)bytes), htobe64((uint64_t)now())};
		memcpy(frame.text, text + at, bytes);
		if (send(calls, &frame, sizeof frame - sizeof frame.text + bytes, 0) < 0)
			fprintf(stderr, "an answer can't be sent: %s\n", strerror(errno));
	}
}

/* Starting ------------------------------------------------------------------------------------------------------- */

static int packet_socket(int protocol)
{
	struct sockaddr_ll where = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons((uint16_t)protocol),
		.sll_ifindex = (int)if_nametoindex(GUEST_INTERFACE),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), room = ROOM;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
		give_up("no packet socket can be had: %s", strerror(errno));
	if (protocol == ETH_P_ALL) {
		struct sock_filter others_sent[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 3),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE, 1, 0),
			BPF_STMT(BPF_RET | BPF_K, 1),
			BPF_STMT(BPF_RET | BPF_K, 0),
		};
		struct sock_fprog program = {sizeof others_sent / sizeof *others_sent, others_sent};
		if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
			give_up("frames can't be filtered: %s", strerror(errno));
	}
	if (bind(fd, (struct sockaddr *)&where, sizeof where) != 0)
		give_up("a packet socket can't be bound to %s: %s", GUEST_INTERFACE, strerror(errno));
	return fd;
}

/* The header of all frames that go out: to the test, from the interface. */
static void address_frames(const char *peer)
{
	struct ifreq request = {.ifr_name = GUEST_INTERFACE};
	if (ioctl(calls, SIOCGIFHWADDR, &request) != 0)
		give_up("%s has no hardware address: %s", GUEST_INTERFACE, strerror(errno));
	memcpy(frame.ethernet.h_source, request.ifr_hwaddr.sa_data, ETH_ALEN);
	unsigned octet[ETH_ALEN];
	if (sscanf(peer, "%x:%x:%x:%x:%x:%x", octet, octet + 1, octet + 2, octet + 3, octet + 4, octet + 5) != 6)
		give_up("%s is no hardware address", peer);
	for (int i = 0; i < ETH_ALEN; i++)
		frame.ethernet.h_dest[i] = (uint8_t)octet[i];
	frame.ethernet.h_proto = htons(ETHERTYPE);
}

static void start(void)
{
	char *argument[64];
	int arguments = start_guest(argument, 64, false);
	if (ioperm(PORT, 1, 1) != 0)
		give_up("port %#x can't be read: %s", PORT, strerror(errno));
	if (arguments < 5)
		give_up("the initrd's file /arguments has %d lines; expected at least 5", arguments);
	prepare_sockets();
	carried = (size_t)atoi(argument[3]) - sizeof(struct head);
	sendings = packet_socket(ETH_P_ALL);
	calls = packet_socket(ETHERTYPE);
	address_frames(argument[4]);
	for (int at = 5; at < arguments; at++)
		apply_setting(argument[at]);
}

/* Requests ------------------------------------------------------------------------------------------------------- */

static void count_sent(void)
{
	char byte;
	while (recv(sendings, &byte, sizeof byte, MSG_TRUNC) >= 0)
		sent++;
}

static void step(uint64_t seen, long long ns)
{
	char text[64];
	long long end = now() + ns;
	struct pollfd poller = {.fd = sendings, .events = POLLIN};
	for (count_sent(); sent <= seen; count_sent()) {
		long long left = end - now();
		if (left <= 0)
			break;
		ppoll(&poller, 1, &(struct timespec){left / SECOND, left % SECOND}, NULL);
	}
	snprintf(text, sizeof text, "ok %llu", (unsigned long long)sent);
	reply(text);
}

static void deal_with(char *request)
{
	unsigned long long seen;
	long long ns;
	if (sscanf(request, "step %llu %lld", &seen, &ns) == 2)
		step(seen, ns);
	else
		serve(request);
}

int main(void)
{
	static struct frame in;
	static char request[CALL_MESSAGE];
	size_t size = 0;
	start();
	reply(ready_text());
	for (;;) {
		ssize_t got = recv(calls, &in, sizeof in, 0);
		if (got < (ssize_t)(sizeof in.ethernet + sizeof in.head)) {
			for (int look = 0; look < LOOKS; look++)
				inb(PORT);
			continue; /* nothing there, most of the time: see above why it does not wait */
		}
		size_t bytes = ntohs(in.head.bytes);
		if (ntohs(in.head.part) == 0)
			size = 0;
		if (bytes > (size_t)got - sizeof in.ethernet - sizeof in.head || size + bytes >= sizeof request)
			continue; /* damaged; the test hears nothing, and says so */
		memcpy(request + size, in.text, bytes);
		size += bytes;
		if (ntohs(in.head.part) + 1 < ntohs(in.head.parts))
			continue;
		request[size] = 0;
		number = ntohl(in.head.number);
		deal_with(request);
	}
}
