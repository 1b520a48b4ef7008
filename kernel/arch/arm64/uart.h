/*
 * A UART's registers: the PL011 (Arm DDI0183), and the 8250's kin. Who links this gives it the registers, so that it uses no
 * part of the kernel. Interrupts, mapping and patience are serial.c's.
 */
#ifndef ARM64_UART_H
#define ARM64_UART_H

#include "tree.h"

#include <stddef.h>

/* Registers by their number; the PL011's by their offset in bytes. */
uint32_t uart_read(uint32_t number);
void uart_write(uint32_t number, uint32_t value);

/* Switches it on, silent. The loader has set the line's speed, and nothing of that is touched. */
void uart_begin(enum tree_serial kind);
bool uart_has_room(void);
/* Only if it has room. */
void uart_put(uint8_t byte);
/* As many as it has room for; how many those were. */
size_t uart_put_some(const uint8_t *bytes, size_t count);
/* False: nothing has come. */
bool uart_get(uint8_t *byte);
/* Interrupts when something comes; and when there is room. */
void uart_enable_interrupts(bool on_room);
/*
 * Whether it asks for an interrupt. What neither taking what has come nor putting something would end, this ends: after
 * false the line is low.
 */
bool uart_asks(void);

#endif
