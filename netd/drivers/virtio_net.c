/* The driver of virtio_net.h. */
#include "virtio_net.h"

/* 5.1.3, 5.1.4, 5.1.6 */
#define FEATURE_MTU (1ull << 3)
#define FEATURE_MAC (1ull << 5)
#define FEATURE_STATUS (1ull << 16)

enum {
	CONFIG_MAC = 0,
	CONFIG_STATUS = 6,
	CONFIG_MTU = 10,
	STATUS_LINK_UP = 1,
	QUEUE_RECEIVE = 0,
	QUEUE_TRANSMIT = 1,
	UNWRITTEN = 0xff,
	DRAIN_NS = 20000000,
	MTU_MIN = 68, /* RFC 791, 3.1 */
};

/*
 * In front of every frame. Without offloads a received one has segmentation 0, and that shows that the device has written
 * at all. (`buffers` is to be 1 by 5.1.6.4; QEMU 7.2 leaves it as it was unless mergeable buffers were negotiated.)
 */
struct header {
	uint8_t flags, segmentation;
	uint16_t header_bytes, segment_bytes, checksum_start, checksum_offset, buffers;
};

_Static_assert(sizeof(struct header) == 12, "virtio_net_hdr");

enum {
	RECEIVE_QUEUE_PAGE = 0,
	TRANSMIT_QUEUE_PAGE = VIRTIO_QUEUE_PAGES,
	RECEIVE_PAGE = VIRTIO_NET_QUEUE_PAGES,
	TRANSMIT_PAGE = RECEIVE_PAGE + VIRTIO_NET_RECEIVE_PAGES,
};

const struct nic_range virtio_net_ranges[VIRTIO_NET_RANGES] = {
	{RECEIVE_QUEUE_PAGE, VIRTIO_QUEUE_READ_PAGES, false},
	{RECEIVE_QUEUE_PAGE + VIRTIO_QUEUE_READ_PAGES, VIRTIO_QUEUE_PAGES - VIRTIO_QUEUE_READ_PAGES, true},
	{TRANSMIT_QUEUE_PAGE, VIRTIO_QUEUE_READ_PAGES, false},
	{TRANSMIT_QUEUE_PAGE + VIRTIO_QUEUE_READ_PAGES, VIRTIO_QUEUE_PAGES - VIRTIO_QUEUE_READ_PAGES, true},
	{RECEIVE_PAGE, VIRTIO_NET_RECEIVE_PAGES, true},
	{TRANSMIT_PAGE, VIRTIO_NET_TRANSMIT_PAGES, false},
};

static size_t offset_of(unsigned page, uint16_t index)
{
	return (size_t)page * VIRTIO_PAGE_BYTES + (size_t)index * VIRTIO_NET_BUFFER_BYTES;
}

static void lend(struct virtio_net *net, uint16_t index)
{
	const struct nic_area *area = nic_areas_now(&net->areas);
	size_t at = (size_t)index * VIRTIO_NET_BUFFER_BYTES;

	/* The device has to change this, or it has written nothing: its access was stopped on the way. */
	((struct header *)(area->memory + at))->segmentation = UNWRITTEN;
	virtio_queue_post(&net->receive, index, area->iova + at, VIRTIO_NET_BUFFER_BYTES, true);
}

static void show(struct virtio_net *net, struct virtio_queue *queue, uint16_t number, uint16_t notify_offset)
{
	if (!virtio_queue_publish(queue))
		return;
	net->counters.notifications++;
	net->bus->notify(net->bus->context, number, notify_offset);
}

void virtio_net_flush(struct virtio_net *net)
{
	if (!net->running)
		return;
	show(net, &net->receive, QUEUE_RECEIVE, net->receive_notify);
	show(net, &net->transmit, QUEUE_TRANSMIT, net->transmit_notify);
}

static void release(void *owner, uint64_t id)
{
	struct virtio_net *net = owner;

	if (nic_areas_return(&net->areas, id) && net->running)
		lend(net, (uint16_t)id);
}

/* Takes sent buffers back; a lie on the way is for virtio_net_poll to find. */
static bool reclaim(struct virtio_net *net)
{
	uint16_t index;
	uint32_t bytes;
	bool any = false;

	while (virtio_queue_take(&net->transmit, &index, &bytes)) {
		net->free[net->free_count++] = index;
		any = true;
	}
	return any;
}

