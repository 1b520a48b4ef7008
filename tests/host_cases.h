/*
 * A program of cases: one a run, by its name; without one, a list of them. What a case holds must hold, or the run fails.
 * test_*.py beside such a program runs each (tests/host_cases.py for drivers).
 */
#ifndef HOST_CASES_H
#define HOST_CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

struct host_case {
	const char *name;
	void (*run)(void);
};

/* The program's exit status; 2: there is no such case. */
static inline int host_cases(int argc, char **argv, const struct host_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (argc < 2) {
			puts(cases[i].name);
		} else if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			return 0;
		}
	}
	return argc < 2 ? 0 : (fprintf(stderr, "no case %s: run without arguments for a list\n", argv[1]), 2);
}

#endif
