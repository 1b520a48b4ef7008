/* One case a run, by name: what the driver does when the device is honest, and when it lies. */
#include "host_cases.h"
#include "model.h"

static struct model m;

static void up(void)
{
	model_init(&m);
	CHECK(model_start(&m) == E1000E_FAULT_NONE);
	CHECK(m.nic.link_up && m.nic.mtu == 1500 && m.resets == 1 && m.early == 0);
	CHECK(!memcmp(m.nic.mac, "\x52\x54\x00\x12\x34\x56", 6));
	CHECK(*model_register(&m, MODEL_RCTL) & 2 && *model_register(&m, MODEL_TCTL) & 2);
	CHECK(*model_register(&m, MODEL_RXCSUM) == 0); /* a frame whose checksum is wrong is no damaged one */
	CHECK(*model_register(&m, MODEL_MTA) == 0 && *model_register(&m, MODEL_IMS) == 0);
	CHECK((*model_register(&m, MODEL_IVAR) & 0x000f0f0f) == 0x00080808);
}

static bool send(size_t bytes)
{
	static const uint8_t data[4096] = {1, 2, 3};
	struct netd_part parts[2] = {{data, bytes / 2}, {data, bytes - bytes / 2}};
	bool taken = m.nic.driver->transmit(m.nic.device, parts, 2);

	e1000e_flush(&m.device);
	return taken;
}

/* The device is off and reset, the reason kept, the stack told once; nothing comes any more. */
static void caught(enum e1000e_fault fault)
{
	uint32_t resets = m.resets + !m.gone, frames = m.frames;

	e1000e_poll(&m.device, 64);
	CHECK(m.device.fault == fault && m.resets == resets);
	CHECK(!m.nic.link_up && m.link_changes == 1 && m.frames == frames && !send(100));
	CHECK(e1000e_poll(&m.device, 64) == 0 && m.device.fault == fault && m.link_changes == 1);
	/* And it can be started again. */
	m.gone = false;
	CHECK(model_start(&m) == E1000E_FAULT_NONE);
	CHECK(model_receive(&m, 9, 100) && e1000e_poll(&m.device, 64) == 1);
	CHECK(m.last_bytes == 100 && m.last[50] == 9);
}

static void frames_pass_both_ways(void)
{
	up();
	for (uint32_t i = 0; i < 66000; i++) { /* past the wrap of every counter */
		size_t bytes = 14 + i % 1500;
		uint8_t value = (uint8_t)(i % 255); /* all ones would be a group's address */

		CHECK(model_receive(&m, value, bytes));
		CHECK(e1000e_poll(&m.device, 64) == 1);
		CHECK(m.last_bytes == bytes && m.last[bytes - 1] == value);
		CHECK(send(bytes));
		const struct model_descriptor *d = model_descriptor(&m, MODEL_TDBAL, m.sent);

		CHECK(d->bytes == (bytes < 60 ? 60 : bytes) && (d->command & 0xb) == 0xb);
		CHECK(model_at(&m, d->address, d->bytes)[bytes / 2] == 1);
		for (size_t at = bytes; at < 60; at++)
			CHECK(model_at(&m, d->address, d->bytes)[at] == 0);
		CHECK(model_send(&m) == 1);
	}
	CHECK(m.device.running && m.device.counters.damaged == 0);
}

/* What is sent in one turn is one write of the tail; and none waits longer than a burst. */
static void frames_of_a_turn_are_shown_at_once(void)
{
	static const uint8_t data[100];
	struct netd_part part = {data, sizeof(data)};

	up();
	uint64_t notified = m.device.counters.notifications;
	for (int i = 0; i < NIC_BURST - 1; i++)
		CHECK(m.nic.driver->transmit(m.nic.device, &part, 1));
	CHECK(model_take(&m, MODEL_TDBAL) == NULL && m.device.counters.notifications == notified);
	CHECK(m.nic.driver->transmit(m.nic.device, &part, 1));
	CHECK(model_send(&m) == NIC_BURST && m.device.counters.notifications == notified + 1);
	CHECK(m.nic.driver->transmit(m.nic.device, &part, 1));
	e1000e_flush(&m.device);
	CHECK(model_send(&m) == 1 && m.device.counters.notifications == notified + 2);
}