static bool transmit(void *device, const struct netd_part *parts, unsigned count)
{
	struct virtio_net *net = device;

	if (net->running && net->free_count == 0) {
		virtio_net_flush(net); /* or the device would never be done with them */
		reclaim(net);
	}
	if (!net->running || !net->nic->link_up || net->free_count == 0) {
		net->wanted_room = true;
		net->counters.no_room++;
		return false;
	}
	if (nic_bytes_of(parts, count) > VIRTIO_NET_BUFFER_BYTES - sizeof(struct header)) {
		net->counters.oversized++; /* more than the MTU that the stack was told: lost, as on a real wire */
		return true;
	}
	uint16_t index = net->free[--net->free_count];
	size_t at = offset_of(TRANSMIT_PAGE, index);

	memset(net->memory + at, 0, sizeof(struct header));
	size_t frame = nic_gather(net->memory + at + sizeof(struct header), parts, count);

	virtio_queue_post(&net->transmit, index, net->iova + at, (uint32_t)(sizeof(struct header) + frame), false);
	if ((uint16_t)(net->transmit.posted - net->transmit.published) >= NIC_BURST)
		virtio_net_flush(net);
	net->counters.transmitted++;
	net->counters.transmitted_bytes += frame;
	return true;
}

static const struct netd_nic_driver driver = {.transmit = transmit};

static uint32_t read_config(const struct virtio_net *net, uint32_t offset, uint32_t width)
{
	return net->bus->read(net->bus->context, VIRTIO_DEVICE, offset, width);
}

static bool read_link(const struct virtio_net *net)
{
	return !(net->features & FEATURE_STATUS) || read_config(net, CONFIG_STATUS, 2) & STATUS_LINK_UP;
}

/* A device that names a group address, or an MTU that IP can't live with, is not believed. */
static enum virtio_fault read_identity(struct virtio_net *net)
{
	struct netd_nic *nic = net->nic;

	for (uint32_t i = 0; i < NETD_MAC_BYTES; i++)
		nic->mac[i] = (uint8_t)read_config(net, CONFIG_MAC + i, 1);
	uint32_t mtu = net->features & FEATURE_MTU ? read_config(net, CONFIG_MTU, 2) : NIC_MTU_MAX;

	if (nic->mac[0] & 1 || mtu < MTU_MIN)
		return VIRTIO_FAULT_FEATURES;
	nic->mtu = (uint16_t)(mtu < NIC_MTU_MAX ? mtu : NIC_MTU_MAX);
	nic->link_up = read_link(net);
	return VIRTIO_FAULT_NONE;
}

static enum virtio_fault set_up(struct virtio_net *net, uint16_t vector)
{
	const struct virtio_bus *bus = net->bus;
	enum virtio_fault fault =
		virtio_begin(bus, FEATURE_MAC, FEATURE_MTU | FEATURE_STATUS | VIRTIO_F_EVENT_IDX, &net->features);

	if (!fault)
		fault = read_identity(net);
	if (fault)
		return fault;
	bool event_index = net->features & VIRTIO_F_EVENT_IDX;

	virtio_set_config_vector(bus, vector);
	fault = virtio_queue_set_up(bus, QUEUE_RECEIVE, &net->receive,
		net->memory + (size_t)RECEIVE_QUEUE_PAGE * VIRTIO_PAGE_BYTES,
		net->iova + (uint64_t)RECEIVE_QUEUE_PAGE * VIRTIO_PAGE_BYTES, VIRTIO_NET_RECEIVE, event_index, vector,
		&net->receive_notify);
	if (fault)
		return fault;
	return virtio_queue_set_up(bus, QUEUE_TRANSMIT, &net->transmit,
		net->memory + (size_t)TRANSMIT_QUEUE_PAGE * VIRTIO_PAGE_BYTES,
		net->iova + (uint64_t)TRANSMIT_QUEUE_PAGE * VIRTIO_PAGE_BYTES, VIRTIO_NET_TRANSMIT, event_index, vector,
		&net->transmit_notify);
}

/* From reset to where buffers can be handed out. */
static enum virtio_fault bring_up(struct virtio_net *net)
{
	net->fault = set_up(net, net->vector);
	if (net->fault) {
		virtio_reset(net->bus);
		return net->fault;
	}
	virtio_end(net->bus);
	net->running = true;
	net->free_count = 0;
	for (uint16_t i = 0; i < net->transmit.size; i++)
		net->free[net->free_count++] = i;
	return VIRTIO_FAULT_NONE;
}

enum virtio_fault virtio_net_start(struct virtio_net *net, struct netd_nic *nic, const struct virtio_bus *bus,
	void *memory, uint64_t iova, uint16_t vector)
{
	struct nic_areas areas = net->areas;

	memset(net, 0, sizeof(*net));
	net->nic = nic;
	net->bus = bus;
	net->memory = memory;
	net->iova = iova;
	net->vector = vector;
	net->areas = areas;
	nic_areas_own(&net->areas, net->memory + offset_of(RECEIVE_PAGE, 0), iova + offset_of(RECEIVE_PAGE, 0));
	nic->driver = &driver;
	nic->device = net;
	return bring_up(net);
}

/* Waits for what was sent to leave, within reason: a device may hold on to it. */
static void drain(struct virtio_net *net)
{
	uint64_t deadline = net->bus->time_ns(net->bus->context) + DRAIN_NS;

	virtio_net_flush(net);
	while (net->free_count < net->transmit.size && !net->transmit.fault &&
		net->bus->time_ns(net->bus->context) < deadline)
		reclaim(net);
}

