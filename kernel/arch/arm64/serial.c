/*
 * The line: a UART whose registers lie in memory, as the device tree says. Before arch_init_memory it is reached by the boot
 * tables, and without one the kernel is silent.
 */
#include "machine.h"
#include "uart.h"
#include <kernel/console.h>

enum { PATIENCE = 1000000, TURNS_MAX = 1000 };

static volatile uint8_t *port;
static bool room_wanted;

uint32_t uart_read(uint32_t number)
{
	volatile uint8_t *at = port + (number << machine.serial_shift);
	return machine.serial_width == 4 ? *(volatile uint32_t *)at : *at;
}

void uart_write(uint32_t number, uint32_t value)
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
	uart_begin(machine.serial);
}

void serial_map(void)
{
	if (machine.serial != SERIAL_NONE)
		port = arch_map_device(machine.serial_range.base, KEUOS_PAGE_BYTES);
}

void arch_serial_put(uint8_t byte)
{
	if (port == NULL)
		return;
	/* A line that never has room must not stop the kernel. */
	for (uint32_t i = 0; i < PATIENCE && !uart_has_room(); i++)
		arch_pause();
	uart_put(byte);
}

bool arch_serial_get(uint8_t *byte)
{
	return uart_get(byte);
}

size_t arch_serial_put_some(const uint8_t *bytes, size_t count)
{
	return port == NULL ? count : uart_put_some(bytes, count);
}

void arch_serial_interrupt_on_room(bool on)
{
	if (port == NULL || on == room_wanted)
		return;
	room_wanted = on;
	uart_enable_interrupts(on);
}

/* Level or edge: go on until the device asks for nothing, or no edge will come again. */
void serial_interrupt(void)
{
	uint8_t byte;
	for (int turn = 0; turn < TURNS_MAX && uart_asks(); turn++) {
		while (uart_get(&byte))
			console_received(byte);
		console_drain();
	}
}

void arch_init_devices(void)
{
	room_wanted = true;
	if (port != NULL) {
		gic_enable(machine.serial_interrupt, machine.serial_interrupt_edge);
		arch_serial_interrupt_on_room(false);
	}
	console_begin_interrupts();
}
