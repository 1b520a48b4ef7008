/* user_error(): the kernel's objections in words. */
#include "user.h"

const char *user_error(int64_t error)
{
	static const char *const words[] = {
		[KEUOS_EPERM] = "not allowed: the capability lacks the right",
		[KEUOS_ENOENT] = "no such file in the initrd, or no such item",
		[KEUOS_EBADCAP] = "no capability of that type at that index",
		[KEUOS_EFAULT] = "an address outside the process's memory",
		[KEUOS_EINVAL] = "an argument out of its range",
		[KEUOS_EAGAIN] = "nothing there now, or full: try again",
		[KEUOS_ENOMEM] = "out of memory: end processes to free some",
		[KEUOS_EQUOTA] = "quota used up: end processes, drop capabilities, or ask for smaller quotas",
		[KEUOS_ECLOSED] = "the channel is closed",
		[KEUOS_ESTATE] = "the process is not in a state for this",
		[KEUOS_EENTROPY] = "no source of randomness, so no channels: use a CPU with RDRAND",
		[KEUOS_ENOEXEC] = "not an ELF that can run here",
		[KEUOS_ENOSYS] = "not in this build: boot the HIL image",
	};
	uint64_t index = (uint64_t)(error < 0 ? -error : error);

	return index < sizeof(words) / sizeof(words[0]) && words[index] ? words[index] : "unknown";
}