enum virtio_fault virtio_net_receive_into(struct virtio_net *net, uint8_t *memory, uint64_t iova, uint16_t buffers)
{
	struct netd_nic *nic = net->nic, before = *nic;

	if (!net->running)
		return net->fault;
	drain(net);
	net->running = false;
	nic_areas_lend(&net->areas, memory, iova, buffers);
	net->fault = bring_up(net);
	if (!net->fault && memcmp(nic->mac, before.mac, sizeof(before.mac)) != 0)
		virtio_net_stop(net, VIRTIO_FAULT_FEATURES); /* another device than before */
	if (net->fault)
		return net->fault;
	if (before.mtu < nic->mtu)
		nic->mtu = before.mtu;
	virtio_net_run(net);
	if (nic->link_up != before.link_up)
		nic->client.link(nic->client.stack);
	if (net->wanted_room) {
		net->wanted_room = false;
		nic->client.room(nic->client.stack);
	}
	return VIRTIO_FAULT_NONE;
}

void virtio_net_run(struct virtio_net *net)
{
	const struct nic_area *area = nic_areas_now(&net->areas);

	for (uint16_t i = 0; i < net->receive.size && i < area->buffers; i++)
		if (!area->away[i])
			lend(net, i);
	show(net, &net->receive, QUEUE_RECEIVE, net->receive_notify);
}

void virtio_net_stop(struct virtio_net *net, enum virtio_fault fault)
{
	if (!net->running)
		return;
	net->running = false;
	net->fault = fault;
	virtio_reset(net->bus);
	if (net->nic->link_up) {
		net->nic->link_up = false;
		net->nic->client.link(net->nic->client.stack);
	}
}

static void take_sent(struct virtio_net *net)
{
	bool any = reclaim(net);

	if (net->transmit.fault)
		virtio_net_stop(net, net->transmit.fault);
	else if (any && net->wanted_room) {
		net->wanted_room = false;
		net->nic->client.room(net->nic->client.stack);
	}
}

/* One frame to the stack, or back to the device; false: the device was caught. */
static bool deliver(struct virtio_net *net, uint16_t index, uint32_t bytes)
{
	const uint8_t *buffer = nic_areas_now(&net->areas)->memory + offset_of(0, index);

	if (bytes < sizeof(struct header)) {
		virtio_net_stop(net, VIRTIO_FAULT_LENGTH);
		return false;
	}
	if (((const volatile struct header *)buffer)->segmentation != 0) {
		virtio_net_stop(net, VIRTIO_FAULT_UNWRITTEN);
		return false;
	}
	struct netd_frame frame = {
		.data = buffer + sizeof(struct header), .bytes = bytes - sizeof(struct header), .owner = net};

	if (frame.bytes < NETD_ETHERNET_BYTES) {
		net->counters.runts++;
		lend(net, index);
		return true;
	}
	net->counters.received++;
	net->counters.received_bytes += frame.bytes;
	bool kept = nic_areas_keep(&net->areas, index, &frame.id);

	frame.release = kept ? release : NULL;
	net->nic->client.receive(net->nic->client.stack, &frame);
	if (!kept && net->running)
		lend(net, index);
	return net->running; /* the stack may have been told to stop it */
}

unsigned virtio_net_poll(struct virtio_net *net, unsigned budget)
{
	unsigned frames = 0;
	uint16_t index;
	uint32_t bytes;

	if (!net->running)
		return 0;
	take_sent(net);
	while (net->running && frames < budget && virtio_queue_take(&net->receive, &index, &bytes)) {
		frames++;
		if (!deliver(net, index, bytes))
			break;
	}
	if (net->running && net->receive.fault)
		virtio_net_stop(net, net->receive.fault);
	virtio_net_flush(net);
	return frames;
}

void virtio_net_look(struct virtio_net *net)
{
	if (!net->running)
		return;
	if (virtio_get_status(net->bus) & VIRTIO_NEEDS_RESET) {
		virtio_net_stop(net, VIRTIO_FAULT_NEEDS_RESET);
		return;
	}
	bool up = read_link(net);

	if (up == net->nic->link_up)
		return;
	net->nic->link_up = up;
	net->nic->client.link(net->nic->client.stack);
	if (up && net->wanted_room && net->free_count > 0) {
		net->wanted_room = false;
		net->nic->client.room(net->nic->client.stack);
	}
}

/* Sent buffers are waited for only if somebody has no room. */
bool virtio_net_arm(struct virtio_net *net)
{
	if (!net->running)
		return false;
	virtio_net_flush(net);
	bool sent = net->wanted_room && virtio_queue_arm(&net->transmit);

	return virtio_queue_arm(&net->receive) || sent;
}

void virtio_net_disarm(struct virtio_net *net)
{
	virtio_queue_disarm(&net->receive);
	virtio_queue_disarm(&net->transmit);
}
