/*
 * The stack's memory on KeuOS. Two sizes, one to a program: machine_memory.c (netd) has what the default limits want,
 * test_memory.c (netd_hil) more, for tests that ask for more connections and longer buffers.
 */
#ifndef NETD_KEUOS_MEMORY_H
#define NETD_KEUOS_MEMORY_H

#include <stddef.h>
#include <stdint.h>

extern uint8_t stack_memory[];
extern const size_t stack_memory_bytes;

#endif
