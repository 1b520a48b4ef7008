/*
 * Measures messages between two processes of this machine, row by row, each visit between two visits to its floor.
 *
 *   linux_rows FILE ROUNDS SEED PING-CORE PONG-CORE [NAME:HOW ...]
 *
 * PONG-CORE may be -1 if there is but one core: rows across cores are then missing. Names choose rows; the floors they
 * need come by themselves. On standard output, a line each: "hz N" (ticks a second), "row INDEX CORES FLOOR HOW NAME" and
 * "missing CORES HOW NAME REASON", "view OUT BACK PONG" (where the channels lie, and the other process), "done". FILE gets
 * the visits, each a struct record and the samples behind it. Exit status 0; 2 for bad arguments, 1 with a line on
 * standard error for the rest.
 *
 * A round visits each group of rows that share a floor, in an order drawn anew: floor, row, floor, row ... floor.
 */
#define _GNU_SOURCE
#include "rings.h"
#include "rows.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	ROWS_MAX = 128,
	SIDE_TAKEN = 0x7fffffff, /* in control.ready, before the first visit */
	TRIPS_MAX = 1000 + 200,
	MAGIC = 0x53574f52, /* "ROWS" */
};

/* A visit is cut short after this much time: other work on the machine can make a trip take a scheduler's turn. */
static const double visit_seconds = 0.05;

struct record {
	uint32_t magic, row, round, order;  /* order: of the visit in its launch */
	uint32_t samples, wrong, each, cut; /* cut: the deadline came before all trips were made */
};

static struct control {
	uint32_t command; /* counts visits: pong waits for the next */
	uint32_t ready;   /* the visit that pong is in */
	uint32_t row;
	uint32_t core;
} * control;

static const struct rows_row *rows[ROWS_MAX];
static uint32_t count;
static int cores[2];
static uint64_t hz;
static uint32_t samples[TRIPS_MAX];
static FILE *output;
static pid_t pong_pid;

uint64_t rows_random_state, rows_sequence;
struct rows_message rows_sent, rows_got;

void rows_fail(const char *what, int error)
{
	fprintf(stderr, "linux_rows: %s failed: %s (%d)\n", what, error > 0 ? strerror(error) : "no system error",
		error);
	_exit(1);
}

static void stop_with_pong(int signal)
{
	static const char text[] = "linux_rows: the answering process ended\n";

	(void)signal;
	(void)!write(2, text, sizeof(text) - 1);
	_exit(1);
}

static void await(const uint32_t *word, uint32_t wanted)
{
	uint32_t now;

	while ((now = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != wanted)
		syscall(SYS_futex, word, FUTEX_WAIT, now, 0, 0, 0);
}

static void announce(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, 0, 0, 0);
}

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		rows_fail("pinning a process to a core", errno);
}

