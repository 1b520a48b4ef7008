/* The rings of applications.h. */
#include "applications.h"

#include "direct.h"

#include <string.h>
#include <user.h>

static void keuos_ring_doorbell(uint32_t capability);
static inline void keuos_ring_wait(uint32_t capability)
{
	(void)capability; /* NetD sleeps in one place, the event loop */
}

#include <keuos/ring_sleep.h>

enum {
	BATCH = 32,     /* requests of one application at a turn: nobody starves the others */
	SLOTS_LEFT = 4, /* what an answer may need */
	REQUEST_MAX = sizeof(struct keuos_socket_request),
};

KEUOS_ACCEPTS(KEUOS_SOCKET_OPEN, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_LISTEN, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_ACCEPT, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_CONNECT, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_BIND, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_SEND, KEUOS_SOCKET_DATA_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_SEND_TO, KEUOS_SOCKET_DATA_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_RECEIVE, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_SHUTDOWN, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_CLOSE, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_ABORT, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_SET, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_GET, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_READY, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_ERROR, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_INFO, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_NETWORK, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_LOOK, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_COUNTERS, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_RESOLVE, KEUOS_SOCKET_DATA_MAX, KEUOS_DATA_ALIGNMENT, 0);
KEUOS_ACCEPTS(KEUOS_SOCKET_CONFIGURE, REQUEST_MAX, KEUOS_DATA_ALIGNMENT, 0);

static KEUOS_TEMPLATE(template_reply, KEUOS_SOCKET_REPLY, sizeof(struct keuos_socket_reply), KEUOS_DATA_ALIGNMENT, 0);
static KEUOS_TEMPLATE(template_data, KEUOS_SOCKET_DATA, KEUOS_SOCKET_DATA_MAX, KEUOS_DATA_ALIGNMENT, 0);
static KEUOS_TEMPLATE(template_event, KEUOS_SOCKET_EVENT, sizeof(struct keuos_socket_event), KEUOS_DATA_ALIGNMENT, 0);
static KEUOS_TEMPLATE(
	template_connection, KEUOS_SOCKET_CONNECTION, sizeof(struct keuos_socket_connection), KEUOS_DATA_ALIGNMENT, 0);
static KEUOS_TEMPLATE(
	template_network, KEUOS_SOCKET_NETWORK_IS, sizeof(struct keuos_socket_network), KEUOS_DATA_ALIGNMENT, 0);

static KEUOS_TEMPLATE(
	template_direct, KEUOS_SOCKET_DIRECT, sizeof(struct keuos_socket_direct), KEUOS_DATA_ALIGNMENT, 0);

struct application_counters application_counters;

static struct application applications[KEUOS_SOCKET_APPLICATIONS];

static void keuos_ring_doorbell(uint32_t capability)
{
	application_counters.doorbells++;
	sys_doorbell(capability);
}

void applications_start(struct netd *stack, struct wire *wire, const struct netd_address *own)
{
	sockets_start(stack, &wire->nic, own);
	direct_start(stack, wire);
}

unsigned applications_count(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < KEUOS_SOCKET_APPLICATIONS; i++)
		count += applications[i].used;
	return count;
}

/* --- coming and going --- */

static void end(struct application *application)
{
	sockets_end(application);
	direct_close(application);
	if (application->has_requests)
		sys_channel_unmap(application->requests.ring.capability);
	if (application->has_events)
		sys_channel_unmap(application->events.ring.capability);
	application_counters.ended++;
	*application = (struct application){0};
}

/* The application that this end belongs to: one of the same process and label that lacks it, or a new one. */
static struct application *application_of(const struct keuos_endpoint *endpoint)
{
	static uint32_t number;
	struct application *empty = NULL;

