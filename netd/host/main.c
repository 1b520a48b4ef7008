/* Options, the clock, and the loop. `netd-host --help` tells the options. */
#include "host.h"
#include "journal.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64,         /* frames between two runs */
	SESSIONS = 48,      /* of the services, as the daemon has them */
	LINE_MOST = 400000, /* a command with its data in hexadecimal */
};

static const char help[] =
	"usage: netd-host (--tap NAME | --fd N) [--control N] [--manual] [--mtu N] [--address A.B.C.D/BITS]\n"
	"                 [--gateway A.B.C.D] [--dhcp] [--fixed-entropy] [--record FILE]\n"
	"       netd-host --replay FILE [--until BYTES]\n"
	"  --tap NAME       frames from and to this TAP interface\n"
	"  --fd N           frames from and to an inherited socket that keeps them apart (SOCK_DGRAM or SOCK_SEQPACKET)\n"
	"  --control N      commands on an inherited SOCK_SEQPACKET socket; its end ends the program\n"
	"  --manual         time stands still until a command moves it\n"
	"  --fixed-entropy  the same random numbers in each run\n"
	"  --record FILE    with --manual: keep all that comes, so that it can be replayed\n"
	"  --replay FILE    do the same again, say under a debugger; --until: only what the file's first BYTES tell\n";

netd_time host_now(const struct host *host)
{
	struct timespec now;

	if (host->manual)
		return host->now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (netd_time)now.tv_sec * NETD_S + (netd_time)now.tv_nsec / 1000;
}

void host_start(struct host *host)
{
	size_t bytes = netd_bytes(&host->config.limits);

	control_forget(host);
	free(host->memory);
	free(host->services);
	host->memory = malloc(bytes ? bytes : 1);
	host->services = malloc(netd_services_bytes(SESSIONS));
	if (!host->memory || !host->services)
		abort();
	if (host->random && journal_entropy(host->config.entropy, sizeof(host->config.entropy)) < 0)
		abort();
	host->stack = netd_start(host->memory, bytes, &host->config, &host->nic.nic, host_now(host));
	if (host->stack && netd_services_start(host->stack, host->services, SESSIONS) != NETD_OK)
		abort();
}

bool host_drain(struct host *host)
{
	int seen;

	do {
		netd_set_time(host->stack, host_now(host));
		seen = host_nic_poll(&host->nic, BATCH);
		netd_run(host->stack, host_now(host));
	} while (seen == BATCH);
	return seen >= 0;
}

static uint32_t number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (*end || end == text || value > UINT32_MAX) {
		fprintf(stderr, "netd-host: %s is not a number\n", text);
		exit(2);
	}
	return (uint32_t)value;
}

static uint32_t address(const char *text, unsigned *bits)
{
	unsigned a, b, c, d;
	int end = 0;

	*bits = 24;
	if (sscanf(text, "%u.%u.%u.%u%n/%u", &a, &b, &c, &d, &end, bits) < 4 || a > 255 || b > 255 || c > 255 ||
		d > 255 || !*bits || *bits > 32) {
		fprintf(stderr, "netd-host: %s is no address: write A.B.C.D or A.B.C.D/BITS\n", text);
		exit(2);
	}
	return a << 24 | b << 16 | c << 8 | d;
}

/* True if a command was answered, false if nobody is left to command. */
static bool serve(struct host *host, int fd)
{
	static char line[LINE_MOST], answer[LINE_MOST];
	ssize_t bytes = journal_command(fd, line, sizeof(line) - 1);

	if (bytes < 0)
		return errno == EINTR || errno == EAGAIN;
	if (!bytes)
		return false;
	line[bytes] = 0;
	host_drain(host); /* frames that were sent before the command come before it */
	bytes = (ssize_t)control(host, line, answer, sizeof(answer));
	if (host->stack)
		netd_run(host->stack, host_now(host));
	return journal_is_replayed() || send(fd, answer, (size_t)bytes, 0) >= 0;
}

