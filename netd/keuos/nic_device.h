/*
 * A NIC as a PCI function that KeuOS gave us: claimed, given one block of memory that it may reach and no more, and driven
 * by the driver of netd/drivers that knows it. Whoever has it sees one set of calls, whichever NIC it is.
 */
#ifndef NETD_NIC_DEVICE_H
#define NETD_NIC_DEVICE_H

#include <e1000e.h>
#include <virtio_net.h>
#include <virtio_pci.h>

enum nic_device_model {
	NIC_DEVICE_NONE = 0,
	NIC_DEVICE_VIRTIO = 1,
	NIC_DEVICE_E1000E = 2,
};

enum {
	NIC_DEVICE_IOVA = 0x40000000,      /* where the block lies for the device */
	NIC_DEVICE_LENT_IOVA = 0x50000000, /* and somebody else's pages */
};

struct nic_device {
	enum nic_device_model model;
	uint32_t device, memory; /* capabilities */
	uint64_t memory_at;
	struct virtio_pci pci;
	struct virtio_net virtio;
	struct e1000e_bus bus;
	struct e1000e e1000e;
};

/* Finds the first NIC that a driver knows among the caller's capabilities. 0, or -KEUOS_ENOENT. */
int64_t nic_device_find(struct nic_device *device);

/* Claims it and gives it its memory. 0, or an error of keuos/syscall.h and in *what the step that it came from. */
int64_t nic_device_open(struct nic_device *device, const char **what);

/* Starts the driver, which fills in nic. 0, or an enum virtio_fault or e1000e_fault. Frames come from nic_device_run on. */
uint32_t nic_device_start(struct nic_device *device, struct netd_nic *nic);

/* Lets the device at the bus and hands the receive buffers out. 0 or an error. */
int64_t nic_device_run(struct nic_device *device);

/* Stops the driver and resets the function. 0 or an error. */
int64_t nic_device_reset(struct nic_device *device);

/*
 * Frames go into the last `bytes` of the data ring of a channel's end from now on, which lie at `memory` here, or into our own buffers
 * again: virtio_net_receive_into(). 0 or an error.
 */
int64_t nic_device_receive_into(struct nic_device *device, uint32_t end, uint8_t *memory, uint32_t bytes);
int64_t nic_device_receive_own(struct nic_device *device);

/* Whether a frame's bytes lie in such pages, and where: bytes behind their start. */
bool nic_device_lies_lent(const struct nic_device *device, const uint8_t *data, size_t bytes, uint32_t *offset);

/* As virtio_net.h and e1000e.h say of the calls of that name. */
unsigned nic_device_poll(struct nic_device *device, unsigned budget);
void nic_device_flush(struct nic_device *device);
void nic_device_look(struct nic_device *device);
bool nic_device_arm(struct nic_device *device);
void nic_device_disarm(struct nic_device *device);

bool nic_device_runs(const struct nic_device *device);
uint32_t nic_device_fault(const struct nic_device *device); /* why it does not */
const struct nic_counters *nic_device_counters(const struct nic_device *device);

#endif