	for (unsigned i = 0; i < KEUOS_SOCKET_APPLICATIONS; i++) {
		struct application *application = &applications[i];
		bool lacks = endpoint->role == KEUOS_CONSUMER ? !application->has_requests : !application->has_events;

		if (application->used && application->peer == endpoint->peer && application->label == endpoint->label &&
			lacks)
			return application;
		if (!application->used && !empty)
			empty = application;
	}
	if (empty)
		*empty = (struct application){
			.used = true, .peer = endpoint->peer, .who = ++number, .label = endpoint->label};
	return empty;
}

void applications_accept(void)
{
	struct keuos_endpoint endpoint;

	while (sys_channel_accept(&endpoint) >= 0) {
		/* An end that could be taken away at any moment would take this process with it. */
		bool fits = keuos_is_socket_label(endpoint.label) && endpoint.mode == KEUOS_POLLED_PROOF &&
			endpoint.data_bytes >= 2 * KEUOS_SOCKET_DATA_MAX && endpoint.kept;
		struct application *application = fits ? application_of(&endpoint) : NULL;

		if (!application) {
			application_counters.refused++;
			sys_channel_unmap(endpoint.capability);
		} else if (endpoint.role == KEUOS_CONSUMER) {
			application->requests = keuos_consumer_init(&endpoint);
			application->has_requests = true;
		} else {
			if (endpoint.label & KEUOS_SOCKET_ALONE)
				endpoint.data_bytes /= 2; /* the upper half takes frames */
			application->events = keuos_producer_init(&endpoint);
			application->has_events = true;
		}
		if (application && application->label & KEUOS_SOCKET_ALONE && application->has_requests &&
			application->has_events && !direct_open(application)) {
			application_counters.refused += 2;
			end(application);
		}
	}
}

/* --- sending --- */

static bool has_room(struct application *application, uint32_t slots, uint32_t bytes)
{
	struct keuos_producer *p = &application->events;

	if (p->limit - p->head >= slots && p->data_limit - p->data >= bytes)
		return true;
	return keuos_producer_refresh(p, slots, bytes) == KEUOS_RING_OK;
}

bool application_tell(struct application *application, uint16_t opcode, const void *message, uint32_t bytes)
{
	const struct keuos_template *template = opcode == KEUOS_SOCKET_REPLY ? &template_reply
		: opcode == KEUOS_SOCKET_EVENT                               ? &template_event
		: opcode == KEUOS_SOCKET_CONNECTION                          ? &template_connection
		: opcode == KEUOS_SOCKET_DIRECT                              ? &template_direct
									     : &template_network;

	if (keuos_send(&application->events, keuos_template_index(template), message, bytes) != KEUOS_RING_OK)
		return false;
	application_counters.events++;
	application->told = true;
	return true;
}

uint32_t application_room(struct application *application)
{
	struct keuos_producer *p = &application->events;
	uint32_t room;

	if (!has_room(application, SLOTS_LEFT, KEUOS_SOCKET_DATA_MAX) && p->limit - p->head < SLOTS_LEFT)
		return 0;
	room = (p->data_limit - p->data) & ~(uint32_t)(KEUOS_DATA_ALIGNMENT - 1);
	return room < KEUOS_SOCKET_DATA_MAX ? room : KEUOS_SOCKET_DATA_MAX;
}

void application_put(struct application *application, uint32_t offset, const void *data, uint32_t bytes)
{
	const struct keuos_producer *p = &application->events;

	keuos_copy_in(p->ring.payload, p->ring.data_bytes, p->data + offset, data, bytes);
	application_counters.copied += bytes;
}

bool application_send_put(struct application *application, const uint64_t cookie[2], uint32_t bytes)
{
	struct keuos_producer *p = &application->events;
	uint32_t index = keuos_template_index(&template_data);
	const struct keuos_sealed *sealed = keuos_granted(p->ring.tags, p->ring.generation, index);

	if (!sealed || bytes > sealed->max_length)
		return false;
	keuos_post_descriptor(p, sealed, index, p->data, bytes, cookie);
	application_counters.events++;
	application->told = true;
	return true;
}

