/*
 * What the ring programs share: opening the ends that somebody bound to them, the two calls that keuos/ring_sleep.h
 * asks for, and the clock. Headers only: no program is built of this folder.
 *
 * The programs are driven by a global `params`, which the host writes while the process is suspended, and leave what
 * they found in globals that the host reads after they have left.
 */
#ifndef RING_PROGRAM_H
#define RING_PROGRAM_H

#include <keuos/ring.h>
#include <user.h>

static inline void keuos_ring_doorbell(uint32_t capability)
{
	sys_doorbell(capability);
}

static inline void keuos_ring_wait(uint32_t capability)
{
	sys_wait(sys_bit(capability), KEUOS_FOREVER);
}

#include <keuos/ring_sleep.h>

enum ring_program {
	RING_OPCODE = 1,          /* the one operation of the ring programs */
	RING_MESSAGE_MAX = 65536, /* bytes */
	RING_SAMPLES_MAX = 20000,
	RING_CALIBRATIONS = 1000,
	RING_SETTLE_NS = 2000000,
};

enum ring_exit {
	RING_EXIT_OK = 0,
	RING_EXIT_FAILED = 1, /* results.error says how */
};

/* The message was built in memory, or arrives there: the compiler may elide neither copy. */
#define RING_MATERIALISE(buffer) __asm__ volatile("" : : "r"(buffer) : "memory")

/* The counter that user programs may read, with everything before done and nothing behind begun. */
static inline uint64_t ring_ticks(void)
{
#if defined(__x86_64__)
	uint32_t low, high;

	__asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
#else
	uint64_t ticks;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks) : : "memory");
	return ticks;
#endif
}

/* The next end that is bound to this process; waits until there is one. 0, or a negative error. */
static inline int64_t ring_accept(struct keuos_endpoint *end)
{
	int64_t result;

	while ((result = sys_channel_accept(end)) == -KEUOS_EAGAIN)
		sys_wait(sys_bit(KEUOS_CAP_SELF), KEUOS_FOREVER);
	return result;
}

/*
 * Sleeps until the line is quiet: the host's last bytes leave timers running in the serial device (a receive time-out of
 * four characters), and under an emulator that counts instructions each one that ends disturbs a trip.
 */
static inline void ring_settle(void)
{
	sys_wait(0, (uint64_t)sys_time() + RING_SETTLE_NS);
}

/* Traps that this process has taken of its own accord so far, without the one that asks. */
static inline uint64_t ring_traps(void)
{
	struct keuos_process_info info;

	return sys_process_info(KEUOS_CAP_SELF, &info) ? 0 : info.syscalls;
}

/* Gives the peer a chance between two polls: the other core, or another process on this one. */
KEUOS_INLINE void ring_idle(uint32_t same_core)
{
	if (same_core)
		sys_yield();
	else
		keuos_pause();
}

/* FNV-1a, over a message; chained by handing in the last result. */
static inline uint64_t ring_checksum(uint64_t sum, const void *data, uint32_t bytes)
{
	const uint8_t *at = data;

	for (uint32_t i = 0; i < bytes; i++)
		sum = (sum ^ at[i]) * UINT64_C(0x100000001b3);
	return sum;
}

#define RING_CHECKSUM_START UINT64_C(0xcbf29ce484222325)

/* xorshift64: repeatable, and the same in suites/ring. The state must not be 0. */
static inline uint64_t ring_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
