/*
 * What the host tells page_probe and what it reads back. Layouts come from the debug information.
 *
 * The program is a supervisor and, under the argument "child", each of its children. The supervisor makes a child with
 * an end of every kind of channel and with memory objects, hands it the probes that are left, and starts it. The child
 * tries one probe after another until one kills it; the supervisor notes how, and goes on with the next child. Children
 * are all made alike, so one that is held still shows where the others' pages lie.
 */
#ifndef KEUOS_PAGE_PROBE_H
#define KEUOS_PAGE_PROBE_H

#include <keuos/syscall.h>
#include <stdint.h>

enum page_probe_access {
	PAGE_PROBE_READ = 0,
	PAGE_PROBE_WRITE = 1, /* changes nothing: adds zero to a byte */
	PAGE_PROBE_EXECUTE = 2,
	PAGE_PROBE_READ_8 = 3, /* eight bytes from there: over a page's edge, perhaps */
};

enum page_probe_limit {
	PAGE_PROBES = 128,
	PAGE_PROBE_OBJECTS = 2, /* one is mapped writable, the other not */
	PAGE_PROBE_OBJECT_PAGES = 2,
	PAGE_PROBE_CHANNELS = 6, /* each mode, in both directions */
};

struct page_probe {
	uint64_t address;
	uint64_t access; /* enum page_probe_access */
};

struct page_outcome {
	uint32_t reason; /* enum keuos_exit_reason; KEUOS_EXIT_NONE: survived */
	uint32_t reserved;
	uint64_t detail;
	uint64_t address;
};

/* The host writes `turn` last; the supervisor answers with it when all outcomes are there. */
struct page_probe_request {
	uint32_t count;
	uint32_t hold; /* nonzero: make a child that waits, and leave it until the next request */
	uint64_t turn;
};

struct page_probe_answer {
	int64_t error;     /* negative: a system call of the supervisor failed */
	uint32_t child;    /* pid of the one that is held */
	uint32_t children; /* made so far */
	uint64_t turn;
};

/* Of a child: written by the supervisor before the start. */
struct page_probe_orders {
	uint32_t count; /* 0: wait for ever */
	uint32_t reserved;
	uint32_t objects[PAGE_PROBE_OBJECTS]; /* capabilities */
	uint64_t done;                        /* probes survived; counted by the child */
	struct page_probe probes[PAGE_PROBES];
};

#endif
