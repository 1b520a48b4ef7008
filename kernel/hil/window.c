/* What else a HIL build offers to any process, about nothing but what it holds already. */
#include "hil.h"

#include <kernel/channel.h>

/* Where a page of a process lies in memory, for a host that reads and writes memory from outside. */
struct result hil_physical(uint64_t index, uint64_t address)
{
	int error;
	struct capability *held =
		capability_get(current_process(), index, KEUOS_CAP_PROCESS, KEUOS_RIGHT_CONTROL, &error);
	if (held == NULL)
		return result_of(error);
	const struct process *process = held->object;
	uint64_t physical = user_range(address, 1) ? arch_translate(&process->space, address, false) : 0;
	return result_of(physical ? (int64_t)physical : -KEUOS_EFAULT);
}

/* What one SipHash-2-4 of so many bytes takes, in ticks, under the key of the caller's channel; less reading the clock. */
struct result hil_hash(uint64_t producer, uint64_t bytes)
{
	int error;
	static uint8_t message[64];
	struct capability *end = capability_get(current_process(), producer, KEUOS_CAP_PRODUCER, 0, &error);
	if (end == NULL)
		return result_of(error);
	if (bytes > sizeof(message))
		return result_of(-KEUOS_EINVAL);
	const struct channel *channel = end->object;
	uint64_t start = arch_counter();
	uint64_t nothing = arch_counter() - start;
	start = arch_counter();
	(void)siphash_2_4(channel->key, message, bytes);
	return result_of((int64_t)(arch_counter() - start - nothing));
}
