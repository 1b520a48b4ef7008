/* What the host tells nic_probe and reads back from it. */
#ifndef NIC_PROBE_H
#define NIC_PROBE_H

#include <nic_driver.h>
#include <stdint.h>

enum nic_probe_limit {
	NIC_PROBE_FRAMES = 64, /* the newest received */
	NIC_PROBE_FRAME_BYTES = 2048,
	NIC_PROBE_HELD = 1024,
};

enum nic_probe_stage {
	NIC_PROBE_NOT_STARTED = 0,
	NIC_PROBE_OPENING = 1,
	NIC_PROBE_RUNNING = 2,
	NIC_PROBE_STOPPED = 3, /* the driver stopped the device; results.fault says why */
};

struct nic_probe_params {
	uint32_t send; /* counts up: frame_out[0..send_bytes) is to be sent */
	uint32_t send_bytes;
	uint32_t copies;  /* how often; 0 counts as 1 */
	uint32_t echo;    /* nonzero: every frame goes back with its addresses exchanged */
	uint32_t hold;    /* nonzero: received frames are kept from the device */
	uint32_t restart; /* counts up: the function is reset and started once more */
	uint32_t die;     /* nonzero: leave without giving anything back */
};

struct nic_probe_results {
	uint32_t stage; /* enum nic_probe_stage */
	int32_t error;  /* of a system call on the way to running, negative */
	uint32_t fault; /* enum virtio_fault, e1000e_fault */
	uint32_t sent;  /* requests carried out: the last params.send */
	uint32_t restarted;
	uint32_t received; /* frames; frame n is at n mod NIC_PROBE_FRAMES */
	uint32_t echoed;
	uint32_t held;
	uint32_t link_up, link_changes, rooms;
	uint32_t mtu;
	uint8_t mac[NETD_MAC_BYTES];
	uint64_t wakes;       /* returns from DEVICE_WAIT with the device's bit */
	uint64_t memory_at;   /* of the driver's block, here */
	uint64_t memory_iova; /* and as the device sees it */
	uint32_t frame_at;    /* where in a driver's buffer a frame begins */
	uint32_t device;      /* capability */
	uint32_t memory;      /* capability */
	struct nic_counters counters;
};

struct nic_probe_frame {
	uint32_t bytes;
	uint8_t data[NIC_PROBE_FRAME_BYTES];
};

#endif
