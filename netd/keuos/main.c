/*
 * NetD on KeuOS: one thread, one loop, one place to sleep.
 *
 *     frames -> stack -> applications' rings -> stack -> frames;  nothing left: sleep until NIC, ring or deadline
 *
 * What lives here: the start (arguments, memory, NIC, stack, services) and the loop. Protocols are netd/stack's, rings
 * applications.c's, the NIC wire.c's, time clock.h's. All memory is taken before the first frame.
 */
#include "applications.h"
#include "arguments.h"
#include "clock.h"
#include "direct.h"
#include "memory.h"
#include "wire.h"

#include <netd/services.h>
#include <user.h>

enum {
	SERVICE_SESSIONS = 48,
	SERVICE_BYTES = 8192,
	EXIT_ARGUMENTS = 2,
	EXIT_NO_NIC = 3,
	EXIT_NO_STACK = 4,
	EXIT_NIC_BROKE = 5,
};

/* What the loop counts; read by tests out of this process's memory. */
struct loop_counters {
	uint64_t turns, sleeps;
	uint32_t serving; /* 1: addresses are set and frames are taken */
} loop_counters;

static _Alignas(16) uint8_t service_memory[SERVICE_BYTES];
static struct wire wire;
static struct arguments arguments;

static bool add_routes(struct netd *stack)
{
	for (unsigned i = 0; i < arguments.route_count; i++) {
		const struct argument_route *route = &arguments.routes[i];

		if (netd_add_route(stack, route->network, route->mask, route->gateway) == NETD_OK)
			continue;
		user_log(
			"route %u makes no sense: expected a network without host bits and, with ip=, another host on the link",
			i + 1);
		return false;
	}
	return true;
}

static struct netd *start(void)
{
	size_t bytes = netd_bytes(&arguments.config.limits);
	struct netd *stack;
	int result;

	if (!bytes || bytes > stack_memory_bytes) {
		user_log("these limits need %lu bytes, and there are %lu for the stack", (unsigned long)bytes,
			(unsigned long)stack_memory_bytes);
		return NULL;
	}
	if (sys_getrandom(arguments.config.entropy, sizeof(arguments.config.entropy)) < 0) {
		user_log("no source of randomness: sequence numbers could be guessed");
		return NULL;
	}
	stack = netd_start(stack_memory, bytes, &arguments.config, &wire.nic, clock_now());
	if (!stack) {
		user_log("the stack refuses its limits or the NIC: an MTU of %u", wire.nic.mtu);
		return NULL;
	}
	result = sockets_configure(stack, &arguments.own);
	if (result == NETD_OK && !add_routes(stack))
		return NULL;
	if (result == NETD_OK && arguments.services)
		result = netd_services_bytes(SERVICE_SESSIONS) <= SERVICE_BYTES
			? netd_services_start(stack, service_memory, SERVICE_SESSIONS)
			: NETD_NO_ROOM;
	if (result != NETD_OK) {
		user_log("the address or the services can't be set up: %d (enum netd_result)", result);
		return NULL;
	}
	return stack;
}

/* Does what there is to do. When the stack wants to run next; *any: whether something was done. */
static netd_time turn(struct netd *stack, bool *any)
{
	netd_time now = clock_now(), due;

	loop_counters.turns++;
	netd_set_time(stack, now);
	direct_reclaim();
	*any = wire_poll(&wire);
	*any = applications_serve() || *any;
	due = netd_run(stack, now);
	wire_flush(&wire);
	*any = *any || due <= now;
	return due;
}

static void loop(struct netd *stack)
{
	while (!wire_broken(&wire)) {
		bool any;
		netd_time due = turn(stack, &any);
		uint64_t bits;

		if (any || clock_idle(due))
			continue;
		if (applications_arm()) {
			applications_disarm();
			continue;
		}
		loop_counters.sleeps++;
		bits = wire_sleep(&wire, clock_sleep_until(due));
		applications_disarm();
		if (bits & sys_bit(KEUOS_CAP_SELF))
			applications_accept();
	}
}

int main(const char *args)
{
	char word[ARGUMENT_BYTES];
	struct netd *stack;

	if (!arguments_parse(&arguments, args, word)) {
		user_log(
			"'%s' is no argument: expected ip=A.B.C.D/BITS gw=A.B.C.D dns=A.B.C.D or dhcp, up to four "
			"route=A.B.C.D/BITS,A.B.C.D, mtu=68..1500, msl=MS, ecn, noservices, or a limit: blocks connections send receive frames udp neighbours reassemblies",
			word);
		return EXIT_ARGUMENTS;
	}
	if (!wire_open(&wire, arguments.mtu))
		return EXIT_NO_NIC;
	clock_start();
	stack = start();
	if (!stack)
		return EXIT_NO_STACK;
	clock_wire(&wire.nic);
	applications_start(stack, &wire, &arguments.own);
	applications_accept();
	wire_run(&wire);
	loop_counters.serving = 1;
	loop(stack);
	user_log("the NIC broke its rules, or failed: fault %u (enum virtio_fault, e1000e_fault)",
		nic_device_fault(&wire.device));
	return EXIT_NIC_BROKE;
}
