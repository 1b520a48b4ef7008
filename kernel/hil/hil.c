/*
 * What only a HIL build can do: fail on purpose, draw its keys from a seed, and check gates in bulk (gate.c). Linked into the `hil` image beside the
 * very objects of the release image, never into the latter.
 */
#include "hil.h"

#include <kernel/random.h>

static uint64_t seed, drawn;
static enum { SEED_UNREAD, SEED_NONE, SEED_GIVEN } seed_state;

/* Boot argument seed=N, decimal. */
static void read_seed(void)
{
	const char *at = boot_info.arguments;
	seed_state = SEED_NONE;
	for (; *at; at++) {
		if ((at == boot_info.arguments || at[-1] == ' ') && text_equal(at, "seed=", 5)) {
			for (at += 5; *at >= '0' && *at <= '9'; at++)
				seed = seed * 10 + (uint64_t)(*at - '0');
			seed_state = SEED_GIVEN;
			return;
		}
	}
}

/* SplitMix64 (Steele, Lea, Flood 2014): good enough to repeat a run by, and for nothing else. */
bool hil_random(uint64_t *value)
{
	if (seed_state == SEED_UNREAD)
		read_seed();
	if (seed_state == SEED_NONE)
		return false;
	uint64_t z = seed + ++drawn * 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	*value = z ^ z >> 31;
	return true;
}

__attribute__((noinline)) static uint64_t deeper(uint64_t depth)
{
	volatile uint8_t frame[256];
	frame[depth % sizeof(frame)] = 1;
	return depth == UINT64_MAX ? 0 : deeper(depth + 1) + frame[0];
}

/* For whoever may do anything to the machine. */
static struct result fail_on_purpose(uint64_t system, uint64_t operation)
{
	int error;
	if (capability_get(current_process(), system, KEUOS_CAP_SYSTEM, 0, &error) == NULL)
		return result_of(error);
	switch (operation) {
	case KEUOS_HIL_PANIC:
		panic("asked for by the host");
	case KEUOS_HIL_TRIPLE_FAULT:
		arch_triple_fault();
	case KEUOS_HIL_HANG:
		for (;;)
			arch_pause();
	case KEUOS_HIL_FAULT:
		return result_of(*(volatile uint8_t *)arch_user_end);
	case KEUOS_HIL_STACK:
		return result_of((int64_t)deeper(0));
	default:
		return result_of(-KEUOS_EINVAL);
	}
}

struct result hil_syscall(uint64_t index, uint64_t operation, uint64_t a, __attribute__((unused)) uint64_t b)
{
	switch (operation) {
	case KEUOS_HIL_GATE:
		return hil_gate(index);
	case KEUOS_HIL_PHYSICAL:
		return hil_physical(index, a);
	case KEUOS_HIL_HASH:
		return hil_hash(index, a);
	default:
		return fail_on_purpose(index, operation);
	}
}
