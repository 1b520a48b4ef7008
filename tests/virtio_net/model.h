/* A virtio network device in the test's hands: it does what a case says, which may be anything. */
#ifndef MODEL_H
#define MODEL_H

#include <virtio_net.h>

enum { MODEL_IOVA = 0x100000, MODEL_FRAMES = 4096, MODEL_LENT_IOVA = 0x8000000, MODEL_LENT = 16 };

struct model {
	uint64_t offered;
	uint64_t accepted;
	uint32_t half[2];
	uint8_t status;
	uint8_t mac[6];
	uint16_t link_status, mtu, queue_size, queues;
	uint16_t selected;
	bool enabled[2];
	uint16_t seen[2]; /* available entries taken, as a device counts */
	uint16_t used[2];
	bool never_resets;
	uint64_t time;
	uint32_t resets, notified;
	/* What the stack saw. */
	uint32_t frames, link_changes, rooms;
	size_t last_bytes;
	uint8_t last[2048];
	bool keep; /* received frames are kept */
	struct netd_frame kept[MODEL_FRAMES];
	uint32_t kept_count;
	struct virtio_bus bus;
	struct netd_nic nic;
	struct virtio_net net;
	uint8_t *memory;
	uint8_t *lent; /* MODEL_LENT buffers that are somebody else's */
};

void model_init(struct model *model); /* an honest device, not started */
enum virtio_fault model_start(struct model *model);
/* The device's own view of a queue. */
struct virtio_used *model_used(struct model *model, int queue);
struct virtio_available *model_available(struct model *model, int queue);
struct virtio_descriptor *model_descriptor(struct model *model, int queue, uint16_t index);
/* Takes the next buffer that it was given; -1: none. */
int model_take(struct model *model, int queue);
/* Says that it has used a buffer, truly or not. */
void model_give(struct model *model, int queue, uint32_t id, uint32_t bytes);
/* An honest reception of `bytes` bytes of `value`; false: no buffer. */
bool model_receive(struct model *model, uint8_t value, size_t bytes);
uint8_t *model_at(struct model *model, uint64_t iova, size_t bytes);

#endif
