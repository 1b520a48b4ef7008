/* The abuse program's operations on arm64 that C can't say: there are none. It has no segments, and no x87. */
#include "../abuse.h"

int abuse_has(uint32_t op)
{
	return op != ABUSE_FAR_CALL && op != ABUSE_X87_DIVIDE && op != ABUSE_X87_PENDING;
}

void abuse_far_call(uint16_t selector)
{
	(void)selector;
}

void abuse_x87_divide(void)
{
}

void abuse_x87_report(void)
{
}
