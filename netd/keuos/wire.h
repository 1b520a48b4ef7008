/*
 * NetD's NIC on KeuOS: the PCI function that the first process granted (nic_device.h). The event loop calls these; the
 * stack sees a struct netd_nic.
 */
#ifndef NETD_KEUOS_WIRE_H
#define NETD_KEUOS_WIRE_H

#include "nic_device.h"

#include <netd/nic.h>
#include <stdbool.h>
#include <stdint.h>

struct wire {
	struct netd_nic nic;
	struct nic_device device;
};

/* Claims the NIC and brings it up; mtu: 0 for the device's own, or less. False: said why on the console. */
bool wire_open(struct wire *wire, uint16_t mtu);

/* Hands the receive buffers out, once the stack is there. */
void wire_run(struct wire *wire);

/*
 * Frames go into `bytes` at the end of an end's data ring from now on, which lie at `memory` here; or into our own buffers again.
 * The device is reset either way. False: it can't be, and nothing has changed, or the driver has stopped it.
 */
bool wire_receive_into(struct wire *wire, uint32_t end, uint8_t *memory, uint32_t bytes);
void wire_receive_own(struct wire *wire);

/* Takes what has arrived to the stack. Whether there was anything. */
bool wire_poll(struct wire *wire);

/* The end of a turn: what was sent in it goes to the NIC. */
void wire_flush(struct wire *wire);

/* Sleeps until something happens or the deadline (ns of the kernel's time), unless frames are there already. The bits. */
uint64_t wire_sleep(struct wire *wire, uint64_t deadline_ns);

/* Whether the device was caught lying, or broke: the driver has stopped it for good. */
bool wire_broken(const struct wire *wire);

#endif
