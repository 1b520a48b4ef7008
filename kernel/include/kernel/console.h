/*
 * The serial line, shared by the kernel's own lines and the first process. What goes out passes through one buffer in
 * whole pieces, so that a line of the kernel never cuts into a frame.
 */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include <kernel/base.h>

struct process;

void console_write(const char *text, size_t bytes); /* the kernel's own; waits if it must */
bool console_write_line(const char *text,
	size_t bytes); /* a process's; false while half the buffer is taken: that half is the first process's */
bool console_write_whole(const uint8_t *bytes, size_t count); /* false: no room for all of it now */
size_t console_peek(uint8_t *bytes, size_t most);             /* what was received, oldest first ... */
void console_take(size_t count);                              /* ... and that so much of it has been delivered */
void console_received(uint8_t byte);                          /* from the device's interrupt */
void console_drain(void);                                     /* moves what the device takes; at its interrupt */
void console_begin_interrupts(void);
void console_panic(void); /* from here on by polling, what was waiting first */
void console_set_owner(struct process *process);

#endif