static void buffers_come_back_in_any_order(void)
{
	up();
	m.keep = true;
	for (int i = 0; i < E1000E_RECEIVE; i++)
		CHECK(model_receive(&m, (uint8_t)(i % 255), 60));
	CHECK(!model_receive(&m, 1, 60));
	while (e1000e_poll(&m.device, 64) > 0)
		;
	CHECK(m.frames == E1000E_RECEIVE && m.kept_count == NIC_KEPT);
	m.keep = false;
	srand(1);
	for (uint32_t left = m.kept_count; left > 0; left--) {
		uint32_t which = (uint32_t)rand() % left;

		CHECK(m.kept[which].data[30] == m.kept[which].data[0]);
		netd_frame_release(&m.kept[which]);
		m.kept[which] = m.kept[left - 1];
		e1000e_flush(&m.device);
		CHECK(model_receive(&m, (uint8_t)(left % 255), 60));
		CHECK(e1000e_poll(&m.device, 64) == 1 && m.last[20] == left % 255);
	}
	CHECK(m.device.running);
}

/* A done bit where the device was given nothing is not looked at, and gone when something is put there. */
static void done_that_it_was_not_given(void)
{
	up();
	for (uint32_t place = E1000E_RECEIVE; place < E1000E_RECEIVE_PLACES; place++) {
		model_descriptor(&m, MODEL_RDBAL, place)->status = MODEL_DONE | MODEL_END;
		model_descriptor(&m, MODEL_RDBAL, place)->bytes = 100;
	}
	for (uint32_t place = 0; place < E1000E_TRANSMIT; place++)
		model_descriptor(&m, MODEL_TDBAL, place)->status = MODEL_DONE;
	CHECK(e1000e_poll(&m.device, 64) == 0 && m.frames == 0 && m.device.running);
	m.keep = true;
	for (int i = 0; i < E1000E_RECEIVE; i++)
		CHECK(model_receive(&m, 3, 60) && e1000e_poll(&m.device, 64) == 1);
	CHECK(e1000e_poll(&m.device, 64) == 0 && m.frames == E1000E_RECEIVE);
	netd_frame_release(&m.kept[0]);
	e1000e_flush(&m.device);
	CHECK(e1000e_poll(&m.device, 64) == 0 && model_receive(&m, 3, 60) && e1000e_poll(&m.device, 64) == 1);
	for (int i = 0; i < E1000E_TRANSMIT - 1; i++)
		CHECK(send(100));
	CHECK(!send(100));
}

/* The driver goes by what it remembers, not by what stands in the ring. */
static void addresses_that_the_device_changed(void)
{
	up();
	for (uint32_t i = 0; i < 3 * E1000E_RECEIVE_PLACES; i++) {
		CHECK(model_receive(&m, (uint8_t)(i % 255), 60));
		for (uint32_t place = 0; place < E1000E_RECEIVE_PLACES; place++)
			if ((place + E1000E_RECEIVE_PLACES - m.received) % E1000E_RECEIVE_PLACES >= E1000E_RECEIVE)
				model_descriptor(&m, MODEL_RDBAL, place)->address = UINT64_MAX - i;
		CHECK(e1000e_poll(&m.device, 64) == 1 && m.last[20] == i % 255);
	}
}

static void length_past_the_buffer(void)
{
	static const uint16_t lengths[] = {2049, 4096, 0x8000, UINT16_MAX};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		up();
		CHECK(model_receive(&m, 1, 60));
		model_descriptor(&m, MODEL_RDBAL, 0)->bytes = lengths[i];
		caught(E1000E_FAULT_LENGTH);
	}
}

static void frame_in_pieces(void)
{
	up();
	CHECK(model_receive(&m, 1, 2048));
	model_descriptor(&m, MODEL_RDBAL, 0)->status = MODEL_DONE;
	caught(E1000E_FAULT_LENGTH);
}

static void damaged_and_short_frames_go_no_further(void)
{
	up();
	for (int bit = 0; bit < 8; bit++) {
		uint16_t place = m.received;

		CHECK(model_receive(&m, 1, 60));
		model_descriptor(&m, MODEL_RDBAL, place)->errors = (uint8_t)(1 << bit);
		CHECK(e1000e_poll(&m.device, 64) == 1);
	}
	CHECK(m.device.counters.damaged == 8 && m.frames == 0);
	for (size_t bytes = 0; bytes < 14; bytes++)
		CHECK(model_receive(&m, 1, bytes) && e1000e_poll(&m.device, 64) == 1);
	CHECK(m.frames == 0 && m.device.counters.runts + m.device.counters.damaged == 8 + 14);
	for (int i = 0; i < E1000E_RECEIVE; i++) /* no buffer was lost on the way */
		CHECK(model_receive(&m, 1, 60));
	CHECK(m.device.running);
}

