/* The split virtqueue of virtio_queue.h. */
#include "virtio_queue.h"

#include <stddef.h>
#include <string.h>

enum { DESCRIPTOR_WRITE = 2, NO_INTERRUPT = 1, NO_NOTIFY = 1 };

_Static_assert(sizeof(struct virtio_descriptor) == 16 && sizeof(struct virtio_used_element) == 8, "virtqueue");
_Static_assert(sizeof(struct virtio_used) <= VIRTIO_PAGE_BYTES, "a page holds a used ring");

void virtio_queue_init(struct virtio_queue *queue, void *pages, uint16_t size, bool event_index)
{
	uint8_t *at = pages;

	memset(queue, 0, sizeof(*queue));
	memset(pages, 0, (size_t)VIRTIO_QUEUE_PAGES * VIRTIO_PAGE_BYTES);
	queue->descriptors = (struct virtio_descriptor *)at;
	queue->available = (struct virtio_available *)(at + VIRTIO_PAGE_BYTES);
	queue->used = (const volatile struct virtio_used *)(at + 2 * (size_t)VIRTIO_PAGE_BYTES);
	queue->size = size;
	queue->event_index = event_index;
	virtio_queue_disarm(queue);
}

static uint16_t slot(const struct virtio_queue *queue, uint16_t counter)
{
	return counter & (uint16_t)(queue->size - 1);
}

bool virtio_queue_post(struct virtio_queue *queue, uint16_t index, uint64_t iova, uint32_t bytes, bool writable)
{
	if (queue->fault || index >= queue->size || queue->lent[index])
		return false;
	queue->descriptors[index] =
		(struct virtio_descriptor){.address = iova, .bytes = bytes, .flags = writable ? DESCRIPTOR_WRITE : 0};
	queue->available->ring[slot(queue, queue->posted)] = index;
	queue->lent[index] = true;
	queue->room[index] = writable ? bytes : 0;
	queue->posted++;
	return true;
}

/* 2.7.10: has the event index been passed on the way from `old` to `now`? Any value that a device writes gives an answer. */
static bool passed(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

bool virtio_queue_publish(struct virtio_queue *queue)
{
	uint16_t old = queue->published;

	if (queue->posted == old)
		return false;
	queue->published = queue->posted;
	__atomic_store_n(&queue->available->index, queue->published, __ATOMIC_RELEASE);
	/* What the device wants is read after it can see what we published, or both sides wait for each other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (queue->event_index) {
		const volatile uint16_t *event = (const volatile uint16_t *)&queue->used->ring[queue->size];

		return passed(*event, queue->published, old);
	}
	return !(queue->used->flags & NO_NOTIFY);
}

bool virtio_queue_take(struct virtio_queue *queue, uint16_t *index, uint32_t *bytes)
{
	uint16_t used = __atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE);
	uint16_t with_device = (uint16_t)(queue->published - queue->taken);

	if (queue->fault || used == queue->taken)
		return false;
	if ((uint16_t)(used - queue->taken) > with_device) {
		queue->fault = VIRTIO_FAULT_INDEX;
		return false;
	}
	const volatile struct virtio_used_element *element = &queue->used->ring[slot(queue, queue->taken)];
	uint32_t id = element->id, written = element->bytes;

	if (id >= queue->size || !queue->lent[id]) {
		queue->fault = VIRTIO_FAULT_ID;
		return false;
	}
	if (written > queue->room[id]) {
		queue->fault = VIRTIO_FAULT_LENGTH;
		return false;
	}
	queue->lent[id] = false;
	queue->taken++;
	*index = (uint16_t)id;
	*bytes = written;
	return true;
}

bool virtio_queue_arm(struct virtio_queue *queue)
{
	if (queue->event_index)
		__atomic_store_n(&queue->available->ring[queue->size], queue->taken, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&queue->available->flags, 0, __ATOMIC_RELAXED);
	/* The device sees that we will wait before we look a last time, or it is silent and we wait. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE) != queue->taken;
}

/* A wish that may be seen late: an interrupt too many does no harm. */
void virtio_queue_disarm(struct virtio_queue *queue)
{
	if (queue->event_index) /* half the numbers away: farther than any queue is long */
		__atomic_store_n(
			&queue->available->ring[queue->size], (uint16_t)(queue->taken + 0x8000), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&queue->available->flags, NO_INTERRUPT, __ATOMIC_RELAXED);
}
