/*
 * The puppet: a process that does what the host tells it, one deed at a time, and holds still in between. For tests in
 * which several processes take turns, told in one place: the test.
 */
#include "puppet.h"

#include <user.h>

/* Rarely: two cores that trap all the time wait for each other in the kernel, on a busy emulator for long. */
enum { POLL_NS = 4000000 };

volatile struct puppet_command command;
volatile struct puppet_answer answer;
uint8_t scratch[PUPPET_SCRATCH_BYTES] __attribute__((aligned(64), used, retain)); /* the host's alone */

static uint64_t word_at(uint64_t seed, uint64_t place)
{
	return seed + place * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill(volatile uint64_t *words, uint64_t bytes, uint64_t seed)
{
	for (uint64_t i = 0; i < bytes / sizeof(*words); i++)
		words[i] = word_at(seed, i);
}

static int64_t compare(const volatile uint64_t *words, uint64_t bytes, uint64_t seed)
{
	int64_t different = 0;

	for (uint64_t i = 0; i < bytes / sizeof(*words); i++)
		different += words[i] != word_at(seed, i);
	return different;
}

static void look(const volatile uint64_t *word, uint64_t expected)
{
	if (*word != expected)
		answer.strange++;
	answer.turns++;
}

static int64_t protections(void)
{
	int64_t found = 0;
#if defined(__x86_64__)
	uint32_t a = 7, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	found |= b & 1 << 7 ? PUPPET_HAS_SMEP : 0;
	found |= b & 1 << 20 ? PUPPET_HAS_SMAP : 0;
	found |= c & 1 << 2 ? PUPPET_HAS_UMIP : 0;
	a = 0x80000001;
	c = 0;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	found |= d & 1 << 20 ? PUPPET_HAS_NX : 0;
#else
	/* Every ARMv8 core has these; of PAN a process is told nothing. */
	found |= PUPPET_HAS_NX | PUPPET_HAS_SMEP | PUPPET_HAS_UMIP;
#endif
	return found;
}

static void obey(const struct puppet_command *c)
{
	volatile uint64_t *address = (volatile uint64_t *)c->args[0];
	struct syscall_result result;

	switch (c->op) {
	case PUPPET_SYSCALL:
		result =
			syscall_pair(c->number, c->args[0], c->args[1], c->args[2], c->args[3], c->args[4], c->args[5]);
		answer.value = result.value;
		answer.second = result.second;
		break;
	case PUPPET_FILL:
		fill(address, c->args[1], c->args[2]);
		break;
	case PUPPET_COMPARE:
		answer.value = compare(address, c->args[1], c->args[2]);
		break;
	case PUPPET_CALL_READ_ON: /* without a sleep in between, over which the core would forget its translations */
		look(address, c->args[1]);
		syscall_pair(c->number, c->args[2], 0, 0, 0, 0, 0);
		for (;;)
			look(address, c->args[1]);
	case PUPPET_READ_ON:
		for (;;)
			look(address, c->args[1]);
	case PUPPET_WRITE_ON:
		for (;;) {
			*address = c->args[1];
			answer.turns++;
		}
	case PUPPET_SLEEP_READ:
		sys_wait(sys_bit(KEUOS_CAP_SELF), 0);
		look(address, c->args[1]);
		sys_wait(sys_bit(KEUOS_CAP_SELF), KEUOS_FOREVER);
		look(address, c->args[1]);
		break;
	case PUPPET_PROTECTIONS:
		answer.value = protections();
		break;
	default:
		answer.value = -KEUOS_EINVAL;
		break;
	}
}

int main(const char *args)
{
	(void)args;
	for (;;) {
		struct puppet_command next;

		while (__atomic_load_n(&command.turn, __ATOMIC_ACQUIRE) == answer.turn)
			sys_wait(0, sys_time() + POLL_NS);
		next = command;
		answer.turns = 0;
		answer.strange = 0;
		obey(&next);
		__atomic_store_n(&answer.turn, next.turn, __ATOMIC_RELEASE);
	}
}
