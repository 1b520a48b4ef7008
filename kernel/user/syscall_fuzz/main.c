/*
 * Makes random system calls, by the hundred thousand, and keeps books of what each answered. A process that it spawns from
 * this very program takes its seed from its argument and does as it pleases; one that the host spawns does what `params`
 * say. It leaves with 0 at the end of its calls, with 1 if something failed that had to work (results.lost, results.line).
 *
 * The books are in memory that no call is ever told to write, and the newest calls in a memory object besides.
 */
#include "fuzz.h"

volatile struct fuzz_params params;
struct fuzz_results results;
uint64_t fuzz_second;

enum { CHILD_CALLS = 1500, LOOK_AT_SCRATCH = 256 };

static uint64_t state;
static struct fuzz_trace *trace;

uint64_t fuzz_any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t fuzz_draw(uint64_t bound)
{
	return (fuzz_any() >> 16) % bound;
}

static int has_second_result(uint64_t number)
{
	return number == KEUOS_SYS_SPAWN || number == KEUOS_SYS_EVENT_READ || number == KEUOS_SYS_NOTIFY_AND_WAIT;
}

static void check_registers(const struct fuzz_call *call, const uint64_t found[12])
{
	uint64_t wrong = found[FUZZ_CHANGED] | (has_second_result(call->number) ? 0 : found[FUZZ_SECOND]);

	for (int i = 0; i < FUZZ_ZEROED_COUNT; i++)
		wrong |= found[FUZZ_ZEROED + i];
	/* The return address is this program's, and the flags hold nothing of the kernel's but the interrupt flag. */
	wrong |= found[7] >> 32 | (found[8] & ~UINT64_C(0xad7));
	if (!wrong)
		return;
	if (!results.leaks++) {
		results.leak = *call;
		__builtin_memcpy(results.registers, found, sizeof(results.registers));
	}
}

int64_t fuzz_make(uint64_t number, const uint64_t arguments[FUZZ_ARGUMENTS])
{
	struct fuzz_call *call = &trace->calls[trace->made % FUZZ_TRACE];
	uint64_t in[1 + FUZZ_ARGUMENTS] = {number}, found[12] = {0};
	uint32_t error = 0;

	call->number = number;
	for (int i = 0; i < FUZZ_ARGUMENTS; i++)
		call->arguments[i] = in[1 + i] = arguments[i];
	call->result = 0;
	trace->made++;
	results.made++;
	trace->open = 1;
	fuzz_instruction(in, found);
	trace->open = 0;
	call->result = (int64_t)found[FUZZ_VALUE];
	fuzz_second = found[FUZZ_SECOND];
	check_registers(call, found);
	if (call->result < 0)
		error = call->result > -(FUZZ_ERRORS - 1) ? (uint32_t)-call->result : FUZZ_ERRORS - 1;
	results.counts[number % KEUOS_SYS_COUNT][error]++; /* a number past the table does not come back */
	return call->result;
}

int64_t fuzz_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	const uint64_t arguments[FUZZ_ARGUMENTS] = {a, b, c, d, fuzz_any(), fuzz_any()};

	return fuzz_make(number, arguments);
}

_Noreturn static void lost(int64_t error, int line)
{
	results.lost = (uint32_t)-error;
	results.line = (uint32_t)line;
	sys_exit(1);
}

static int64_t mapped(uint32_t pages, uint32_t *capability)
{
	int64_t made = sys_memory_create(pages);

	if (made < 0)
		return made;
	*capability = (uint32_t)made;
	fuzz_kinds[made] = KEUOS_CAP_MEMORY;
	return sys_memory_map((uint32_t)made, 1);
}

static void begin(const char *args)
{
	int64_t at;

	if (*args) {
		state = 0;
		while (*args >= '0' && *args <= '9')
			state = state * 10 + (uint64_t)(*args++ - '0');
		params.seed = state;
		params.calls = CHILD_CALLS;
	}
	state = params.seed * 2 + 1;
	at = mapped(1, &fuzz_trace_capability);
	if (at < 0)
		lost(at, __LINE__);
	fuzz_kinds[fuzz_trace_capability] = KEUOS_CAP_NONE;
	fuzz_kinds[KEUOS_CAP_SELF] = FUZZ_KIND_SELF;
	if (params.device)
		fuzz_kinds[params.device] = KEUOS_CAP_DEVICE;
	trace = (struct fuzz_trace *)(uintptr_t)at;
	trace->magic = FUZZ_TRACE_MAGIC;
	at = mapped(FUZZ_SCRATCH_PAGES, &fuzz_scratch_capability);
	if (at < 0)
		lost(at, __LINE__);
	for (int i = 0; i < 8; i++)
		fuzz_any();
}

/* A random call may have dropped, unmapped or given away the memory that the others are to write. */
static void look_at_scratch(void)
{
	int64_t at = sys_memory_map(fuzz_scratch_capability, 1);

	if (at != -KEUOS_ESTATE && sys_is_error(at))
		mapped(FUZZ_SCRATCH_PAGES,
			&fuzz_scratch_capability); /* refused for want of room: the next time, then */
}

static void random_call(void)
{
	uint64_t arguments[FUZZ_ARGUMENTS];
	uint64_t number;

	do {
		number = fuzz_draw(KEUOS_SYS_COUNT + 2);
		if (params.device && fuzz_draw(2))
			number = KEUOS_SYS_DEVICE_INFO + fuzz_draw(KEUOS_SYS_DEVICE_WAIT - KEUOS_SYS_DEVICE_INFO + 1);
		else if (number >= KEUOS_SYS_COUNT)
			number = KEUOS_SYS_COUNT + (fuzz_draw(2) ? fuzz_draw(3) : fuzz_any() >> fuzz_draw(60));
	} while (!fuzz_arguments(number, arguments));
	fuzz_learn(number, arguments, fuzz_make(number, arguments));
}

int main(const char *args)
{
	struct keuos_process_info self;

	begin(args);
	sys_process_info(KEUOS_CAP_SELF, &self);
	trace->pid = self.pid;
	if (params.flood)
		fuzz_flood();
	for (uint64_t next = 0; results.made < params.calls;) {
		if (results.made >= next) {
			look_at_scratch();
			next = results.made + LOOK_AT_SCRATCH;
		}
		if (fuzz_draw(16) == 0)
			fuzz_deed();
		else
			random_call();
	}
	results.finished = 1;
	return 0;
}
