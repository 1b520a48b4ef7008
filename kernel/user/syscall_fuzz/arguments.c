/*
 * What the calls are given. Two of three arguments are what the call asks for, near enough to get far; the third is a
 * boundary of something, or nonsense. What the program writes itself lies elsewhere than what it has the kernel write,
 * so that no call can change the books.
 */
#include "fuzz.h"

#include <keuos/device.h>

uint8_t fuzz_kinds[KEUOS_CAPABILITIES];
uint32_t fuzz_trace_capability;
uint32_t fuzz_scratch_capability;

static _Alignas(64) uint8_t request[512]; /* structures that calls read */
static _Alignas(64) uint8_t answer[512];  /* structures that calls write, none of them longer */
static const uint8_t constant[64] = {1};  /* readable and nothing else */
static uint32_t lines;                    /* logged, or sent to the console */

enum { LINES_MAX = 3 };

static const uint64_t edges[] = {0, 1, 2, 63, 64, 127, 128, 255, 256, 257, 4095, 4096, 4097, 8192, 8193, 0x7fffffff,
	0x80000000, 0xffffffff, UINT64_C(0x100000000), UINT64_C(0x100000001), UINT64_C(0x7ffffffff000),
	UINT64_C(0x7fffffffffff), UINT64_C(0x800000000000), UINT64_C(0xffff800000000000), INT64_MAX,
	UINT64_C(0x8000000000000000), UINT64_MAX - 4095, UINT64_MAX - 1, UINT64_MAX};

static uint64_t edge(void)
{
	return fuzz_draw(4) ? edges[fuzz_draw(sizeof(edges) / sizeof(edges[0]))] : fuzz_any();
}

static int rarely(void)
{
	return fuzz_draw(6) == 0;
}

/* Where memory objects, channels and a device's registers may be mapped, and the pages behind them. */
static uint64_t window(void)
{
	if (params.device && fuzz_draw(3) == 0)
		return UINT64_C(0x300000000000) + ((uint64_t)params.device << 35) + (fuzz_draw(6) << 32) +
			fuzz_draw(8) * KEUOS_PAGE_BYTES;

	uint64_t index = 2 + fuzz_draw(24);

	index += index == fuzz_trace_capability ? 24 : 0;

	uint64_t page = fuzz_draw(8) * KEUOS_PAGE_BYTES;

	return fuzz_draw(2) ? UINT64_C(0x100000000000) + (index << 20) + page
			    : UINT64_C(0x200000000000) + (index << 24) + page;
}

/* An address that a call may find anything at. What it may write there never is something that this program needs. */
static uint64_t address(uint64_t bytes)
{
	uint64_t scratch = fuzz_scratch(), end = scratch + FUZZ_SCRATCH_PAGES * KEUOS_PAGE_BYTES;

	switch (fuzz_draw(12)) {
	case 0:
		return edge();
	case 1:
		return window() + fuzz_draw(64);
	case 2:
		return (uintptr_t)constant; /* writing faults */
	case 3:
		return (uintptr_t)&fuzz_instruction;
	case 4:
		return end - fuzz_draw(bytes < 4096 ? bytes + 2 : 4096); /* runs into nothing */
	case 5:
		return UINT64_C(0x7ffff0000000) - fuzz_draw(2); /* the stack's end */
	case 6:
		return scratch - fuzz_draw(64);
	case 7:
		return UINT64_C(0x7ffffffff000) - fuzz_draw(bytes < 4096 ? bytes + 2 : 4096);
	case 8:
		return scratch + KEUOS_PAGE_BYTES - fuzz_draw(64); /* across pages */
	default:
		return scratch + fuzz_draw(4096);
	}
}

static uint64_t pointer_to(uint8_t *good, uint64_t bytes)
{
	return rarely() ? address(bytes) : (uintptr_t)good;
}

/* Indices that a capability may have: a few low ones are used; the others are looked at all the same. */
uint64_t fuzz_capability(enum keuos_capability_type kind)
{
	uint64_t index = fuzz_draw(KEUOS_CAPABILITIES);

	if (rarely())
		index = edge();
	else
		for (int tries = 0; tries < 64; tries++) {
			index = fuzz_draw(tries < 48 ? 32 : KEUOS_CAPABILITIES);
			if (fuzz_kinds[index] == kind ||
				(kind == KEUOS_CAP_PROCESS && fuzz_kinds[index] == FUZZ_KIND_SELF && fuzz_draw(4) == 0))
				break;
		}
	return index == fuzz_trace_capability ? KEUOS_CAPABILITIES : index;
}

