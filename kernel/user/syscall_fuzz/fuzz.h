/*
 * What the host tells the system call fuzzer and what it reads back.
 *
 * main.c makes calls and keeps the books, arguments.c draws what they are given, deeds.c does what takes several calls in
 * a row, ARCH/ has the instruction. The host takes numbers and layouts from the debug information of syscall_fuzz.elf.
 */
#ifndef KEUOS_SYSCALL_FUZZ_H
#define KEUOS_SYSCALL_FUZZ_H

#include <stdint.h>
#include <user.h>

enum fuzz_limit {
	FUZZ_ERRORS = 16, /* by enum keuos_error; 0 is success, the last is any negative result that is no error */
	FUZZ_ENDINGS = 16,
	FUZZ_TRACE = 56, /* the calls that are remembered */
	FUZZ_TRACE_MAGIC = 0x667a7a21,
	FUZZ_ARGUMENTS = 6,
	FUZZ_SCRATCH_PAGES = 4,
	FUZZ_ENDS = 4, /* channels to itself that it uses */
};

enum fuzz_role {
	FUZZ_CHILD = 0,  /* may do what ends it, too */
	FUZZ_FAMILY = 1, /* spawns children, and does nothing that ends it for certain */
};

struct fuzz_params {
	uint64_t seed;
	uint32_t calls;
	uint32_t role;   /* enum fuzz_role */
	uint32_t system; /* nonzero: it has a system capability */
	uint32_t flood;  /* nonzero: it begins by filling the console's buffers */
	uint32_t device; /* nonzero: its capability to a device, on which half of its calls are */
	uint32_t reserved;
};

/* One call, as it was made. */
struct fuzz_call {
	uint64_t number;
	uint64_t arguments[FUZZ_ARGUMENTS];
	int64_t result;
};

/*
 * The newest calls, in a memory object of their own: the host finds its frame in the kernel's tables and reads it from
 * outside, also when the kernel is no more.
 */
struct fuzz_trace {
	uint32_t magic; /* FUZZ_TRACE_MAGIC */
	uint32_t pid;
	uint32_t reserved;
	uint32_t open; /* nonzero: the newest call has not come back */
	uint64_t made; /* the newest is calls[(made - 1) % FUZZ_TRACE] */
	struct fuzz_call calls[FUZZ_TRACE];
};

struct fuzz_results {
	uint64_t made;
	uint32_t finished; /* nonzero: it came to the end of its calls */
	uint32_t children; /* whose books are in these */
	uint32_t leaks;    /* calls behind which a register was not as it must be */
	uint32_t lost;     /* what had to work, and did not: enum keuos_error */
	uint32_t line;     /* where */
	uint32_t reserved;
	struct fuzz_call leak;       /* the first of them */
	uint64_t registers[12];      /* and what it found: see fuzz_instruction */
	uint32_t ends[FUZZ_ENDINGS]; /* of the children, by enum keuos_exit_reason */
	uint32_t counts[KEUOS_SYS_COUNT][FUZZ_ERRORS];
};

extern volatile struct fuzz_params params;
extern struct fuzz_results results;

/* --- main.c --- */

/* A call, traced and counted. */
int64_t fuzz_make(uint64_t number, const uint64_t arguments[FUZZ_ARGUMENTS]);
int64_t fuzz_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
extern uint64_t fuzz_second; /* the second result of the newest call */
/* Evenly from 0 up to below the bound. */
uint64_t fuzz_draw(uint64_t bound);
uint64_t fuzz_any(void);

/* --- arguments.c --- */

/* What is in the table of capabilities, as far as the program can know it; enum keuos_capability_type, or itself. */
enum { FUZZ_KIND_SELF = 15 };
extern uint8_t fuzz_kinds[KEUOS_CAPABILITIES];
extern uint32_t fuzz_trace_capability; /* never drawn */
extern uint32_t fuzz_scratch_capability;

/* Draws arguments for a call that may well succeed, or may not. 0: not this one, here and now. */
int fuzz_arguments(uint64_t number, uint64_t arguments[FUZZ_ARGUMENTS]);
uint64_t fuzz_capability(enum keuos_capability_type kind);
/* Keeps fuzz_kinds by what a call has answered. */
void fuzz_learn(uint64_t number, const uint64_t arguments[FUZZ_ARGUMENTS], int64_t result);
uint64_t fuzz_scratch(void); /* address of memory that a call may write as it likes */

/* --- deeds.c --- */

void fuzz_deed(void);
void fuzz_flood(void);
/* Takes a child's counts before it goes. */
void fuzz_collect(uint32_t child);

/*
 * The instruction, in ARCH/. found: first and second result, then the registers that a call destroys as they came back
 * (0 is right for each but the last two: x86's return address and flags), then how many of those that it keeps were
 * changed. Where there are more of them than places, several share one.
 */
enum fuzz_found { FUZZ_VALUE = 0, FUZZ_SECOND = 1, FUZZ_ZEROED = 2, FUZZ_ZEROED_COUNT = 5, FUZZ_CHANGED = 9 };
void fuzz_instruction(const uint64_t number_and_arguments[1 + FUZZ_ARGUMENTS], uint64_t found[12]);

#endif
