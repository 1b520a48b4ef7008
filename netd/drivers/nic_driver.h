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
	NIC_BUFFER_BYTES = 2048,
	NIC_RECEIVE = 256, /* a driver's own receive buffers */
	NIC_KEPT = 128,    /* of them the stack may keep so many at a time; the others take what comes */
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

/* Receive buffers, one behind the other. */
struct nic_area {
	uint8_t *memory;
	uint64_t iova;
	uint16_t buffers;       /* at most NIC_RECEIVE */
	uint16_t keep;          /* so many may be kept by the stack and by applications at a time */
	uint16_t kept;          /* and are */
	bool away[NIC_RECEIVE]; /* which */
	uint32_t generation;    /* a frame of an earlier one goes nowhere when it is released */
};

/* A driver's own, and pages that are somebody else's (direct mode): while there are such, they are received into. */
struct nic_areas {
	struct nic_area own, lent; /* lent: buffers 0 while there is none */
};

/* Where a frame's id says whose buffer it is; above are the generation's bits, below the index. */
#define NIC_ID_LENT (1ull << 31)

static inline void nic_areas_own(struct nic_areas *areas, uint8_t *memory, uint64_t iova)
{
	*areas = (struct nic_areas){.own = {.memory = memory,
					    .iova = iova,
					    .buffers = NIC_RECEIVE,
					    .keep = NIC_KEPT,
					    .generation = areas->own.generation + 1},
		.lent = {.generation = areas->lent.generation + 1}};
}

/* NULL and 0: the driver's own again. Of own buffers that are kept nothing changes. */
static inline void nic_areas_lend(struct nic_areas *areas, uint8_t *memory, uint64_t iova, uint16_t buffers)
{
	areas->lent = (struct nic_area){.memory = memory,
		.iova = iova,
		.buffers = buffers,
		.keep = (uint16_t)(buffers - buffers / 4),
		.generation = areas->lent.generation + 1};
}

/* The buffers that the device has now. */
static inline struct nic_area *nic_areas_now(struct nic_areas *areas)
{
	return areas->lent.buffers ? &areas->lent : &areas->own;
}

/* Whether the stack may keep buffer `index` of those that the device has now; then it is away, and *id names it. */
static inline bool nic_areas_keep(struct nic_areas *areas, uint16_t index, uint64_t *id)
{
	struct nic_area *area = nic_areas_now(areas);

	*id = (uint64_t)area->generation << 32 | (area == &areas->lent ? NIC_ID_LENT : 0) | index;
	if (area->kept >= area->keep)
		return false;
	area->away[index] = true;
	area->kept++;
	return true;
}

/* A buffer comes back; whether it is one for the device to have now. */
static inline bool nic_areas_return(struct nic_areas *areas, uint64_t id)
{
	struct nic_area *area = id & NIC_ID_LENT ? &areas->lent : &areas->own;
	uint16_t index = (uint16_t)id;

	if (id >> 32 != area->generation || !area->away[index])
		return false;
	area->away[index] = false;
	area->kept--;
	return area == nic_areas_now(areas);
}

/* Whether a frame's bytes lie in somebody else's pages, and where: bytes behind their start. */
static inline bool nic_areas_lies_lent(
	const struct nic_areas *areas, const uint8_t *data, size_t bytes, uint32_t *offset)
{
	size_t all = (size_t)areas->lent.buffers * NIC_BUFFER_BYTES;
	size_t at = (size_t)((uintptr_t)data - (uintptr_t)areas->lent.memory);

	*offset = (uint32_t)at;
	return at < all && bytes <= all - at;
}

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
