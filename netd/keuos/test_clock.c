/* A clock domain that a test can take over (test_clock.h). */
#include "test_clock.h"

#include "clock.h"

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

void clock_start(void)
{
}

netd_time clock_now(void)
{
	return domain.held ? domain.now : sys_time() / 1000 - domain.behind;
}

static void tell(netd_time due)
{
	test_clock_results.held = domain.held;
	test_clock_results.now = clock_now();
	test_clock_results.pending = due != NETD_NEVER;
	test_clock_results.due = due;
	domain.busy = false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	test_clock_results.request = test_clock_params.request;
}

static void begin(netd_time due)
{
	netd_time now = clock_now();

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	domain.operation = (enum test_clock_operation)test_clock_params.operation;
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
	domain.target = now + test_clock_params.amount;
	domain.busy = true;
}

/* Moves on to the next stop of what is under way; false: it has ended. */
static bool move(netd_time due)
{
	if (domain.now == domain.target)
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
	if (!domain.busy) {
		if (test_clock_params.request == test_clock_results.request)
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
