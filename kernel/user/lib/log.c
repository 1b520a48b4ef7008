/* user_log(): a formatted line for KEUOS_SYS_LOG, and the one number that crt0 has to know. */
#include "format.h"
#include "user.h"

_Static_assert(KEUOS_SYS_EXIT == 2, "crt0.S calls EXIT by its number");

enum { LOG_BYTES = 256 };

int64_t user_log(const char *format, ...)
{
	char line[LOG_BYTES + 1];
	va_list arguments;
	size_t length;

	va_start(arguments, format);
	length = user_vformat(line, sizeof(line), format, arguments);
	va_end(arguments);
	return sys_log(line, length);
}
