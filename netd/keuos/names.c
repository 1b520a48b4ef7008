/*
 * RESOLVE (docs/sockets.md): names that applications ask for. Unlike all other requests it is answered when the answer is known, which may
 * be seconds later, or never if the application is gone by then.
 */
#include "applications.h"

enum { WAITING = 8 }; /* of all applications; the stack itself asks for netd_limits.dns_queries at a time */

static struct question {
	bool used;
	bool known;                      /* what is to be told stands below, and the ring had no room for it yet */
	struct application *application; /* NULL: gone */
	uint32_t id;
	uint32_t address;
	int result;
} questions[WAITING];

static bool tell(struct question *question)
{
	const struct keuos_socket_reply reply = {
		.id = question->id, .result = question->result, .address = question->address};

	if (!application_room(question->application) ||
		!application_tell(question->application, KEUOS_SOCKET_REPLY, &reply, sizeof(reply)))
		return false;
	question->used = false;
	return true;
}

static void resolved(void *context, uint32_t address, int result)
{
	struct question *question = context;

	question->known = true;
	question->address = address;
	question->result = result;
	if (question->application)
		question->application->attention = true;
	else
		question->used = false;
}

int names_resolve(struct netd *stack, struct application *application, uint32_t id, const char *name, uint32_t bytes)
{
	struct question *free = NULL;
	unsigned own = 0;
	int result;

	for (unsigned i = 0; i < WAITING; i++) {
		if (!questions[i].used)
			free = &questions[i];
		else
			own += questions[i].application == application;
	}
	if (!free || own == KEUOS_SOCKET_NAMES_EACH)
		return NETD_NO_ROOM;
	*free = (struct question){.used = true, .application = application, .id = id};
	result = netd_resolve(stack, name, bytes, resolved, free);
	free->used = result == NETD_OK;
	return result;
}

void names_attend(struct application *application)
{
	for (unsigned i = 0; i < WAITING; i++) {
		struct question *question = &questions[i];

		if (question->used && question->known && question->application == application && !tell(question))
			application->attention = true;
	}
}

void names_end(const struct application *application)
{
	for (unsigned i = 0; i < WAITING; i++) {
		struct question *question = &questions[i];

		if (question->application != application)
			continue;
		question->application = NULL;
		question->used = question->used && !question->known; /* else the stack still has it */
	}
}
