/* One case a run, by name: what the driver does when the device is honest, and when it lies. */
#include "host_cases.h"
#include "model.h"

static struct model m;

static void up(void)
{
	model_init(&m);
	CHECK(model_start(&m) == VIRTIO_FAULT_NONE);
	CHECK(m.nic.link_up && m.nic.mtu == 1500 && m.enabled[0] && m.enabled[1]);
	CHECK(m.status == (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK));
}

static bool send(size_t bytes)
{
	static const uint8_t data[4096] = {1, 2, 3};
	struct netd_part parts[2] = {{data, bytes / 2}, {data, bytes - bytes / 2}};

	bool taken = m.nic.driver->transmit(m.nic.device, parts, 2);

	virtio_net_flush(&m.net);
	return taken;
}

/* The device is off and reset, the reason kept, the stack told once; nothing comes any more. */
static void caught(enum virtio_fault fault)
{
	uint32_t resets = m.resets, frames = m.frames;

	virtio_net_poll(&m.net, 64);
	CHECK(m.net.fault == fault);
	CHECK(m.resets == resets + 1 && m.status == 0);
	CHECK(!m.nic.link_up && m.link_changes == 1);
	CHECK(m.frames == frames);
	CHECK(!send(100));
	CHECK(virtio_net_poll(&m.net, 64) == 0 && m.net.fault == fault && m.link_changes == 1);
	/* And it can be started again. */
	memset(m.seen, 0, sizeof(m.seen));
	memset(m.used, 0, sizeof(m.used));
	m.queue_size = 256;
	m.link_changes = 0;
	CHECK(model_start(&m) == VIRTIO_FAULT_NONE);
	CHECK(model_receive(&m, 9, 100) && virtio_net_poll(&m.net, 64) == 1);
	CHECK(m.last_bytes == 100 && m.last[50] == 9);
}

static void frames_pass_both_ways(void)
{
	up();
	for (uint32_t i = 0; i < 66000; i++) { /* past the wrap of every counter */
		size_t bytes = 14 + i % 1500;

		CHECK(model_receive(&m, (uint8_t)i, bytes));
		CHECK(virtio_net_poll(&m.net, 64) == 1);
		CHECK(m.last_bytes == bytes && m.last[bytes - 1] == (uint8_t)i);
		CHECK(send(bytes));
		int id = model_take(&m, 1);
		CHECK(id >= 0);
		const struct virtio_descriptor *d = model_descriptor(&m, 1, (uint16_t)id);
		CHECK(d->bytes == 12 + (bytes < 60 ? 60 : bytes) && !(d->flags & 2));
		CHECK(model_at(&m, d->address, d->bytes)[1] == 0);
		model_give(&m, 1, (uint32_t)id, 0);
	}
	CHECK(m.net.fault == VIRTIO_FAULT_NONE);
}

/* What is sent in one turn is one notification; and none waits longer than a burst. */
static void frames_of_a_turn_are_shown_at_once(void)
{
	static const uint8_t data[100];
	struct netd_part part = {data, sizeof(data)};

	up();
	uint16_t shown = model_available(&m, 1)->index;
	uint64_t notified = m.net.counters.notifications;
	for (int i = 0; i < NIC_BURST - 1; i++)
		CHECK(m.nic.driver->transmit(m.nic.device, &part, 1));
	CHECK(model_available(&m, 1)->index == shown && m.net.counters.notifications == notified);
	CHECK(m.nic.driver->transmit(m.nic.device, &part, 1));
	CHECK(model_available(&m, 1)->index == (uint16_t)(shown + NIC_BURST));
	CHECK(m.nic.driver->transmit(m.nic.device, &part, 1));
	virtio_net_flush(&m.net);
	CHECK(model_available(&m, 1)->index == (uint16_t)(shown + NIC_BURST + 1));
	CHECK(m.net.counters.notifications <= notified + 2);
}

static void used_index_runs_away(void)
{
	for (uint32_t jump = 257; jump < 65536; jump += 997) {
		up();
		model_used(&m, 0)->index = (uint16_t)jump;
		caught(VIRTIO_FAULT_INDEX);
		free(m.memory);
	}
}

