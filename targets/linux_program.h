/*
 * What the two programs that make socket calls on Linux share: linux_namespace.c beside the test on its own machine, and
 * linux_guest.c in an emulated one. Each is linked with linux_sockets.c, linux_interface.c and call_text.c.
 */
#pragma once

#include <linux/netlink.h>
#include <net/if.h>
#include <stdbool.h>

/* linux_sockets.c: once, before the first request. */
void prepare_sockets(void);

/* linux_sockets.c: carries out one request, which it takes apart, and replies. */
void serve(char *request);

/* linux_interface.c: tells the test why there is nothing to be had, and ends the program. */
void __attribute__((noreturn, format(printf, 1, 2))) give_up(const char *format, ...);

/* linux_interface.c: false, with errno, if it can't be written whole. */
bool write_file(const char *path, const char *text);

/* An interface as the test wants it; texts, as they came on the command line. */
struct interface {
	const char *name, *mac, *address, *mask, *gateway;
	int mtu;
	bool offloads; /* as Linux has them by default; else segments are sent and taken singly, checksums filled in */
};

/* linux_interface.c: one request to rtnetlink(7) of this namespace, with NLM_F_ACK; 0, or what was wrong with it. */
int ask_kernel(const struct nlmsghdr *request);

/* linux_interface.c: sets MTU and brings up, in the namespace of the socket `any`. */
void bring_up(int any, const char *name, int mtu);

/* linux_interface.c: brings it up, the loopback too, with the gateway as its default route. `mac` may be NULL: it stays. */
void set_up_interface(const struct interface *wanted);

/* linux_interface.c: PATH=VALUE below /proc/sys/net; a path that this kernel lacks is passed over. */
void apply_setting(const char *setting);

/* linux_interface.c: "ready SYSTEM", as uname says it; a static text. */
const char *ready_text(void);
