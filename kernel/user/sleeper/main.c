/* Waits for ever, waking only to count: kill, leaks and idle cores are tested with it. */
#include <stdint.h>
#include <user.h>

volatile uint64_t wakes;

int main(const char *args)
{
	(void)args;
	for (;;) {
		sys_wait(UINT64_MAX, KEUOS_FOREVER);
		wakes = wakes + 1;
	}
}