/* Said to have come, and its write was stopped: what lies there is an older frame. */
static void buffer_that_was_not_written(void)
{
	up();
	for (int i = 0; i < E1000E_RECEIVE; i++)
		CHECK(model_receive(&m, 7, 60) && e1000e_poll(&m.device, 64) == 1);
	uint32_t frames = m.frames;

	for (int i = 0; i < E1000E_RECEIVE; i++) {
		struct model_descriptor *descriptor = model_take(&m, MODEL_RDBAL);

		descriptor->bytes = 60;
		descriptor->status = MODEL_DONE | MODEL_END;
		CHECK(e1000e_poll(&m.device, 64) == 1);
	}
	CHECK(m.frames == frames && m.device.counters.damaged == E1000E_RECEIVE && m.device.running);
}

static void full_ring_says_when_there_is_room(void)
{
	up();
	for (int i = 0; i < E1000E_TRANSMIT - 1; i++)
		CHECK(send(100));
	CHECK(!send(100) && m.device.counters.no_room == 1);
	CHECK(e1000e_poll(&m.device, 64) == 0 && m.rooms == 0);
	CHECK(!e1000e_arm(&m.device) && *model_register(&m, MODEL_IMS) & 1 << 22);
	e1000e_disarm(&m.device);
	CHECK(model_send(&m) == E1000E_TRANSMIT - 1);
	CHECK(e1000e_arm(&m.device));
	e1000e_poll(&m.device, 64);
	CHECK(m.rooms == 1 && send(100) && m.nic.link_up);
}

static void too_long_to_send_is_lost(void)
{
	up();
	CHECK(send(2048) && model_send(&m) == 1);
	CHECK(send(2049) && model_send(&m) == 0 && m.device.counters.oversized == 1);
}

static void device_that_is_gone(void)
{
	up();
	m.gone = true;
	e1000e_look(&m.device);
	CHECK(m.device.fault == E1000E_FAULT_GONE && !m.nic.link_up && !m.device.running);
	CHECK(model_start(&m) == E1000E_FAULT_RESET);
	up();
	m.gone = true;
	CHECK(e1000e_arm(&m.device)); /* all causes at once: look */
	caught(E1000E_FAULT_GONE);
}

static void device_that_never_resets(void)
{
	model_init(&m);
	m.never_resets = true;
	CHECK(model_start(&m) == E1000E_FAULT_RESET && !send(60));
	model_init(&m);
	m.never_reads_nvm = true;
	CHECK(model_start(&m) == E1000E_FAULT_RESET && !send(60));
	model_init(&m);
	m.never_lets_go = true; /* of the bus, which a reset ends */
	CHECK(model_start(&m) == E1000E_FAULT_NONE && m.early == 0 && send(60));
}

static void device_without_an_address(void)
{
	static const uint32_t bad[][2] = {
		{0, 1u << 31}, {0x12005452, 0x5634}, {0x12005453, 1u << 31 | 0x5634}, {UINT32_MAX, 1u << 31 | 0xffff}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		model_init(&m);
		m.own_low = bad[i][0];
		m.own_high = bad[i][1];
		CHECK(model_start(&m) == E1000E_FAULT_IDENTITY && !m.nic.link_up && !send(60));
	}
}

static void link_goes_and_comes(void)
{
	up();
	m.link = 0;
	e1000e_look(&m.device);
	CHECK(!m.nic.link_up && m.link_changes == 1 && !send(100));
	m.link = 1;
	e1000e_look(&m.device);
	CHECK(m.nic.link_up && m.link_changes == 2 && m.rooms == 1 && send(100));
}

/* No interrupt can come for it, and arming clears the cause: it must not be forgotten. */
static void link_that_goes_while_nobody_sleeps(void)
{
	up();
	m.link = 0;
	*model_register(&m, MODEL_ICR) |= MODEL_LINK_CAUSE;
	CHECK(e1000e_arm(&m.device) && m.nic.link_up);
	e1000e_disarm(&m.device);
	e1000e_poll(&m.device, 64);
	CHECK(!m.nic.link_up && m.link_changes == 1 && !e1000e_arm(&m.device));
}

