/* The device of model.h. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t read_register(void *context, enum virtio_space space, uint32_t offset, uint32_t width)
{
	struct model *m = context;

	if (space == VIRTIO_DEVICE) {
		if (offset < 6)
			return m->mac[offset];
		return offset == 6 ? m->link_status : offset == 10 ? m->mtu : 0;
	}
	switch (offset) {
	case 4:
		return (uint32_t)(m->offered >> (32 * m->half[0]));
	case 18:
		return m->queues;
	case 20:
		return m->status;
	case 24:
		return m->queue_size;
	default:
		return width == 2 && offset == 26 ? 0 : 0;
	}
}

static void write_register(void *context, enum virtio_space space, uint32_t offset, uint32_t width, uint32_t value)
{
	struct model *m = context;

	(void)width;
	if (space != VIRTIO_COMMON)
		return;
	switch (offset) {
	case 0:
		m->half[0] = value & 1;
		break;
	case 8:
		m->half[1] = value & 1;
		break;
	case 12:
		m->accepted = m->half[1] ? (uint32_t)m->accepted | (uint64_t)value << 32
					 : (m->accepted & ~0xffffffffull) | value;
		break;
	case 20:
		if (value == 0)
			m->resets++;
		if (value != 0 || !m->never_resets)
			m->status = (uint8_t)value;
		break;
	case 22:
		m->selected = (uint16_t)value;
		break;
	case 24:
		m->queue_size = (uint16_t)value;
		break;
	case 28:
		if (m->selected < 2)
			m->enabled[m->selected] = value == 1;
		break;
	default:
		break;
	}
}

static void notify(void *context, uint16_t queue, uint16_t notify_offset)
{
	(void)queue;
	(void)notify_offset;
	((struct model *)context)->notified++;
}

static uint64_t time_now(void *context)
{
	return ((struct model *)context)->time += 1000000;
}

static void receive(void *stack, struct netd_frame *frame)
{
	struct model *m = stack;

	m->frames++;
	m->last_bytes = frame->bytes;
	if (frame->bytes > sizeof(m->last))
		abort(); /* longer than any buffer */
	memcpy(m->last, frame->data, frame->bytes);
	if (m->keep && frame->release && m->kept_count < MODEL_FRAMES)
		m->kept[m->kept_count++] = *frame;
	else
		netd_frame_release(frame);
}

static void room(void *stack)
{
	((struct model *)stack)->rooms++;
}

static void link_changed(void *stack)
{
	((struct model *)stack)->link_changes++;
}

void model_init(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->offered = VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM | VIRTIO_F_EVENT_IDX | 1 << 3 | 1 << 5 | 1 << 16;
	memcpy(m->mac, "\x52\x54\x00\x12\x34\x56", 6);
	m->link_status = 1;
	m->mtu = 1500;
	m->queue_size = 256;
	m->queues = 3;
	m->bus = (struct virtio_bus){read_register, write_register, notify, time_now, m};
	m->nic.client = (struct netd_nic_client){receive, room, link_changed, m};
	m->memory = aligned_alloc(VIRTIO_PAGE_BYTES, (size_t)VIRTIO_NET_PAGES * VIRTIO_PAGE_BYTES);
	memset(m->memory, 0, (size_t)VIRTIO_NET_PAGES * VIRTIO_PAGE_BYTES);
	m->lent = aligned_alloc(VIRTIO_PAGE_BYTES, (size_t)MODEL_LENT * VIRTIO_NET_BUFFER_BYTES);
}

enum virtio_fault model_start(struct model *m)
{
	enum virtio_fault fault = virtio_net_start(&m->net, &m->nic, &m->bus, m->memory, MODEL_IOVA, 0);

	if (!fault)
		virtio_net_run(&m->net);
	return fault;
}

uint8_t *model_at(struct model *m, uint64_t iova, size_t bytes)
{
	if (m->net.areas.lent.buffers && iova >= MODEL_LENT_IOVA &&
		iova + bytes <= MODEL_LENT_IOVA + (uint64_t)MODEL_LENT * VIRTIO_NET_BUFFER_BYTES)
		return m->lent + (iova - MODEL_LENT_IOVA);
	if (iova < MODEL_IOVA || iova + bytes > MODEL_IOVA + (uint64_t)VIRTIO_NET_PAGES * VIRTIO_PAGE_BYTES) {
		fprintf(stderr, "the driver showed %#lx, which is not its own\n", (unsigned long)iova);
		abort();
	}
	return m->memory + (iova - MODEL_IOVA);
}

static uint8_t *part(struct model *m, int queue, int page)
{
	return m->memory + (size_t)(queue * VIRTIO_QUEUE_PAGES + page) * VIRTIO_PAGE_BYTES;
}

struct virtio_used *model_used(struct model *m, int queue)
{
	return (struct virtio_used *)part(m, queue, 2);
}

struct virtio_available *model_available(struct model *m, int queue)
{
	return (struct virtio_available *)part(m, queue, 1);
}

struct virtio_descriptor *model_descriptor(struct model *m, int queue, uint16_t index)
{
	return (struct virtio_descriptor *)part(m, queue, 0) + index;
}

static uint16_t size_of(const struct model *m, int queue)
{
	return queue == 0 ? m->net.receive.size : m->net.transmit.size;
}

int model_take(struct model *m, int queue)
{
	struct virtio_available *available = model_available(m, queue);

	if (available->index == m->seen[queue])
		return -1;
	return available->ring[m->seen[queue]++ % size_of(m, queue)];
}

void model_give(struct model *m, int queue, uint32_t id, uint32_t bytes)
{
	struct virtio_used *used = model_used(m, queue);

	used->ring[m->used[queue] % size_of(m, queue)] = (struct virtio_used_element){id, bytes};
	m->used[queue]++;
	used->index = m->used[queue];
}

bool model_receive(struct model *m, uint8_t value, size_t bytes)
{
	int id = model_take(m, 0);

	if (id < 0)
		return false;
	const struct virtio_descriptor *descriptor = model_descriptor(m, 0, (uint16_t)id);
	uint8_t *to = model_at(m, descriptor->address, descriptor->bytes);

	memset(to, 0, 12);
	memset(to + 12, value, bytes);
	model_give(m, 0, (uint32_t)id, (uint32_t)(12 + bytes));
	return true;
}
