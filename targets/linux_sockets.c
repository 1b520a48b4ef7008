/*
 * The application side of the target `linux`: makes a network namespace with a TAP device in it, hands the device to the
 * test, and then makes socket calls as it is told.
 *
 * It is started by targets/linux.py with one end of a SOCK_SEQPACKET pair, and ends when the other end closes: the
 * namespace and all that is in it end with it, as nothing else refers to them. Every call returns at once. The messages
 * are those of docs/socket-calls.md, one a datagram: a request is `NAME ARGUMENT...`, the answer `ok VALUE...` or
 * `no ERRNO-NAME`. The first message is this program's: `ready SYSTEM` with the TAP device's descriptor, or `no TEXT`.
 *
 * What must not live here: knowledge of any test.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SOCKETS 1024
#define MESSAGE 65536
#define CHUNK 65536
#define BYTES 16384 /* most that send_bytes and recv_bytes carry */
#define ARGUMENTS 8

static int control;
static char answer[MESSAGE];

/* What one socket has sent and received of the pattern. */
struct stream {
	int fd;
	uint64_t sent;
	uint64_t received;
	int64_t bad; /* offset of the first received byte that is not the pattern's, or -1 */
	uint32_t crc;
};
static struct stream streams[SOCKETS];

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(7 * at + 3 * (at >> 8) + 31 * (at >> 16) + 101 * (at >> 24));
}

static uint32_t crc32_table[256];

static void make_crc32_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
		crc32_table[i] = c;
	}
}

/* Starting ------------------------------------------------------------------------------------------------------- */

static void reply(const char *text)
{
	if (send(control, text, strlen(text), MSG_NOSIGNAL) < 0)
		_exit(0); /* the test is gone */
}

static void __attribute__((noreturn, format(printf, 1, 2))) give_up(const char *format, ...)
{
	char text[512] = "no ";
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text + 3, sizeof text - 3, format, arguments);
	va_end(arguments);
	reply(text);
	_exit(1);
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return done;
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

static void set_address(int any, struct ifreq *request, unsigned long what, const char *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&request->ifr_addr;
	memset(in, 0, sizeof *in);
	in->sin_family = AF_INET;
	if (inet_pton(AF_INET, address, &in->sin_addr) != 1 || ioctl(any, what, request) != 0)
		give_up("the address %s can't be set: %s", address, strerror(errno));
}

static void bring_up(int any, const char *name)
{
	struct ifreq request = {0};
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	if (ioctl(any, SIOCGIFFLAGS, &request) != 0)
		give_up("no interface %s: %s", name, strerror(errno));
	request.ifr_flags |= IFF_UP;
	if (ioctl(any, SIOCSIFFLAGS, &request) != 0)
		give_up("the interface %s can't be brought up: %s", name, strerror(errno));
}

/* No segmentation offload: a stack that hands over several segments as one holds some back in the hope of more. */
static void send_segments_singly(const char *name)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
		struct rtattr attribute;
		uint32_t value;
	} request = {
		.header = {.nlmsg_len = sizeof request,
			.nlmsg_type = RTM_SETLINK,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(name)},
		.attribute = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = IFLA_GSO_MAX_SEGS},
		.value = 1,
	};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[256];
	} result = {0};
	int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (send(netlink, &request, sizeof request, 0) < 0 || recv(netlink, &result, sizeof result, 0) < 0)
		give_up("segmentation offload can't be switched off: %s", strerror(errno));
	if (result.error.error != 0)
		give_up("segmentation offload can't be switched off: %s", strerror(-result.error.error));
	close(netlink);
}

static int make_tap(const char *mac, const char *address, const char *mask, const char *gateway, int mtu)
{
	int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tap < 0)
		give_up("/dev/net/tun can't be opened: %s. Run as root, or give this user access (chmod 0666 /dev/net/tun)",
			strerror(errno));
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	snprintf(request.ifr_name, sizeof request.ifr_name, "wire0");
	if (ioctl(tap, TUNSETIFF, &request) != 0)
		give_up("no TAP device can be made: %s", strerror(errno));
	int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned octet[6];
	request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	if (sscanf(mac, "%x:%x:%x:%x:%x:%x", octet, octet + 1, octet + 2, octet + 3, octet + 4, octet + 5) != 6)
		give_up("%s is no hardware address", mac);
	for (int i = 0; i < 6; i++)
		request.ifr_hwaddr.sa_data[i] = (char)octet[i];
	if (ioctl(any, SIOCSIFHWADDR, &request) != 0)
		give_up("the hardware address can't be set: %s", strerror(errno));
	request.ifr_mtu = mtu;
	if (ioctl(any, SIOCSIFMTU, &request) != 0)
		give_up("the MTU can't be set to %d: %s", mtu, strerror(errno));
	set_address(any, &request, SIOCSIFADDR, address);
	set_address(any, &request, SIOCSIFNETMASK, mask);
	send_segments_singly("wire0");
	bring_up(any, "wire0");
	bring_up(any, "lo");
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
	struct sockaddr_in *way = (struct sockaddr_in *)&route.rt_gateway;
	route.rt_dst.sa_family = route.rt_genmask.sa_family = way->sin_family = AF_INET;
	if (inet_pton(AF_INET, gateway, &way->sin_addr) != 1 || ioctl(any, SIOCADDRT, &route) != 0)
		give_up("no route by %s: %s", gateway, strerror(errno));
	close(any);
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

