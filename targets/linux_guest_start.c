/*
 * How the first process of an emulated Linux comes up: file systems, drivers, interface.
 *
 * What must not live here: what the process does then.
 */
#define _GNU_SOURCE
#include "linux_guest_start.h"
#include "linux_program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GIVEN_NAME "eth0"

long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

/* The lines of a file of the initrd. */
static int lines_of(const char *path, char **line, int most)
{
	static char texts[2][16384];
	static int used;
	char *text = texts[used++], *rest = NULL;
	int n = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof texts[0] - 1);
	if (size < 0 || size == sizeof texts[0] - 1)
		give_up("the initrd's file %s can't be read: %s", path, size < 0 ? strerror(errno) : "too long");
	close(fd);
	text[size] = 0;
	for (char *one = strtok_r(text, "\n", &rest); one != NULL; one = strtok_r(NULL, "\n", &rest)) {
		if (n == most)
			give_up("the initrd's file %s has more than %d lines", path, most);
		line[n++] = one;
	}
	return n;
}

static void load_modules(void)
{
	char *module[32];
	int modules = lines_of("/modules", module, 32);
	for (int at = 0; at < modules; at++) {
		int fd = open(module[at], O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) != 0)
			give_up("the module %s can't be loaded: %s", module[at], strerror(errno));
		close(fd);
	}
}

/* The drivers find the NIC a moment after they are loaded. */
static void rename_interface(void)
{
	int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = GIVEN_NAME, .ifr_newname = GUEST_INTERFACE};
	long long end = now() + 10 * SECOND;
	while (ioctl(any, SIOCSIFNAME, &request) != 0) {
		if (errno != ENODEV || now() > end)
			give_up("no interface %s: %s", GIVEN_NAME, strerror(errno));
		usleep(1000);
	}
	close(any);
}

int start_guest(char **argument, int most, bool offloads)
{
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	if (mkdir("/proc", 0555) != 0 && errno != EEXIST)
		give_up("/proc can't be made: %s", strerror(errno));
	if (mount("proc", "/proc", "proc", 0, NULL) != 0)
		give_up("/proc can't be mounted: %s", strerror(errno));
	int arguments = lines_of("/arguments", argument, most);
	if (arguments < 4)
		give_up("the initrd's file /arguments has %d lines; expected at least 4", arguments);
	load_modules();
	rename_interface();
	set_up_interface(&(struct interface){
		GUEST_INTERFACE, NULL, argument[0], argument[1], argument[2], atoi(argument[3]), offloads});
	return arguments;
}