static uint64_t measure_hz(void)
{
	struct timespec from, to;
	uint64_t start, stop;

#if defined(__aarch64__)
	uint64_t told;

	__asm__("mrs %0, cntfrq_el0" : "=r"(told));
	return told;
#endif
	clock_gettime(CLOCK_MONOTONIC_RAW, &from);
	start = rows_start();
	do {
		clock_gettime(CLOCK_MONOTONIC_RAW, &to);
		stop = rows_start();
	} while ((to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec) < 2e7);
	return (uint64_t)((double)(stop - start) /
		((double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9));
}

static const char *cores_name(const struct rows_row *row)
{
	static const char *const names[] = {[ROWS_CROSS] = "cross", [ROWS_SAME] = "same", [ROWS_NONE] = "none"};

	return names[row->cores];
}

static int is(const struct rows_row *row, const char *name)
{
	return !strcmp(row->name, name);
}

/* Every group needs these two. */
static int is_support(const struct rows_row *row)
{
	return is(row, "floor") || is(row, "nothing");
}

static int chosen(const struct rows_row *row, char **names, int given)
{
	char full[96];

	snprintf(full, sizeof(full), "%s:%s", row->name, row->how);
	for (int i = 0; i < given; i++)
		if (!strcmp(names[i], full))
			return 1;
	return given == 0 || is_support(row);
}

/* Takes the row if it can be opened here; says why if not. */
static void take(const struct rows_row *row, char **names, int given)
{
	static const char *const floors[] = {[ROWS_BARE] = "bare", [ROWS_PAUSE] = "pause", [ROWS_YIELD] = "yield"};
	const char *how = *row->how ? row->how : "-";
	int error;

	if (!chosen(row, names, given))
		return;
	if (count == ROWS_MAX)
		rows_fail("taking so many rows", 0);
	if (cores[1] < 0 && row->cores != ROWS_SAME) {
		printf("missing %s %s %s only one core may be used, and its floor takes two\n", cores_name(row), how,
			row->name);
		return;
	}
	error = row->open ? row->open() : 0;
	if (error) {
		printf("missing %s %s %s %s\n", cores_name(row), how, row->name, strerror(-error));
		return;
	}
	printf("row %u %s %s %s %s\n", count, cores_name(row), floors[row->floor], how, row->name);
	rows[count++] = row;
}

static void answer(void)
{
	rings_take_side(0);
	announce(&control->ready, SIDE_TAKEN);
	for (uint32_t next = 1;; next++) {
		await(&control->command, next);
		pin((int)control->core);
		announce(&control->ready, next);
		rows[control->row]->pong();
	}
}

static void visit(uint32_t row, uint32_t round)
{
	static uint32_t order;
	const struct rows_row *r = rows[row];
	struct rows_visit made = {.trips = r->trips + r->warm_up, .samples = samples, .each = 1};
	uint32_t skip;
	struct record record;

	if (r->pong) {
		control->row = row;
		control->core = (uint32_t)cores[r->cores == ROWS_CROSS];
		announce(&control->command, control->command + 1);
		await(&control->ready, control->command);
	}
	made.deadline = rows_start() + (uint64_t)(visit_seconds * (double)hz);
	r->ping(&made);
	skip = made.done > 2 * r->warm_up ? r->warm_up : made.done / 2;
	record = (struct record){
		MAGIC, row, round, order++, made.done - skip, made.wrong, made.each, rows_start() > made.deadline};
	fwrite(&record, sizeof(record), 1, output);
	fwrite(samples + skip, sizeof(*samples), record.samples, output);
}

static void shuffle(uint32_t *items, uint32_t length)
{
	for (uint32_t i = length; i > 1; i--) {
		uint32_t j = (uint32_t)(rows_random() % i), kept = items[i - 1];

		items[i - 1] = items[j];
		items[j] = kept;
	}
}

/* The rows whose floor polls like this one, each between two visits to it; before all, nothing in place of a trip. */
static void visit_group(enum rows_poll floor, uint32_t round)
{
	uint32_t members[ROWS_MAX], length = 0, floor_row = ROWS_MAX, nothing = ROWS_MAX;

	for (uint32_t i = 0; i < count; i++) {
		if (rows[i]->floor != floor)
			continue;
		if (is(rows[i], "floor"))
			floor_row = i;
		else if (is(rows[i], "nothing"))
			nothing = i;
		else
			members[length++] = i;
	}
	if (!length || floor_row == ROWS_MAX || nothing == ROWS_MAX)
		return;
	shuffle(members, length);
	visit(nothing, round);
	visit(floor_row, round);
	for (uint32_t i = 0; i < length; i++) {
		visit(members[i], round);
		visit(floor_row, round);
	}
}

static long number(const char *text, long low, long high, const char *what)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end || end == text || value < low || value > high) {
		fprintf(stderr, "linux_rows: %s: expected a number from %ld to %ld, found %s\n", what, low, high, text);
		exit(2);
	}
	return value;
}

static void take_all(char **names, int given)
{
	const struct rows_row *const tables[] = {
		rows_of_floors,
		rows_of_rings,
		rows_of_kernel,
#ifdef WITH_BOOST
		rows_of_boost,
#endif
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct rows_row *row = tables[i]; row->name; row++)
			take(row, names, given);
}

int main(int argc, char **argv)
{
	uint32_t groups[] = {ROWS_BARE, ROWS_PAUSE, ROWS_YIELD};
	long rounds;

	if (argc < 6) {
		fprintf(stderr, "usage: linux_rows FILE ROUNDS SEED PING-CORE PONG-CORE [NAME:HOW ...]\n");
		return 2;
	}
	rounds = number(argv[2], 1, 100000, "ROUNDS");
	rows_random_state = (uint64_t)number(argv[3], 0, LONG_MAX, "SEED") * 0x9e3779b97f4a7c15u | 1;
	cores[0] = (int)number(argv[4], 0, CPU_SETSIZE - 1, "PING-CORE");
	cores[1] = (int)number(argv[5], -1, CPU_SETSIZE - 1, "PONG-CORE");
	output = fopen(argv[1], "wb");
	if (!output)
		rows_fail(argv[1], errno);
	control = mmap(0, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (control == MAP_FAILED)
		rows_fail("memory for both processes", errno);
	pin(cores[0]);
	hz = measure_hz();
	printf("hz %llu\n", (unsigned long long)hz);
	take_all(argv + 6, argc - 6);
	fflush(stdout);
	signal(SIGCHLD, stop_with_pong);
	pong_pid = fork();
	if (pong_pid < 0)
		rows_fail("fork", errno);
	if (!pong_pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == 1)
			_exit(1);
		answer();
	}
	rings_take_side(1);
	await(&control->ready, SIDE_TAKEN);
	printf("view %lx %lx %d\n", rings_address(0), rings_address(1), (int)pong_pid);
	fflush(stdout);
	for (uint32_t round = 0; round < rounds; round++) {
		shuffle(groups, sizeof(groups) / sizeof(*groups));
		for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
			visit_group((enum rows_poll)groups[i], round);
	}
	signal(SIGCHLD, SIG_DFL);
	kill(pong_pid, SIGKILL);
	waitpid(pong_pid, 0, 0);
	if (fclose(output))
		rows_fail(argv[1], errno);
	printf("done\n");
	return 0;
}
