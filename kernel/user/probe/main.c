/*
 * The probe: attempts what a program must not be able to do, and tells how far it came. The host sets `params` before
 * the start and reads `results` after the end; what it leaves with is enum probe_exit.
 */
#include "probe.h"

#include <user.h>

volatile struct probe_params params;
volatile struct probe_results results;

static int access_memory(uintptr_t address, int write)
{
	switch (params.width) {
	case 1:
		if (write)
			*(volatile uint8_t *)address = (uint8_t)params.value;
		else
			results.value = *(volatile uint8_t *)address;
		return 0;
	case 2:
		if (write)
			*(volatile uint16_t *)address = (uint16_t)params.value;
		else
			results.value = *(volatile uint16_t *)address;
		return 0;
	case 4:
		if (write)
			*(volatile uint32_t *)address = (uint32_t)params.value;
		else
			results.value = *(volatile uint32_t *)address;
		return 0;
	case 8:
		if (write)
			*(volatile uint64_t *)address = params.value;
		else
			results.value = *(volatile uint64_t *)address;
		return 0;
	default:
		return PROBE_EXIT_SENSELESS;
	}
}

__attribute__((noinline)) static uint64_t overflow_stack(volatile uint64_t *caller)
{
	volatile uint64_t frame[64];

	if (*caller == UINT64_MAX)
		return 0; /* no stack is that deep */
	frame[0] = *caller + 1;
	return overflow_stack(frame) + frame[0]; /* used after the call, so no tail call */
}

static void accept_ends(void)
{
	while (results.ends < params.ends && results.ends < PROBE_ENDS) {
		struct keuos_endpoint endpoint;

		if (sys_channel_accept(&endpoint) >= 0) {
			results.endpoints[results.ends] = endpoint;
			results.ends++;
		} else {
			sys_wait(sys_bit(KEUOS_CAP_SELF), KEUOS_FOREVER);
		}
	}
}

static int attempt(uintptr_t address)
{
	volatile uint64_t zero = 0;

	switch (params.op) {
	case PROBE_NOTHING:
		return 0;
	case PROBE_READ:
		return access_memory(address, 0);
	case PROBE_WRITE:
		return access_memory(address, 1);
	case PROBE_EXECUTE:
		((void (*)(void))address)();
		return 0;
	case PROBE_INSTRUCTION:
		if (params.number >= PROBE_I_COUNT)
			return PROBE_EXIT_SENSELESS;
		probe_instruction(params.number);
		return 0;
	case PROBE_BREAKPOINT:
		probe_breakpoint();
		return 0;
	case PROBE_ALIGNMENT_CHECK:
		probe_alignment_check();
		return 0;
	case PROBE_SIMD_HOLD:
		probe_simd_hold(&params, &results);
		return results.mismatches ? PROBE_EXIT_DIFFERENT : PROBE_EXIT_SURVIVED;
	case PROBE_SIMD_READ:
		return 0; /* done at the start, before anything could touch the registers */
	case PROBE_SYSCALL:
		probe_syscall(&params, &results);
		return results.mismatches ? PROBE_EXIT_DIFFERENT : PROBE_EXIT_SURVIVED;
	case PROBE_HOSTILE_STACK:
		probe_hostile_stack(address, params.repeat ? params.repeat : 1);
		return 0;
	case PROBE_STACK_OVERFLOW:
		results.value = overflow_stack(&zero);
		return 0;
	default:
		return PROBE_EXIT_SENSELESS;
	}
}

int main(const char *args)
{
	uint64_t base = 0;
	int outcome;

	(void)args;
	if (params.op == PROBE_SIMD_READ)
		probe_simd_read(&results);
	results.stage = PROBE_ACCEPTING;
	if (params.ends > PROBE_ENDS || (params.ends && params.end >= params.ends))
		return PROBE_EXIT_SENSELESS;
	accept_ends();
	if (params.ends)
		base = results.endpoints[params.end].base;

	results.stage = PROBE_ATTEMPTING;
	outcome = attempt((uintptr_t)(base + params.address));
	results.stage = PROBE_SURVIVED;
	while (params.hold)
		sys_wait(UINT64_MAX, KEUOS_FOREVER);
	return outcome;
}
