/* COM1: a 16550 at 115200 baud, with interrupts in both directions (National Semiconductor PC16550D). */
#include "machine.h"
#include <kernel/console.h>

enum { COM1 = 0x3f8, DATA = 0, INTERRUPT_ENABLE = 1, IDENTIFY = 2, FIFO = 2, LINE = 3, MODEM = 4, STATUS = 5 };
enum {
	STATUS_RECEIVED = 1,
	STATUS_ROOM = 0x20,
	FIFO_BYTES = 16,
	IDENTIFY_NONE = 1,
	TURNS_MAX = 1000,
	ON_RECEIVE = 1,
	ON_ROOM = 2
};

static uint8_t interrupts_on;

void arch_serial_init(void)
{
	outb(COM1 + INTERRUPT_ENABLE, 0);
	outb(COM1 + LINE, 0x80); /* divisor */
	outb(COM1 + DATA, 1);
	outb(COM1 + INTERRUPT_ENABLE, 0);
	outb(COM1 + LINE, 3);     /* 8 bits, no parity, one stop bit */
	outb(COM1 + FIFO, 0x47);  /* on, cleared, interrupt at 4 bytes */
	outb(COM1 + MODEM, 0x0b); /* DTR, RTS, and OUT2, which lets the interrupt through */
}

void arch_serial_put(uint8_t byte)
{
	/* A line that never has room must not stop the kernel: a port that is not there answers all ones. */
	for (uint32_t i = 0; i < 1000000 && !(inb(COM1 + STATUS) & STATUS_ROOM); i++)
		arch_pause();
	outb(COM1 + DATA, byte);
}

bool arch_serial_get(uint8_t *byte)
{
	uint8_t status = inb(COM1 + STATUS);
	if (!(status & STATUS_RECEIVED) || status == 0xff)
		return false;
	*byte = inb(COM1 + DATA);
	return true;
}

size_t arch_serial_put_some(const uint8_t *bytes, size_t count)
{
	size_t taken = 0;
	if (!(inb(COM1 + STATUS) & STATUS_ROOM))
		return 0;
	while (taken < count && taken < FIFO_BYTES)
		outb(COM1 + DATA, bytes[taken++]);
	return taken;
}

void arch_serial_interrupt_on_room(bool on)
{
	uint8_t wanted = (uint8_t)(ON_RECEIVE | (on ? ON_ROOM : 0));
	if (wanted == interrupts_on)
		return;
	interrupts_on = wanted;
	outb(COM1 + INTERRUPT_ENABLE, wanted);
}

void serial_interrupt(void)
{
	uint8_t byte;
	/* The line is edge-triggered: go on until the device asks for nothing, or no edge will come again. */
	for (int turn = 0; turn < TURNS_MAX && !(inb(COM1 + IDENTIFY) & IDENTIFY_NONE); turn++) {
		while (arch_serial_get(&byte))
			console_received(byte);
		console_drain();
	}
}

void arch_init_devices(void)
{
	console_begin_interrupts();
}
