/*
 * Direct mode: one application has the NIC to itself, and frames land in its own ring's pages, from where it reads their payload
 * without a copy. docs/sockets.md, "Direct mode".
 *
 * The upper half of the application's events ring is shown to the device, writable, in place of the driver's receive buffers; the
 * application has it read-only, as ever. A frame that has been checked where it lies is told by a KEUOS_SOCKET_DIRECT, and is the
 * device's again when the application's tail has passed that message. What can't be told so (text behind a hole, a piece of a frame,
 * too many frames on loan) is copied as in shared mode.
 */
#ifndef NETD_KEUOS_DIRECT_H
#define NETD_KEUOS_DIRECT_H

#include "applications.h"
#include "wire.h"

void direct_start(struct netd *stack, struct wire *wire);

/* Gives the NIC to the application. False: somebody has it, others have sockets, its ring is too small, or the device refuses. */
bool direct_open(struct application *application);

/* The application is going: frames go into the driver's own buffers again, before its pages are unmapped. */
void direct_close(const struct application *application);

/* Whether somebody else has the NIC to itself. */
bool direct_excludes(const struct application *application);

/* Takes back what the application has read; whether there was anything. Called before frames are taken off the NIC, too. */
bool direct_reclaim(void);

/* Whether so much is on loan that the window closes: then the application's reading is worth a wake-up. */
bool direct_waits(const struct application *application);

/* Tells the application of payload in its pages, and moves the frame's reference. False: it is to be copied, or told later. */
bool direct_tell(struct application *application, uint32_t id, uint32_t socket, struct netd_frame *frame,
	const void *data, uint32_t bytes);

#endif