static void loop(struct host *host, int control_fd)
{
	for (;;) {
		struct pollfd fds[] = {{.fd = host->nic.fd, .events = POLLIN}, {.fd = control_fd, .events = POLLIN}};
		netd_time due, now;
		int timeout = -1;

		netd_set_time(host->stack, host_now(host));
		if (host_nic_poll(&host->nic, BATCH) < 0 && control_fd < 0)
			return;
		now = host_now(host);
		due = netd_run(host->stack, now);
		if (journal_is_replayed()) {
			if (journal_is_at_end() || (journal_has_command() && !serve(host, control_fd)))
				return;
			continue;
		}
		if (due <= now)
			timeout = 0;
		else if (!host->manual && due != NETD_NEVER)
			timeout = (int)((due - now) / NETD_MS > 60000 ? 60000 : (due - now + NETD_MS - 1) / NETD_MS);
		if (host->nic.refused)
			fds[0].events |= POLLOUT;
		if (poll(fds, 2, timeout) < 0 && errno != EINTR)
			return;
		if (fds[0].revents & (POLLHUP | POLLERR) && !(fds[0].revents & POLLIN))
			return;
		if (fds[1].revents && !serve(host, control_fd))
			return;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"tap", required_argument, NULL, 't'},
		{"fd", required_argument, NULL, 'f'}, {"control", required_argument, NULL, 'c'},
		{"manual", no_argument, NULL, 'm'}, {"mtu", required_argument, NULL, 'u'},
		{"address", required_argument, NULL, 'a'}, {"gateway", required_argument, NULL, 'g'},
		{"dhcp", no_argument, NULL, 'd'}, {"fixed-entropy", no_argument, NULL, 'e'},
		{"record", required_argument, NULL, 'r'}, {"replay", required_argument, NULL, 'p'},
		{"until", required_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'}, {0}};
	static struct host host = {.random = true, .now = 1000 * NETD_S};
	struct netd_address own = {0};
	int option, fd = -1, control_fd = -1;
	uint32_t mtu = 1500;
	const char *replayed = NULL;
	uint32_t until = 0;
	bool dhcp = false;
	unsigned bits;

	host.config.limits = NETD_LIMITS_DEFAULT;
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 't':
			fd = host_tap_open(optarg);
			break;
		case 'f':
			fd = (int)number(optarg);
			break;
		case 'c':
			control_fd = (int)number(optarg);
			break;
		case 'm':
			host.manual = true;
			break;
		case 'u':
			mtu = number(optarg);
			break;
		case 'a':
			own.address = address(optarg, &bits);
			own.mask = ~(uint32_t)0 << (32 - bits);
			break;
		case 'g':
			own.gateway = address(optarg, &bits);
			break;
		case 'd':
			dhcp = true;
			break;
		case 'e':
			host.random = false;
			break;
		case 'r':
			journal_record(optarg);
			break;
		case 'p':
			replayed = optarg;
			host.manual = true;
			break;
		case 'l':
			until = number(optarg);
			break;
		default:
			fputs(help, option == 'h' ? stdout : stderr);
			return option == 'h' ? 0 : 2;
		}
	}
	if (replayed)
		journal_replay(replayed, until);
	if (replayed && !host.random) {
		fprintf(stderr, "netd-host: a journal has its own random numbers: leave --fixed-entropy out\n");
		return 2;
	}
	if ((fd < 0 && !replayed) || mtu > UINT16_MAX) {
		fprintf(stderr, "netd-host: name the frames' way by --tap or --fd, and an MTU of 68 to 9000\n%s", help);
		return 2;
	}
	host_nic_init(&host.nic, fd, (uint16_t)mtu);
	host_start(&host);
	if (!host.stack) {
		fprintf(stderr, "netd-host: the stack refuses an MTU of %u: 68 to 9000 are possible\n", mtu);
		return 2;
	}
	if (own.address && netd_set_address(host.stack, &own) != NETD_OK) {
		fprintf(stderr, "netd-host: that is not the address of a host\n");
		return 2;
	}
	if (dhcp && netd_dhcp_start(host.stack) != NETD_OK)
		abort();
	loop(&host, control_fd);
	control_forget(&host);
	free(host.memory);
	free(host.services);
	return journal_is_replayed() && !journal_report();
}
