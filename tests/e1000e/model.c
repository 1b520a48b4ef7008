/* The device of model.h. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

enum { HEAD = 16, TAIL = 24, BYTES = 8 };

#define CTRL_MASTER_DISABLE (1u << 2)
#define CTRL_RESET (1u << 26)
#define MASTERING (1u << 19)
#define MILLISECOND 1000000u

uint32_t *model_register(struct model *m, uint32_t offset)
{
	if (offset % 4 || offset >= E1000E_REGISTER_BYTES)
		abort();
	return &m->registers[offset / 4];
}

static void reset(struct model *m)
{
	m->resets++;
	m->reset_at = m->time;
	m->received = m->sent = 0;
	uint32_t groups = *model_register(m, MODEL_MTA);

	memset(m->registers, 0, sizeof(m->registers));
	*model_register(m, MODEL_MTA) = groups; /* a table that no reset clears */
	*model_register(m, MODEL_RXCSUM) = 3 << 8;
	*model_register(m, MODEL_RAL) = m->own_low;
	*model_register(m, MODEL_RAH) = m->own_high;
	*model_register(m, MODEL_EECD) = m->never_reads_nvm ? 0 : 1 << 9;
	if (m->never_resets)
		*model_register(m, MODEL_CTRL) = CTRL_RESET;
}

static uint32_t read_register(void *context, uint32_t offset)
{
	struct model *m = context;
	uint32_t value = *model_register(m, offset);

	m->early += m->resets && m->time < m->reset_at + MILLISECOND;
	if (m->gone)
		return UINT32_MAX;
	if (offset == MODEL_STATUS)
		return m->link << 1 |
			(m->never_lets_go || !(*model_register(m, MODEL_CTRL) & CTRL_MASTER_DISABLE) ? MASTERING : 0);
	if (offset == MODEL_ICR && *model_register(m, MODEL_IMS) == 0)
		*model_register(m, MODEL_ICR) = 0;
	return value;
}

static void write_register(void *context, uint32_t offset, uint32_t value)
{
	struct model *m = context;

	m->early += m->resets && m->time < m->reset_at + MILLISECOND;
	if (m->gone)
		return;
	if (offset == MODEL_IMC) {
		if (m->receives_late && model_receive(m, 9, 60))
			m->receives_late = false;
		*model_register(m, MODEL_IMS) &= ~value;
		return;
	}
	*model_register(m, offset) = value;
	if (offset == MODEL_CTRL && value & CTRL_RESET)
		reset(m);
}

static uint64_t time_now(void *context)
{
	return ((struct model *)context)->time += 100000;
}

static void receive(void *stack, struct netd_frame *frame)
{
	struct model *m = stack;

	m->frames++;
	m->last_bytes = frame->bytes;
	if (frame->bytes > sizeof(m->last))
		abort(); /* longer than any buffer */
	memcpy(m->last, frame->data, frame->bytes);
	if (m->keep && frame->release && m->kept_count < MODEL_FRAMES)
		m->kept[m->kept_count++] = *frame;
	else
		netd_frame_release(frame);
}

static void room(void *stack)
{
	((struct model *)stack)->rooms++;
}

static void link_changed(void *stack)
{
	((struct model *)stack)->link_changes++;
}

void model_init(struct model *m)
{
	free(m->memory);
	free(m->lent);
	memset(m, 0, sizeof(*m));
	m->own_low = 0x12005452;
	m->own_high = 1u << 31 | 0x5634;
	m->link = 1;
	*model_register(m, MODEL_MTA) = 0xdeadbeef;
	m->bus = (struct e1000e_bus){read_register, write_register, time_now, m};
	m->nic.client = (struct netd_nic_client){receive, room, link_changed, m};
	m->memory = aligned_alloc(NIC_PAGE_BYTES, (size_t)E1000E_PAGES * NIC_PAGE_BYTES);
	memset(m->memory, 0x5a, (size_t)E1000E_PAGES * NIC_PAGE_BYTES);
	m->lent = aligned_alloc(NIC_PAGE_BYTES, (size_t)MODEL_LENT * NIC_BUFFER_BYTES);
}

enum e1000e_fault model_start(struct model *m)
{
	enum e1000e_fault fault = e1000e_start(&m->device, &m->nic, &m->bus, m->memory, MODEL_IOVA, 0);

	if (!fault)
		e1000e_run(&m->device);
	return fault;
}

uint8_t *model_at(struct model *m, uint64_t iova, size_t bytes)
{
	if (m->device.areas.lent.buffers && iova >= MODEL_LENT_IOVA &&
		iova + bytes <= MODEL_LENT_IOVA + (uint64_t)MODEL_LENT * NIC_BUFFER_BYTES)
		return m->lent + (iova - MODEL_LENT_IOVA);
	if (iova < MODEL_IOVA || iova + bytes > MODEL_IOVA + (uint64_t)E1000E_PAGES * NIC_PAGE_BYTES) {
		fprintf(stderr, "the driver showed %#lx, which is not its own\n", (unsigned long)iova);
		abort();
	}
	return m->memory + (iova - MODEL_IOVA);
}

static uint32_t places(struct model *m, uint32_t ring)
{
	return *model_register(m, ring + BYTES) / (uint32_t)sizeof(struct model_descriptor);
}

struct model_descriptor *model_descriptor(struct model *m, uint32_t ring, uint32_t place)
{
	uint64_t base = *model_register(m, ring) | (uint64_t)*model_register(m, ring + 4) << 32;

	return (struct model_descriptor *)model_at(m,
		base + (uint64_t)place % places(m, ring) * sizeof(struct model_descriptor),
		sizeof(struct model_descriptor));
}

struct model_descriptor *model_take(struct model *m, uint32_t ring)
{
	uint16_t *head = ring == MODEL_RDBAL ? &m->received : &m->sent;

	if (!places(m, ring) || *head == *model_register(m, ring + TAIL))
		return NULL;
	struct model_descriptor *descriptor = model_descriptor(m, ring, *head);

	*head = (uint16_t)((*head + 1u) % places(m, ring));
	*model_register(m, ring + HEAD) = *head;
	return descriptor;
}

bool model_receive(struct model *m, uint8_t value, size_t bytes)
{
	struct model_descriptor *descriptor = model_take(m, MODEL_RDBAL);

	if (!descriptor)
		return false;
	memset(model_at(m, descriptor->address, E1000E_BUFFER_BYTES), value, bytes);
	descriptor->bytes = (uint16_t)bytes;
	descriptor->status = MODEL_DONE | MODEL_END;
	*model_register(m, MODEL_ICR) |= MODEL_RECEIVE_CAUSE;
	return true;
}

uint32_t model_send(struct model *m)
{
	struct model_descriptor *descriptor;
	uint32_t frames = 0;

	while ((descriptor = model_take(m, MODEL_TDBAL))) {
		descriptor->status = MODEL_DONE;
		frames++;
	}
	return frames;
}
