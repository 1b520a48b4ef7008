/* One case a run, by name: each UART sends and hears everything, and asks no more when it was served. */
#include "host_cases.h"
#include "model.h"

enum { BYTES = 3000, TURNS_MAX = 1000 };

static const int kinds[] = {SERIAL_PL011, SERIAL_8250, MODEL_16450, SERIAL_DW_APB, SERIAL_BCM2835_AUX};
static uint8_t text[BYTES], heard[BYTES];
static uint32_t sent, heard_count;

#define EACH(kind) for (size_t kind##_i = 0, kind = 0; kind##_i < 5 && (kind = (size_t)kinds[kind##_i], 1); kind##_i++)

static void up(size_t kind)
{
	model_start((int)kind);
	sent = heard_count = 0;
	for (size_t i = 0; i < BYTES; i++)
		text[i] = (uint8_t)(i * 7 + i / 256);
	uart_begin(model_driver());
	CHECK(!model_asks());
	CHECK(kind != SERIAL_PL011 || model.on);
	uart_enable_interrupts(false);
}

static void drain(uint32_t until)
{
	while (sent < until) {
		size_t taken = uart_put_some(text + sent, until - sent);
		if (taken == 0)
			break;
		sent += (uint32_t)taken;
	}
	uart_enable_interrupts(sent < until);
}

/* As the kernel serves its line; how many turns that took. */
static int serve(uint32_t until)
{
	int turn = 0;
	for (; turn < TURNS_MAX && uart_asks(); turn++) {
		while (uart_get(&heard[heard_count]))
			heard_count++;
		drain(until);
	}
	CHECK(turn < TURNS_MAX);
	CHECK(!model_asks());
	return turn;
}

static void clean(void)
{
	CHECK(model.lost == 0 && model.reads_of_nothing == 0 && model.odd_accesses == 0);
}

static void what_is_sent_arrives_whole(void)
{
	EACH(kind)
	{
		up(kind);
		drain(BYTES);
		CHECK(sent > 0 && sent <= 16);
		for (uint32_t i = 0; i < 4 * BYTES && model.line_count < BYTES; i++) {
			model_send();
			if (model_asks())
				serve(BYTES);
		}
		CHECK(model.line_count == BYTES && !memcmp(model.line, text, BYTES));
		CHECK(!model_asks());
		clean();
	}
}

/* The console of a panic and of the first lines: byte by byte, as there is room. */
static void single_bytes_arrive_too(void)
{
	EACH(kind)
	{
		up(kind);
		for (uint32_t i = 0; i < BYTES; i++) {
			for (uint32_t patience = 0; patience < 20 && !uart_has_room(); patience++)
				model_send();
			CHECK(uart_has_room());
			uart_put(text[i]);
		}
		while (model.sending_count > 0)
			model_send();
		CHECK(model.line_count == BYTES && !memcmp(model.line, text, BYTES));
		clean();
	}
}

static void what_comes_is_heard_by_interrupts_alone(void)
{
	EACH(kind)
	{
		up(kind);
		for (uint32_t i = 0; i < BYTES;) {
			uint32_t piece = 1 + i % 9;
			for (; piece > 0 && i < BYTES && model_receive(text[i]); piece--)
				i++;
			CHECK(model_asks());
			serve(0);
			CHECK(heard_count == i);
		}
		CHECK(!memcmp(heard, text, BYTES));
		clean();
	}
}

static void both_ways_at_once(void)
{
	EACH(kind)
	{
		uint32_t in = 0;
		up(kind);
		drain(BYTES);
		for (uint32_t i = 0; i < 8 * BYTES && (model.line_count < BYTES || in < BYTES); i++) {
			if (i % 3 && in < BYTES && model_receive(text[in]))
				in++;
			model_send();
			if (model_asks())
				serve(BYTES);
		}
		CHECK(model.line_count == BYTES && heard_count == BYTES);
		CHECK(!memcmp(model.line, text, BYTES) && !memcmp(heard, text, BYTES));
		clean();
	}
}

static void a_mini_uart_is_filled_by_its_eight_places(void)
{
	up(SERIAL_BCM2835_AUX);
	CHECK(uart_put_some(text, 16) == 8);
	CHECK(uart_put_some(text, 16) == 0);
	model_send();
	CHECK(uart_put_some(text, 16) == 1);
	clean();
}

static void without_a_fifo_one_byte_is_given(void)
{
	up(MODEL_16450);
	CHECK(uart_put_some(text, 16) == 1);
	clean();
	up(SERIAL_8250);
	CHECK(uart_put_some(text, 20) == 16);
	clean();
}

/* A loader that set the speed while a byte was leaving has left this behind: the line stays high until USR was read. */
static void a_busy_detection_ends_by_a_look_at_the_status(void)
{
	up(SERIAL_DW_APB);
	model.busy = true;
	CHECK(model_asks() && serve(0) == 1);
	model.busy = true;
	CHECK(model_receive(1) && model_receive(2));
	CHECK(serve(0) >= 1 && heard_count == 2 && heard[1] == 2);
	clean();
}

static void a_timeout_of_nothing_ends_by_a_read(void)
{
	up(SERIAL_DW_APB);
	model.ghost = true;
	CHECK(model_asks() && serve(0) == 1 && heard_count == 0);
	CHECK(model_receive(3));
	serve(0);
	CHECK(heard_count == 1 && heard[0] == 3);
	clean();
}

int main(int argc, char **argv)
{
	static const struct host_case cases[] = {
		{"what_is_sent_arrives_whole", what_is_sent_arrives_whole},
		{"single_bytes_arrive_too", single_bytes_arrive_too},
		{"what_comes_is_heard_by_interrupts_alone", what_comes_is_heard_by_interrupts_alone},
		{"both_ways_at_once", both_ways_at_once},
		{"a_mini_uart_is_filled_by_its_eight_places", a_mini_uart_is_filled_by_its_eight_places},
		{"without_a_fifo_one_byte_is_given", without_a_fifo_one_byte_is_given},
		{"a_busy_detection_ends_by_a_look_at_the_status", a_busy_detection_ends_by_a_look_at_the_status},
		{"a_timeout_of_nothing_ends_by_a_read", a_timeout_of_nothing_ends_by_a_read},
	};

	return host_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