/* Answers -------------------------------------------------------------------------------------------------------- */

static void __attribute__((format(printf, 1, 2))) ok(const char *format, ...)
{
	va_list arguments;
	int at = snprintf(answer, sizeof answer, "ok");
	va_start(arguments, format);
	vsnprintf(answer + at, sizeof answer - (size_t)at, format, arguments);
	va_end(arguments);
	reply(answer);
}

static void no(int error)
{
	snprintf(answer, sizeof answer, "no %s", strerrorname_np(error) ? strerrorname_np(error) : "EIO");
	reply(answer);
}

static volatile sig_atomic_t notices;

static void note_urgent(int number)
{
	(void)number;
	notices++;
}

static int new_stream(int fd)
{
	fcntl(fd, F_SETOWN, getpid()); /* SIGURG is how Linux tells of urgent data */
	for (int at = 0; at < SOCKETS; at++)
		if (streams[at].fd < 0) {
			streams[at] = (struct stream){.fd = fd, .bad = -1, .crc = 0xFFFFFFFFu};
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

static size_t from_hex(const char *text, uint8_t *bytes, size_t room)
{
	size_t n = 0;
	unsigned value;
	if (strcmp(text, "-") == 0)
		return 0;
	for (; n < room && sscanf(text + 2 * n, "%2x", &value) == 1; n++)
		bytes[n] = (uint8_t)value;
	return n;
}

static const char *to_hex(const uint8_t *bytes, size_t n)
{
	static char text[2 * BYTES + 1];
	if (n == 0)
		return "-";
	for (size_t at = 0; at < n; at++)
		snprintf(text + 2 * at, 3, "%02x", bytes[at]);
	return text;
}

/* The calls ------------------------------------------------------------------------------------------------------ */

static void call_open(char **a)
{
	int type = strcmp(a[0], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int at = fd < 0 ? -1 : new_stream(fd);
	if (at < 0)
		no(errno);
	else
		ok(" %d", at);
}

static void call_accept(struct stream *s)
{
	struct sockaddr_in peer;
	socklen_t size = sizeof peer;
	int fd = accept4(s->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int at = fd < 0 ? -1 : new_stream(fd);
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
static void call_send(struct stream *s, uint64_t wanted, const char *flags)
{
	static uint8_t chunk[CHUNK];
	uint64_t done = 0;
	while (done < wanted) {
		size_t n = wanted - done < CHUNK ? wanted - done : CHUNK;
		for (size_t i = 0; i < n; i++)
			chunk[i] = pattern(s->sent + i);
		ssize_t taken = send(s->fd, chunk, n, flags_of(flags));
		if (taken < 0) {
			if (done > 0 && errno == EAGAIN)
				break;
			no(errno);
			return;
		}
		done += (uint64_t)taken;
		s->sent += (uint64_t)taken;
		if ((size_t)taken < n)
			break;
	}
	ok(" %llu %llu", (unsigned long long)done, (unsigned long long)s->sent);
}

/* Receives up to `most` bytes and compares them with the pattern. */
static void call_recv(struct stream *s, uint64_t most)
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
		for (ssize_t i = 0; i < n; i++) {
			s->crc = s->crc >> 8 ^ crc32_table[(s->crc ^ chunk[i]) & 0xFF];
			if (s->bad < 0 && chunk[i] != pattern(s->received + (uint64_t)i))
				s->bad = (int64_t)(s->received + (uint64_t)i);
		}
		s->received += (uint64_t)n;
		done += (uint64_t)n;
	}
	ok(" %llu %d %llu %lld %u", (unsigned long long)done, end, (unsigned long long)s->received, (long long)s->bad,
		~s->crc);
}

static void call_recv_bytes(struct stream *s, size_t most, const char *flags)
{
	static uint8_t bytes[BYTES];
	ssize_t n = recv(s->fd, bytes, most < BYTES ? most : BYTES, flags_of(flags));
	if (n < 0)
		no(errno);
	else
		ok(" %s", to_hex(bytes, (size_t)n));
}

static void call_recv_from(struct stream *s)
{
	static uint8_t bytes[BYTES];
	struct sockaddr_in from = {0};
	socklen_t size = sizeof from;
	ssize_t n = recvfrom(s->fd, bytes, sizeof bytes, MSG_TRUNC, (struct sockaddr *)&from, &size);
	if (n < 0)
		no(errno);
	else
		ok(" %s %d %zd %s", inet_ntoa(from.sin_addr), ntohs(from.sin_port), n,
			to_hex(bytes, (size_t)n < sizeof bytes ? (size_t)n : sizeof bytes));
}

static void call_ready(struct stream *s)
{
	struct pollfd poller = {.fd = s->fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP};
	char flags[8] = "";
	poll(&poller, 1, 0);
	snprintf(flags, sizeof flags, "%s%s%s%s%s", poller.revents & POLLIN ? "r" : "",
		poller.revents & POLLOUT ? "w" : "", poller.revents & POLLPRI ? "u" : "",
		poller.revents & (POLLHUP | POLLRDHUP) ? "h" : "", poller.revents & POLLERR ? "e" : "");
	ok(" %s", *flags ? flags : "-");
}

static void call_info(struct stream *s)
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

static void call_set(struct stream *s, const char *name, int value)
{
	if (strcmp(name, "linger") == 0) {
		struct linger linger = {.l_onoff = value >= 0, .l_linger = value < 0 ? 0 : value};
		finish(setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
		return;
	}
	const struct option *option = option_named(name);
	finish(option == NULL ? -1 : setsockopt(s->fd, option->level, option->number, &value, sizeof value));
}

static void call_get(struct stream *s, const char *name)
{
	const struct option *option = option_named(name);
	int value = 0;
	socklen_t size = sizeof value;
	if (option == NULL || getsockopt(s->fd, option->level, option->number, &value, &size) != 0)
		no(errno);
	else
		ok(" %d", value);
}

static void call_error(struct stream *s)
{
	int value = 0;
	socklen_t size = sizeof value;
	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &value, &size);
	ok(" %s", value == 0 ? "-" : strerrorname_np(value) ? strerrorname_np(value) : "EIO");
}

static void call_name(struct stream *s)
{
	struct sockaddr_in own = {0};
	socklen_t size = sizeof own;
	if (getsockname(s->fd, (struct sockaddr *)&own, &size) != 0)
		no(errno);
	else
		ok(" %s %d", inet_ntoa(own.sin_addr), ntohs(own.sin_port));
}

static void close_stream(struct stream *s, bool abort)
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
		if (streams[at].fd >= 0)
			close_stream(streams + at, true);
	ok("%s", "");
}

/* Carries out one request: its words, the name first. */
static void serve(char **word, int words)
{
	static uint8_t bytes[BYTES];
	static char none[] = "-";
	char *name = word[0], **a = word + 1;
	for (int at = words; at <= ARGUMENTS; at++)
		word[at] = none;
	if (strcmp(name, "open") == 0) {
		call_open(a);
		return;
	}
	if (strcmp(name, "reset") == 0) {
		call_reset();
		return;
	}
	int number = atoi(a[0]);
	if (words < 2 || number < 0 || number >= SOCKETS || streams[number].fd < 0) {
		no(EBADF);
		return;
	}
	struct stream *s = streams + number;
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
		close_stream(s, *name == 'a');
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

/* Arguments: control-fd console-fd mac address mask gateway mtu [path=value ...], the paths below /proc/sys/net. */
int main(int argc, char **argv)
{
	static char request[MESSAGE];
	if (argc < 8)
		return 2;
	control = atoi(argv[1]);
	dup2(atoi(argv[2]), STDERR_FILENO);
	for (int at = 0; at < SOCKETS; at++)
		streams[at].fd = -1;
	make_crc32_table();
	enter_namespace();
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of credentials cleared it */
	signal(SIGPIPE, SIG_IGN);
	struct sigaction urgent = {.sa_handler = note_urgent, .sa_flags = SA_RESTART};
	sigaction(SIGURG, &urgent, NULL);
	int tap = make_tap(argv[3], argv[4], argv[5], argv[6], atoi(argv[7]));
	for (int at = 8; at < argc; at++) {
		char path[256], *value = strchr(argv[at], '=');
		if (value == NULL)
			give_up("%s: expected PATH=VALUE", argv[at]);
		snprintf(path, sizeof path, "/proc/sys/net/%.*s", (int)(value - argv[at]), argv[at]);
		if (!write_file(path, value + 1) && errno != ENOENT)
			give_up("%s can't be set to %s: %s", path, value + 1, strerror(errno));
	}
	struct utsname system;
	uname(&system);
	char ready[512];
	snprintf(ready, sizeof ready, "ready %s %s %s", system.sysname, system.release, system.machine);
	hand_over(tap, ready);
	close(tap);
	dprintf(STDERR_FILENO, "%s: a network namespace of its own, TAP device wire0\n", ready);
	for (;;) {
		ssize_t size = recv(control, request, sizeof request - 1, 0);
		if (size <= 0)
			return 0;
		request[size] = 0;
		char *word[ARGUMENTS + 1], *rest = NULL;
		int words = 0;
		for (char *part = strtok_r(request, " ", &rest); part != NULL && words <= ARGUMENTS;
			part = strtok_r(NULL, " ", &rest))
			word[words++] = part;
		if (words > 0)
			serve(word, words);
	}
}
