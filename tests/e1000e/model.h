/* An 82574 in the test's hands: registers, and rings as the device sees them. It does what a case says, which may be anything. */
#ifndef MODEL_H
#define MODEL_H

#include <e1000e.h>

enum { MODEL_IOVA = 0x100000, MODEL_FRAMES = 512, MODEL_LENT_IOVA = 0x8000000, MODEL_LENT = 16 };

enum model_register {
	MODEL_CTRL = 0x0000,
	MODEL_STATUS = 0x0008,
	MODEL_EECD = 0x0010,
	MODEL_ICR = 0x00c0,
	MODEL_IMS = 0x00d0,
	MODEL_IMC = 0x00d8,
	MODEL_IVAR = 0x00e4,
	MODEL_RCTL = 0x0100,
	MODEL_TCTL = 0x0400,
	MODEL_RDBAL = 0x2800,
	MODEL_TDBAL = 0x3800,
	MODEL_RXCSUM = 0x5000,
	MODEL_MTA = 0x5200,
	MODEL_RAL = 0x5400,
	MODEL_RAH = 0x5404,
};

/* A legacy descriptor by the bytes of the datasheet. */
struct model_descriptor {
	uint64_t address;
	uint16_t bytes;
	uint8_t offset, command;
	uint8_t status, errors;
	uint16_t vlan;
};

enum { MODEL_DONE = 1, MODEL_END = 2, MODEL_LINK_CAUSE = 1 << 2, MODEL_RECEIVE_CAUSE = 1 << 20 };

struct model {
	uint32_t registers[E1000E_REGISTER_BYTES / 4];
	uint32_t own_low, own_high; /* RAL and RAH behind a reset */
	uint32_t link;              /* STATUS.LU */
	bool never_resets, never_reads_nvm, never_lets_go, gone;
	uint64_t time;
	uint32_t resets;
	uint32_t early; /* registers that were touched less than a millisecond behind a reset */
	uint64_t reset_at;
	uint16_t received, sent; /* heads */
	/* What the stack saw. */
	uint32_t frames, link_changes, rooms;
	size_t last_bytes;
	uint8_t last[E1000E_BUFFER_BYTES];
	bool keep;          /* received frames are kept */
	bool receives_late; /* a frame, when it is told to be silent, which is how a reset begins */
	struct netd_frame kept[MODEL_FRAMES];
	uint32_t kept_count;
	struct e1000e_bus bus;
	struct netd_nic nic;
	struct e1000e device;
	uint8_t *memory;
	uint8_t *lent; /* MODEL_LENT buffers that are somebody else's */
};

void model_init(struct model *model); /* an honest device, not started */
enum e1000e_fault model_start(struct model *model);
uint32_t *model_register(struct model *model, uint32_t offset);
/* The descriptor at `place` of a ring as the registers say where that lies; ring: MODEL_RDBAL or MODEL_TDBAL. */
struct model_descriptor *model_descriptor(struct model *model, uint32_t ring, uint32_t place);
/* The next descriptor of a ring, taken as the device does; NULL: it has none. */
struct model_descriptor *model_take(struct model *model, uint32_t ring);
/* Memory that a descriptor names; aborts if the driver showed what is not its own. */
uint8_t *model_at(struct model *model, uint64_t iova, size_t bytes);
/* An honest reception of `bytes` bytes of `value`; false: no buffer. */
bool model_receive(struct model *model, uint8_t value, size_t bytes);
/* Sends all that it was shown; how many frames. */
uint32_t model_send(struct model *model);

#endif