static uint64_t any_capability(void)
{
	return fuzz_capability((enum keuos_capability_type)fuzz_draw(KEUOS_CAP_DEVICE + 1));
}

static uint64_t end_of_channel(void)
{
	return fuzz_capability(fuzz_draw(2) ? KEUOS_CAP_PRODUCER : KEUOS_CAP_CONSUMER);
}

static void put_decimal(char *at, uint64_t value)
{
	char digits[20];
	int count = 0;

	do
		digits[count++] = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	while (count)
		*at++ = digits[--count];
	*at = 0;
}

static uint64_t quota(void)
{
	static const uint32_t some[] = {0, 0, 1, 2, 90, 110, 150, 0x7fffffff, 0xffffffff};

	return some[fuzz_draw(sizeof(some) / sizeof(some[0]))];
}

static uint64_t spawn_request(void)
{
	static const char *const names[] = {"syscall_fuzz", "syscall_fuzz", "syscall_fuzz", "sleeper", "sleeper",
		"spin", "no such file", "", "console/"};
	struct keuos_spawn *spawn = (struct keuos_spawn *)(void *)request;
	const char *name = names[fuzz_draw(sizeof(names) / sizeof(names[0]))];
	size_t at = 0;

	*spawn = (struct keuos_spawn){.core = (uint32_t)fuzz_draw(2),
		.priority = name[0] && name[1] == 'p' ? 0 : (uint32_t)fuzz_draw(2), /* spin */
		.suspended = (uint32_t)fuzz_draw(2),
		.pages_max = fuzz_draw(3) ? 110
			: fuzz_draw(3)    ? (uint32_t)quota()
					  : (uint32_t)fuzz_draw(64),
		.channels_max = (uint32_t)fuzz_draw(3),
		.processes_max = (uint32_t)fuzz_draw(2)};
	for (; name[at]; at++)
		spawn->name[at] = name[at];
	put_decimal(spawn->args, fuzz_any() >> 1);
	switch (fuzz_draw(12)) {
	case 0:
		spawn->core = (uint32_t)edge();
		break;
	case 1:
		spawn->priority = (uint32_t)edge();
		break;
	case 2:
		spawn->channels_max = (uint32_t)quota();
		spawn->processes_max = (uint32_t)quota();
		break;
	case 3:
		for (at = 0; at < sizeof(spawn->name); at++)
			spawn->name[at] = (char)fuzz_any();
		break;
	default:
		break;
	}
	return pointer_to(request, sizeof(*spawn));
}

static uint64_t bind_request(void)
{
	struct keuos_bind *bind = (struct keuos_bind *)(void *)request;

	*bind = (struct keuos_bind){.mode = (uint32_t)fuzz_draw(3),
		.data_order = fuzz_draw(2) ? (uint32_t)fuzz_draw(3) : KEUOS_NO_DATA,
		.label = fuzz_any(),
		.kept = (uint32_t)fuzz_draw(3)};
	if (rarely())
		bind->kept = (uint32_t)edge();
	if (rarely())
		bind->mode = (uint32_t)edge();
	if (rarely())
		bind->data_order = (uint32_t)edge();
	return pointer_to(request, sizeof(*bind));
}

static uint64_t rights(void)
{
	return rarely() ? edge() : fuzz_draw(3) ? KEUOS_RIGHT_ALL : fuzz_draw(KEUOS_RIGHT_ALL + 1);
}

/* Nobody need wake this program up: it would be late for the rest of its calls. */
static uint64_t deadline(void)
{
	switch (fuzz_draw(16)) {
	case 0:
		return sys_time() + fuzz_draw(20000);
	case 1:
		return sys_time() - fuzz_draw(1000);
	default:
		return fuzz_draw(1000000);
	}
}

/* Bytes of a transfer: mostly few, so that many are made. */
static uint64_t transfer(void)
{
	return rarely() ? edge() : fuzz_draw(16) ? fuzz_draw(300) : fuzz_draw(FUZZ_SCRATCH_PAGES * KEUOS_PAGE_BYTES);
}

