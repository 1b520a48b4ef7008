/*
 * Counts the instructions of round trips by single-stepping a child through them: exact, repeatable, and in need of
 * nothing but ptrace. Prints a line "name instructions" for each kind, per trip, in hundredths.
 *
 * A run of N and one of 2 N trips are subtracted, so that set-up and comparison at the end fall out; so does the loop,
 * by way of the run with a nop in place of the trip.
 */
#define _GNU_SOURCE
#include "round_trip.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIPS = 128, EXIT_NO_PTRACE = 77 };

static const struct kind {
	const char *name;
	enum keuos_channel_mode mode;
	void (*run)(struct round_trip *trip, uint32_t n);
} kinds[] = {
	{"nop", KEUOS_POLLED, round_trips_nop},
	{"56", KEUOS_POLLED, round_trips_56},
	{"64", KEUOS_POLLED, round_trips_64},
	{"64-batch", KEUOS_POLLED, round_trips_64_batch},
	{"64-verified", KEUOS_VERIFIED, round_trips_64_verified},
	{"deliver", KEUOS_VERIFIED, round_trips_deliver},
	{"48-proof", KEUOS_POLLED_PROOF, round_trips_48_proof},
};

/* Instructions of the child between its two stops. */
static long count(const struct kind *kind, uint32_t n)
{
	pid_t child = fork();
	long steps = 0;
	int status;

	HOST_CHECK(child >= 0, "fork: %s", strerror(errno));
	if (!child) {
		struct round_trip trip = {host_channel_create(kind->mode, 0), host_channel_create(kind->mode, 0)};

		if (ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(EXIT_NO_PTRACE);
		raise(SIGSTOP);
		kind->run(&trip, n);
		_exit(0);
	}
	HOST_CHECK(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_PTRACE) {
		fprintf(stderr, "ptrace is not permitted here: allow it (a container: --cap-add SYS_PTRACE)\n");
		_exit(EXIT_NO_PTRACE);
	}
	HOST_CHECK(
		WIFSTOPPED(status), "%s: expected the child to stop, it came to wait status %#x", kind->name, status);
	for (;;) {
		HOST_CHECK(!ptrace(PTRACE_SINGLESTEP, child, 0, 0), "single step: %s", strerror(errno));
		HOST_CHECK(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
		if (WIFEXITED(status))
			break;
		HOST_CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP,
			"%s: expected a single step, came wait status %#x", kind->name, status);
		steps++;
	}
	HOST_CHECK(WEXITSTATUS(status) == 0, "%s: the child left with %d", kind->name, WEXITSTATUS(status));
	return steps;
}

int main(void)
{
	long loop = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		long steps = count(&kinds[i], 2 * TRIPS) - count(&kinds[i], TRIPS);

		if (!i)
			loop = steps - TRIPS; /* the nop itself is not part of the loop */
		printf("%s %ld\n", kinds[i].name, (steps - loop) * 100 / TRIPS);
	}
	return 0;
}