bool application_send(struct application *application, const uint64_t cookie[2], const void *data, uint32_t bytes)
{
	uint32_t room = application_room(application);

	if (!room || room < bytes)
		return false;
	application_put(application, 0, data, bytes);
	return application_send_put(application, cookie, bytes);
}

static void wake(struct application *application)
{
	keuos_consumer_wake(&application->requests);
	if (!application->told)
		return;
	application->told = false;
	keuos_producer_wake(&application->events);
}

/* --- receiving --- */

static bool is_data(uint16_t opcode)
{
	return opcode == KEUOS_SOCKET_SEND || opcode == KEUOS_SOCKET_SEND_TO || opcode == KEUOS_SOCKET_RESOLVE;
}

/* Data calls bring their arguments in the cookies of their descriptor. */
static struct keuos_socket_request request_of(uint16_t opcode, const uint64_t cookie[2])
{
	struct keuos_socket_request request = {.id = (uint32_t)cookie[0], .socket = (uint32_t)(cookie[0] >> 32)};

	request.flags = (uint16_t)cookie[1];
	if (opcode == KEUOS_SOCKET_SEND_TO) {
		request.remote = (uint32_t)(cookie[1] >> 32);
		request.remote_port = (uint16_t)(cookie[1] >> 16);
	}
	return request;
}

static uint16_t opcode_of(const struct application *application, uint32_t template)
{
	return application->requests.ring.tags[template & (KEUOS_TEMPLATES_MAX - 1)].opcode;
}

/* The payload of the descriptor that was taken last, where its sender can still write. */
static void payload_of(const struct application *application, uint32_t bytes, struct netd_part parts[2])
{
	const struct keuos_consumer *c = &application->requests;
	uint32_t at = (c->data - keuos_align(bytes, KEUOS_DATA_ALIGNMENT)) & (c->ring.data_bytes - 1);
	uint32_t first = c->ring.data_bytes - at < bytes ? c->ring.data_bytes - at : bytes;

	parts[0] = (struct netd_part){c->ring.payload + at, first};
	parts[1] = (struct netd_part){c->ring.payload, bytes - first};
}

/*
 * A data call. Of a stream's the data goes from the ring into the send buffer; a datagram or a name is read more than once,
 * so it is copied first.
 */
static void take_data(struct application *application, uint16_t opcode, const uint64_t cookie[2], uint32_t bytes)
{
	static _Alignas(64) uint8_t datagram[KEUOS_SOCKET_DATA_MAX];
	struct keuos_socket_request request = request_of(opcode, cookie);
	struct netd_part parts[2];

	payload_of(application, bytes, parts);
	if (opcode == KEUOS_SOCKET_SEND) {
		sockets_send(application, &request, parts);
		return;
	}
	memcpy(datagram, parts[0].data, parts[0].bytes);
	memcpy(datagram + parts[0].bytes, parts[1].data, parts[1].bytes);
	application_counters.sent_copied += bytes;
	sockets_carry_out(application, opcode, &request, datagram, bytes);
}

/* Takes one request. KEUOS_RING_OK, or why there is none. */
static int take(struct application *application)
{
	struct keuos_consumer *c = &application->requests;
	struct keuos_socket_request request;
	uint64_t cookie[2] = {0, 0};
	uint32_t template = 0;
	int bytes = keuos_receive_cookie(c, NULL, KEUOS_SOCKET_DATA_MAX, &template, cookie);

	if (bytes == KEUOS_RING_UNEXPECTED) {
		bytes = keuos_receive_cookie(c, &request, sizeof(request), &template, cookie);
		if (bytes < 0)
			return bytes;
		application_counters.requests++;
		if (bytes != sizeof(request) || is_data(opcode_of(application, template)))
			return KEUOS_RING_VIOLATION; /* a request is its structure, whole */
		sockets_carry_out(application, opcode_of(application, template), &request, NULL, 0);
		return KEUOS_RING_OK;
	}
	if (bytes < 0)
		return bytes;
	application_counters.requests++;
	if (!is_data(opcode_of(application, template)))
		return KEUOS_RING_VIOLATION;
	take_data(application, opcode_of(application, template), cookie, (uint32_t)bytes);
	keuos_consumer_publish(c);
	return KEUOS_RING_OK;
}