static void frame_kept_over_a_restart_goes_nowhere(void)
{
	up();
	m.keep = true;
	CHECK(model_receive(&m, 1, 60) && e1000e_poll(&m.device, 64) == 1);
	e1000e_stop(&m.device, E1000E_FAULT_NONE);
	CHECK(model_start(&m) == E1000E_FAULT_NONE);
	uint16_t posted = m.device.receive_posted;

	netd_frame_release(&m.kept[0]);
	CHECK(m.device.receive_posted == posted);
}

static uint32_t given(void)
{
	return (uint16_t)(m.device.receive_published - m.device.receive_taken);
}

static void receive_into(uint8_t *memory, uint16_t buffers)
{
	CHECK(e1000e_receive_into(&m.device, memory, MODEL_LENT_IOVA, buffers) == E1000E_FAULT_NONE);
	CHECK(m.early == 0 && *model_register(&m, MODEL_RCTL) & 2 && *model_register(&m, MODEL_TCTL) & 2);
}

static void frames_come_into_pages_of_others_and_back(void)
{
	const struct nic_areas *areas = &m.device.areas;
	uint32_t offset;

	up();
	m.nic.mtu = 600; /* as its owner wishes */
	m.keep = true;
	CHECK(model_receive(&m, 1, 60) && e1000e_poll(&m.device, 64) == 1);
	receive_into(m.lent, MODEL_LENT);
	CHECK(m.nic.mtu == 600 && given() == MODEL_LENT);
	CHECK(!nic_areas_lies_lent(areas, m.kept[0].data, 60, &offset));
	CHECK(model_receive(&m, 2, 100) && e1000e_poll(&m.device, 64) == 1);
	CHECK(nic_areas_lies_lent(areas, m.kept[1].data, 100, &offset) && m.lent + offset == m.kept[1].data);
	CHECK(!nic_areas_lies_lent(areas, m.kept[1].data, (size_t)MODEL_LENT * NIC_BUFFER_BYTES + 1, &offset));
	netd_frame_release(&m.kept[1]);
	e1000e_flush(&m.device);
	CHECK(given() == MODEL_LENT && send(100) && model_send(&m) == 1);
	CHECK(m.kept[0].data[50] == 1);
	/* One of its own that is kept is not handed out; one of the others' that is released late goes nowhere. */
	CHECK(model_receive(&m, 3, 100) && e1000e_poll(&m.device, 64) == 1);
	receive_into(NULL, 0);
	CHECK(given() == E1000E_RECEIVE - 1);
	netd_frame_release(&m.kept[2]);
	e1000e_flush(&m.device);
	CHECK(given() == E1000E_RECEIVE - 1);
	netd_frame_release(&m.kept[0]);
	e1000e_flush(&m.device);
	CHECK(given() == E1000E_RECEIVE);
	CHECK(model_receive(&m, 4, 100) && e1000e_poll(&m.device, 64) == 1 && m.last[50] == 4 && m.device.running);
}

static void frame_before_the_reset_lands_somewhere(void)
{
	up();
	m.receives_late = true;
	receive_into(m.lent, MODEL_LENT);
	CHECK(!m.receives_late && given() == MODEL_LENT && m.frames == 0);
}

static void some_buffers_are_always_left_to_the_device(void)
{
	up();
	m.keep = true;
	for (int i = 0; i < E1000E_RECEIVE; i++)
		CHECK(model_receive(&m, 1, 60) && e1000e_poll(&m.device, 64) == 1);
	CHECK(m.kept_count == NIC_KEPT);
	netd_frame_release(&m.kept[7]);
	CHECK(model_receive(&m, 1, 60) && e1000e_poll(&m.device, 64) == 1 && m.kept_count == NIC_KEPT + 1);
	receive_into(m.lent, MODEL_LENT);
	m.kept_count = 0;
	for (int i = 0; i < 2 * MODEL_LENT; i++)
		CHECK(model_receive(&m, 1, 60) && e1000e_poll(&m.device, 64) == 1);
	CHECK(m.kept_count == MODEL_LENT - MODEL_LENT / 4);
}

static void another_device_after_the_reset_is_stopped(void)
{
	up();
	m.own_high++;
	CHECK(e1000e_receive_into(&m.device, m.lent, MODEL_LENT_IOVA, MODEL_LENT) == E1000E_FAULT_IDENTITY);
	CHECK(!m.device.running && !m.nic.link_up && *model_register(&m, MODEL_RCTL) == 0);
}

