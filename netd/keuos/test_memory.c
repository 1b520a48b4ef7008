/* The memory of memory.h: 128 connections with 192 KiB each. */
#include "memory.h"

_Alignas(4096) uint8_t stack_memory[32 << 20];
const size_t stack_memory_bytes = sizeof(stack_memory);
