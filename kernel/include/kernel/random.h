/* Randomness for keys and for user space: the hardware's, or, in HIL builds only, a seeded stream (boot argument seed=N). */
#ifndef KERNEL_RANDOM_H
#define KERNEL_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

bool random_u64(uint64_t *value);

/* Defined in HIL builds only: true if a seed was given, and then the next number of its stream. */
bool hil_random(uint64_t *value) __attribute__((weak));

#endif
