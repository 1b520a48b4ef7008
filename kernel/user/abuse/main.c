/*
 * The abuse program: wears out, ties in knots and hoards what the kernel gives, one call at a time. The host sets
 * `params` before the start and reads `results` after the end, or while it waits. What it leaves with is enum abuse_exit.
 */
#include "abuse.h"

/* One operation, granted to itself: what a channel from this program to itself can carry. */
KEUOS_TEMPLATE(abuse_message, 1, 64, 64, 0);
KEUOS_ACCEPTS(1, 64, 64, 0);

volatile struct abuse_params params;
volatile struct abuse_results results;

int64_t abuse_must(int64_t result, int line)
{
	if (!sys_is_error(result))
		return result;
	results.failed = (uint32_t)-result;
	results.line = (uint32_t)line;
	sys_exit(1);
}

void abuse_refused(int64_t result)
{
	results.error = (uint32_t)-result;
	if (results.error < ABUSE_REASONS)
		results.refused[results.error]++;
}

struct keuos_process_info abuse_info(void)
{
	struct keuos_process_info info;

	MUST(sys_process_info(KEUOS_CAP_SELF, &info));
	if (info.pages > results.pages)
		results.pages = info.pages;
	results.pages_max = info.pages_max;
	return info;
}

_Noreturn void abuse_wait(void)
{
	results.stage = ABUSE_DONE;
	for (;;)
		sys_wait(0, KEUOS_FOREVER);
}

static int attempt(uint32_t op)
{
	switch (op) {
	case ABUSE_WAIT:
		abuse_wait();
	case ABUSE_SPIN:
		results.stage = ABUSE_DONE;
		for (;;)
			__asm__ volatile("" ::: "memory");
	case ABUSE_LEAVE:
		return 0;
	case ABUSE_GRANT_CHAIN:
	case ABUSE_GRANT_FAN:
	case ABUSE_ALIAS:
	case ABUSE_PAGE_TABLES:
	case ABUSE_WINDOWS:
		return abuse_capabilities(op);
	case ABUSE_SELF_TAIL:
	case ABUSE_HOARD:
	case ABUSE_PARTIAL:
	case ABUSE_REVOKE:
	case ABUSE_CONSUMER:
		return abuse_channels(op);
	default:
		return abuse_processes(op);
	}
}

int main(const char *args)
{
	int outcome;

	(void)args;
	results.stage = ABUSE_STARTED;
	outcome = attempt(params.op);
	results.stage = ABUSE_DONE;
	return outcome;
}
