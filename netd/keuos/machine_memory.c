/* The memory of memory.h: the default limits take 8.5 MB. */
#include "memory.h"

_Alignas(4096) uint8_t stack_memory[12 << 20];
const size_t stack_memory_bytes = sizeof(stack_memory);
