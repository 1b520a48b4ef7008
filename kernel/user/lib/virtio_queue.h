/*
 * A split virtqueue (Virtual I/O Device 1.2, 2.7) seen from the driver, one descriptor for each buffer. Nothing here knows
 * a bus or what the buffers mean.
 *
 * The device is hostile: what it writes (the used ring) is read once, checked against what the driver itself remembers,
 * and believed only within that. A lie is a fault; after one the queue takes and posts nothing until it is made anew.
 *
 * The three parts lie in pages of their own, so that an IOMMU can let the device read descriptors and available ring,
 * and write the used ring alone.
 */
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

enum virtio_queue_limit {
	VIRTIO_QUEUE_MAX = 256, /* entries: as many descriptors as fill a page */
	VIRTIO_PAGE_BYTES = 4096,
	VIRTIO_QUEUE_PAGES = 3,      /* descriptors, available ring, used ring */
	VIRTIO_QUEUE_READ_PAGES = 2, /* of them, those that the device reads */
};

/* What a device was caught at; kept as the reason why it was stopped. */
enum virtio_fault {
	VIRTIO_FAULT_NONE = 0,
	VIRTIO_FAULT_INDEX = 1,       /* the used index ran past what the device was given */
	VIRTIO_FAULT_ID = 2,          /* a used element names a buffer that the device does not have */
	VIRTIO_FAULT_LENGTH = 3,      /* more written than the buffer holds, or less than the header */
	VIRTIO_FAULT_UNWRITTEN = 4,   /* said to be written, and was not: the access was stopped on its way */
	VIRTIO_FAULT_NEEDS_RESET = 5, /* the device says itself that it is broken */
	VIRTIO_FAULT_FEATURES = 6,    /* it lacks what this driver needs, or refuses what it offered */
	VIRTIO_FAULT_RESET = 7,       /* it does not finish a reset */
	VIRTIO_FAULT_QUEUES = 8,      /* it has not the queues that its kind has */
};

struct virtio_descriptor {
	uint64_t address;
	uint32_t bytes;
	uint16_t flags;
	uint16_t next;
};

struct virtio_available {
	uint16_t flags;
	uint16_t index;
	uint16_t ring[VIRTIO_QUEUE_MAX + 1]; /* the entry behind the last is used_event */
};

struct virtio_used_element {
	uint32_t id;
	uint32_t bytes;
};

struct virtio_used {
	uint16_t flags;
	uint16_t index;
	struct virtio_used_element ring[VIRTIO_QUEUE_MAX + 1]; /* behind the last: avail_event */
};

struct virtio_queue {
	struct virtio_descriptor *descriptors;
	struct virtio_available *available;
	const volatile struct virtio_used *used;
	uint16_t size;      /* a power of two */
	bool event_index;   /* VIRTIO_F_EVENT_IDX was negotiated */
	uint16_t posted;    /* buffers made available, ever; the device knows of them up to ... */
	uint16_t published; /* ... here */
	uint16_t taken;     /* used elements taken, ever */
	enum virtio_fault fault;
	uint32_t room[VIRTIO_QUEUE_MAX]; /* bytes the device may write there */
	bool lent[VIRTIO_QUEUE_MAX];     /* it has this buffer */
};

/* VIRTIO_QUEUE_PAGES pages of zeroed memory, page-aligned. size: a power of two, at most VIRTIO_QUEUE_MAX. */
void virtio_queue_init(struct virtio_queue *queue, void *pages, uint16_t size, bool event_index);

/* Makes buffer `index`, which the device must not have, ready for publishing. False: it has it, or the queue has a fault. */
bool virtio_queue_post(struct virtio_queue *queue, uint16_t index, uint64_t iova, uint32_t bytes, bool writable);

/* Shows the device what was posted; true if it wants to be notified of it. */
bool virtio_queue_publish(struct virtio_queue *queue);

/*
 * Takes back one buffer: its index and how much the device says to have written. False: there is none, or the device
 * lied, and queue->fault says how.
 */
bool virtio_queue_take(struct virtio_queue *queue, uint16_t *index, uint32_t *bytes);

/* Asks for an interrupt at the next used buffer; true if one is there already, and none may come for it. */
bool virtio_queue_arm(struct virtio_queue *queue);

/* Asks for no interrupts; the device may send one all the same. */
void virtio_queue_disarm(struct virtio_queue *queue);

#endif
