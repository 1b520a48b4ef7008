/*
 * The application side of the target `linux`: makes a network namespace with a TAP device in it, hands the device to the
 * test, and then makes socket calls as it is told.
 *
 * It is started by targets/linux.py with one end of a SOCK_SEQPACKET pair, and ends when the other end closes: the
 * namespace and all that is in it end with it, as nothing else refers to them. The first message is this program's:
 * `ready SYSTEM` with the TAP device's descriptor, or `no TEXT`; then a datagram is a request (linux_sockets.c).
 */
#define _GNU_SOURCE
#include "linux_program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
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
/* Arguments: control-fd console-fd mac address mask gateway mtu [path=value ...], the paths below /proc/sys/net. */
int main(int argc, char **argv)
{
	static char request[LINUX_MESSAGE];
	if (argc < 8)
		return 2;
	control = atoi(argv[1]);
	dup2(atoi(argv[2]), STDERR_FILENO);
	enter_namespace();
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of credentials cleared it */
	prepare_sockets();
	int tap = make_tap();
	set_up_interface(&(struct interface){DEVICE, argv[3], argv[4], argv[5], argv[6], atoi(argv[7])});
	for (int at = 8; at < argc; at++)
		apply_setting(argv[at]);
	hand_over(tap, ready_text());
	close(tap);
	dprintf(STDERR_FILENO, "%s: a network namespace of its own, TAP device %s\n", ready_text(), DEVICE);
	for (;;) {
		ssize_t size = recv(control, request, sizeof request - 1, 0);
		if (size <= 0)
			return 0;
		request[size] = 0;
		serve(request);
	}
}