static int text(uint64_t *at, uint64_t *bytes, uint64_t most)
{
	*bytes = fuzz_draw(2) ? most + 1 + fuzz_draw(3) : edge();
	*at = address(*bytes);
	if (*bytes <= most && *at != 0 && *at < UINT64_C(0x8000000000000000)) {
		if (lines >= LINES_MAX)
			*at = 0; /* said enough */
		else
			lines++, *bytes %= 32;
	}
	return 1;
}

static int machine_arguments(uint64_t number, uint64_t a[FUZZ_ARGUMENTS])
{
	a[0] = params.system && !rarely() ? KEUOS_CAP_SYSTEM_INDEX : any_capability();
	switch (number) {
	case KEUOS_SYS_CONSOLE_READ:
		a[2] = rarely() ? edge() : 0; /* what the host says is not for this program */
		a[1] = a[2] ? 0 : address(64);
		return 1;
	case KEUOS_SYS_CONSOLE_WRITE:
		return text(&a[1], &a[2], KEUOS_CONSOLE_WRITE_MAX);
	case KEUOS_SYS_EVENT_READ:
		a[1] = fuzz_draw(2) ? fuzz_draw(1000) : edge();
		a[3] = fuzz_draw(2) ? fuzz_draw(8) : edge();
		a[2] = address(a[3] * 120);
		return 1;
	case KEUOS_SYS_PROCESS_LIST:
	case KEUOS_SYS_CHANNEL_LIST:
		a[2] = fuzz_draw(2) ? fuzz_draw(8) : edge();
		a[1] = address(a[2] * 100);
		return 1;
	case KEUOS_SYS_INITRD_LIST:
		a[1] = fuzz_draw(2) ? fuzz_draw(40) : edge();
		a[2] = pointer_to(answer, KEUOS_NAME_BYTES);
		return 1;
	case KEUOS_SYS_DEVICE_LIST:
		a[2] = fuzz_draw(2) ? fuzz_draw(4) : edge();
		a[1] = address(a[2] * 200);
		return 1;
	case KEUOS_SYS_REBOOT:
		a[1] = KEUOS_REBOOT_POWER_OFF + 1 + fuzz_draw(UINT32_MAX);
		return 1;
	default:
		a[1] = UINT32_MAX - fuzz_draw(1000); /* no operation of a HIL build */
		return 1;
	}
}

static int channel_arguments(uint64_t number, uint64_t a[FUZZ_ARGUMENTS])
{
	switch (number) {
	case KEUOS_SYS_NOTIFY:
	case KEUOS_SYS_NOTIFY_AND_WAIT:
		/* With nothing published every number that is allowed is an offence: deeds.c does the rest. */
		a[0] = fuzz_capability(KEUOS_CAP_PRODUCER);
		a[1] = fuzz_draw(2) ? 0 : KEUOS_NOTIFY_MAX + 1 + fuzz_any() / 2;
		if (params.role != FUZZ_FAMILY && rarely())
			a[1] = 1 + fuzz_draw(KEUOS_NOTIFY_MAX);
		return 1;
	case KEUOS_SYS_CHANNEL_BIND:
		a[0] = fuzz_draw(2) ? KEUOS_CAP_SELF : fuzz_capability(KEUOS_CAP_PROCESS);
		a[1] = fuzz_draw(2) ? KEUOS_CAP_SELF : fuzz_capability(KEUOS_CAP_PROCESS);
		a[2] = bind_request();
		return 1;
	case KEUOS_SYS_CHANNEL_ACCEPT:
		a[0] = pointer_to(answer, sizeof(struct keuos_endpoint));
		return 1;
	case KEUOS_SYS_CHANNEL_INFO:
		a[1] = pointer_to(answer, sizeof(struct keuos_channel_info));
		break;
	default:
		break;
	}
	a[0] = fuzz_draw(2) ? end_of_channel() : fuzz_capability(KEUOS_CAP_CHANNEL);
	return 1;
}

/* Reset and release take the device away for a tenth of a second: they are rare. */
static uint64_t device_operation(void)
{
	static const uint8_t often[] = {KEUOS_DEVICE_CLAIM, KEUOS_DEVICE_CLAIM, KEUOS_DEVICE_MASTER,
		KEUOS_DEVICE_INTERRUPT, KEUOS_DEVICE_INTERRUPT, KEUOS_DEVICE_NO_INTERRUPT};

	if (fuzz_draw(512) == 0)
		return fuzz_draw(2) ? KEUOS_DEVICE_RELEASE : KEUOS_DEVICE_RESET;
	return rarely() ? KEUOS_DEVICE_NO_INTERRUPT + 1 + fuzz_any() / 2 : often[fuzz_draw(sizeof(often))];
}

