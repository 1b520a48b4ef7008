/* The serial line's buffers. */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/process.h>

enum { TRANSMIT_BYTES = 32768, RECEIVE_BYTES = 8192 };

static uint8_t transmit[TRANSMIT_BYTES], receive[RECEIVE_BYTES];
static uint32_t transmit_in, transmit_out, receive_in, receive_out;
static bool by_interrupt, refused;
static struct process *owner;

static uint32_t waiting(void)
{
	return transmit_in - transmit_out;
}

static void tell_owner(void)
{
	if (owner)
		notify_process(owner, notification_bit(KEUOS_CAP_SYSTEM_INDEX));
}

void console_set_owner(struct process *process)
{
	owner = process;
}

static void drain_by_polling(void)
{
	while (waiting() > 0)
		arch_serial_put(transmit[transmit_out++ % TRANSMIT_BYTES]);
}

void console_drain(void)
{
	while (by_interrupt && waiting() > 0) {
		uint32_t at = transmit_out % TRANSMIT_BYTES;
		uint32_t straight = TRANSMIT_BYTES - at < waiting() ? TRANSMIT_BYTES - at : waiting();
		size_t taken = arch_serial_put_some(transmit + at, straight);
		if (taken == 0)
			break;
		transmit_out += (uint32_t)taken;
	}
	arch_serial_interrupt_on_room(waiting() > 0);
	if (refused && waiting() <= TRANSMIT_BYTES - KEUOS_CONSOLE_WRITE_MAX) {
		refused = false;
		tell_owner();
	}
}

static void push(const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		transmit[transmit_in++ % TRANSMIT_BYTES] = bytes[i];
}

/* A terminal wants a carriage return before each line feed. */
void console_write(const char *text, size_t bytes)
{
	if (!by_interrupt || waiting() + 2 * bytes > TRANSMIT_BYTES)
		drain_by_polling();
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == '\n')
			push((const uint8_t *)"\r", 1);
		push((const uint8_t *)&text[i], 1);
	}
	if (by_interrupt)
		console_drain();
	else
		drain_by_polling();
}

bool console_write_line(const char *text, size_t bytes)
{
	if (waiting() + 2 * bytes > TRANSMIT_BYTES / 2)
		return false;
	console_write(text, bytes);
	return true;
}

bool console_write_whole(const uint8_t *bytes, size_t count)
{
	if (waiting() + count > TRANSMIT_BYTES) {
		refused = true;
		return false;
	}
	push(bytes, count);
	console_drain();
	return true;
}

void console_received(uint8_t byte)
{
	if (receive_in - receive_out == RECEIVE_BYTES)
		return; /* nobody reads: as on any line, what does not fit is lost, and frames are sent again */
	receive[receive_in++ % RECEIVE_BYTES] = byte;
	tell_owner();
}

size_t console_peek(uint8_t *bytes, size_t most)
{
	uint32_t received = receive_in - receive_out;
	size_t count = received < most ? received : most;
	for (size_t i = 0; i < count; i++)
		bytes[i] = receive[(receive_out + i) % RECEIVE_BYTES];
	return count;
}

void console_take(size_t count)
{
	receive_out += (uint32_t)count;
}

void console_begin_interrupts(void)
{
	by_interrupt = true;
	console_drain();
}

void console_panic(void)
{
	by_interrupt = false;
	drain_by_polling();
}

void print(const char *format, ...)
{
	char line[256];
	va_list args;
	va_start(args, format);
	size_t bytes = format_text_v(line, sizeof(line), format, args);
	va_end(args);
	console_write(line, bytes < sizeof(line) ? bytes : sizeof(line) - 1);
}
