/* Randomness. */
#include <kernel/arch.h>
#include <kernel/random.h>

bool random_u64(uint64_t *value)
{
	if (hil_random && hil_random(value))
		return true;
	return arch_random(value);
}
