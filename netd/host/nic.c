#include "host.h"
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	FRAME_MOST = 65536,
};

/* Each frame lies in memory of its own, of exactly its size: a sanitizer sees every byte that is read beyond, or too late. */
static void release(void *owner, uint64_t id)
{
	struct host_nic *host = owner;

	host->lent--;
	free((void *)(uintptr_t)id);
}

static bool transmit(void *device, const struct netd_part *parts, unsigned count)
{
	struct host_nic *host = device;
	struct iovec vectors[NETD_PARTS];

	if (!host->nic.link_up)
		return false;
	if (journal_is_replayed()) {
		bool taken = journal_sent(parts, count, true);

		host->refused = host->refused || !taken;
		return taken;
	}
	for (unsigned i = 0; i < count; i++)
		vectors[i] = (struct iovec){(void *)(uintptr_t)parts[i].data, parts[i].bytes};
	/* Whoever was there is gone: as if the cable were cut. */
	bool taken = writev(host->fd, vectors, (int)count) >= 0 ||
		(errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS);

	host->refused = host->refused || !taken;
	return journal_sent(parts, count, taken);
}

void host_nic_init(struct host_nic *host, int fd, uint16_t mtu)
{
	static const struct netd_nic_driver driver = {.transmit = transmit};
	static const uint8_t mac[NETD_MAC_BYTES] = {0x52, 0x54, 0x00, 0x6e, 0x64, 0x01};

	*host = (struct host_nic){.fd = fd};
	host->nic = (struct netd_nic){.driver = &driver, .device = host, .mtu = mtu, .link_up = true};
	memcpy(host->nic.mac, mac, sizeof(mac));
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

int host_tap_open(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		perror("netd-host: /dev/net/tun can't be opened (a TAP takes CAP_NET_ADMIN)");
		exit(2);
	}
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request)) {
		fprintf(stderr, "netd-host: TAP %s can't be attached: %s\n", name, strerror(errno));
		exit(2);
	}
	return fd;
}

int host_nic_poll(struct host_nic *host, int most)
{
	static uint8_t buffer[FRAME_MOST];

	if (host->refused) {
		host->refused = false;
		host->nic.client.room(host->nic.client.stack);
	}
	for (int i = 0; i < most; i++) {
		ssize_t bytes = journal_frame(host->fd, buffer, sizeof(buffer));
		struct netd_frame frame;
		uint8_t *copy;

		if (bytes < 0)
			return errno == EAGAIN || errno == EINTR || errno == EIO ? i : -1;
		if (!bytes) /* an empty datagram, or the end: only the end is followed by more of it */
			return -1;
		copy = malloc((size_t)bytes);
		if (!copy)
			abort();
		memcpy(copy, buffer, (size_t)bytes);
		frame = (struct netd_frame){copy, (size_t)bytes, release, host, (uint64_t)(uintptr_t)copy};
		host->lent++;
		if (host->nic.link_up)
			host->nic.client.receive(host->nic.client.stack, &frame);
		else
			netd_frame_release(&frame);
	}
	return most;
}
