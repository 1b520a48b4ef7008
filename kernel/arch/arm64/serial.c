/*
 * The line: a PL011 (Arm DDI0183) or an 8250 whose registers lie in memory, as the device tree says. The loader has set its
 * speed. Before arch_init_memory it is reached by the boot tables, and without one the kernel is silent.
 */
#include "machine.h"
#include <kernel/console.h>

enum pl011 {
	P_DATA = 0x00,
	P_FLAGS = 0x18,
	P_LINE = 0x2c,
	P_CONTROL = 0x30,
	P_LEVEL = 0x34,
	P_MASK = 0x38,
	P_MASKED = 0x40,
	P_CLEAR = 0x44
};
enum {
	P_FULL = 1 << 5,
	P_EMPTY = 1 << 4,
	P_ON = 1 | 1 << 8 | 1 << 9,
	P_8_BITS_FIFO = 3 << 5 | 1 << 4,
	P_RECEIVED = 1 << 4 | 1 << 6, /* and what has waited for a while below the level */
	P_ROOM = 1 << 5,
};

enum u8250 { U_DATA = 0, U_ENABLE = 1, U_IDENTIFY = 2, U_FIFO = 2, U_MODEM = 4, U_STATUS = 5 };
enum { U_RECEIVED = 1, U_EMPTY = 0x20, U_FIFO_BYTES = 16, U_NONE = 1, U_ON_RECEIVE = 1, U_ON_ROOM = 2 };

enum { PATIENCE = 1000000, TURNS_MAX = 1000 };

static volatile uint8_t *port;
static bool room_wanted;

static uint32_t read_register(uint32_t number)
{
	volatile uint8_t *at = port + (number << machine.serial_shift);
	return machine.serial_width == 4 ? *(volatile uint32_t *)at : *at;
}

static void write_register(uint32_t number, uint32_t value)
{
	volatile uint8_t *at = port + (number << machine.serial_shift);
	if (machine.serial_width == 4)
		*(volatile uint32_t *)at = value;
	else
		*at = (uint8_t)value;
}

void arch_serial_init(void)
{
	port = boot_map_device(machine.serial_range.base);
	if (machine.serial == SERIAL_PL011) {
		machine.serial_shift = 0; /* registers by their offset */
		machine.serial_width = 4;
		write_register(P_MASK, 0);
		write_register(P_LINE, P_8_BITS_FIFO);
		write_register(P_LEVEL, 0); /* an interrupt at an eighth full, or empty */
		write_register(P_CONTROL, P_ON);
	} else {
		write_register(U_ENABLE, 0);
		write_register(U_FIFO, 0x47);
		write_register(U_MODEM, 0x0b);
	}
}

void serial_map(void)
{
	if (machine.serial != SERIAL_NONE)
		port = arch_map_device(machine.serial_range.base, KEUOS_PAGE_BYTES);
}

static bool has_room(void)
{
	return machine.serial == SERIAL_PL011 ? !(read_register(P_FLAGS) & P_FULL) : read_register(U_STATUS) & U_EMPTY;
}

void arch_serial_put(uint8_t byte)
{
	if (port == NULL)
		return;
	/* A line that never has room must not stop the kernel. */
	for (uint32_t i = 0; i < PATIENCE && !has_room(); i++)
		arch_pause();
	write_register(machine.serial == SERIAL_PL011 ? P_DATA : U_DATA, byte);
}

bool arch_serial_get(uint8_t *byte)
{
	bool pl011 = machine.serial == SERIAL_PL011;
	if (pl011 ? read_register(P_FLAGS) & P_EMPTY : !(read_register(U_STATUS) & U_RECEIVED))
		return false;
	*byte = (uint8_t)read_register(pl011 ? P_DATA : U_DATA);
	return true;
}

size_t arch_serial_put_some(const uint8_t *bytes, size_t count)
{
	size_t taken = 0;
	if (port == NULL)
		return count;
	if (machine.serial == SERIAL_PL011) {
		while (taken < count && has_room())
			write_register(P_DATA, bytes[taken++]);
	} else if (has_room()) {
		while (taken < count && taken < U_FIFO_BYTES)
			write_register(U_DATA, bytes[taken++]);
	}
	return taken;
}

void arch_serial_interrupt_on_room(bool on)
{
	if (port == NULL || on == room_wanted)
		return;
	room_wanted = on;
	if (machine.serial == SERIAL_PL011)
		write_register(P_MASK, P_RECEIVED | (on ? P_ROOM : 0));
	else
		write_register(U_ENABLE, U_ON_RECEIVE | (on ? U_ON_ROOM : 0));
}

/* The line is level-triggered, or may be an edge: go on until the device asks for nothing. */
void serial_interrupt(void)
{
	bool pl011 = machine.serial == SERIAL_PL011;
	uint8_t byte;
	for (int turn = 0; turn < TURNS_MAX; turn++) {
		uint32_t asks = pl011 ? read_register(P_MASKED) : !(read_register(U_IDENTIFY) & U_NONE);
		if (asks == 0)
			return;
		if (pl011)
			write_register(P_CLEAR, asks);
		while (arch_serial_get(&byte))
			console_received(byte);
		console_drain();
	}
}

void arch_init_devices(void)
{
	room_wanted = true;
	if (port != NULL) {
		gic_enable(machine.serial_interrupt, false);
		arch_serial_interrupt_on_room(false);
	}
	console_begin_interrupts();
}
