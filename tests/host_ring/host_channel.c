/* The pages of a channel on the host, with the rights of each side; see host_channel.h. */
#define _GNU_SOURCE
#include "host_channel.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { VIEW_KERNEL, VIEW_PRODUCER, VIEW_CONSUMER };

void host_fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static int rights(int view, uint32_t offset)
{
	if (view == VIEW_KERNEL)
		return PROT_READ | PROT_WRITE;
	switch (offset) {
	case KEUOS_OFFSET_TAIL:
		return view == VIEW_CONSUMER ? PROT_READ | PROT_WRITE : PROT_READ;
	case KEUOS_OFFSET_STATUS:
	case KEUOS_OFFSET_TAGS:
		return PROT_READ;
	case KEUOS_OFFSET_MAILBOX:
		return view == VIEW_CONSUMER ? PROT_READ : PROT_NONE;
	default: /* slots, head, data */
		return view == VIEW_PRODUCER ? PROT_READ | PROT_WRITE : PROT_READ;
	}
}

static uint8_t *map_view(int file, uint32_t bytes, int view)
{
	/* The guards are reserved with the pages, so that nothing else comes to lie there. */
	uint8_t *guard = mmap(0, bytes + 2 * KEUOS_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	HOST_CHECK(guard != MAP_FAILED, "mmap of %u bytes failed", bytes);
	for (uint32_t offset = 0; offset < bytes; offset += KEUOS_PAGE_BYTES) {
		void *page = mmap(guard + KEUOS_PAGE_BYTES + offset, KEUOS_PAGE_BYTES, rights(view, offset),
			MAP_SHARED | MAP_FIXED, file, offset);

		HOST_CHECK(page != MAP_FAILED, "mmap of the page at %#x failed", offset);
	}
	return guard + KEUOS_PAGE_BYTES;
}

static void grant(struct host_channel *channel, uint16_t index, uint32_t max_length, uint32_t alignment)
{
	struct keuos_sealed *tags = (void *)(channel->kernel + KEUOS_OFFSET_TAGS);

	tags[index] = (struct keuos_sealed){
		.channel = channel->producer.channel,
		.generation = HOST_GENERATION,
		.template_index = index,
		.opcode = (uint16_t)(100 + index),
		.max_length = max_length,
		.alignment = alignment,
		.tag = UINT64_C(0x9e3779b97f4a7c15) * (index + 1u),
	};
}

struct host_channel host_channel_create(enum keuos_channel_mode mode, uint32_t data_order)
{
	struct host_channel channel = {0};
	uint32_t data_bytes = data_order == KEUOS_NO_DATA ? 0 : (uint32_t)KEUOS_PAGE_BYTES << data_order;
	uint32_t bytes = KEUOS_OFFSET_DATA + data_bytes;
	int file = memfd_create("channel", MFD_CLOEXEC);
	struct keuos_endpoint end = {
		.channel = 1,
		.generation = HOST_GENERATION,
		.mode = mode,
		.data_bytes = data_bytes,
		.templates = KEUOS_TEMPLATES_MAX,
	};

	HOST_CHECK(file >= 0 && !ftruncate(file, bytes), "memfd of %u bytes failed", bytes);
	channel.kernel = map_view(file, bytes, VIEW_KERNEL);
	channel.producer = channel.consumer = end;
	channel.producer.role = KEUOS_PRODUCER;
	channel.producer.base = (uintptr_t)map_view(file, bytes, VIEW_PRODUCER);
	channel.consumer.role = KEUOS_CONSUMER;
	channel.consumer.base = (uintptr_t)map_view(file, bytes, VIEW_CONSUMER);
	close(file);
	*(struct keuos_status_page *)(void *)(channel.kernel + KEUOS_OFFSET_STATUS) = (struct keuos_status_page){
		.state = KEUOS_CHANNEL_OPEN,
		.channel = end.channel,
		.generation = end.generation,
		.mode = mode,
		.data_bytes = data_bytes,
		.templates = end.templates,
	};
	grant(&channel, HOST_TEMPLATE, UINT32_MAX, KEUOS_DATA_ALIGNMENT);
	grant(&channel, HOST_TEMPLATE_SHORT, 24, KEUOS_DATA_ALIGNMENT);
	grant(&channel, HOST_TEMPLATE_ALIGNED, UINT32_MAX, 256);
	return channel;
}

void host_channel_destroy(struct host_channel *channel)
{
	size_t bytes = KEUOS_OFFSET_DATA + channel->producer.data_bytes + 2 * KEUOS_PAGE_BYTES;

	munmap(channel->kernel - KEUOS_PAGE_BYTES, bytes);
	munmap((void *)(uintptr_t)(channel->producer.base - KEUOS_PAGE_BYTES), bytes);
	munmap((void *)(uintptr_t)(channel->consumer.base - KEUOS_PAGE_BYTES), bytes);
}

void host_channel_close(struct host_channel *channel, enum keuos_close_reason reason)
{
	struct keuos_status_page *status = (void *)(channel->kernel + KEUOS_OFFSET_STATUS);

	status->reason = reason;
	__atomic_store_n(&status->state, KEUOS_CHANNEL_CLOSED, __ATOMIC_RELEASE);
}

void host_channel_deliver(struct host_channel *channel, uint32_t from, uint32_t to)
{
	struct keuos_descriptor *slots = (void *)(channel->kernel + KEUOS_OFFSET_SLOTS);
	struct keuos_descriptor *mailbox = (void *)(channel->kernel + KEUOS_OFFSET_MAILBOX);

	for (uint32_t i = from; i != to; i++) {
		struct keuos_descriptor *box = &mailbox[i % KEUOS_SLOTS];
		struct keuos_descriptor copy = slots[i % KEUOS_SLOTS];

		memcpy(&box->sealed, &copy.sealed, sizeof(copy) - sizeof(copy.word));
		__atomic_store_n(&box->word, copy.word, __ATOMIC_RELEASE);
	}
}
