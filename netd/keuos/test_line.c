/* The line of test_line.h. */
#include "test_line.h"

#include "test_calls.h"
#include "test_clock.h"

#include <string.h>

static struct {
	struct netd_nic *nic;
	const struct netd_nic_driver *driver;                   /* the NIC's own */
	void (*receive)(void *stack, struct netd_frame *frame); /* the stack's own */
	uint8_t peer[NETD_MAC_BYTES];
	uint64_t sent;
} line;

static void receive(void *stack, struct netd_frame *frame)
{
	unsigned type = frame->bytes < NETD_ETHERNET_BYTES ? 0 : (unsigned)frame->data[12] << 8 | frame->data[13];

	if (type != TEST_LINE_CLOCK && type != TEST_LINE_CALLS) {
		line.receive(stack, frame);
		return;
	}
	memcpy(line.peer, frame->data + NETD_MAC_BYTES, sizeof(line.peer));
	if (type == TEST_LINE_CALLS)
		test_calls_take(frame);
	else
		test_clock_take(frame);
}

static bool transmit(void *device, const struct netd_part *parts, unsigned count)
{
	bool taken = line.driver->transmit(device, parts, count);

	line.sent += taken;
	return taken;
}

static const struct netd_nic_driver counting = {.transmit = transmit};

void test_line_start(struct netd_nic *nic)
{
	line.nic = nic;
	line.driver = nic->driver;
	line.receive = nic->client.receive;
	nic->driver = &counting;
	nic->client.receive = receive;
}

uint64_t test_line_sent(void)
{
	return line.sent;
}

bool test_line_send(enum test_line_type type, const void *payload, size_t bytes)
{
	uint8_t header[NETD_ETHERNET_BYTES];
	struct netd_part parts[] = {{header, sizeof(header)}, {payload, bytes}};

	memcpy(header, line.peer, NETD_MAC_BYTES);
	memcpy(header + NETD_MAC_BYTES, line.nic->mac, NETD_MAC_BYTES);
	header[12] = (uint8_t)(type >> 8);
	header[13] = (uint8_t)(type & 0xff);
	return line.driver->transmit(line.nic->device, parts, sizeof(parts) / sizeof(parts[0]));
}
