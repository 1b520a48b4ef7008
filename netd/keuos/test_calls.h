/*
 * What a test and an application of netd_hil say to each other by frames of type TEST_LINE_CALLS: NetD passes payloads on
 * as they are. The application asks by a standing RECEIVE on socket 0, which is nobody's; each frame's payload, with what
 * Ethernet padded, comes to it as DATA, and each SEND_TO on socket 0 becomes a frame. The application that asked last
 * has the line. (`sockets` does, docs/socket-calls.md.)
 *
 * Both ways wait until NetD is idle: what was sent before a frame has been dealt with when the application gets it, and
 * what NetD had to say to an application's requests stands before the frame that the application sent behind them.
 */
#ifndef NETD_KEUOS_TEST_CALLS_H
#define NETD_KEUOS_TEST_CALLS_H

#include <netd/nic.h>

void test_calls_start(void);

/* A frame has come; the reference is moved. */
void test_calls_take(struct netd_frame *frame);

/* NetD is idle. Whether anything was passed on. */
bool test_calls_idle(void);

#endif
