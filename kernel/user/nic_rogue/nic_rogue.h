/* What the host has nic_rogue do, one step after another, and what came of it. */
#ifndef NIC_ROGUE_H
#define NIC_ROGUE_H

#include <keuos/syscall.h>
#include <stdint.h>

enum nic_rogue_operation {
	NIC_ROGUE_OPEN = 1, /* the NIC claimed, its queues set up, mastering: nothing but the queues is mapped */
	NIC_ROGUE_POST =
		2, /* a descriptor: queue, iova, bytes; then it waits for the device to use it; `repeat` times */
	NIC_ROGUE_CALL = 3,   /* a system call: number, args -> value */
	NIC_ROGUE_RESET = 4,  /* the function reset and its queues set up once more */
	NIC_ROGUE_ACCEPT = 5, /* takes the next end of a channel -> endpoint */
	NIC_ROGUE_LEAVE = 6,
	NIC_ROGUE_POKE = 7, /* `value`, 4 bytes, to args[0] in its own memory */
	NIC_ROGUE_PEEK = 8, /* 4 bytes from args[0] there -> value */
};

enum nic_rogue_queue { NIC_ROGUE_RECEIVE = 0, NIC_ROGUE_TRANSMIT = 1 };

struct nic_rogue_params {
	uint32_t step; /* counts up: the operation below is to be carried out */
	uint32_t operation;
	uint32_t queue;
	uint32_t bytes;
	uint64_t iova;
	uint64_t wait_ns; /* how long the device may take, each time */
	uint32_t repeat;  /* 0 counts as 1 */
	uint32_t
		split_bytes; /* nonzero: so many bytes, from `split_at` of the buffer on, lie at `split_iova` instead */
	uint64_t split_iova;
	uint32_t split_at;
	uint32_t reserved;
	uint64_t number;
	uint64_t args[6];
};

struct nic_rogue_results {
	uint32_t step;       /* carried out */
	uint32_t posted;     /* counts up: the device has been shown so many buffers */
	uint32_t used;       /* how often the device gave the buffer back ... */
	uint32_t used_bytes; /* ... and said to have written so much */
	uint32_t fault;      /* enum virtio_fault */
	uint32_t reserved;
	int64_t value;       /* of the system call, or an error on the way */
	uint32_t device;     /* capability */
	uint32_t status;     /* of the virtio device, behind the operation */
	uint64_t stray_bits; /* notifications that came though it asked for none */
	uint8_t mac[6];
	struct keuos_endpoint endpoint;
};

#endif
