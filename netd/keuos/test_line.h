/*
 * The line of a test to netd_hil, over the NIC that is tested: frames of two experimental types, which never reach the
 * stack. What lives here: standing between the NIC's driver and the stack, and sorting those frames out. What the frames
 * say is test_clock.h's and test_calls.h's affair. netd has none of this.
 */
#ifndef NETD_KEUOS_TEST_LINE_H
#define NETD_KEUOS_TEST_LINE_H

#include <netd/nic.h>

enum test_line_type {
	TEST_LINE_CLOCK = 0x88B5, /* IEEE 802's two for local experiments */
	TEST_LINE_CALLS = 0x88B6,
};

/* The stack has been given this NIC. */
void test_line_start(struct netd_nic *nic);

/* How many frames have been sent that were not of these types. */
uint64_t test_line_sent(void);

/* Sends a frame to whoever sent the last one of these types. False: the NIC has no room. */
bool test_line_send(enum test_line_type type, const void *payload, size_t bytes);

#endif
