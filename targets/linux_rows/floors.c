/*
 * What nothing that carries a message can beat, measured the same way: a word that goes to the other core and back.
 *
 * The floor proper uses the lines of a page in turn, as a ring does its slots, and polls as the rows beside it do. The
 * other one keeps to two lines. Then what takes no other process at all: a call, a system call, a copy.
 */
#define _GNU_SOURCE
#include "rows.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINES = 64, COPY_BYTES = 4096 };

struct line {
	uint64_t word;
	uint8_t rest[ROWS_LINE - 8];
};

static struct floor_pages {
	struct line out[LINES], back[LINES];
} * pages;

static uint64_t words; /* this side's count, over all floors */
static uint8_t copy_from[COPY_BYTES] __attribute__((aligned(64))), copy_to[COPY_BYTES] __attribute__((aligned(64)));

static int open_pages(void)
{
	if (pages)
		return 0;
	pages = mmap(0, sizeof(*pages), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return -errno;
	memset(pages, 0, sizeof(*pages));
	return 0;
}

/* Waits for the word with this count; the last's mark may come with it. */
ROWS_INLINE uint64_t await(const struct line *line, uint64_t count, enum rows_poll poll)
{
	uint64_t word;

	while ((uint32_t)(word = __atomic_load_n(&line->word, __ATOMIC_ACQUIRE)) != (uint32_t)count)
		rows_idle(poll);
	return word;
}

ROWS_INLINE void ping_lines(struct rows_visit *visit, uint32_t lines, enum rows_poll poll)
{
	ROWS_PING(visit, {
		uint32_t at = (uint32_t)++words % lines;

		__atomic_store_n(&pages->out[at].word, words | (rows_sent.word & ROWS_LAST), __ATOMIC_RELEASE);
		await(&pages->back[at], words, poll);
		rows_got.word = rows_sent.word;
	});
}

ROWS_INLINE void pong_lines(uint32_t lines, enum rows_poll poll)
{
	uint64_t word;

	do {
		uint32_t at = (uint32_t)++words % lines;

		word = await(&pages->out[at], words, poll);
		__atomic_store_n(&pages->back[at].word, word, __ATOMIC_RELEASE);
	} while (!(word & ROWS_LAST));
}

#define DEFINE(name, lines, poll)                                                                                      \
	static void ping_##name(struct rows_visit *visit)                                                              \
	{                                                                                                              \
		ping_lines(visit, lines, poll);                                                                        \
	}                                                                                                              \
	static void pong_##name(void)                                                                                  \
	{                                                                                                              \
		pong_lines(lines, poll);                                                                               \
	}

DEFINE(bare, LINES, ROWS_BARE)
DEFINE(pause, LINES, ROWS_PAUSE)
DEFINE(yield, LINES, ROWS_YIELD)
DEFINE(two_bare, 1, ROWS_BARE)
DEFINE(two_pause, 1, ROWS_PAUSE)

static __attribute__((noinline)) void called(void)
{
	rows_got.word = rows_sent.word;
	rows_materialise(&rows_got);
}

static void ping_nothing(struct rows_visit *visit)
{
	ROWS_PING(visit, rows_got.word = rows_sent.word);
}

static void ping_call(struct rows_visit *visit)
{
	void (*volatile callee)(void) = called;

	ROWS_PING(visit, callee());
}

static void ping_syscall(struct rows_visit *visit)
{
	ROWS_PING(visit, {
		syscall(SYS_getppid);
		rows_got.word = rows_sent.word;
	});
}

static void ping_copy(struct rows_visit *visit)
{
	ROWS_PING(visit, {
		memcpy(copy_to, copy_from, sizeof(copy_to));
		rows_materialise(copy_to);
		rows_got.word = rows_sent.word;
	});
}

const struct rows_row rows_of_floors[] = {
	{"floor", "pause", ROWS_CROSS, ROWS_PAUSE, 1000, 200, open_pages, ping_pause, pong_pause},
	{"floor", "bare", ROWS_CROSS, ROWS_BARE, 1000, 200, open_pages, ping_bare, pong_bare},
	{"floor", "yield", ROWS_SAME, ROWS_YIELD, 300, 30, open_pages, ping_yield, pong_yield},
	{"floor-two-lines", "pause", ROWS_CROSS, ROWS_PAUSE, 1000, 200, open_pages, ping_two_pause, pong_two_pause},
	{"floor-two-lines", "bare", ROWS_CROSS, ROWS_BARE, 1000, 200, open_pages, ping_two_bare, pong_two_bare},
	{"nothing", "pause", ROWS_CROSS, ROWS_PAUSE, 1000, 200, 0, ping_nothing, 0},
	{"nothing", "bare", ROWS_CROSS, ROWS_BARE, 1000, 200, 0, ping_nothing, 0},
	{"nothing", "yield", ROWS_SAME, ROWS_YIELD, 1000, 200, 0, ping_nothing, 0},
	{"call", "", ROWS_NONE, ROWS_PAUSE, 1000, 200, 0, ping_call, 0},
	{"null-syscall", "", ROWS_NONE, ROWS_PAUSE, 1000, 200, 0, ping_syscall, 0},
	{"copy-4096", "", ROWS_NONE, ROWS_PAUSE, 1000, 200, 0, ping_copy, 0},
	{0},
};
