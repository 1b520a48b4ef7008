/*
 * What the host tells the abuse program and what it reads back. Where the probe attempts one forbidden access, this
 * program attempts sequences of calls that are allowed one by one: chains, cycles, orphans, hoards. The host takes
 * numbers and layouts from the debug information of abuse.elf.
 *
 * processes.c, capabilities.c, channels.c and ARCH/ have the operations by theme; main.c calls them.
 */
#ifndef KEUOS_ABUSE_H
#define KEUOS_ABUSE_H

#include <stdint.h>
#include <user.h>

enum abuse_op {
	ABUSE_WAIT = 0, /* for ever */
	ABUSE_SPIN = 1, /* in user mode, for ever */

	/* capabilities.c */
	ABUSE_GRANT_CHAIN = 5, /* grants to itself, each from the one before, till refused; then revokes the first */
	ABUSE_GRANT_FAN = 6,   /* grants to itself, all from the first, till refused; then revokes the first */
	ABUSE_ALIAS = 7,       /* a doorbell for end i + 64 before a capability is made at i -> value: the bits left */
	ABUSE_PAGE_TABLES = 8, /* spends all its pages on memory objects but `spare`, then maps each */
	ABUSE_WINDOWS = 9,     /* binds channels to itself till refused, with `spare` pages left at the start */

	/* channels.c */
	ABUSE_SELF_TAIL = 10, /* is its own consumer on a verified channel, and publishes a tail that can't be */
	ABUSE_HOARD = 11,     /* binds, accepts and unmaps both ends, and keeps the control capability, till refused */
	ABUSE_PARTIAL = 12,   /* NOTIFY_AND_WAIT with room for one of two -> value, second; third: bits still pending */
	ABUSE_REVOKE = 13,    /* a channel of its own, `count` times */

	/* processes.c */
	ABUSE_SUSPENDED = 14, /* `count` suspended children; tries to give each a capability to another and to itself */
	ABUSE_ORPHAN = 15,    /* a child of lower priority that runs `child_op`, dropped before it can run */
	ABUSE_CHAIN = 16,     /* spawns itself with a quota of `processes`, which does the same, till refused */
	ABUSE_FAMILY = 17,    /* `count` children on `core` that run `child_op`; then waits for ever */
	ABUSE_CLAIM = 18,     /* as FAMILY, each with a pages quota of `pages` -> value: the sum of what they got */
	ABUSE_TURNOVER = 19,  /* `count` children in turn, each given all pages and processes; they leave at once */
	ABUSE_CONDEMNED = 20, /* `count` consumers on `core`: publish a bad tail, and leave once they are blamed */
	ABUSE_CONSUMER = 21,  /* one of those */
	ABUSE_LEAVE = 22,     /* with code 0 */
	ABUSE_INHERIT = 23,   /* `count` children run `child_op` and die -> value: pages or channels it has of them */
	ABUSE_MEMORY_WILL = 24,  /* one of those: grants an object of `pages` to the process in `value` */
	ABUSE_CHANNEL_WILL = 25, /* one of those: binds a channel from the process in `value` to itself */
	ABUSE_GRANDPARENT =
		26,         /* a grandchild makes the will `child_op`; ends child and grandchild, then what they left */
	ABUSE_BETWEEN = 27, /* the child: hands `value` down to a child of its own */
};

enum abuse_limit {
	ABUSE_REASONS = 16, /* room for every enum keuos_exit_reason */
	ABUSE_PIDS = 64,
};

struct abuse_params {
	uint32_t op;       /* enum abuse_op */
	uint32_t child_op; /* enum abuse_op of children that the operation doesn't determine */
	uint32_t count;
	uint32_t core; /* of children */
	uint32_t processes;
	uint32_t pages;
	uint32_t spare;
	uint32_t grandchildren; /* ABUSE_FAMILY: each child is such a family of so many that wait */
	uint64_t value;         /* of a will: 0 until there is somebody to leave things to */
};

struct abuse_results {
	uint32_t stage;  /* enum abuse_stage */
	uint32_t count;  /* how often it went well */
	uint32_t error;  /* enum keuos_error of the refusal that ended it; 0: none */
	uint32_t failed; /* enum keuos_error where no refusal was due; `line` tells which call */
	uint32_t line;
	uint32_t before; /* a count that must come back, taken at the start ... */
	uint32_t after;  /* ... and at the end */
	uint32_t pages;  /* the most that it was ever charged */
	uint32_t pages_max;
	uint32_t index; /* ABUSE_ALIAS: the end whose bit was pending; ABUSE_REVOKE, ABUSE_SELF_TAIL: the channel */
	uint32_t made;  /* ABUSE_ALIAS: the capability that was made; ABUSE_REVOKE: the channel's generation */
	uint32_t refused[ABUSE_REASONS]; /* how often with each enum keuos_error */
	uint32_t reasons[ABUSE_REASONS]; /* children by enum keuos_exit_reason */
	uint32_t pids[ABUSE_PIDS];       /* of children, `count` of them */
	int64_t value;
	uint64_t second;
	uint64_t third;
};

enum abuse_stage {
	ABUSE_NOT_STARTED = 0,
	ABUSE_STARTED = 1,
	ABUSE_DONE = 2, /* the results stand; it may be waiting */
};

/* What it leaves with: it came to the end of the operation, a call failed, or the parameters made no sense. */
enum abuse_exit { ABUSE_EXIT_OK = 0, ABUSE_EXIT_FAILED = 1, ABUSE_EXIT_SENSELESS = 2 };

extern volatile struct abuse_params params;
extern volatile struct abuse_results results;

/* Ends the program with code 1 if a call that should have gone well did not; else the call's result. */
#define MUST(call) abuse_must((call), __LINE__)
int64_t abuse_must(int64_t result, int line);
/* A refusal that the operation was after. */
void abuse_refused(int64_t result);
/* What the kernel says of the caller; the most pages that it ever said are kept. */
struct keuos_process_info abuse_info(void);
/* The results stand: waits for ever. */
_Noreturn void abuse_wait(void);

int abuse_processes(uint32_t op);
int abuse_capabilities(uint32_t op);
int abuse_channels(uint32_t op);

/* A channel of the caller to itself: its control capability; ends[0] is the producer's, ends[1] the consumer's. */
int64_t abuse_bind_self(uint32_t mode, uint32_t data_order, struct keuos_endpoint ends[2]);

#endif
