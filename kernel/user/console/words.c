/* The vocabulary of words.h. */
#include "words.h"

#include <format.h>

#define WORD(table, index) ((index) < sizeof(table) / sizeof((table)[0]) && (table)[index] ? (table)[index] : "unknown")

const char *word_process_state(uint32_t state)
{
	static const char *const words[] = {
		[KEUOS_PROCESS_FREE] = "free",
		[KEUOS_PROCESS_SUSPENDED] = "suspended",
		[KEUOS_PROCESS_READY] = "ready",
		[KEUOS_PROCESS_RUNNING] = "running",
		[KEUOS_PROCESS_WAITING] = "waiting",
		[KEUOS_PROCESS_DEAD] = "dead",
	};

	return WORD(words, state);
}

const char *word_channel_state(uint32_t state)
{
	static const char *const words[] = {
		[KEUOS_CHANNEL_FREE] = "free",
		[KEUOS_CHANNEL_OPEN] = "open",
		[KEUOS_CHANNEL_CLOSED] = "closed",
	};

	return WORD(words, state);
}

const char *word_channel_mode(uint32_t mode)
{
	static const char *const words[] = {
		[KEUOS_POLLED] = "polled",
		[KEUOS_POLLED_PROOF] = "proof",
		[KEUOS_VERIFIED] = "verified",
	};

	return WORD(words, mode);
}

const char *word_close_reason(uint32_t reason)
{
	static const char *const words[] = {
		[KEUOS_CLOSE_NONE] = "-",
		[KEUOS_CLOSE_BY_PEER] = "closed by a side",
		[KEUOS_CLOSE_PRODUCER_DIED] = "producer died",
		[KEUOS_CLOSE_CONSUMER_DIED] = "consumer died",
		[KEUOS_CLOSE_VIOLATION] = "violation",
		[KEUOS_CLOSE_REVOKED] = "revoked",
	};

	return WORD(words, reason);
}

const char *word_verdict(uint32_t verdict)
{
	static const char *const words[] = {
		[KEUOS_VERDICT_OK] = "OK",
		[KEUOS_VERDICT_OWNERSHIP] = "OWNERSHIP",
		[KEUOS_VERDICT_STATE] = "STATE",
		[KEUOS_VERDICT_INDEX] = "INDEX",
		[KEUOS_VERDICT_ALIGNMENT] = "ALIGNMENT",
		[KEUOS_VERDICT_TEMPLATE] = "TEMPLATE",
		[KEUOS_VERDICT_TAG] = "TAG",
		[KEUOS_VERDICT_LENGTH] = "LENGTH",
		[KEUOS_VERDICT_SEQUENCE] = "SEQUENCE",
		[KEUOS_VERDICT_AGAIN] = "AGAIN",
		[KEUOS_VERDICT_TAIL] = "TAIL",
	};

	_Static_assert(sizeof(words) / sizeof(words[0]) == KEUOS_VERDICT_COUNT, "a verdict has no word");
	return WORD(words, verdict);
}

const char *word_event(uint32_t kind)
{
	static const char *const words[] = {
		[KEUOS_EVENT_GATE] = "gate",
		[KEUOS_EVENT_FAULT] = "fault",
		[KEUOS_EVENT_EXIT] = "exit",
		[KEUOS_EVENT_BIND] = "bind",
		[KEUOS_EVENT_CLOSE] = "close",
		[KEUOS_EVENT_REVOKE] = "revoke",
		[KEUOS_EVENT_DMA_FAULT] = "dma",
		[KEUOS_EVENT_STRAY] = "stray",
	};

	return WORD(words, kind);
}

const char *word_exit(char *out, size_t capacity, uint32_t reason, uint64_t detail, uint64_t address)
{
	static const char *const faults[] = {
		[KEUOS_EXIT_FAULT_READ] = "read fault",
		[KEUOS_EXIT_FAULT_WRITE] = "write fault",
		[KEUOS_EXIT_FAULT_EXECUTE] = "execute fault",
	};
	static const char *const exceptions[] = {
		[KEUOS_EXIT_ILLEGAL] = "illegal instruction",
		[KEUOS_EXIT_ARITHMETIC] = "arithmetic exception",
		[KEUOS_EXIT_ALIGNMENT] = "alignment exception",
		[KEUOS_EXIT_DEBUG] = "breakpoint or single step",
	};

	switch (reason) {
	case KEUOS_EXIT_NONE:
		user_format(out, capacity, "alive");
		break;
	case KEUOS_EXIT_CODE:
		user_format(out, capacity, "exit %ld", (long)detail);
		break;
	case KEUOS_EXIT_KILLED:
		user_format(out, capacity, "killed by [%lu]", (unsigned long)detail);
		break;
	case KEUOS_EXIT_GATE:
		user_format(out, capacity, "killed by gate %s",
			word_verdict(detail < KEUOS_VERDICT_COUNT ? (uint32_t)detail : UINT32_MAX));
		break;
	case KEUOS_EXIT_FAULT_READ:
	case KEUOS_EXIT_FAULT_WRITE:
	case KEUOS_EXIT_FAULT_EXECUTE:
		user_format(out, capacity, "%s at 0x%lx (code at 0x%lx)", faults[reason], (unsigned long)detail,
			(unsigned long)address);
		break;
	case KEUOS_EXIT_ILLEGAL:
	case KEUOS_EXIT_ARITHMETIC:
	case KEUOS_EXIT_ALIGNMENT:
	case KEUOS_EXIT_DEBUG:
		user_format(out, capacity, "%s at 0x%lx", exceptions[reason], (unsigned long)address);
		break;
	case KEUOS_EXIT_BAD_SYSCALL:
		user_format(out, capacity, "no system call %lu (code at 0x%lx)", (unsigned long)detail,
			(unsigned long)address);
		break;
	default:
		user_format(out, capacity, "ended for unknown reason %u", reason);
	}
	return out;
}
