/*
 * The application side of the target `linux`: makes a network namespace with an interface in it, hands the other end of
 * its wire to the test, and then makes socket calls as it is told. The interface is a TAP device, or one of a veth pair
 * whose other lies in a second namespace, where nobody but a packet socket of the test's talks through it.
 *
 * It is started by targets/linux.py with one end of a SOCK_SEQPACKET pair, and ends when the other end closes: the
 * namespace and all that is in it end with it, as nothing else refers to them. The first message is this program's:
 * `ready SYSTEM` with the descriptor of the TAP device or the packet socket, or `no TEXT`; then a datagram is a request (linux_sockets.c).
 */
#define _GNU_SOURCE
#include "call_text.h"
#include "linux_program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEVICE "wire0"
#define FAR_END "test0"

static int control;

void reply(const char *text)
{
	if (send(control, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(0); /* the test is gone */
}

static void enter_namespace(void)
{
	char map[64];
	unsigned uid = getuid(), gid = getgid();
	if (unshare(CLONE_NEWNET) == 0)
		return;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		give_up("no network namespace can be made: %s. Run as root, or allow user namespaces "
			"(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces)",
			strerror(errno));
	snprintf(map, sizeof map, "0 %u 1", uid);
	write_file("/proc/self/setgroups", "deny");
	bool mapped = write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "0 %u 1", gid);
	if (!mapped || !write_file("/proc/self/gid_map", map))
		give_up("the user namespace can't be given its ids: %s", strerror(errno));
}

static int make_tap(void)
{
	int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tap < 0)
		give_up("/dev/net/tun can't be opened: %s. Run as root, or give this user access (chmod 0666 /dev/net/tun)",
			strerror(errno));
	struct ifreq request = {.ifr_name = DEVICE, .ifr_flags = IFF_TAP | IFF_NO_PI};
	if (ioctl(tap, TUNSETIFF, &request) != 0)
		give_up("no TAP device can be made: %s", strerror(errno));
	return tap;
}

/* A request to make a link, and room for what is told of it. */
struct link_request {
	struct nlmsghdr header;
	struct ifinfomsg link;
	char attributes[256];
};

/* Adds an attribute; those that come before its end_attribute lie within it. */
static struct rtattr *add_attribute(struct link_request *request, int type, const void *data, size_t size)
{
	struct rtattr *attribute = (struct rtattr *)((char *)request + request->header.nlmsg_len);
	attribute->rta_type = (unsigned short)type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(size);
	if (data != NULL)
		memcpy(RTA_DATA(attribute), data, size);
	request->header.nlmsg_len += RTA_SPACE(size);
	return attribute;
}

static void end_attribute(struct link_request *request, struct rtattr *attribute)
{
	attribute->rta_len = (unsigned short)((char *)request + request->header.nlmsg_len - (char *)attribute);
}

/* Here DEVICE, and in the namespace `outside` FAR_END. */
static void make_pair(int outside)
{
	struct link_request request = {
		.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = RTM_NEWLINK,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK},
		.link = {.ifi_family = AF_UNSPEC},
	};
	add_attribute(&request, IFLA_IFNAME, DEVICE, sizeof DEVICE);
	struct rtattr *info = add_attribute(&request, IFLA_LINKINFO, NULL, 0);
	add_attribute(&request, IFLA_INFO_KIND, "veth", sizeof "veth");
	struct rtattr *data = add_attribute(&request, IFLA_INFO_DATA, NULL, 0);
	struct ifinfomsg far = {.ifi_family = AF_UNSPEC};
	struct rtattr *peer = add_attribute(&request, VETH_INFO_PEER, &far, sizeof far);
	add_attribute(&request, IFLA_IFNAME, FAR_END, sizeof FAR_END);
	add_attribute(&request, IFLA_NET_NS_FD, &outside, sizeof outside);
	end_attribute(&request, peer);
	end_attribute(&request, data);
	end_attribute(&request, info);
	int wrong = ask_kernel(&request.header);
	if (wrong != 0)
		give_up("no veth pair can be made: %s", strerror(wrong));
}

/*
 * A packet socket in the namespace that this program is in so far, which holds FAR_END from now on; the program goes on
 * in another one, with DEVICE.
 */
static int make_veth(int mtu)
{
	apply_setting("ipv6/conf/all/disable_ipv6=1"); /* or that end would have an address, and things to say */
	int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (outside < 0 || wire < 0 || unshare(CLONE_NEWNET) != 0)
		give_up("no second network namespace, or no packet socket in it: %s", strerror(errno));
	make_pair(outside);
	bring_up(any, FAR_END, mtu);
	close(any);
	close(outside);
	return wire;
}

/* Sends one message and the descriptor with it. */
static void hand_over(int fd, const char *text)
{
	char room[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {(void *)text, strlen(text)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	if (sendmsg(control, &message, MSG_NOSIGNAL) < 0)
		_exit(0);
}

/* Arguments: control-fd console-fd tap|veth mac address mask gateway mtu [path=value ...], paths below /proc/sys/net. */
int main(int argc, char **argv)
{
	static char request[CALL_MESSAGE];
	if (argc < 9)
		return 2;
	control = atoi(argv[1]);
	dup2(atoi(argv[2]), STDERR_FILENO);
	enter_namespace();
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of credentials cleared it */
	prepare_sockets();
	int mtu = atoi(argv[8]);
	int wire = strcmp(argv[3], "veth") == 0 ? make_veth(mtu) : make_tap();
	set_up_interface(&(struct interface){DEVICE, argv[4], argv[5], argv[6], argv[7], mtu});
	for (int at = 9; at < argc; at++)
		apply_setting(argv[at]);
	hand_over(wire, ready_text());
	close(wire);
	dprintf(STDERR_FILENO, "%s: a network namespace of its own, %s device %s\n", ready_text(), argv[3], DEVICE);
	for (;;) {
		ssize_t size = recv(control, request, sizeof request - 1, 0);
		if (size <= 0)
			return 0;
		request[size] = 0;
		serve(request);
	}
}