static void used_index_goes_back(void)
{
	up();
	CHECK(model_receive(&m, 1, 60) && virtio_net_poll(&m.net, 64) == 1);
	model_used(&m, 0)->index = 0;
	caught(VIRTIO_FAULT_INDEX);
}

static void id_past_the_queue(void)
{
	static const uint32_t ids[] = {256, 257, 65535, 65536, 0x80000000, UINT32_MAX};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		up();
		model_give(&m, 0, ids[i], 100);
		caught(VIRTIO_FAULT_ID);
		free(m.memory);
	}
}

static void id_that_it_does_not_have(void)
{
	up();
	m.keep = true;
	CHECK(model_receive(&m, 1, 60) && virtio_net_poll(&m.net, 64) == 1);
	model_give(&m, 0, (uint32_t)m.kept[0].id, 72); /* the stack has it */
	caught(VIRTIO_FAULT_ID);
}

static void length_past_the_buffer(void)
{
	static const uint32_t lengths[] = {2049, 65536, 0x80000000, UINT32_MAX};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		up();
		model_give(&m, 0, (uint32_t)model_take(&m, 0), lengths[i]);
		caught(VIRTIO_FAULT_LENGTH);
		free(m.memory);
	}
}

static void length_short_of_the_header(void)
{
	for (uint32_t bytes = 0; bytes < 12; bytes++) {
		up();
		model_give(&m, 0, (uint32_t)model_take(&m, 0), bytes);
		caught(VIRTIO_FAULT_LENGTH);
		free(m.memory);
	}
}

static void buffer_that_was_not_written(void)
{
	up();
	CHECK(model_receive(&m, 1, 60) && virtio_net_poll(&m.net, 64) == 1);
	/* Used, with a length, but its write was stopped: what is there is an older frame. */
	model_give(&m, 0, (uint32_t)model_take(&m, 0), 72);
	caught(VIRTIO_FAULT_UNWRITTEN);
}

static void sent_buffer_that_it_does_not_have(void)
{
	up();
	model_give(&m, 1, 5, 0);
	caught(VIRTIO_FAULT_INDEX); /* it was given none */
	free(m.memory);
	up();
	CHECK(send(100));
	model_give(&m, 1, (uint32_t)(model_take(&m, 1) + 1) % 128, 0);
	caught(VIRTIO_FAULT_ID);
	free(m.memory);
	up();
	CHECK(send(100));
	model_give(&m, 1, (uint32_t)model_take(&m, 1), 1); /* written into what it may only read */
	caught(VIRTIO_FAULT_LENGTH);
}

static void device_says_that_it_is_broken(void)
{
	up();
	m.status |= VIRTIO_NEEDS_RESET;
	virtio_net_look(&m.net);
	CHECK(m.net.fault == VIRTIO_FAULT_NEEDS_RESET && m.status == 0 && !m.nic.link_up);
}

static void device_without_what_is_needed(void)
{
	static const uint64_t missing[] = {VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM, 1 << 5};

	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		model_init(&m);
		m.offered &= ~missing[i];
		CHECK(model_start(&m) == VIRTIO_FAULT_FEATURES && m.status == 0 && !send(60));
	}
	model_init(&m);
	m.mac[0] |= 1;
	CHECK(model_start(&m) == VIRTIO_FAULT_FEATURES);
	model_init(&m);
	m.mtu = 67;
	CHECK(model_start(&m) == VIRTIO_FAULT_FEATURES);
	for (uint32_t size = 0; size < 65536; size += 3) {
		if (size != 0 && (size & (size - 1)) == 0)
			continue;
		model_init(&m);
		m.queue_size = (uint16_t)size;
		CHECK(model_start(&m) == VIRTIO_FAULT_QUEUES && m.status == 0);
		free(m.memory);
	}
	model_init(&m);
	m.queues = 1;
	CHECK(model_start(&m) == VIRTIO_FAULT_QUEUES);
}

static void device_that_never_resets(void)
{
	model_init(&m);
	m.never_resets = true;
	m.status = VIRTIO_DRIVER_OK;
	CHECK(model_start(&m) == VIRTIO_FAULT_RESET);
}

