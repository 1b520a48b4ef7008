/* How the first process of an emulated Linux comes up, whatever it does then: linux_guest.c, linux_transfer.c. */
#pragma once

#include <stdbool.h>

/* What the NIC is called once it is there. */
#define GUEST_INTERFACE "wire0"
#define SECOND 1000000000LL

/* This machine's monotonic clock, in ns. */
long long now(void);

/*
 * Mounts /dev and /proc, loads the drivers that the initrd's file `modules` names, and sets the interface up by the
 * first four lines of its file `arguments`: address, mask, gateway, MTU. Gives up where something is missing.
 *
 * argument: gets the lines of that file, at most `most`.
 * offloads: see struct interface.
 * How many lines there are, at least four.
 */
int start_guest(char **argument, int most, bool offloads);
