/*
 * The prompt: a line editor and the commands of a person at the console. It takes bytes and writes text; frames never
 * come near it.
 */
#ifndef KEUOS_CONSOLE_PROMPT_H
#define KEUOS_CONSOLE_PROMPT_H

#include "children.h"

#include <stdint.h>

/* Shows the prompt, and the line being edited behind it. */
void prompt_show(void);

/* Takes a byte of input. */
void prompt_byte(uint8_t byte);

/* Puts a line of text above the prompt: something happened by itself. */
void prompt_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Says in words how a child ended. */
void prompt_exit_notice(const struct child *child, const struct keuos_process_info *info);

/* Forgets what an interrupted frame may have left in the line; what a person typed stays. */
void prompt_forget_noise(void);

#endif
