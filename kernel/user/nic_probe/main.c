/*
 * A driver and nothing above it: the NIC by its driver of netd/drivers, frames in and out of variables that the host
 * writes and reads. With it the driver, the kernel's device calls and the wire are tested before there is a stack, and a
 * NIC's driver can be killed at will.
 */
#include "nic_probe.h"

#include <nic_device.h>
#include <string.h>
#include <user.h>

enum { LOOK_NS = 2000000, BUDGET = 64 };

volatile struct nic_probe_params params;
volatile struct nic_probe_results results;
uint8_t frame_out[NIC_PROBE_FRAME_BYTES];
struct nic_probe_frame frames_in[NIC_PROBE_FRAMES];

static struct nic_device device;
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
	results.frame_at = (uint32_t)((uintptr_t)frame->data - device.memory_at) % NIC_PROBE_FRAME_BYTES;
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

static int64_t start(void)
{
	results.fault = nic_device_start(&device, &nic);
	if (results.fault)
		return -KEUOS_EINVAL;
	int64_t error = nic_device_run(&device);

	if (error < 0)
		return error;
	for (size_t i = 0; i < NETD_MAC_BYTES; i++)
		results.mac[i] = nic.mac[i];
	results.mtu = nic.mtu;
	results.link_up = nic.link_up;
	results.stage = NIC_PROBE_RUNNING;
	return 0;
}

static int64_t open(void)
{
	const char *what;
	int64_t error = nic_device_find(&device);

	if (error >= 0)
		error = nic_device_open(&device, &what);
	results.device = device.device;
	results.memory = device.memory;
	results.memory_at = device.memory_at;
	results.memory_iova = NIC_DEVICE_IOVA;
	return error < 0 ? error : start();
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
	int64_t error = nic_device_reset(&device);

	let_go();
	return error < 0 ? error : start();
}

static void send(void)
{
	struct netd_part part = {frame_out, params.send_bytes};

	for (uint32_t i = 0; i < (params.copies ? params.copies : 1); i++)
		while (!nic.driver->transmit(nic.device, &part, 1) && nic_device_runs(&device) && nic.link_up)
			nic_device_poll(&device, BUDGET);
	results.sent = params.send;
}

static void turn(void)
{
	nic_device_disarm(&device);
	while (nic_device_poll(&device, BUDGET) > 0)
		;
	if (params.send != results.sent)
		send();
	if (!params.hold)
		let_go();
	if (params.restart != results.restarted) {
		results.error = (int32_t)restart();
		results.restarted = params.restart;
	}
	results.fault = nic_device_fault(&device);
	if (!nic_device_runs(&device))
		results.stage = NIC_PROBE_STOPPED;
	memcpy((void *)&results.counters, nic_device_counters(&device), sizeof(results.counters));
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
		if (nic_device_arm(&device))
			continue;
		uint64_t bit = sys_bit(device.device);

		if (sys_device_wait(device.device, bit, sys_time() + LOOK_NS) & bit) {
			results.wakes++;
			nic_device_look(&device);
		}
	}
	return 0;
}