static void small_queue_and_no_event_index(void)
{
	model_init(&m);
	m.queue_size = 4;
	m.offered &= ~VIRTIO_F_EVENT_IDX;
	CHECK(model_start(&m) == VIRTIO_FAULT_NONE && m.net.receive.size == 4 && m.net.transmit.size == 4);
	for (int i = 0; i < 4; i++)
		CHECK(send(100));
	CHECK(!send(100));
	model_give(&m, 1, (uint32_t)model_take(&m, 1), 0);
	virtio_net_poll(&m.net, 64);
	CHECK(m.rooms == 1 && send(100));
}

static void link_goes_and_comes(void)
{
	up();
	m.link_status = 0;
	virtio_net_look(&m.net);
	CHECK(!m.nic.link_up && m.link_changes == 1 && !send(100));
	m.link_status = 1;
	virtio_net_look(&m.net);
	CHECK(m.nic.link_up && m.link_changes == 2 && m.rooms == 1 && send(100));
}

static void frame_kept_over_a_restart_goes_nowhere(void)
{
	up();
	m.keep = true;
	CHECK(model_receive(&m, 1, 60) && virtio_net_poll(&m.net, 64) == 1);
	virtio_net_stop(&m.net, VIRTIO_FAULT_NONE);
	m.queue_size = 256;
	CHECK(model_start(&m) == VIRTIO_FAULT_NONE);
	uint16_t posted = m.net.receive.posted;
	netd_frame_release(&m.kept[0]);
	CHECK(m.net.receive.posted == posted && m.net.receive.fault == VIRTIO_FAULT_NONE);
}

/* The device begins anew, and takes what it is given now. */
static void receive_into(uint8_t *memory, uint16_t buffers)
{
	memset(m.seen, 0, sizeof(m.seen));
	memset(m.used, 0, sizeof(m.used));
	m.queue_size = 256;
	CHECK(virtio_net_receive_into(&m.net, memory, MODEL_LENT_IOVA, buffers) == VIRTIO_FAULT_NONE);
}

static void frames_come_into_pages_of_others_and_back(void)
{
	uint32_t offset;

	up();
	m.nic.mtu = 600; /* as its owner wishes */
	m.keep = true;
	CHECK(model_receive(&m, 1, 60) && virtio_net_poll(&m.net, 64) == 1);
	receive_into(m.lent, MODEL_LENT);
	CHECK(m.nic.mtu == 600 && m.net.receive.posted == MODEL_LENT);
	CHECK(!nic_areas_lies_lent(&m.net.areas, m.kept[0].data, 60, &offset));
	CHECK(model_receive(&m, 2, 100) && virtio_net_poll(&m.net, 64) == 1);
	CHECK(nic_areas_lies_lent(&m.net.areas, m.kept[1].data, 100, &offset) && m.lent + offset == m.kept[1].data);
	CHECK(!nic_areas_lies_lent(
		&m.net.areas, m.kept[1].data, (size_t)MODEL_LENT * VIRTIO_NET_BUFFER_BYTES, &offset));
	netd_frame_release(&m.kept[1]);
	CHECK(m.net.receive.posted == MODEL_LENT + 1);
	CHECK(m.kept[0].data[50] == 1);
	/* One of its own that is kept is not handed out; one of the others' that is released late goes nowhere. */
	CHECK(model_receive(&m, 3, 100) && virtio_net_poll(&m.net, 64) == 1);
	receive_into(NULL, 0);
	CHECK(m.net.receive.posted == VIRTIO_NET_RECEIVE - 1);
	netd_frame_release(&m.kept[2]);
	CHECK(m.net.receive.posted == VIRTIO_NET_RECEIVE - 1);
	netd_frame_release(&m.kept[0]);
	CHECK(m.net.receive.posted == VIRTIO_NET_RECEIVE);
	CHECK(model_receive(&m, 4, 100) && virtio_net_poll(&m.net, 64) == 1 && m.net.fault == VIRTIO_FAULT_NONE);
}

static void some_buffers_are_always_left_to_the_device(void)
{
	up();
	m.keep = true;
	for (int i = 0; i < VIRTIO_NET_RECEIVE; i++)
		CHECK(model_receive(&m, 1, 60) && virtio_net_poll(&m.net, 64) == 1);
	CHECK(m.kept_count == NIC_KEPT);
	netd_frame_release(&m.kept[7]);
	CHECK(model_receive(&m, 1, 60) && virtio_net_poll(&m.net, 64) == 1 && m.kept_count == NIC_KEPT + 1);
	receive_into(m.lent, MODEL_LENT);
	m.kept_count = 0;
	for (int i = 0; i < 2 * MODEL_LENT; i++)
		CHECK(model_receive(&m, 1, 60) && virtio_net_poll(&m.net, 64) == 1);
	CHECK(m.kept_count == MODEL_LENT - MODEL_LENT / 4);
}