/* One application's turn. Whether anything was done. */
static bool serve(struct application *application)
{
	bool any = false;

	if (!application->has_requests || !application->has_events) {
		/* The other end may be on its way. If its binder died, the channel is closed. */
		const struct keuos_status_page *status =
			application->has_requests ? application->requests.ring.status : application->events.ring.status;

		if (status->state != KEUOS_CHANNEL_OPEN)
			end(application);
		return false;
	}
	if (application->events.ring.verdict) { /* its tail lies */
		application_counters.violations++;
		end(application);
		return true;
	}
	if (application->attention)
		sockets_attend(application);
	for (int i = 0; i < BATCH; i++) {
		int result;

		if (!has_room(application, SLOTS_LEFT, KEUOS_SOCKET_DATA_MAX)) {
			application_counters.blocked++;
			result = application->events.ring.status->state == KEUOS_CHANNEL_OPEN &&
					application->requests.ring.status->state == KEUOS_CHANNEL_OPEN
				? KEUOS_RING_EMPTY
				: KEUOS_RING_CLOSED;
			if (application->events.ring.verdict)
				result = KEUOS_RING_VIOLATION;
		} else {
			result = take(application);
		}
		if (result == KEUOS_RING_EMPTY)
			break;
		any = true;
		if (result != KEUOS_RING_OK) {
			application_counters.violations += result != KEUOS_RING_CLOSED;
			end(application);
			return true;
		}
	}
	if (application->events.ring.status->state != KEUOS_CHANNEL_OPEN) {
		end(application);
		return true;
	}
	any = any || application->told;
	wake(application);
	return any;
}

bool applications_serve(void)
{
	bool any = false;

	for (unsigned i = 0; i < KEUOS_SOCKET_APPLICATIONS; i++)
		if (applications[i].used)
			any = serve(&applications[i]) || any;
	return any;
}

/* --- sleeping --- */

/* Whether it waits for the application to read. */
static bool is_blocked(const struct application *application)
{
	const struct keuos_producer *p = &application->events;

	return p->limit - p->head < SLOTS_LEFT || p->data_limit - p->data < KEUOS_SOCKET_DATA_MAX;
}

static bool has_request(const struct application *application)
{
	const struct keuos_consumer *c = &application->requests;
	const struct keuos_slot *slot = keuos_slot_of(&c->ring, c->tail);

	return (uint32_t)(__atomic_load_n(&slot->word, __ATOMIC_ACQUIRE) >> KEUOS_WORD_SEQUENCE_SHIFT) == c->tail + 1;
}

bool applications_arm(void)
{
	bool any = false;

	for (unsigned i = 0; i < KEUOS_SOCKET_APPLICATIONS; i++) {
		struct application *application = &applications[i];

		if (!application->used || !application->has_requests || !application->has_events)
			continue;
		bool blocked = is_blocked(application), waits = direct_waits(application);

		keuos_ring_sleeping(&application->requests.ring, 1);
		keuos_ring_sleeping(&application->events.ring, blocked || waits);
		any = any || (waits && direct_reclaim());
		if (blocked) {
			any = any || has_room(application, SLOTS_LEFT, KEUOS_SOCKET_DATA_MAX);
			continue;
		}
		any = any || application->attention || has_request(application);
	}
	return any;
}

void applications_disarm(void)
{
	for (unsigned i = 0; i < KEUOS_SOCKET_APPLICATIONS; i++) {
		struct application *application = &applications[i];

		if (!application->used || !application->has_requests || !application->has_events)
			continue;
		keuos_ring_sleeping(&application->requests.ring, 0);
		keuos_ring_sleeping(&application->events.ring, 0);
	}
}
