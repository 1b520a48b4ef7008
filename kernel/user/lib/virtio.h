/*
 * A virtio 1.x device behind whatever bus (Virtual I/O Device 1.2, 2.1 to 2.3, 3.1): the steps that every driver takes.
 * The bus is four functions; virtio_pci.h has those of PCI, a test has a model's.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "virtio_queue.h"

/* Where a register lies. */
enum virtio_space {
	VIRTIO_COMMON = 1, /* 4.1.4.3, struct virtio_pci_common_cfg, whatever the bus */
	VIRTIO_DEVICE = 2, /* what the kind of device has */
};

struct virtio_bus {
	uint32_t (*read)(void *context, enum virtio_space space, uint32_t offset, uint32_t width);
	void (*write)(void *context, enum virtio_space space, uint32_t offset, uint32_t width, uint32_t value);
	void (*notify)(void *context, uint16_t queue, uint16_t notify_offset);
	uint64_t (*time_ns)(void *context);
	void *context;
};

enum virtio_status {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1ull << 33)

/* Sets the status to 0 and waits until it reads so; VIRTIO_FAULT_RESET if it does not within a second. */
enum virtio_fault virtio_reset(const struct virtio_bus *bus);

/*
 * From reset to FEATURES_OK. Every bit of `needed` must be offered; of `wanted` what is there is taken. VERSION_1 and
 * ACCESS_PLATFORM are always needed: without the latter a device goes past the IOMMU.
 */
enum virtio_fault virtio_begin(const struct virtio_bus *bus, uint64_t needed, uint64_t wanted, uint64_t *features);

enum { VIRTIO_NO_VECTOR = 0xffff };

/*
 * Sets up queue `number` in `pages`, which the device sees at `iova`, with at most `most` entries; its interrupts come
 * by `vector`. The number to notify with comes back in *notify_offset.
 */
enum virtio_fault virtio_queue_set_up(const struct virtio_bus *bus, uint16_t number, struct virtio_queue *queue,
	void *pages, uint64_t iova, uint16_t most, bool event_index, uint16_t vector, uint16_t *notify_offset);

void virtio_set_config_vector(const struct virtio_bus *bus, uint16_t vector);
void virtio_end(const struct virtio_bus *bus); /* DRIVER_OK: it is alive */
uint8_t virtio_get_status(const struct virtio_bus *bus);

#endif
