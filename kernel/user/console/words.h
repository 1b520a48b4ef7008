/* The system call interface's numbers in words, for people. Pure: a number in, a text out. */
#ifndef KEUOS_CONSOLE_WORDS_H
#define KEUOS_CONSOLE_WORDS_H

#include <keuos/syscall.h>
#include <stddef.h>
#include <stdint.h>

/* Every function accepts any number; one that has no word reads "unknown". */
const char *word_process_state(uint32_t state);
const char *word_channel_state(uint32_t state);
const char *word_channel_mode(uint32_t mode);
const char *word_close_reason(uint32_t reason);
const char *word_verdict(uint32_t verdict);
const char *word_event(uint32_t kind);

/* How a process ended, as in "exit 0" or "read fault at 0x1000 (code at 0x400010)". Returns `out`. */
const char *word_exit(char *out, size_t capacity, uint32_t reason, uint64_t detail, uint64_t address);

#endif
