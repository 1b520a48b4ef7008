/* UARTs as their manuals have them, register by register, with what they have been seen to do besides. */
#ifndef UART_MODEL_H
#define UART_MODEL_H

#include "uart.h"

enum { MODEL_LINE_BYTES = 4096 };

/* SERIAL_8250 without a FIFO, as the first of its kind. */
enum { MODEL_16450 = SERIAL_BCM2835_AUX + 1 };

struct model {
	int kind; /* enum tree_serial, or MODEL_16450 */
	uint32_t mask, raw;
	bool on, fifo_on, room_told;
	bool busy;  /* Synopsys's: its settings were written while it sent */
	bool ghost; /* Synopsys's: it speaks of a character that is not there */
	uint8_t sending[16], received[16];
	uint32_t sending_count, received_count;

	uint8_t line[MODEL_LINE_BYTES];
	uint32_t line_count, lost, reads_of_nothing, odd_accesses;
};

extern struct model model;

void model_start(int kind);
enum tree_serial model_driver(void); /* which driver is for it */
void model_send(void);               /* a byte leaves over the line */
bool model_receive(uint8_t byte);    /* a byte comes; false: no room */
bool model_asks(void);               /* the level of its interrupt */

#endif
