/* A clock domain that a test can take over (test_clock.h). */
#include "test_clock.h"

#include "clock.h"

#include <string.h>
#include <user.h>

enum { LOOK_NS = 500000 }; /* while it is held: how often the test's wishes are looked at */

volatile struct test_clock_params test_clock_params;
volatile struct test_clock_results test_clock_results;

static struct {
	bool held;
	bool busy; /* with a step or an advance */
	enum test_clock_operation operation;
	netd_time now;    /* if it is held */
	netd_time target; /* of what is under way */
	netd_time behind; /* by how much the domain is behind the kernel's time, after holds and advances; wraps */
} domain;

/* Orders by frames: this stands between the NIC's driver and the stack. */
static struct {
	struct netd_nic *nic;
	const struct netd_nic_driver *driver;                   /* the NIC's own */
	void (*receive)(void *stack, struct netd_frame *frame); /* the stack's own */
	uint8_t peer[NETD_MAC_BYTES];                           /* who gave the order */
	struct test_clock_order order;
	bool ordered;    /* an order waits to be begun */
	bool by_frame;   /* what is under way was ordered so */
	bool report_due; /* the NIC had no room for it */
	uint64_t sent;
} line;

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "orders and reports are copied as they lie");

static bool is_order(const struct netd_frame *frame)
{
	return frame->bytes >= NETD_ETHERNET_BYTES + sizeof(line.order) &&
		frame->data[12] == TEST_CLOCK_ETHERTYPE >> 8 && frame->data[13] == (TEST_CLOCK_ETHERTYPE & 0xff);
}

static void receive(void *stack, struct netd_frame *frame)
{
	if (!is_order(frame)) {
		line.receive(stack, frame);
		return;
	}
	memcpy(line.peer, frame->data + NETD_MAC_BYTES, sizeof(line.peer));
	memcpy(&line.order, frame->data + NETD_ETHERNET_BYTES, sizeof(line.order));
	line.ordered = true;
	netd_frame_release(frame);
}

static bool transmit(void *device, const struct netd_part *parts, unsigned count)
{
	bool taken = line.driver->transmit(device, parts, count);

	line.sent += taken;
	return taken;
}

static const struct netd_nic_driver counting = {.transmit = transmit};

void clock_wire(struct netd_nic *nic)
{
	line.nic = nic;
	line.driver = nic->driver;
	line.receive = nic->client.receive;
	nic->driver = &counting;
	nic->client.receive = receive;
}

void clock_start(void)
{
}

netd_time clock_now(void)
{
	return domain.held ? domain.now : sys_time() / 1000 - domain.behind;
}

static void report(void)
{
	struct test_clock_report report = {.request = line.order.request, .now = clock_now(), .sent = line.sent};
	uint8_t header[NETD_ETHERNET_BYTES];

	memcpy(header, line.peer, NETD_MAC_BYTES);
	memcpy(header + NETD_MAC_BYTES, line.nic->mac, NETD_MAC_BYTES);
	header[12] = TEST_CLOCK_ETHERTYPE >> 8;
	header[13] = TEST_CLOCK_ETHERTYPE & 0xff;
	struct netd_part parts[] = {{header, sizeof(header)}, {&report, sizeof(report)}};

	line.report_due = !line.driver->transmit(line.nic->device, parts, sizeof(parts) / sizeof(parts[0]));
}

static void tell(netd_time due)
{
	test_clock_results.held = domain.held;
	test_clock_results.now = clock_now();
	test_clock_results.pending = due != NETD_NEVER;
	test_clock_results.due = due;
	domain.busy = false;
	if (line.by_frame) {
		report();
		return;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	test_clock_results.request = test_clock_params.request;
}

static void begin(netd_time due)
{
	netd_time now = clock_now();
	uint64_t amount;

	line.by_frame = line.ordered;
	line.ordered = false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	domain.operation =
		(enum test_clock_operation)(line.by_frame ? line.order.operation : test_clock_params.operation);
	amount = line.by_frame ? line.order.amount : test_clock_params.amount;
	if (domain.operation == TEST_CLOCK_RELEASE) {
		domain.held = false;
		domain.behind = sys_time() / 1000 - now;
		tell(due);
		return;
	}
	domain.held = true;
	domain.now = now;
	if (domain.operation == TEST_CLOCK_HOLD) {
		tell(due);
		return;
	}
	domain.target = now + amount;
	domain.busy = true;
}

/* Moves on to the next stop of what is under way; false: it has ended. */
static bool move(netd_time due)
{
	if (domain.now == domain.target || (domain.operation == TEST_CLOCK_RUN && line.sent != line.order.seen))
		return false;
	if (due <= domain.target) {
		domain.now = due > domain.now ? due : domain.now;
		test_clock_results.steps++;
		if (domain.operation == TEST_CLOCK_STEP)
			domain.target = domain.now;
	} else if (domain.operation == TEST_CLOCK_STEP && due == NETD_NEVER) {
		return false;
	} else {
		domain.now = domain.target;
	}
	return true;
}

bool clock_idle(netd_time due)
{
	if (line.report_due)
		report();
	if (!domain.busy) {
		if (!line.ordered && test_clock_params.request == test_clock_results.request)
			return false;
		begin(due);
		if (!domain.busy)
			return true;
	}
	if (move(due))
		return true;
	tell(due);
	return false;
}

uint64_t clock_sleep_until(netd_time due)
{
	uint64_t look = sys_time() + LOOK_NS * (domain.held ? 1 : 10);
	uint64_t until = domain.held || due > (KEUOS_FOREVER / 1000 - domain.behind) ? KEUOS_FOREVER
										     : (due + domain.behind) * 1000;

	return until < look ? until : look;
}
