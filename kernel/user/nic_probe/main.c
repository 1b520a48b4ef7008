/*
 * A driver and nothing above it: virtio-net by netd/drivers/virtio_net.c, frames in and out of variables that the host
 * writes and reads. With it the driver, the kernel's device calls and the wire are tested before there is a stack, and a
 * NIC's driver can be killed at will.
 */
#include "nic_probe.h"

#include <string.h>
#include <user.h>
#include <virtio_pci.h>

enum { IOVA = 0x40000000, LOOK_NS = 2000000, BUDGET = 64 };

volatile struct nic_probe_params params;
volatile struct nic_probe_results results;
uint8_t frame_out[NIC_PROBE_FRAME_BYTES];
struct nic_probe_frame frames_in[NIC_PROBE_FRAMES];

static struct virtio_pci pci;
static struct virtio_net net;
static struct netd_nic nic;
static struct netd_frame held[NIC_PROBE_HELD];

static void keep(const struct netd_frame *frame)
{
	struct nic_probe_frame *to = &frames_in[results.received % NIC_PROBE_FRAMES];

	to->bytes = (uint32_t)frame->bytes;
	memcpy(to->data, frame->data, frame->bytes < sizeof(to->data) ? frame->bytes : sizeof(to->data));
	results.received++;
}

static void echo(const struct netd_frame *frame)
{
	uint8_t addresses[2 * NETD_MAC_BYTES];

	memcpy(addresses, frame->data + NETD_MAC_BYTES, NETD_MAC_BYTES);
	memcpy(addresses + NETD_MAC_BYTES, nic.mac, NETD_MAC_BYTES);
	struct netd_part parts[2] = {
		{addresses, sizeof(addresses)}, {frame->data + sizeof(addresses), frame->bytes - sizeof(addresses)}};

	results.echoed += nic.driver->transmit(nic.device, parts, 2);
}

static void receive(void *stack, struct netd_frame *frame)
{
	(void)stack;
	keep(frame);
	if (params.echo)
		echo(frame);
	if (params.hold && results.held < NIC_PROBE_HELD) {
		held[results.held] = *frame;
		results.held++;
		return;
	}
	netd_frame_release(frame);
}

static void room(void *stack)
{
	(void)stack;
	results.rooms++;
}

static void link_changed(void *stack)
{
	(void)stack;
	results.link_changes++;
	results.link_up = nic.link_up;
}

static int64_t map_ranges(void)
{
	for (uint32_t i = 0; i < VIRTIO_NET_RANGES; i++) {
		const struct virtio_net_range *range = &virtio_net_ranges[i];
		int64_t error = sys_dma_map(results.device, results.memory, range->first_page, range->pages,
			IOVA + (uint64_t)range->first_page * VIRTIO_PAGE_BYTES, range->writable);

		if (error < 0)
			return error;
	}
	return 0;
}

static int64_t start(void)
{
	enum virtio_fault fault =
		virtio_net_start(&net, &nic, &pci.bus, (void *)(uintptr_t)results.memory_at, IOVA, VIRTIO_PCI_VECTOR);

	results.fault = fault;
	if (fault)
		return -KEUOS_EINVAL;
	int64_t error = sys_device_control(results.device, KEUOS_DEVICE_MASTER, 1);

	if (error < 0)
		return error;
	virtio_net_run(&net);
	for (size_t i = 0; i < NETD_MAC_BYTES; i++)
		results.mac[i] = nic.mac[i];
	results.mtu = nic.mtu;
	results.link_up = nic.link_up;
	results.features = net.features;
	results.stage = NIC_PROBE_RUNNING;
	return 0;
}

static int64_t open(void)
{
	int64_t result = virtio_pci_find(VIRTIO_PCI_NET);

	if (result < 0)
		return result;
	results.device = (uint32_t)result;
	result = virtio_pci_open(&pci, results.device);
	if (result < 0)
		return result;
	result = sys_memory_create(VIRTIO_NET_PAGES);
	if (result < 0)
		return result;
	results.memory = (uint32_t)result;
	result = sys_memory_map(results.memory, 1);
	if (result < 0)
		return result;
	results.memory_at = (uint64_t)result;
	results.memory_iova = IOVA;
	result = map_ranges();
	return result < 0 ? result : start();
}

static void let_go(void)
{
	while (results.held > 0) {
		results.held--;
		netd_frame_release(&held[results.held]);
	}
}

static int64_t restart(void)
{
	virtio_net_stop(&net, VIRTIO_FAULT_NONE);
	let_go();
	int64_t error = virtio_pci_reset(&pci);

	return error < 0 ? error : start();
}

static void send(void)
{
	struct netd_part part = {frame_out, params.send_bytes};

	for (uint32_t i = 0; i < (params.copies ? params.copies : 1); i++)
		while (!nic.driver->transmit(nic.device, &part, 1) && net.running && nic.link_up)
			virtio_net_poll(&net, BUDGET);
	results.sent = params.send;
}

static void turn(void)
{
	virtio_net_disarm(&net);
	while (virtio_net_poll(&net, BUDGET) > 0)
		;
	if (params.send != results.sent)
		send();
	if (!params.hold)
		let_go();
	if (params.restart != results.restarted) {
		results.error = (int32_t)restart();
		results.restarted = params.restart;
	}
	results.fault = net.fault;
	if (!net.running)
		results.stage = NIC_PROBE_STOPPED;
	memcpy((void *)&results.counters, &net.counters, sizeof(net.counters));
}

int main(const char *args)
{
	(void)args;
	nic.client = (struct netd_nic_client){.receive = receive, .room = room, .link = link_changed};
	results.stage = NIC_PROBE_OPENING;
	results.error = (int32_t)open();
	if (results.error < 0)
		return 1;
	while (!params.die) {
		turn();
		if (virtio_net_arm(&net))
			continue;
		uint64_t bit = sys_bit(results.device);

		if (sys_device_wait(results.device, bit, sys_time() + LOOK_NS) & bit) {
			results.wakes++;
			virtio_net_look(&net);
		}
	}
	return 0;
}
