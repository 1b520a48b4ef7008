/*
 * The virtio network device (Virtual I/O Device 1.2, 5.1) behind netd/nic.h: two queues, one vector, no offloads. It
 * knows no bus and makes no system call; its owner gives it a bus, one block of memory that the device sees at an IOVA,
 * and calls virtio_net_poll from the event loop.
 *
 * Receive buffers are lent to the stack where the device wrote them (no copy); frames to send are copied into buffers of
 * the driver's, because the caller's parts are its own again when transmit() returns. So many may be kept at a time; of
 * a frame that comes then the reference can't be moved, so that the device never runs out of buffers.
 *
 * The device is hostile (virtio_queue.h). Caught lying, it is stopped and reset, `fault` says why, the link is down, and
 * nothing of it reaches the stack any more; frames that the stack still holds stay readable. What the driver can't
 * see: a device that changes a frame after it has handed it over. Whoever acts on bytes of a lent frame reads them once
 * or tolerates change.
 */
#ifndef NETD_VIRTIO_NET_H
#define NETD_VIRTIO_NET_H

#include "nic_driver.h"

#include <virtio.h>

enum virtio_net_layout {
	VIRTIO_NET_BUFFER_BYTES = NIC_BUFFER_BYTES, /* the device's header and a frame of up to 2,036 bytes */
	VIRTIO_NET_RECEIVE = NIC_RECEIVE,
	VIRTIO_NET_TRANSMIT = 128,
	/* The block of memory, in pages, and what the device needs of it: first what it reads, then what it writes. */
	VIRTIO_NET_QUEUE_PAGES = 2 * VIRTIO_QUEUE_PAGES,
	VIRTIO_NET_RECEIVE_PAGES = VIRTIO_NET_RECEIVE * VIRTIO_NET_BUFFER_BYTES / VIRTIO_PAGE_BYTES,
	VIRTIO_NET_TRANSMIT_PAGES = VIRTIO_NET_TRANSMIT * VIRTIO_NET_BUFFER_BYTES / VIRTIO_PAGE_BYTES,
	VIRTIO_NET_PAGES = VIRTIO_NET_QUEUE_PAGES + VIRTIO_NET_RECEIVE_PAGES + VIRTIO_NET_TRANSMIT_PAGES,
};

enum { VIRTIO_NET_RANGES = 6 };
/* The least that the device needs: of a queue it writes the used ring alone. */
extern const struct nic_range virtio_net_ranges[VIRTIO_NET_RANGES];

struct virtio_net {
	struct netd_nic *nic;
	const struct virtio_bus *bus;
	uint8_t *memory; /* VIRTIO_NET_PAGES pages, zeroed */
	uint64_t iova;   /* of the block */
	uint64_t features;
	struct virtio_queue receive, transmit;
	uint16_t receive_notify, transmit_notify;
	uint16_t vector;
	struct nic_areas areas;
	uint16_t free[VIRTIO_NET_TRANSMIT]; /* transmit buffers that nobody has: a stack */
	uint16_t free_count;
	bool wanted_room; /* transmit() has answered false */
	bool running;
	enum virtio_fault fault; /* why it was stopped last */
	struct nic_counters counters;
};

/*
 * Brings the device up and fills in nic (driver, device, mac, mtu, link_up). The caller has mapped the ranges and lets the
 * device master the bus when this returns 0, then calls virtio_net_run. Also starts it again after a fault, once the
 * function has been reset; frames lent before must all be released by then.
 *
 * vector: by which interrupts come.
 */
enum virtio_fault virtio_net_start(struct virtio_net *net, struct netd_nic *nic, const struct virtio_bus *bus,
	void *memory, uint64_t iova, uint16_t vector);

/*
 * Receives into somebody else's pages from now on, which the caller has shown to the device, writable; or, NULL, into the
 * driver's own again. The device is reset: it forgets every buffer that it was given. What was sent leaves before, what comes
 * meanwhile is lost. When this returns no descriptor points into the pages that were used before. Own buffers that are kept
 * stay as they are until they are released; frames in others' pages must not be touched any more. A fault: the device is
 * stopped.
 */
enum virtio_fault virtio_net_receive_into(struct virtio_net *net, uint8_t *memory, uint64_t iova, uint16_t buffers);

/* Hands the receive buffers out; from here on frames come. */
void virtio_net_run(struct virtio_net *net);

/*
 * Takes up to `budget` received frames to the stack and takes sent buffers back, and flushes. How many frames there were.
 */
unsigned virtio_net_poll(struct virtio_net *net, unsigned budget);

/*
 * Shows the device what transmit() took and the buffers that were released: once for all, since each time may cost a
 * notification. Called at the end of each turn of the event loop.
 */
void virtio_net_flush(struct virtio_net *net);

/* After a wake-up: has the link changed, does the device call itself broken? It reads registers, so not on every poll. */
void virtio_net_look(struct virtio_net *net);

/* Before sleeping: flushes and asks for an interrupt; true if there is work already. */
bool virtio_net_arm(struct virtio_net *net);
void virtio_net_disarm(struct virtio_net *net);

/* Stops and resets the device; fault: why, or VIRTIO_FAULT_NONE. */
void virtio_net_stop(struct virtio_net *net, enum virtio_fault fault);

#endif
