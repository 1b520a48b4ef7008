/*
 * A channel's record: what the kernel alone knows and decides by. keuos/channel.h has the pages that the two sides see.
 *
 * The shadow indices are the kernel's; every check is made on them and on its own copy of a descriptor, never on a word
 * that can still change. Pages are referred to by the record and by each side's mapping, and freed with the last.
 */
#ifndef KERNEL_CHANNEL_H
#define KERNEL_CHANNEL_H

#include <kernel/process.h>
#include <keuos/channel.h>

enum {
	CHANNEL_FIXED_PAGES = 6, /* slots, head, tail, status, tags, mailbox */
	CHANNEL_DATA_PAGES_MAX = 1 << KEUOS_DATA_ORDER_MAX,
};

struct channel_side {
	struct process *process; /* NULL once it has let go */
	uint32_t pid;
	uint32_t capability; /* its index there */
	uint64_t base;       /* address of the slots page there */
	bool accepted;       /* handed out by CHANNEL_ACCEPT */
};

struct channel {
	uint32_t id;         /* index + 1 */
	uint32_t generation; /* counts the channels that this record has been */
	uint32_t state;      /* enum keuos_channel_state */
	uint32_t mode;
	uint64_t key[2];
	uint32_t shadow_head; /* descriptors accepted */
	uint32_t shadow_tail; /* descriptors the consumer said it has taken, as last validated */
	uint32_t shadow_data; /* where the next payload may start */
	uint32_t shadow_data_tail;
	uint32_t data_bytes;
	uint32_t templates;
	struct keuos_sealed *sealed;    /* the kernel's own table; channel 0: not granted */
	const struct keuos_slot *slots; /* the kernel's view of the shared pages */
	const struct keuos_index_page *head;
	const struct keuos_index_page *tail;
	struct keuos_slot *mailbox; /* NULL on a polled channel */
	struct keuos_status_page *status;
	struct channel_side producer, consumer;
	uint32_t granted;
	uint32_t reason;
	uint32_t verdict;
	uint32_t controls; /* capabilities of type channel */
	uint32_t pages;    /* charged to the binder */
	uint32_t kept;     /* enum keuos_kept */
	struct process *binder;
	uint32_t order; /* channels are accepted in the order in which they were bound */
	uint64_t label;
	uint64_t notifications, descriptors, doorbells, again;
	uint64_t sealed_frame;
	uint64_t frames[CHANNEL_FIXED_PAGES + CHANNEL_DATA_PAGES_MAX]; /* by page of the layout; 0: none */
};

extern const uint64_t channel_window, channel_window_bytes; /* capability i's pages lie in window i, behind a guard */
extern struct channel channels[KEUOS_CHANNELS];
extern uint32_t channel_count; /* records that are not free */

/* Negative: an error; else the binder's capability. */
int channel_bind(
	struct process *binder, struct process *producer, struct process *consumer, const struct keuos_bind *request);
/* The next end of the process that it has not been told of, described; the caller marks it as accepted. NULL: none. */
struct channel_side *channel_next_end(struct process *process, struct keuos_endpoint *endpoint);
void channel_close(struct channel *channel, enum keuos_close_reason reason, enum keuos_verdict verdict);
void channel_unmap(struct channel *channel, struct channel_side *side); /* that side lets go */
void channel_revoke(struct channel *channel); /* its sides lose it, now, but one that keeps it */
void channel_control_dropped(struct channel *channel);
void channels_of_dead_process(struct process *process);
void channel_describe(const struct channel *channel, struct keuos_channel_info *info);

/* The gates (ipc/gate.c). */
extern uint64_t gate_refused_index; /* the head or tail refused last, as it was when it was judged */

/* Is the consumer's published tail one that it can have reached? Takes it over if so. */
static inline bool gate_take_tail(struct channel *channel)
{
	uint32_t slots = __atomic_load_n(&channel->tail->slots, __ATOMIC_ACQUIRE);
	uint32_t data = __atomic_load_n(&channel->tail->data, __ATOMIC_RELAXED);
	if (unlikely(slots - channel->shadow_tail > channel->shadow_head - channel->shadow_tail ||
		    data - channel->shadow_data_tail > channel->shadow_data - channel->shadow_data_tail)) {
		gate_refused_index = (uint64_t)slots << 32 | data;
		return false;
	}
	channel->shadow_tail = slots;
	channel->shadow_data_tail = data;
	return true;
}

/*
 * Takes the next descriptor through the gates and, if none objects, into the mailbox, which must have room. This is the
 * whole check of a descriptor.
 */
enum keuos_verdict gate_pass(struct channel *channel);
extern struct keuos_descriptor gate_refused; /* the kernel's copy of what gate_pass refused last */

uint64_t siphash_2_4(const uint64_t key[2], const void *bytes, size_t count);

#endif
