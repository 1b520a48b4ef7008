/* The keeper of network.h. */
#include "network.h"

#include <keuos/socket.h>
#include <string.h>
#include <user.h>

enum {
	NETD_PAGES = 4096, /* 12 MB for its stack, 1 MB for the NIC, page tables */
	CLASS_NETWORK = 2,
	EXIT_FIRST = 2, /* with these netd/keuos/main.c says that it can't begin: arguments, no NIC, no stack */
	EXIT_LAST = 4,
	SHORT_NS = 250000000, /* a NetD that dies so soon after its start would do so again */
};

const char network_program[] = "netd";

static struct {
	struct child *netd;
	struct keuos_spawn spawn;
	uint64_t started;
	uint32_t pairs;
} network;

const struct child *network_serves(void)
{
	return network.netd;
}

void network_quota(struct keuos_spawn *spawn)
{
	spawn->pages_max = NETD_PAGES;
	spawn->suspended = 1;
}

static int64_t grant_devices(uint32_t process)
{
	static struct keuos_device_info devices[KEUOS_DEVICES];
	int64_t count = sys_device_list(KEUOS_CAP_SYSTEM_INDEX, devices, KEUOS_DEVICES);

	for (int64_t i = 0; i < count && i < KEUOS_DEVICES; i++) {
		int64_t result = 0;

		if (devices[i].class_code >> 16 == CLASS_NETWORK)
			result = sys_cap_grant(process, devices[i].capability, KEUOS_RIGHT_READ | KEUOS_RIGHT_CONTROL);
		if (result < 0)
			return result;
	}
	return count < 0 ? count : 0;
}

int64_t network_start(struct child *netd, const struct keuos_spawn *spawn)
{
	int64_t error = grant_devices(netd->capability);

	if (error < 0)
		return error;
	network.netd = netd;
	network.spawn = *spawn;
	network.started = sys_time();
	return sys_process_start(netd->capability);
}

/* The channel lives as long as its ends; nobody here wants to close it. */
static int64_t bind(uint32_t producer, uint32_t consumer, uint64_t label, enum keuos_kept kept)
{
	struct keuos_bind request = {
		.mode = KEUOS_POLLED_PROOF, .data_order = KEUOS_SOCKET_ORDER, .label = label, .kept = kept};
	int64_t channel = sys_channel_bind(producer, consumer, &request);

	return channel < 0 ? channel : sys_cap_drop((uint32_t)channel);
}

int64_t network_bind(struct child *application, int observer)
{
	uint64_t label = (uint64_t)KEUOS_SOCKET_MARK << KEUOS_SOCKET_MARK_SHIFT |
		(uint64_t)++network.pairs * KEUOS_SOCKET_PAIR | (observer ? KEUOS_SOCKET_OBSERVER : 0);
	int64_t error;

	if (!network.netd)
		return -KEUOS_ESTATE;
	error = bind(application->capability, network.netd->capability, label, KEUOS_KEPT_BY_CONSUMER);
	return error < 0 ? error
			 : bind(network.netd->capability, application->capability, label, KEUOS_KEPT_BY_PRODUCER);
}

/* However long it took: a machine may be slow. */
static int never_began(const struct keuos_process_info *info)
{
	return info->exit_reason == KEUOS_EXIT_CODE && info->exit_detail >= EXIT_FIRST &&
		info->exit_detail <= EXIT_LAST;
}

struct child *network_died(const struct child *child, const struct keuos_process_info *info)
{
	int64_t error;
	struct child *next;

	if (child != network.netd)
		return NULL;
	network.netd = NULL;
	if (never_began(info) || sys_time() - network.started < SHORT_NS)
		return NULL;
	next = child_spawn(&network.spawn, child->owner, &error);
	if (!next)
		return NULL;
	if (network_start(next, &network.spawn) >= 0)
		return next;
	network.netd = NULL;
	sys_process_kill(next->capability);
	return next;
}

int64_t network_end(void)
{
	struct child *netd = network.netd;

	network.netd = NULL;
	return netd ? sys_process_kill(netd->capability) : -KEUOS_ESTATE;
}
