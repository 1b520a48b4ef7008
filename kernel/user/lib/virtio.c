/* The steps of virtio.h. */
#include "virtio.h"

/* 4.1.4.3 */
enum common_register {
	DEVICE_FEATURE_SELECT = 0,
	DEVICE_FEATURE = 4,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	CONFIG_VECTOR = 16,
	QUEUES = 18,
	STATUS = 20,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_VECTOR = 26,
	QUEUE_ENABLE = 28,
	QUEUE_NOTIFY_OFFSET = 30,
	QUEUE_DESCRIPTORS = 32,
	QUEUE_AVAILABLE = 40,
	QUEUE_USED = 48,
};

#define RESET_NS 1000000000ull

static uint32_t read_common(const struct virtio_bus *bus, uint32_t offset, uint32_t width)
{
	return bus->read(bus->context, VIRTIO_COMMON, offset, width);
}

static void write_common(const struct virtio_bus *bus, uint32_t offset, uint32_t width, uint32_t value)
{
	bus->write(bus->context, VIRTIO_COMMON, offset, width, value);
}

uint8_t virtio_get_status(const struct virtio_bus *bus)
{
	return (uint8_t)read_common(bus, STATUS, 1);
}

enum virtio_fault virtio_reset(const struct virtio_bus *bus)
{
	uint64_t until = bus->time_ns(bus->context) + RESET_NS;

	write_common(bus, STATUS, 1, 0);
	while (virtio_get_status(bus) != 0)
		if (bus->time_ns(bus->context) >= until)
			return VIRTIO_FAULT_RESET;
	return VIRTIO_FAULT_NONE;
}

static uint64_t offered(const struct virtio_bus *bus)
{
	uint64_t features = 0;

	for (uint32_t half = 0; half < 2; half++) {
		write_common(bus, DEVICE_FEATURE_SELECT, 4, half);
		features |= (uint64_t)read_common(bus, DEVICE_FEATURE, 4) << (32 * half);
	}
	return features;
}

enum virtio_fault virtio_begin(const struct virtio_bus *bus, uint64_t needed, uint64_t wanted, uint64_t *features)
{
	enum virtio_fault fault = virtio_reset(bus);

	if (fault)
		return fault;
	needed |= VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM;
	write_common(bus, STATUS, 1, VIRTIO_ACKNOWLEDGE);
	write_common(bus, STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	*features = offered(bus) & (needed | wanted);
	if ((*features & needed) != needed) {
		write_common(bus, STATUS, 1, VIRTIO_FAILED);
		return VIRTIO_FAULT_FEATURES;
	}
	for (uint32_t half = 0; half < 2; half++) {
		write_common(bus, DRIVER_FEATURE_SELECT, 4, half);
		write_common(bus, DRIVER_FEATURE, 4, (uint32_t)(*features >> (32 * half)));
	}
	write_common(bus, STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	if (!(virtio_get_status(bus) & VIRTIO_FEATURES_OK))
		return VIRTIO_FAULT_FEATURES;
	return VIRTIO_FAULT_NONE;
}

static void write_address(const struct virtio_bus *bus, uint32_t offset, uint64_t iova)
{
	write_common(bus, offset, 4, (uint32_t)iova);
	write_common(bus, offset + 4, 4, (uint32_t)(iova >> 32));
}

enum virtio_fault virtio_queue_set_up(const struct virtio_bus *bus, uint16_t number, struct virtio_queue *queue,
	void *pages, uint64_t iova, uint16_t most, bool event_index, uint16_t vector, uint16_t *notify_offset)
{
	if (number >= read_common(bus, QUEUES, 2))
		return VIRTIO_FAULT_QUEUES;
	write_common(bus, QUEUE_SELECT, 2, number);
	uint32_t size = read_common(bus, QUEUE_SIZE, 2);

	if (size == 0 || (size & (size - 1)) != 0) /* split queues have powers of two (2.7) */
		return VIRTIO_FAULT_QUEUES;
	size = size < most ? size : most;
	virtio_queue_init(queue, pages, (uint16_t)size, event_index);
	write_common(bus, QUEUE_SIZE, 2, size);
	write_common(bus, QUEUE_VECTOR, 2, vector);
	if (vector != VIRTIO_NO_VECTOR && read_common(bus, QUEUE_VECTOR, 2) != vector)
		return VIRTIO_FAULT_QUEUES; /* it has no room for it (4.1.5.1.2) */
	write_address(bus, QUEUE_DESCRIPTORS, iova);
	write_address(bus, QUEUE_AVAILABLE, iova + VIRTIO_PAGE_BYTES);
	write_address(bus, QUEUE_USED, iova + 2 * (uint64_t)VIRTIO_PAGE_BYTES);
	*notify_offset = (uint16_t)read_common(bus, QUEUE_NOTIFY_OFFSET, 2);
	write_common(bus, QUEUE_ENABLE, 2, 1);
	return VIRTIO_FAULT_NONE;
}

void virtio_set_config_vector(const struct virtio_bus *bus, uint16_t vector)
{
	write_common(bus, CONFIG_VECTOR, 2, vector);
}

void virtio_end(const struct virtio_bus *bus)
{
	write_common(bus, STATUS, 1, virtio_get_status(bus) | VIRTIO_DRIVER_OK);
}
