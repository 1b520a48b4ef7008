/* See uart.h. */
#include "uart.h"

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

enum u8250 {
	U_DATA = 0,
	U_ENABLE = 1,
	U_IDENTIFY = 2,
	U_FIFO = 2,
	U_MODEM = 4,
	U_STATUS = 5,
	U_DW_STATUS = 31, /* USR of Synopsys's */
};
enum {
	U_RECEIVED = 1,
	U_ROOM = 0x20, /* the FIFO is empty; the BCM2835's: it takes one byte more */
	U_FIFO_ON = 0xc0,
	U_FIFO_BYTES = 16,
	U_REASON = 0xf,
	U_NONE = 1,
	U_DW_BUSY = 7, /* the line's settings were written while it sent: only a look at U_DW_STATUS ends that */
	U_TIMEOUT = 0xc,
	U_ON_RECEIVE = 1,
	U_ON_ROOM = 2,
	U_BCM_ON_RECEIVE = 5, /* bit 2 has to be set as well, whatever chapter 2.2.2 says of it */
};

static enum tree_serial kind;
static uint32_t fifo_bytes; /* that an empty 8250 takes at once */

void uart_begin(enum tree_serial which)
{
	kind = which;
	if (kind == SERIAL_PL011) {
		uart_write(P_MASK, 0);
		uart_write(P_LINE, P_8_BITS_FIFO);
		uart_write(P_LEVEL, 0); /* an interrupt at an eighth full, or empty */
		uart_write(P_CONTROL, P_ON);
		return;
	}
	uart_write(U_ENABLE, 0);
	uart_write(U_FIFO, 0x47);
	uart_write(U_MODEM, 0x0b);
	fifo_bytes = (uart_read(U_IDENTIFY) & U_FIFO_ON) == U_FIFO_ON ? U_FIFO_BYTES : 1;
}

bool uart_has_room(void)
{
	return kind == SERIAL_PL011 ? !(uart_read(P_FLAGS) & P_FULL) : (uart_read(U_STATUS) & U_ROOM) != 0;
}

void uart_put(uint8_t byte)
{
	uart_write(kind == SERIAL_PL011 ? P_DATA : U_DATA, byte);
}

size_t uart_put_some(const uint8_t *bytes, size_t count)
{
	/* The others say when they are full; of an 8250 only that it is empty can be seen. */
	bool by_fifo = kind == SERIAL_8250 || kind == SERIAL_DW_APB;
	size_t taken = 0;
	while (taken < count && (by_fifo && taken > 0 ? taken < fifo_bytes : uart_has_room()))
		uart_put(bytes[taken++]);
	return taken;
}

bool uart_get(uint8_t *byte)
{
	bool pl011 = kind == SERIAL_PL011;
	if (pl011 ? uart_read(P_FLAGS) & P_EMPTY : !(uart_read(U_STATUS) & U_RECEIVED))
		return false;
	*byte = (uint8_t)uart_read(pl011 ? P_DATA : U_DATA);
	return true;
}

void uart_enable_interrupts(bool on_room)
{
	if (kind == SERIAL_PL011)
		uart_write(P_MASK, P_RECEIVED | (on_room ? P_ROOM : 0));
	else
		uart_write(U_ENABLE,
			(kind == SERIAL_BCM2835_AUX ? U_BCM_ON_RECEIVE : U_ON_RECEIVE) | (on_room ? U_ON_ROOM : 0));
}

bool uart_asks(void)
{
	if (kind == SERIAL_PL011) {
		uint32_t asks = uart_read(P_MASKED);
		uart_write(P_CLEAR, asks);
		return asks != 0;
	}
	uint32_t reason = uart_read(U_IDENTIFY) & U_REASON;
	if (kind == SERIAL_DW_APB && reason == U_DW_BUSY) {
		uart_read(U_DW_STATUS);
		return true;
	}
	if (reason & U_NONE)
		return false;
	/* Synopsys's can say so of an empty FIFO, for ever until somebody reads. */
	if (reason == U_TIMEOUT && !(uart_read(U_STATUS) & U_RECEIVED))
		uart_read(U_DATA);
	return true;
}