static void another_device_after_the_reset_is_stopped(void)
{
	up();
	m.queue_size = 256;
	m.mac[5]++;
	CHECK(virtio_net_receive_into(&m.net, m.lent, MODEL_LENT_IOVA, MODEL_LENT) == VIRTIO_FAULT_FEATURES);
	CHECK(m.status == 0 && !m.net.running && !m.nic.link_up);
}

static void interrupt_is_asked_for_once_more_work_may_come(void)
{
	up();
	virtio_net_disarm(&m.net);
	CHECK((uint16_t)(model_available(&m, 0)->ring[256] - m.net.receive.taken) == 0x8000);
	CHECK(!virtio_net_arm(&m.net));
	CHECK(model_available(&m, 0)->ring[256] == m.net.receive.taken);
	CHECK(model_receive(&m, 1, 60));
	CHECK(virtio_net_arm(&m.net)); /* it came before: there will be no interrupt for it */
}

/* Whatever a device writes where it may write: no access outside (the sanitizers watch), and no frame longer than a buffer. */
static void random_device(void)
{
	srand(1);
	for (uint32_t run = 0; run < 300; run++) {
		up();
		for (uint32_t step = 0; step < 40; step++) {
			int queue = rand() & 1;
			struct virtio_used *used = model_used(&m, queue);

			switch (rand() % 6) {
			case 0:
				used->index = (uint16_t)(rand() % 3 ? used->index + rand() % 4 : rand());
				break;
			case 1:
				used->ring[rand() % 257].id =
					(uint32_t)(rand() % 3 ? rand() % 300 : (unsigned)rand() * 3);
				break;
			case 2:
				used->ring[rand() % 257].bytes =
					(uint32_t)(rand() % 3 ? rand() % 2100 : (unsigned)rand() * 3);
				break;
			case 3:
				model_receive(&m, (uint8_t)rand(), (size_t)(rand() % 2000));
				break;
			case 4:
				send((size_t)(rand() % 2100));
				break;
			default:
				virtio_net_poll(&m.net, 1 + (unsigned)rand() % 8);
				virtio_net_arm(&m.net);
			}
		}
		virtio_net_stop(&m.net, VIRTIO_FAULT_NONE);
		free(m.memory);
	}
}

static const struct host_case cases[] = {
	{"frames_pass_both_ways", frames_pass_both_ways},
	{"frames_of_a_turn_are_shown_at_once", frames_of_a_turn_are_shown_at_once},
	{"used_index_runs_away", used_index_runs_away},
	{"used_index_goes_back", used_index_goes_back},
	{"id_past_the_queue", id_past_the_queue},
	{"id_that_it_does_not_have", id_that_it_does_not_have},
	{"length_past_the_buffer", length_past_the_buffer},
	{"length_short_of_the_header", length_short_of_the_header},
	{"buffer_that_was_not_written", buffer_that_was_not_written},
	{"sent_buffer_that_it_does_not_have", sent_buffer_that_it_does_not_have},
	{"device_says_that_it_is_broken", device_says_that_it_is_broken},
	{"device_without_what_is_needed", device_without_what_is_needed},
	{"device_that_never_resets", device_that_never_resets},
	{"small_queue_and_no_event_index", small_queue_and_no_event_index},
	{"link_goes_and_comes", link_goes_and_comes},
	{"frame_kept_over_a_restart_goes_nowhere", frame_kept_over_a_restart_goes_nowhere},
	{"frames_come_into_pages_of_others_and_back", frames_come_into_pages_of_others_and_back},
	{"some_buffers_are_always_left_to_the_device", some_buffers_are_always_left_to_the_device},
	{"another_device_after_the_reset_is_stopped", another_device_after_the_reset_is_stopped},
	{"interrupt_is_asked_for_once_more_work_may_come", interrupt_is_asked_for_once_more_work_may_come},
	{"random_device", random_device},
};

int main(int argc, char **argv)
{
	return host_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
