/* Polls for ever and never yields: what preemption and kill are tested with. The host may watch `turns` grow. */
#include <stdint.h>
#include <user.h>

volatile uint64_t turns;

int main(const char *args)
{
	(void)args;
	for (;;)
		turns = turns + 1;
}
