/* A clock domain that a test can take over (test_clock.h). */
#include "test_clock.h"

#include "clock.h"
#include "test_calls.h"
#include "test_line.h"

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

/* Orders by frames. */
static struct {
	struct test_clock_order order;
	bool ordered;    /* an order waits to be begun */
	bool by_frame;   /* what is under way was ordered so */
	bool report_due; /* the NIC had no room for it */
} line;

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "orders and reports are copied as they lie");

void test_clock_take(struct netd_frame *frame)
{
	if (frame->bytes >= NETD_ETHERNET_BYTES + sizeof(line.order)) {
		memcpy(&line.order, frame->data + NETD_ETHERNET_BYTES, sizeof(line.order));
		line.ordered = true;
	}
	netd_frame_release(frame);
}

void clock_wire(struct netd_nic *nic)
{
	test_line_start(nic);
	test_calls_start();
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
	struct test_clock_report report = {.request = line.order.request, .now = clock_now(), .sent = test_line_sent()};

	line.report_due = !test_line_send(TEST_LINE_CLOCK, &report, sizeof(report));
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
	if (domain.now == domain.target || (domain.operation == TEST_CLOCK_RUN && test_line_sent() != line.order.seen))
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
	if (test_calls_idle())
		return true;
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
