/*
 * What all rows share: the clock, the random delay before a trip, the message, and how a row looks to main.c.
 *
 * A row is something that takes a message to another process and back, or a floor to compare that with. Two processes
 * run it: "ping" measures trips, "pong" answers until a message says that it is the last. Whatever a row needs is opened
 * before the processes part. The compiler is told that a message's bytes are looked at, so that no copy is left out.
 */
#ifndef ROWS_H
#define ROWS_H

#include <sched.h>
#include <stdint.h>

#define ROWS_INLINE static inline __attribute__((always_inline, unused))

#ifdef __cplusplus
extern "C" {
#endif

enum rows_constants {
	ROWS_MESSAGE_MAX = 1504,
	ROWS_LINE = 64,
	ROWS_DITHER = 240,      /* ticks: the longest delay before a trip, so that trips don't fall into step */
	ROWS_STREAM = 20000,    /* messages of a visit to a stream */
	ROWS_STREAM_LOOK = 256, /* of these, how many between two looks at the deadline */
};

#define ROWS_LAST (1ull << 63)

/* What a side does when there is nothing: look again, pause once first, or let the other process have the core. */
enum rows_poll { ROWS_BARE, ROWS_PAUSE, ROWS_YIELD };

/* Where pong runs. NONE: nobody but ping takes part. */
enum rows_cores { ROWS_CROSS, ROWS_SAME, ROWS_NONE };

struct rows_message {
	uint64_t word; /* counts trips; ROWS_LAST in the last one of a visit */
	uint8_t rest[ROWS_MESSAGE_MAX - 8];
} __attribute__((aligned(64)));

/* One visit as ping makes it. */
struct rows_visit {
	uint32_t trips;    /* wanted; fewer if the deadline passes */
	uint64_t deadline; /* ticks */
	uint32_t *samples; /* ticks of each */
	uint32_t done;     /* how many */
	uint32_t wrong;    /* answers that differ from what was sent */
	uint32_t each;     /* messages in a sample; 1 but for streams */
};

struct rows_row {
	const char *name;
	const char *how; /* how both sides wait: bare, pause, yield, sleep, busy; "" without a peer */
	enum rows_cores cores;
	enum rows_poll floor; /* which polling its floor has */
	uint32_t trips;
	uint32_t warm_up;
	int (*open)(void); /* 0, or a negative errno; may be null */
	void (*ping)(struct rows_visit *visit);
	void (*pong)(void);
};

/* Ends both processes with one line that says why; of a failed system call with its error. */
void rows_fail(const char *what, int error) __attribute__((noreturn));

extern uint64_t rows_random_state, rows_sequence;
extern struct rows_message rows_sent, rows_got;

ROWS_INLINE uint64_t rows_random(void)
{
	rows_random_state ^= rows_random_state << 13;
	rows_random_state ^= rows_random_state >> 7;
	rows_random_state ^= rows_random_state << 17;
	return rows_random_state;
}

/* Ticks at a moment before which all earlier instructions are done, and after which all later ones start. */
ROWS_INLINE uint64_t rows_start(void)
{
#if defined(__x86_64__)
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
#else
	uint64_t ticks;

	__asm__ volatile("isb; mrs %0, cntvct_el0; isb" : "=r"(ticks) : : "memory");
	return ticks;
#endif
}

ROWS_INLINE uint64_t rows_stop(void)
{
#if defined(__x86_64__)
	uint32_t low, high;

	__asm__ volatile("rdtscp; lfence" : "=a"(low), "=d"(high) : : "rcx", "memory");
	return (uint64_t)high << 32 | low;
#else
	return rows_start();
#endif
}

ROWS_INLINE void rows_dither(void)
{
	uint64_t until = rows_start() + rows_random() % ROWS_DITHER;

	while (rows_start() < until)
		;
}

ROWS_INLINE void rows_idle(enum rows_poll poll)
{
	if (poll == ROWS_YIELD)
		sched_yield();
	else if (poll == ROWS_PAUSE)
#if defined(__x86_64__)
		__asm__ volatile("pause");
#else
		__asm__ volatile("yield");
#endif
}

/* The bytes at `bytes` are looked at, for all the compiler knows, and may have changed. */
ROWS_INLINE void rows_materialise(void *bytes)
{
	__asm__ volatile("" : : "r"(bytes) : "memory");
}

/* The trips of a visit; `trip` takes rows_sent to the other side and puts its answer into rows_got. */
#define ROWS_PING(visit, trip)                                                                                         \
	for (uint32_t i_ = 0, last_ = 0; !last_; i_++) {                                                               \
		uint64_t start_, stop_;                                                                                \
                                                                                                                       \
		rows_dither();                                                                                         \
		last_ = i_ + 1 >= (visit)->trips || rows_start() > (visit)->deadline;                                  \
		rows_sent.word = ++rows_sequence | (last_ ? ROWS_LAST : 0);                                            \
		rows_materialise(&rows_sent);                                                                          \
		start_ = rows_start();                                                                                 \
		trip;                                                                                                  \
		rows_materialise(&rows_got);                                                                           \
		stop_ = rows_stop();                                                                                   \
		(visit)->samples[i_] = (uint32_t)(stop_ - start_);                                                     \
		(visit)->wrong += rows_got.word != rows_sent.word;                                                     \
		(visit)->done = i_ + 1;                                                                                \
	}

extern const struct rows_row rows_of_floors[], rows_of_rings[], rows_of_kernel[], rows_of_boost[];

#ifdef __cplusplus
}
#endif

#endif
