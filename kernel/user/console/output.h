/*
 * What the console process sends: text, collected until a flush, and frames, each in one piece. The one place that
 * writes to the line; it waits for room when the transmit buffer is full.
 */
#ifndef KEUOS_CONSOLE_OUTPUT_H
#define KEUOS_CONSOLE_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

/* Adds text, formatted as by user_vformat(); a newline becomes CR LF, an unprintable byte a dot. */
void output_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Adds one byte as it is. The caller vouches that it is no zero: a zero would open a frame. */
void output_byte(char byte);

/* Sends the text collected so far. */
void output_flush(void);

/* Sends the text collected so far, then a message of at most FRAME_MESSAGE_MAX bytes as a frame. */
void output_frame(const uint8_t *message, size_t bytes);

#endif
