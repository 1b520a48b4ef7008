/*
 * Intel's 82574 (82574 GbE Controller Family Datasheet; QEMU's e1000e) behind netd/nic.h: one queue each way of legacy
 * descriptors, one MSI-X vector, no offloads. As virtio_net it knows no bus and makes no system call; its owner gives it
 * a bus, one block of memory that the device sees at an IOVA, and calls e1000e_poll from the event loop.
 *
 * Receive buffers are lent to the stack where the device wrote them, some are always left to the device, and they come back
 * in any order: the ring has twice as many places as there are buffers, and which buffer lies in which place the driver
 * remembers by itself. Frames to send
 * are copied into buffers of the driver's, one for each place.
 *
 * The device is hostile: a descriptor is only read within what the driver published, its address never, length and
 * status once. A lie that can be told from a fault of the wire stops the device for good, as in virtio_net; a frame that
 * was said to have come and was not written (an access that was stopped on its way) is dropped, since a stranger on the
 * wire can make one that looks alike. What the driver can't see: a device that changes a frame after it has handed it over.
 */
#ifndef NETD_E1000E_H
#define NETD_E1000E_H

#include "nic_driver.h"

enum e1000e_layout {
	E1000E_BUFFER_BYTES = NIC_BUFFER_BYTES,
	E1000E_RECEIVE = NIC_RECEIVE, /* buffers */
	E1000E_RECEIVE_PLACES = 512,  /* of the ring; one always stays empty */
	E1000E_TRANSMIT = 128,        /* places and buffers; of the places one stays empty */
	/* The block of memory, in pages: rings, both of which the device writes, and buffers. */
	E1000E_RING_PAGES = 3,
	E1000E_RECEIVE_PAGES = E1000E_RECEIVE * E1000E_BUFFER_BYTES / NIC_PAGE_BYTES,
	E1000E_TRANSMIT_PAGES = E1000E_TRANSMIT * E1000E_BUFFER_BYTES / NIC_PAGE_BYTES,
	E1000E_PAGES = E1000E_RING_PAGES + E1000E_RECEIVE_PAGES + E1000E_TRANSMIT_PAGES,
	E1000E_REGISTER_BYTES = 0x20000,
};

enum { E1000E_RANGES = 3 };
extern const struct nic_range e1000e_ranges[E1000E_RANGES];

/* Why it was stopped, or does not start. The numbers lie behind those of enum virtio_fault. */
enum e1000e_fault {
	E1000E_FAULT_NONE = 0,
	E1000E_FAULT_LENGTH = 32,   /* more written than a buffer holds, or a frame in pieces */
	E1000E_FAULT_RESET = 33,    /* it does not finish a reset */
	E1000E_FAULT_IDENTITY = 34, /* its own address is none, or a group's */
	E1000E_FAULT_GONE = 35,     /* no register answers */
};

struct e1000e_bus {
	uint32_t (*read)(void *context, uint32_t offset); /* a register of BAR 0; all ones when the device is gone */
	void (*write)(void *context, uint32_t offset, uint32_t value);
	uint64_t (*time_ns)(void *context);
	void *context;
};

struct e1000e {
	struct netd_nic *nic;
	const struct e1000e_bus *bus;
	uint8_t *memory; /* E1000E_PAGES pages */
	uint64_t iova;   /* of the block */
	/* Descriptors ever filled in, shown to the device, and taken back from it. */
	uint16_t receive_posted, receive_published, receive_taken;
	uint16_t transmit_posted, transmit_published, transmit_taken;
	struct nic_areas areas;
	uint16_t placed[E1000E_RECEIVE_PLACES]; /* which buffer lies in a place of the ring */
	bool wanted_room;                       /* transmit() has answered false */
	bool armed;                             /* interrupts are on */
	bool link_moved;                        /* said so while they were off: poll looks */
	bool running;
	uint32_t vector;
	enum e1000e_fault fault; /* why it was stopped last */
	struct nic_counters counters;
};

/* Masks interrupts, stops both directions, and resets all but PHY and configuration space. RESET: not within a second. */
enum e1000e_fault e1000e_reset(const struct e1000e_bus *bus);

/*
 * Brings the device up and fills in nic (driver, device, mac, mtu, link_up). The caller has mapped the ranges and lets the
 * device master the bus when this returns 0, then calls e1000e_run. Also starts it again after a fault; frames lent
 * before must all be released by then.
 *
 * vector: of MSI-X, 0 to 4.
 */
enum e1000e_fault e1000e_start(struct e1000e *device, struct netd_nic *nic, const struct e1000e_bus *bus, void *memory,
	uint64_t iova, uint32_t vector);

/*
 * Receives into somebody else's pages from now on, or, NULL, into the driver's own again: virtio_net_receive_into() says what
 * becomes of the buffers. The device is reset, by which it lets go of the bus. What was sent leaves before, what comes
 * meanwhile is lost. A fault: the device is stopped.
 */
enum e1000e_fault e1000e_receive_into(struct e1000e *device, uint8_t *memory, uint64_t iova, uint16_t buffers);

/* Hands the receive buffers out; from here on frames come. */
void e1000e_run(struct e1000e *device);

/* Takes up to `budget` received frames to the stack and takes sent buffers back, and flushes. How many frames there were. */
unsigned e1000e_poll(struct e1000e *device, unsigned budget);

/* Shows the device what was posted since the last time: at the end of each turn of the event loop. */
void e1000e_flush(struct e1000e *device);

/* After a wake-up: has the link changed, does the device answer at all? It reads registers, so not on every poll. */
void e1000e_look(struct e1000e *device);

/* Before sleeping: flushes and asks for an interrupt; true if there is work already. */
bool e1000e_arm(struct e1000e *device);
void e1000e_disarm(struct e1000e *device);

/* Stops and resets the device; fault: why, or E1000E_FAULT_NONE. */
void e1000e_stop(struct e1000e *device, enum e1000e_fault fault);

#endif
