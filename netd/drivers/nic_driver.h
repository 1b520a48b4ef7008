/* What the drivers of NICs have in common: how a block of memory is shared with the device, frames put together, counts. */
#ifndef NETD_NIC_DRIVER_H
#define NETD_NIC_DRIVER_H

#include <netd/nic.h>
#include <string.h>

enum nic_driver_layout {
	NIC_PAGE_BYTES = 4096,
	NIC_FRAME_MIN = 60, /* without frame check sequence (IEEE 802.3, 4A.2.3.2.4) */
	NIC_MTU_MAX = 1500,
	NIC_BURST = 32, /* frames to send that the device is shown at once, at the latest */
};

/* A run of the block's pages that the device gets with one right. */
struct nic_range {
	uint32_t first_page, pages;
	bool writable; /* by the device */
};

struct nic_counters {
	uint64_t received, received_bytes;
	uint64_t transmitted, transmitted_bytes;
	uint64_t notifications; /* of the device, by us */
	uint64_t runts;         /* received and dropped: shorter than an Ethernet header */
	uint64_t damaged;       /* received and dropped: the device says so, or has written nothing */
	uint64_t oversized;     /* sent and dropped: longer than a buffer */
	uint64_t no_room;       /* transmit() answered false */
};

static inline size_t nic_bytes_of(const struct netd_part *parts, unsigned count)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += parts[i].bytes;
	return bytes;
}

/* Copies the parts one behind the other and pads them. Returns the bytes of the frame; `to` has room for it. */
static inline size_t nic_gather(uint8_t *to, const struct netd_part *parts, unsigned count)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < count; bytes += parts[i].bytes, i++)
		memcpy(to + bytes, parts[i].data, parts[i].bytes);
	if (bytes >= NIC_FRAME_MIN)
		return bytes;
	memset(to + bytes, 0, NIC_FRAME_MIN - bytes);
	return NIC_FRAME_MIN;
}

#endif