/* What has been sent leaves before the reset, unless the device holds on to it for ever. */
static void device_that_sends_nothing_is_not_waited_for_for_ever(void)
{
	up();
	CHECK(send(100) && m.sent == 0);
	uint64_t start = m.time;

	receive_into(m.lent, MODEL_LENT);
	CHECK(m.time - start >= 20000000 && m.time - start < 200000000);
	CHECK(send(100) && model_send(&m) == 1);
}

static void interrupt_is_asked_for_once_more_work_may_come(void)
{
	up();
	CHECK(model_receive(&m, 1, 60) && e1000e_poll(&m.device, 64) == 1);
	CHECK(!e1000e_arm(&m.device));
	CHECK(*model_register(&m, MODEL_ICR) == 0); /* none for the frame that has been taken */
	CHECK(*model_register(&m, MODEL_IMS) == (1 << 20 | 1 << 24 | 1 << 2));
	e1000e_disarm(&m.device);
	CHECK(*model_register(&m, MODEL_IMS) == 0);
	CHECK(model_receive(&m, 1, 60));
	CHECK(e1000e_arm(&m.device) && *model_register(&m, MODEL_IMS) == 0);
}

/* Whatever a device writes where it may write: no access outside (the sanitizers watch), and no frame longer than a buffer. */
static void random_device(void)
{
	srand(1);
	for (uint32_t run = 0; run < 300; run++) {
		up();
		for (uint32_t step = 0; step < 60; step++) {
			uint32_t ring = rand() & 1 ? MODEL_RDBAL : MODEL_TDBAL;

			switch (rand() % 6) {
			case 0: /* only what the driver does not lay out itself may be wild, or the model could not go on */
				if (m.device.running) {
					struct model_descriptor *d = model_descriptor(&m, ring, (uint32_t)rand());

					d->status = (uint8_t)rand();
					d->errors = (uint8_t)(rand() % 2 ? 0 : rand());
					d->bytes = (uint16_t)(rand() % 3 ? rand() % 2100 : rand());
				}
				break;
			case 1:
				model_receive(&m, (uint8_t)rand(), (size_t)(rand() % 2000));
				break;
			case 2:
				send((size_t)(rand() % 2100));
				break;
			case 3:
				model_send(&m);
				break;
			case 4:
				*model_register(&m, MODEL_ICR) = (uint32_t)rand();
				e1000e_arm(&m.device);
				e1000e_disarm(&m.device);
				break;
			default:
				e1000e_poll(&m.device, 1 + (unsigned)rand() % 8);
			}
		}
		e1000e_stop(&m.device, E1000E_FAULT_NONE);
	}
}

static const struct host_case cases[] = {
	{"frames_pass_both_ways", frames_pass_both_ways},
	{"frames_of_a_turn_are_shown_at_once", frames_of_a_turn_are_shown_at_once},
	{"buffers_come_back_in_any_order", buffers_come_back_in_any_order},
	{"done_that_it_was_not_given", done_that_it_was_not_given},
	{"addresses_that_the_device_changed", addresses_that_the_device_changed},
	{"length_past_the_buffer", length_past_the_buffer},
	{"frame_in_pieces", frame_in_pieces},
	{"damaged_and_short_frames_go_no_further", damaged_and_short_frames_go_no_further},
	{"buffer_that_was_not_written", buffer_that_was_not_written},
	{"full_ring_says_when_there_is_room", full_ring_says_when_there_is_room},
	{"too_long_to_send_is_lost", too_long_to_send_is_lost},
	{"device_that_is_gone", device_that_is_gone},
	{"device_that_never_resets", device_that_never_resets},
	{"device_without_an_address", device_without_an_address},
	{"link_goes_and_comes", link_goes_and_comes},
	{"link_that_goes_while_nobody_sleeps", link_that_goes_while_nobody_sleeps},
	{"frame_kept_over_a_restart_goes_nowhere", frame_kept_over_a_restart_goes_nowhere},
	{"frames_come_into_pages_of_others_and_back", frames_come_into_pages_of_others_and_back},
	{"frame_before_the_reset_lands_somewhere", frame_before_the_reset_lands_somewhere},
	{"some_buffers_are_always_left_to_the_device", some_buffers_are_always_left_to_the_device},
	{"another_device_after_the_reset_is_stopped", another_device_after_the_reset_is_stopped},
	{"device_that_sends_nothing_is_not_waited_for_for_ever", device_that_sends_nothing_is_not_waited_for_for_ever},
	{"interrupt_is_asked_for_once_more_work_may_come", interrupt_is_asked_for_once_more_work_may_come},
	{"random_device", random_device},
};

int main(int argc, char **argv)
{
	return host_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
