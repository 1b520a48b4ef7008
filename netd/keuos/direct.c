/* The loan of direct.h. */
#include "direct.h"

/* A frame that the application reads, and the tail that tells that it has. */
struct loan {
	uint32_t tail;
	uint32_t socket, bytes;
	struct netd_frame frame;
};

enum { MANY = KEUOS_TAIL_EVERY }; /* a third of a window: far from closing it */

static struct netd *stack;
static struct wire *own_wire;
static struct application *owner; /* NULL: shared mode */
static struct loan loans[KEUOS_SLOTS];
static uint32_t first, count;

void direct_start(struct netd *the_stack, struct wire *the_wire)
{
	stack = the_stack;
	own_wire = the_wire;
}

bool direct_open(struct application *application)
{
	const struct keuos_ring *ring = &application->events.ring;

	/* Half the ring is for messages: applications_accept() has halved it. */
	if (owner || sockets_count() || ring->data_bytes != KEUOS_SOCKET_FRAMES_BYTES)
		return false;
	if (!wire_receive_into(own_wire, ring->capability, ring->payload + ring->data_bytes, ring->data_bytes))
		return false;
	owner = application;
	return true;
}

void direct_close(const struct application *application)
{
	if (owner != application)
		return;
	owner = NULL;
	first = count = 0;
	netd_let_go(stack); /* of what services and closing connections have not read */
	wire_receive_own(own_wire);
}

bool direct_excludes(const struct application *application)
{
	return owner && owner != application;
}

static bool reclaim(void)
{
	uint32_t tail = owner->events.limit - KEUOS_SLOTS, before = count;

	for (; count && (int32_t)(tail - loans[first].tail) >= 0; first = (first + 1) % KEUOS_SLOTS, count--) {
		netd_frame_release(&loans[first].frame);
		sockets_return(owner, loans[first].socket, loans[first].bytes);
	}
	return count != before;
}

bool direct_reclaim(void)
{
	return owner && keuos_producer_refresh(&owner->events, 0, 0) == KEUOS_RING_OK && reclaim();
}

bool direct_waits(const struct application *application)
{
	return owner == application && count >= MANY;
}

bool direct_tell(struct application *application, uint32_t id, uint32_t socket, struct netd_frame *frame,
	const void *data, uint32_t bytes)
{
	struct keuos_socket_direct message = {.id = id, .socket = socket, .bytes = bytes};

	if (owner != application || !frame->release || !application_room(application) ||
		!nic_device_lies_lent(&own_wire->device, data, bytes, &message.offset))
		return false;
	reclaim(); /* no more are on loan than messages are in the ring */
	if (!application_tell(application, KEUOS_SOCKET_DIRECT, &message, sizeof(message)))
		return false;
	loans[(first + count++) % KEUOS_SLOTS] =
		(struct loan){.tail = application->events.head, .socket = socket, .bytes = bytes, .frame = *frame};
	frame->release = NULL;
	application_counters.direct += bytes;
	return true;
}