/* Few, so that ranges meet, overlap and are found again; now and then at the edges of what there is. */
static uint64_t iova(void)
{
	uint64_t page = fuzz_draw(24) * KEUOS_PAGE_BYTES;

	switch (fuzz_draw(12)) {
	case 0:
		return edge();
	case 1:
		return UINT64_C(0xfee00000) - 2 * KEUOS_PAGE_BYTES + page;
	case 2:
		return (UINT64_C(1) << (39 + 9 * fuzz_draw(2))) - page;
	case 3:
	case 4:
	case 5:
		return fuzz_draw(256) << 30; /* tables of its own */
	default:
		return page;
	}
}

/* What only a driver may do: `params.device` is what it may do it to. */
static int device_arguments(uint64_t number, uint64_t a[FUZZ_ARGUMENTS])
{
	a[0] = params.device && fuzz_draw(4) ? params.device
		: fuzz_draw(2)               ? fuzz_capability(KEUOS_CAP_DEVICE)
					     : any_capability();
	switch (number) {
	case KEUOS_SYS_DEVICE_INFO:
		a[1] = pointer_to(answer, sizeof(struct keuos_device_info));
		break;
	case KEUOS_SYS_DEVICE_CONFIG:
		a[2] = rarely() ? edge() : UINT64_C(1) << fuzz_draw(3);
		a[1] = rarely() ? edge() : fuzz_draw(4096) & -a[2];
		break;
	case KEUOS_SYS_DEVICE_CONTROL:
		a[1] = device_operation();
		if (a[1] == KEUOS_DEVICE_CLAIM && params.device && fuzz_draw(512))
			a[0] = params.device; /* once it is claimed through a copy, all the others are of no use */
		a[2] = rarely() ? edge() : fuzz_draw(KEUOS_DEVICE_VECTORS);
		if (a[1] == KEUOS_DEVICE_MASTER && !rarely())
			a[2] &= 1;
		break;
	case KEUOS_SYS_DEVICE_MAP:
		a[1] = rarely() ? edge() : fuzz_draw(KEUOS_DEVICE_BARS);
		a[2] = rarely() ? edge() : fuzz_draw(5) * KEUOS_PAGE_BYTES;
		a[3] = rarely() ? edge() : 1 + fuzz_draw(3);
		break;
	case KEUOS_SYS_DMA_MAP:
		a[1] = fuzz_draw(3) ? fuzz_capability(KEUOS_CAP_MEMORY) : end_of_channel();
		a[2] = rarely() ? edge() : fuzz_draw(4);
		a[3] = rarely() ? edge() : 1 + fuzz_draw(4);
		a[4] = iova();
		a[5] = rarely() ? edge() : fuzz_draw(2);
		break;
	case KEUOS_SYS_DMA_UNMAP:
		a[1] = iova();
		break;
	default: /* DEVICE_WAIT */
		a[1] = fuzz_any();
		a[2] = deadline();
		break;
	}
	return 1;
}

