/*
 * A channel on the host: the pages of keuos/channel.h as one memfd, mapped three times with the rights that producer,
 * consumer and kernel have on a target. A store to a page that a side may not write kills the test with SIGSEGV, and
 * what lies before and behind the pages is unmapped.
 *
 * The host programs of this folder use it. No gate lives here: host_channel_deliver() stands for a kernel that finds
 * everything in order.
 */
#ifndef HOST_CHANNEL_H
#define HOST_CHANNEL_H

#include <keuos/channel.h>
#include <keuos/syscall.h>

enum host_templates {
	HOST_TEMPLATE = 3,           /* granted, any length */
	HOST_TEMPLATE_SHORT = 5,     /* granted, at most 24 bytes */
	HOST_TEMPLATE_ALIGNED = 127, /* granted, payload on 256 bytes */
	HOST_TEMPLATE_REFUSED = 7,   /* not granted */
	HOST_GENERATION = 9,
};

struct host_channel {
	uint8_t *kernel; /* base of the mapping with all rights */
	struct keuos_endpoint producer;
	struct keuos_endpoint consumer;
};

/* Maps a fresh channel with a data ring of 2^data_order pages, or none (KEUOS_NO_DATA). */
struct host_channel host_channel_create(enum keuos_channel_mode mode, uint32_t data_order);
void host_channel_destroy(struct host_channel *channel);

/* The status page, as the kernel writes it. */
void host_channel_close(struct host_channel *channel, enum keuos_close_reason reason);

/* Copies the descriptors from..to (slot counters) into the mailbox. */
void host_channel_deliver(struct host_channel *channel, uint32_t from, uint32_t to);

/* Prints a message and leaves with status 1. */
_Noreturn void host_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define HOST_CHECK(condition, ...)                                                                                     \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			host_fail(__VA_ARGS__);                                                                        \
	} while (0)

#endif
