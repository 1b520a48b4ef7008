/* The calls of test_calls.h. */
#include "test_calls.h"

#include "applications.h"
#include "test_line.h"

#include <string.h>

enum {
	FRAMES = 32, /* held each way: the longest line of text is 24 frames */
	PAYLOAD = 1500,
};

struct payload {
	uint32_t bytes;
	uint8_t data[PAYLOAD];
};

static struct {
	struct application *application; /* NULL: nobody has asked */
	uint32_t peer;                   /* the application's process: its place may be another's by now */
	uint32_t id;                     /* of its RECEIVE */
	struct payload in[FRAMES];
	unsigned in_count;
	struct payload out[FRAMES];
	unsigned out_count;
} calls;

static bool is_there(void)
{
	return calls.application && calls.application->used && calls.application->peer == calls.peer;
}

/* Requests on socket 0. False: not for the line. */
static bool carry_out(struct application *application, uint16_t opcode, const struct keuos_socket_request *request,
	const uint8_t *data, uint32_t bytes)
{
	struct keuos_socket_reply reply = {.id = request->id, .result = KEUOS_SOCKET_OK};

	if (request->socket)
		return false;
	if (opcode == KEUOS_SOCKET_RECEIVE && request->flags & KEUOS_SOCKET_STANDING) {
		calls.application = application;
		calls.peer = application->peer;
		calls.id = request->id;
		return true;
	}
	if (opcode != KEUOS_SOCKET_SEND_TO || bytes > PAYLOAD)
		return false;
	if (calls.out_count == FRAMES) {
		reply.result = KEUOS_SOCKET_AGAIN;
	} else {
		struct payload *payload = &calls.out[calls.out_count++];

		payload->bytes = bytes;
		memcpy(payload->data, data, bytes);
	}
	application_tell(application, KEUOS_SOCKET_REPLY, &reply, sizeof(reply));
	return true;
}

void test_calls_start(void)
{
	sockets_stranger = carry_out;
}

void test_calls_take(struct netd_frame *frame)
{
	uint32_t bytes = (uint32_t)frame->bytes - NETD_ETHERNET_BYTES;

	if (calls.in_count < FRAMES && bytes <= PAYLOAD) {
		struct payload *payload = &calls.in[calls.in_count++];

		payload->bytes = bytes;
		memcpy(payload->data, frame->data + NETD_ETHERNET_BYTES, bytes);
	}
	netd_frame_release(frame);
}

/* How many frames the application was given, or nobody was there to be given. */
static unsigned give(void)
{
	unsigned given = 0;

	for (; given < calls.in_count; given++) {
		const struct payload *payload = &calls.in[given];
		const uint64_t cookie[2] = {KEUOS_SOCKET_COOKIE(calls.id, 0), 0};

		if (!is_there())
			continue;
		if (application_room(calls.application) < payload->bytes)
			break;
		application_send(calls.application, cookie, payload->data, payload->bytes);
	}
	calls.in_count -= given;
	memmove(calls.in, calls.in + given, calls.in_count * sizeof(calls.in[0]));
	return given;
}

bool test_calls_idle(void)
{
	unsigned sent = 0;

	while (sent < calls.out_count && test_line_send(TEST_LINE_CALLS, calls.out[sent].data, calls.out[sent].bytes))
		sent++;
	calls.out_count -= sent;
	memmove(calls.out, calls.out + sent, calls.out_count * sizeof(calls.out[0]));
	return (calls.in_count && give()) || sent;
}
