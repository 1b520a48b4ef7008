/*
 * What the stack asks of a network interface, and what it offers to its driver. Drivers (virtio-net, the host's TAP or
 * socketpair) implement struct netd_nic_driver and call struct netd_nic_client; the stack does the opposite. Nothing
 * here knows a device, a queue or an interrupt.
 *
 * One thread, one event loop: a driver calls its client only from inside its own poll, which the loop calls; the client
 * may call transmit() from inside those calls. Frames are Ethernet II from the destination address on, without
 * frame check sequence; what a device adds in front (a virtio-net header) stays in the driver.
 */
#ifndef NETD_NIC_H
#define NETD_NIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum netd_nic_constants {
	NETD_MAC_BYTES = 6,
	NETD_ETHERNET_BYTES = 14, /* the header; a frame is this and at most the MTU */
	NETD_PARTS = 5,           /* transmit() never gets more: headers, two pieces where a buffer wraps, twice */
};

/* A piece of a frame to transmit. */
struct netd_part {
	const void *data;
	size_t bytes;
};

/*
 * A received frame, lent to the stack: bytes that stay where they are and unchanged by the device until release() is
 * called. Whoever holds the reference last releases it, once, from the event loop; that may be long after receive()
 * returned, for payload that an application reads where it lies (direct mode). The bytes are hostile input, and may be
 * written by nobody who is not trusted: a frame in pages that an application can write has to be copied first.
 */
struct netd_frame {
	const uint8_t *data;
	size_t bytes;
	void (*release)(void *owner, uint64_t id); /* NULL once the reference has been moved elsewhere */
	void *owner;
	uint64_t id; /* the owner's: a descriptor index, a page */
};

struct netd_nic_driver {
	/*
	 * Sends one frame, the parts one behind the other, and is done with their bytes when it returns (it copies them or
	 * waits for nothing: a device that gathers by itself needs buffers that the driver owns). The driver pads to 60
	 * bytes if its device does not. Returns false, with nothing sent, while there is no room or no link; when room
	 * comes back after a false, the driver calls client->room().
	 */
	bool (*transmit)(void *device, const struct netd_part *parts, unsigned count);
};

/* How a driver reaches the stack; netd_start() fills it. */
struct netd_nic_client {
	void (*receive)(void *stack, struct netd_frame *frame); /* moves the reference: the client releases it */
	void (*room)(void *stack);                              /* transmit() may be tried again */
	void (*link)(void *stack);                              /* nic->link_up has changed */
	void *stack;
};

/* One interface. The driver fills in everything but the client before netd_start(). */
struct netd_nic {
	const struct netd_nic_driver *driver;
	void *device;
	uint8_t mac[NETD_MAC_BYTES]; /* a unicast address */
	uint16_t mtu;                /* 68 (RFC 791, 3.1) to 9000 bytes of IP datagram */
	bool link_up;                /* the driver's to change */
	struct netd_nic_client client;
};

static inline void netd_frame_release(struct netd_frame *frame)
{
	if (frame->release)
		frame->release(frame->owner, frame->id);
	frame->release = NULL;
}

#endif
