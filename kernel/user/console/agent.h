/*
 * The agent: carries out the operations of docs/hil-protocol.md, one message in, one message out. It knows messages,
 * not frames or the line; main.c moves them.
 */
#ifndef KEUOS_CONSOLE_AGENT_H
#define KEUOS_CONSOLE_AGENT_H

#include "children.h"

#include <stddef.h>
#include <stdint.h>

/* A message to send; no bytes: nothing to send. Valid until the next call. */
struct agent_message {
	const uint8_t *data;
	size_t bytes;
};

/* Carries out a request, or answers a repeated one with the reply it got before. No request at all gets no reply. */
struct agent_message agent_request(const uint8_t *data, size_t bytes);

/* The event that tells of a child's death, and the one that tells that the agent is up. */
struct agent_message agent_exit_event(const struct child *child, const struct keuos_process_info *info);
struct agent_message agent_boot_event(const char *build);

#endif
