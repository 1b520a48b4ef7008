/* Capabilities and memory beyond measure: long chains of grants, indices that share a bit, page tables nobody pays. */
#include "abuse.h"

/* The machine has few memory objects; each lies in a window with tables of its own. */
enum { SMALL_OBJECTS = 10 };

/* Grants a memory object to itself, from the last copy or always from the first, till the kernel has enough. */
static int grant_and_revoke(int chain)
{
	int64_t first, from, made;

	first = from = MUST(sys_memory_create(1));
	results.before = abuse_info().capabilities;
	for (;;) {
		made = sys_cap_grant(KEUOS_CAP_SELF, (uint32_t)from, KEUOS_RIGHT_READ | KEUOS_RIGHT_GRANT);
		if (made < 0)
			break;
		results.count++;
		if (chain)
			from = made;
	}
	abuse_refused(made);
	results.value = sys_cap_revoke((uint32_t)first);
	results.after = abuse_info().capabilities;
	return 0;
}

/* Capabilities i and i + 64 share a notification bit: making the one must not take what the other was told. */
static int share_a_bit(void)
{
	struct keuos_endpoint ends[2];
	int64_t made;
	uint32_t victim;

	do {
		made = MUST(sys_cap_grant(KEUOS_CAP_SELF, KEUOS_CAP_SELF, KEUOS_RIGHT_READ));
	} while (made < 65);
	abuse_bind_self(KEUOS_POLLED, KEUOS_NO_DATA, ends);
	victim = ends[0].capability;
	results.index = victim;
	sys_wait(sys_bit(victim), 0);
	MUST(sys_doorbell(ends[1].capability));
	MUST(sys_cap_drop(victim - 64));
	results.made = (uint32_t)MUST(sys_cap_grant(KEUOS_CAP_SELF, KEUOS_CAP_SELF, KEUOS_RIGHT_READ));
	results.value = (int64_t)sys_wait(sys_bit(victim), 0);
	return 0;
}

/* Takes memory objects, unmapped, till only `spare` pages are left: small ones, then what remains as one. How many. */
static uint32_t spend_pages(uint32_t spare, uint32_t *objects)
{
	struct keuos_process_info info = abuse_info();
	uint32_t count = 0;

	while (info.pages + spare < info.pages_max) {
		uint32_t left = info.pages_max - info.pages - spare;

		objects[count] = (uint32_t)MUST(sys_memory_create(count < SMALL_OBJECTS ? 1 : left));
		count++;
		info = abuse_info();
	}
	return count;
}

static int map_everything(void)
{
	uint32_t objects[SMALL_OBJECTS + 1];
	uint32_t count = spend_pages(params.spare, objects);

	results.before = count;
	for (uint32_t i = 0; i < count; i++) {
		int64_t address = sys_memory_map(objects[i], 1);

		abuse_info();
		if (sys_is_error(address)) {
			abuse_refused(address);
			continue;
		}
		*(volatile uint8_t *)(uintptr_t)address = 1;
		results.count++;
	}
	return 0;
}

static int bind_everything(void)
{
	uint32_t objects[SMALL_OBJECTS + 1];
	struct keuos_bind bind = {.mode = KEUOS_POLLED, .data_order = KEUOS_NO_DATA};
	int64_t channel;

	spend_pages(params.spare, objects);
	while ((channel = sys_channel_bind(KEUOS_CAP_SELF, KEUOS_CAP_SELF, &bind)) >= 0) {
		results.count++;
		abuse_info();
	}
	abuse_refused(channel);
	abuse_info();
	return 0;
}

int abuse_capabilities(uint32_t op)
{
	switch (op) {
	case ABUSE_GRANT_CHAIN:
		return grant_and_revoke(1);
	case ABUSE_GRANT_FAN:
		return grant_and_revoke(0);
	case ABUSE_ALIAS:
		return share_a_bit();
	case ABUSE_PAGE_TABLES:
		return map_everything();
	case ABUSE_WINDOWS:
		return bind_everything();
	default:
		return 2;
	}
}
