/* See model.h. 16550: National's PC16550D; PL011: Arm DDI0183; BCM2835 ARM Peripherals, 2.2, and what is known to be wrong there. */
#include "model.h"

#include <string.h>

struct model model;

void model_start(int kind)
{
	memset(&model, 0, sizeof(model));
	model.kind = kind;
	model.mask = 0x7ff & (kind == SERIAL_PL011 ? 0x7f0 : 0xf); /* as a loader could leave it: everything asks */
	model.room_told = false;
}

enum tree_serial model_driver(void)
{
	return model.kind == MODEL_16450 ? SERIAL_8250 : (enum tree_serial)model.kind;
}

static uint32_t depth(void)
{
	if (model.kind == SERIAL_BCM2835_AUX)
		return 8;
	return model.kind != MODEL_16450 && model.fifo_on ? 16 : 1;
}

void model_send(void)
{
	if (model.sending_count == 0)
		return;
	model.line[model.line_count++ % MODEL_LINE_BYTES] = model.sending[0];
	memmove(model.sending, model.sending + 1, --model.sending_count);
	if (model.sending_count == 0)
		model.room_told = false;
	if (model.kind == SERIAL_PL011 && model.sending_count == 2) /* it goes below an eighth */
		model.raw |= 1 << 5;
}

bool model_receive(uint8_t byte)
{
	if (model.received_count == depth())
		return false;
	model.received[model.received_count++] = byte;
	model.raw |= 1 << 6;
	return true;
}

static uint8_t take(void)
{
	if (model.received_count == 0) {
		model.reads_of_nothing += !model.ghost;
		model.ghost = false;
		return 0;
	}
	uint8_t byte = model.received[0];
	memmove(model.received, model.received + 1, --model.received_count);
	if (model.received_count == 0)
		model.raw &= ~(1u << 4 | 1u << 6);
	return byte;
}

static void give(uint8_t byte)
{
	if (model.sending_count == depth()) {
		model.lost++;
		return;
	}
	model.sending[model.sending_count++] = byte;
	model.room_told = true;
	if (model.sending_count > 2)
		model.raw &= ~(1u << 5);
}

/* The 8250's reason, the most urgent one first. */
static uint32_t reason(void)
{
	bool bcm = model.kind == SERIAL_BCM2835_AUX;
	if (model.busy)
		return 7;
	if ((bcm ? (model.mask & 5) == 5 : (model.mask & 1) != 0) && (model.received_count > 0 || model.ghost))
		return model.ghost || (!bcm && model.received_count < 4 && model.fifo_on) ? 0xc : 4;
	if (model.mask & 2 && model.sending_count == 0 && (bcm || !model.room_told))
		return 2;
	return 1;
}

bool model_asks(void)
{
	return model.kind == SERIAL_PL011 ? (model.raw & model.mask) != 0 : reason() != 1;
}

static uint32_t read_8250(uint32_t number)
{
	uint32_t why;
	switch (number) {
	case 0:
		return take();
	case 1:
		return model.mask;
	case 2:
		why = reason();
		if (why == 2)
			model.room_told = true;
		return why | (model.kind == SERIAL_BCM2835_AUX || depth() > 1 ? 0xc0 : 0);
	case 5:
		if (model.kind == SERIAL_BCM2835_AUX)
			return (model.received_count > 0) | (model.sending_count < depth() ? 0x20 : 0) |
				(model.sending_count == 0 ? 0x40 : 0);
		return (model.received_count > 0) | (model.sending_count == 0 ? 0x60 : 0);
	case 31:
		model.odd_accesses += model.kind != SERIAL_DW_APB;
		model.busy = false;
		return 6;
	default:
		model.odd_accesses++;
		return 0;
	}
}

static void write_8250(uint32_t number, uint32_t value)
{
	switch (number) {
	case 0:
		give((uint8_t)value);
		break;
	case 1:
		if (value & 2 && !(model.mask & 2))
			model.room_told = false;
		model.mask = value;
		break;
	case 2:
		model.fifo_on = value & 1;
		if (value & 2)
			model.received_count = 0;
		if (value & 4)
			model.sending_count = 0;
		break;
	case 4:
		break;
	default:
		model.odd_accesses++; /* 3 above all: the loader's settings of the line */
	}
}

static uint32_t read_pl011(uint32_t offset)
{
	switch (offset) {
	case 0x00:
		return take();
	case 0x18:
		return (model.received_count == 0 ? 1 << 4 : 0) | (model.sending_count == depth() ? 1 << 5 : 0);
	case 0x40:
		if (model.received_count >= 2)
			model.raw |= 1 << 4;
		return model.raw & model.mask;
	default:
		model.odd_accesses++;
		return 0;
	}
}

static void write_pl011(uint32_t offset, uint32_t value)
{
	switch (offset) {
	case 0x00:
		give((uint8_t)value);
		break;
	case 0x2c:
		model.fifo_on = value & 1 << 4;
		model.odd_accesses += (value & 0x60) != 0x60;
		break;
	case 0x30:
		model.on = (value & 0x301) == 0x301;
		break;
	case 0x34:
		break;
	case 0x38:
		model.mask = value;
		break;
	case 0x44:
		model.raw &= ~value;
		break;
	default:
		model.odd_accesses++;
	}
}

uint32_t uart_read(uint32_t number)
{
	return model.kind == SERIAL_PL011 ? read_pl011(number) : read_8250(number);
}

void uart_write(uint32_t number, uint32_t value)
{
	if (model.kind == SERIAL_PL011)
		write_pl011(number, value);
	else
		write_8250(number, value);
}
