/*
 * The network interface of a Linux that is tested, and its settings.
 *
 * What must not live here: where the interface comes from (a TAP device, a virtual NIC), and socket calls.
 */
#define _GNU_SOURCE
#include "call_text.h"
#include "linux_program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#define LOOPBACK_MTU 65536

void give_up(const char *format, ...)
{
	char text[512] = "no ";
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text + 3, sizeof text - 3, format, arguments);
	va_end(arguments);
	reply(text);
	_exit(1);
}

bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return done;
}

static void set_address(int any, struct ifreq *request, unsigned long what, const char *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&request->ifr_addr;
	memset(in, 0, sizeof *in);
	in->sin_family = AF_INET;
	if (inet_pton(AF_INET, address, &in->sin_addr) != 1 || ioctl(any, what, request) != 0)
		give_up("the address %s can't be set: %s", address, strerror(errno));
}

void bring_up(int any, const char *name, int mtu)
{
	struct ifreq request = {0};
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	request.ifr_mtu = mtu;
	if (ioctl(any, SIOCSIFMTU, &request) != 0)
		give_up("the MTU of %s can't be set to %d: %s", name, mtu, strerror(errno));
	if (ioctl(any, SIOCGIFFLAGS, &request) != 0)
		give_up("no interface %s: %s", name, strerror(errno));
	request.ifr_flags |= IFF_UP;
	if (ioctl(any, SIOCSIFFLAGS, &request) != 0)
		give_up("the interface %s can't be brought up: %s", name, strerror(errno));
}

int ask_kernel(const struct nlmsghdr *request)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char rest[512];
	} result = {0};
	int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	bool asked =
		send(netlink, request, request->nlmsg_len, 0) >= 0 && recv(netlink, &result, sizeof result, 0) >= 0;
	int wrong = asked ? -result.error.error : errno;
	close(netlink);
	return wrong;
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
	int wrong = ask_kernel(&request.header);
	if (wrong != 0)
		give_up("segmentation offload can't be switched off: %s", strerror(wrong));
}

/* Nor any on the way in: a segment that is held back for the next one is overtaken by whatever is no segment. */
static void take_segments_singly(int any, struct ifreq request)
{
	struct ethtool_value off = {.cmd = ETHTOOL_SGRO, .data = 0};
	request.ifr_data = (char *)&off;
	if (ioctl(any, SIOCETHTOOL, &request) != 0)
		give_up("receive offload can't be switched off: %s", strerror(errno));
}

/* Whoever reads the frames has no network card that would do it; an interface that can't leave it out does it always. */
static void fill_in_checksums(int any, struct ifreq request)
{
	struct ethtool_value off = {.cmd = ETHTOOL_STXCSUM, .data = 0};
	request.ifr_data = (char *)&off;
	if (ioctl(any, SIOCETHTOOL, &request) != 0 && errno != EOPNOTSUPP)
		give_up("checksum offload can't be switched off: %s", strerror(errno));
}

static void set_hardware_address(int any, struct ifreq *request, const char *mac)
{
	unsigned octet[6];
	request->ifr_hwaddr.sa_family = ARPHRD_ETHER;
	if (sscanf(mac, "%x:%x:%x:%x:%x:%x", octet, octet + 1, octet + 2, octet + 3, octet + 4, octet + 5) != 6)
		give_up("%s is no hardware address", mac);
	for (int i = 0; i < 6; i++)
		request->ifr_hwaddr.sa_data[i] = (char)octet[i];
	if (ioctl(any, SIOCSIFHWADDR, request) != 0)
		give_up("the hardware address can't be set: %s", strerror(errno));
}

void set_up_interface(const struct interface *wanted)
{
	struct ifreq request = {0};
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", wanted->name);
	int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (wanted->mac != NULL)
		set_hardware_address(any, &request, wanted->mac);
	set_address(any, &request, SIOCSIFADDR, wanted->address);
	set_address(any, &request, SIOCSIFNETMASK, wanted->mask);
	if (!wanted->offloads) {
		send_segments_singly(wanted->name);
		take_segments_singly(any, request);
		fill_in_checksums(any, request);
	}
	bring_up(any, wanted->name, wanted->mtu);
	bring_up(any, "lo", LOOPBACK_MTU);
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
	struct sockaddr_in *way = (struct sockaddr_in *)&route.rt_gateway;
	route.rt_dst.sa_family = route.rt_genmask.sa_family = way->sin_family = AF_INET;
	if (inet_pton(AF_INET, wanted->gateway, &way->sin_addr) != 1 || ioctl(any, SIOCADDRT, &route) != 0)
		give_up("no route by %s: %s", wanted->gateway, strerror(errno));
	close(any);
}

void apply_setting(const char *setting)
{
	char path[256];
	const char *value = strchr(setting, '=');
	if (value == NULL)
		give_up("%s: expected PATH=VALUE", setting);
	snprintf(path, sizeof path, "/proc/sys/net/%.*s", (int)(value - setting), setting);
	if (!write_file(path, value + 1) && errno != ENOENT)
		give_up("%s can't be set to %s: %s", path, value + 1, strerror(errno));
}

const char *ready_text(void)
{
	static char text[512];
	struct utsname system;
	uname(&system);
	snprintf(text, sizeof text, "ready %s %s %s", system.sysname, system.release, system.machine);
	return text;
}
