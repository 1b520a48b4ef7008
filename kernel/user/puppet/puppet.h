/*
 * What the host tells the puppet and what it reads back. The host writes `command` while the puppet waits, its `turn`
 * last; the puppet carries it out and answers with the same turn. Layouts come from the debug information.
 */
#ifndef KEUOS_PUPPET_H
#define KEUOS_PUPPET_H

#include <keuos/syscall.h>
#include <stdint.h>

enum puppet_op {
	PUPPET_SYSCALL = 0,  /* `number` with `args` -> value, second */
	PUPPET_FILL = 1,     /* args: address, bytes, seed: a word of the seed and its own place each */
	PUPPET_COMPARE = 2,  /* args: address, bytes, seed -> value: words that are not as FILL leaves them */
	PUPPET_READ_ON = 3,  /* args: address, expected word: reads it over and over; only a fault ends it */
	PUPPET_WRITE_ON = 4, /* args: address, word: the same, writing */
	PUPPET_SLEEP_READ =
		5, /* args: address, expected word: reads, sleeps until an end is bound to it, reads again */
	PUPPET_PROTECTIONS = 6, /* -> value: enum puppet_protection, or-ed: what this CPU has */
	PUPPET_CALL_READ_ON =
		7, /* args: address, expected word, first argument of `number`: reads, makes the call, reads on at once */
};

enum puppet_protection {
	PUPPET_HAS_NX = 1,
	PUPPET_HAS_SMEP = 2,
	PUPPET_HAS_SMAP = 4,
	PUPPET_HAS_UMIP = 8,
};

enum puppet_limit {
	PUPPET_SCRATCH_BYTES = 1024, /* for structures that a system call reads or writes */
};

struct puppet_command {
	uint32_t op; /* enum puppet_op */
	uint32_t reserved;
	uint64_t number;
	uint64_t args[6];
	uint64_t turn; /* last: counts the commands */
};

struct puppet_answer {
	int64_t value;
	uint64_t second;
	uint64_t turns;   /* of a loop, so far */
	uint64_t strange; /* words it has read that were not the expected one */
	uint64_t turn;    /* of the last command that is done */
};

#endif
