/*
 * A driver that is up to no good: given the same capability as an honest one, it has the device read and write wherever
 * the host says. It is also how the device calls are probed with arguments that no driver would use.
 */
#include "nic_rogue.h"

#include <string.h>
#include <user.h>
#include <virtio_pci.h>

enum { QUEUE_IOVA = 0x7000000, QUEUES = 2, LOOK_NS = 500000, PAUSE_NS = 300000 };

volatile struct nic_rogue_params params;
volatile struct nic_rogue_results results;

static struct virtio_pci pci;
static struct virtio_queue queues[QUEUES];
static uint16_t notify_offsets[QUEUES];
static uint64_t memory_at;

/* The queues' own pages are honest: the device reads and writes them as it should. */
static int64_t map_queues(void)
{
	int64_t memory = sys_memory_create(QUEUES * VIRTIO_QUEUE_PAGES);
	int64_t address = memory < 0 ? memory : sys_memory_map((uint32_t)memory, 1);

	if (address < 0)
		return address;
	memory_at = (uint64_t)address;
	return sys_dma_map(pci.device, (uint32_t)memory, 0, QUEUES * VIRTIO_QUEUE_PAGES, QUEUE_IOVA, 1);
}

static int64_t start(void)
{
	const struct virtio_bus *bus = &pci.bus;
	uint64_t features;
	enum virtio_fault fault = virtio_begin(bus, 0, 0, &features);

	for (uint16_t i = 0; i < QUEUES && !fault; i++) {
		uint64_t offset = (uint64_t)i * VIRTIO_QUEUE_PAGES * VIRTIO_PAGE_BYTES;

		fault = virtio_queue_set_up(bus, i, &queues[i], (void *)(uintptr_t)(memory_at + offset),
			QUEUE_IOVA + offset, VIRTIO_QUEUE_MAX, false, VIRTIO_NO_VECTOR, &notify_offsets[i]);
	}
	results.fault = fault;
	if (fault)
		return -KEUOS_EINVAL;
	for (uint32_t i = 0; i < sizeof(results.mac); i++)
		results.mac[i] = (uint8_t)bus->read(bus->context, VIRTIO_DEVICE, i, 1);
	virtio_end(bus);
	return sys_device_control(pci.device, KEUOS_DEVICE_MASTER, 1);
}

static int64_t open(void)
{
	int64_t device = virtio_pci_find(VIRTIO_PCI_NET);

	if (device < 0)
		return device;
	results.device = (uint32_t)device;
	int64_t error = virtio_pci_open(&pci, (uint32_t)device);

	if (error >= 0)
		error = map_queues();
	return error < 0 ? error : start();
}

static int64_t reset(void)
{
	int64_t error = virtio_pci_reset(&pci);

	return error < 0 ? error : start();
}

enum { DESCRIPTOR_NEXT = 1, POSTED = 0, PIECE = 1, REST = 2 };

/* The buffer in three pieces, the second of them elsewhere: four bytes can be aimed at one address. */
static void split(struct virtio_queue *queue)
{
	struct virtio_descriptor *first = &queue->descriptors[POSTED];
	uint16_t writable = first->flags;

	queue->descriptors[PIECE] = (struct virtio_descriptor){.address = params.split_iova,
		.bytes = params.split_bytes,
		.flags = writable | DESCRIPTOR_NEXT,
		.next = REST};
	queue->descriptors[REST] = (struct virtio_descriptor){
		.address = params.iova + params.split_at, .bytes = params.bytes - params.split_at, .flags = writable};
	first->bytes = params.split_at;
	first->flags = writable | DESCRIPTOR_NEXT;
	first->next = PIECE;
}

/* One buffer is with the device at a time: descriptor 0. */
static bool wait_used(struct virtio_queue *queue, uint64_t until)
{
	uint16_t taken;
	uint32_t bytes;

	do {
		if (virtio_queue_take(queue, &taken, &bytes)) {
			results.used++;
			results.used_bytes = bytes;
			return true;
		}
		sys_yield();
	} while (sys_time() < until);
	return false;
}

static int64_t post(void)
{
	uint32_t number = params.queue;

	if (number >= QUEUES || !queues[number].size)
		return -KEUOS_EINVAL;
	struct virtio_queue *queue = &queues[number];

	results.used = 0;
	for (uint32_t i = 0; i < (params.repeat ? params.repeat : 1); i++) {
		if (!virtio_queue_post(queue, POSTED, params.iova, params.bytes, number == NIC_ROGUE_RECEIVE))
			return -KEUOS_ESTATE; /* the last one is still there */
		if (params.split_bytes)
			split(queue);
		virtio_queue_publish(queue);
		results.posted++;
		pci.bus.notify(&pci, (uint16_t)number, notify_offsets[number]);
		if (!wait_used(queue, sys_time() + params.wait_ns))
			return 0;
		if (params.repeat > 1) /* what each of them caused is seen apart */
			sys_wait(0, sys_time() + PAUSE_NS);
	}
	return 0;
}

static int64_t carry_out(uint32_t operation)
{
	switch (operation) {
	case NIC_ROGUE_OPEN:
		return open();
	case NIC_ROGUE_POST:
		return post();
	case NIC_ROGUE_CALL:
		return syscall_pair(params.number, params.args[0], params.args[1], params.args[2], params.args[3],
			params.args[4], params.args[5])
			.value;
	case NIC_ROGUE_RESET:
		return reset();
	case NIC_ROGUE_ACCEPT: {
		struct keuos_endpoint endpoint;
		int64_t error = sys_channel_accept(&endpoint);

		memcpy((void *)&results.endpoint, &endpoint, sizeof(endpoint));
		return error;
	}
	case NIC_ROGUE_PEEK:
		return *(volatile uint32_t *)(uintptr_t)params.args[0];
	case NIC_ROGUE_POKE:
		*(volatile uint32_t *)(uintptr_t)params.args[0] = (uint32_t)params.args[1];
		return 0;
	default:
		return -KEUOS_EINVAL;
	}
}

int main(const char *args)
{
	(void)args;
	for (;;) {
		results.stray_bits |= sys_wait(results.device ? sys_bit(results.device) : 0, sys_time() + LOOK_NS);
		if (params.step == results.step)
			continue;
		if (params.operation == NIC_ROGUE_LEAVE)
			return 0;
		results.value = carry_out(params.operation);
		/* A call may have cost it the registers. */
		if (params.operation != NIC_ROGUE_CALL)
			results.status = pci.common ? virtio_get_status(&pci.bus) : 0;
		results.step = params.step;
	}
}
