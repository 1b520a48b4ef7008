/* The writer of output.h. */
#include "output.h"

#include "frames.h"

#include <format.h>
#include <stdarg.h>
#include <user.h>

enum { TEXT_BYTES = 2048, LINE_BYTES = 512 };

_Static_assert((int)FRAME_WIRE_MAX <= (int)KEUOS_CONSOLE_WRITE_MAX, "a frame goes out with one call");

static char text[TEXT_BYTES];
static size_t text_bytes;

static void write_all(const void *data, size_t bytes)
{
	/*
	 * The bit that tells of room tells of input as well, and is taken here: main's loop reads the input again before
	 * it waits, so nothing is lost. Any error but EAGAIN cannot heal, and there is nowhere to report it to.
	 */
	while (sys_console_write(KEUOS_CAP_SYSTEM_INDEX, data, bytes) == -KEUOS_EAGAIN)
		sys_wait(sys_bit(KEUOS_CAP_SYSTEM_INDEX), KEUOS_FOREVER);
}

void output_flush(void)
{
	if (text_bytes)
		write_all(text, text_bytes);
	text_bytes = 0;
}

void output_byte(char byte)
{
	if (text_bytes == sizeof(text))
		output_flush();
	text[text_bytes++] = byte;
}

void output_text(const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;
	size_t length;

	va_start(arguments, format);
	length = user_vformat(line, sizeof(line), format, arguments);
	va_end(arguments);
	for (size_t i = 0; i < length; i++) {
		if (line[i] == '\n')
			output_byte('\r');
		output_byte(line[i] == '\n' || line[i] == '\r' || (line[i] >= ' ' && line[i] <= '~') ? line[i] : '.');
	}
}

void output_frame(const uint8_t *message, size_t bytes)
{
	static uint8_t wire[FRAME_WIRE_MAX];
	size_t length = frame_encode(wire, message, bytes);

	output_flush();
	write_all(wire, length);
}