int fuzz_arguments(uint64_t number, uint64_t a[FUZZ_ARGUMENTS])
{
	int deadly_allowed = params.role != FUZZ_FAMILY && fuzz_draw(16) == 0;

	for (int i = 0; i < FUZZ_ARGUMENTS; i++)
		a[i] = edge();
	switch (number) {
	case KEUOS_SYS_EXIT:
		return deadly_allowed;
	case KEUOS_SYS_LOG:
		return text(&a[0], &a[1], 256);
	case KEUOS_SYS_WAIT:
		a[0] = fuzz_any();
		a[1] = deadline();
		return 1;
	case KEUOS_SYS_SPAWN:
		a[0] = spawn_request();
		return 1;
	case KEUOS_SYS_PROCESS_START:
		a[0] = fuzz_capability(KEUOS_CAP_PROCESS);
		return 1;
	case KEUOS_SYS_PROCESS_KILL:
		a[0] = fuzz_capability(KEUOS_CAP_PROCESS);
		return a[0] >= KEUOS_CAPABILITIES || fuzz_kinds[a[0]] == KEUOS_CAP_PROCESS ||
			(params.role != FUZZ_FAMILY && (fuzz_kinds[a[0]] != FUZZ_KIND_SELF || deadly_allowed));
	case KEUOS_SYS_PROCESS_INFO:
		a[0] = fuzz_capability(KEUOS_CAP_PROCESS);
		a[1] = pointer_to(answer, sizeof(struct keuos_process_info));
		return 1;
	case KEUOS_SYS_PROCESS_READ:
	case KEUOS_SYS_PROCESS_WRITE:
		a[0] = fuzz_capability(KEUOS_CAP_PROCESS);
		a[3] = transfer();
		a[1] = address(a[3]);
		a[2] = address(a[3]);
		return 1;
	case KEUOS_SYS_CAP_GRANT:
		a[0] = fuzz_draw(2) ? KEUOS_CAP_SELF : fuzz_capability(KEUOS_CAP_PROCESS);
		a[1] = any_capability();
		a[2] = rights();
		return 1;
	case KEUOS_SYS_CAP_REVOKE:
		a[0] = any_capability();
		return 1;
	case KEUOS_SYS_CAP_DROP:
		a[0] = any_capability();
		return a[0] != params.device || !params.device; /* nobody would give it another */
	case KEUOS_SYS_MEMORY_CREATE:
		a[0] = rarely() ? edge() : 1 + fuzz_draw(16);
		return 1;
	case KEUOS_SYS_MEMORY_MAP:
	case KEUOS_SYS_MEMORY_UNMAP:
		a[0] = fuzz_capability(KEUOS_CAP_MEMORY);
		a[1] = fuzz_draw(3) ? fuzz_draw(2) : edge();
		return 1;
	case KEUOS_SYS_GETRANDOM:
		a[1] = rarely() ? edge() : fuzz_draw(257);
		a[0] = address(a[1]);
		return fuzz_draw(4) == 0; /* it takes long, by the hardware's fault */
	case KEUOS_SYS_SYSTEM_INFO:
		a[0] = pointer_to(answer, sizeof(struct keuos_system_info));
		return 1;
	default:
		if (number >= KEUOS_SYS_COUNT)
			return params.role != FUZZ_FAMILY && fuzz_draw(16) == 0;
		if (number > KEUOS_SYS_DEVICE_LIST)
			return device_arguments(number, a);
		if (number >= KEUOS_SYS_CONSOLE_READ)
			return machine_arguments(number, a);
		if (number >= KEUOS_SYS_CHANNEL_BIND || (number >= KEUOS_SYS_NOTIFY && number <= KEUOS_SYS_DOORBELL))
			return channel_arguments(number, a);
		return 1;
	}
}

void fuzz_learn(uint64_t number, const uint64_t a[FUZZ_ARGUMENTS], int64_t result)
{
	const struct keuos_endpoint *end = (const struct keuos_endpoint *)(const void *)answer;

	if (result < 0)
		return;
	switch (number) {
	case KEUOS_SYS_SPAWN:
		fuzz_kinds[result] = KEUOS_CAP_PROCESS;
		break;
	case KEUOS_SYS_CHANNEL_BIND:
		fuzz_kinds[result] = KEUOS_CAP_CHANNEL;
		break;
	case KEUOS_SYS_MEMORY_CREATE:
		fuzz_kinds[result] = KEUOS_CAP_MEMORY;
		break;
	case KEUOS_SYS_CHANNEL_ACCEPT:
		if (a[0] == (uintptr_t)answer)
			fuzz_kinds[end->capability % KEUOS_CAPABILITIES] =
				end->role == KEUOS_PRODUCER ? KEUOS_CAP_PRODUCER : KEUOS_CAP_CONSUMER;
		break;
	case KEUOS_SYS_CAP_GRANT:
		if (a[0] == KEUOS_CAP_SELF)
			fuzz_kinds[result] = fuzz_kinds[a[1] % KEUOS_CAPABILITIES];
		break;
	case KEUOS_SYS_CAP_DROP:
	case KEUOS_SYS_CHANNEL_UNMAP:
		fuzz_kinds[a[0] % KEUOS_CAPABILITIES] = KEUOS_CAP_NONE;
		break;
	default:
		break;
	}
}

uint64_t fuzz_scratch(void)
{
	return UINT64_C(0x200000000000) + ((uint64_t)fuzz_scratch_capability << 24);
}
