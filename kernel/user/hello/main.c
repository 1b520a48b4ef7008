/* The smallest program: says that it runs, and with which arguments. The boot suite spawns it. */
#include <user.h>

int main(const char *args)
{
	user_log("hello: args '%s'", args);
	return 0;
}
