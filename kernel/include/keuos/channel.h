/*
 * The layout of a channel, shared by the kernel, user programs and the host.
 *
 * A channel carries messages in one direction between two processes. Its pages are mapped, with different rights,
 * into both. This file holds layouts only; the code that uses them is keuos/ring.h (user side) and ipc/ (kernel).
 * The host reads every offset, size and enumerator below from DWARF: they are written here and nowhere else.
 *
 *   offset   page       producer  consumer  written by
 *   -0x1000  guard      -         -
 *   0x0000   slots      rw        r         producer: 64 slots of 64 bytes
 *   0x1000   head       rw        r         producer: counters of slots and data bytes, sleep flag
 *   0x2000   tail       r         rw        consumer: counters of slots and data bytes, sleep flag
 *   0x3000   status     r         r         kernel: state, generation, why it closed
 *   0x4000   tags       r         r         kernel: the sealed templates
 *   0x5000   mailbox    -         r         kernel: descriptors it has verified (verified channels only)
 *   0x6000   data       rw        r         producer: 2^n pages of payload
 *   end      guard      -         -
 *
 * Counters run freely through 2^32 and are masked on use, so full (difference 64) and empty (0) differ.
 */
#ifndef KEUOS_CHANNEL_H
#define KEUOS_CHANNEL_H

#include <stdint.h>

enum keuos_layout {
	KEUOS_PAGE_BYTES = 4096,
	KEUOS_SLOTS = 64,
	KEUOS_SLOT_BYTES = 64,
	KEUOS_SLOT_PAYLOAD = 56,   /* what a slot holds behind its word */
	KEUOS_INLINE_MAX = 112,    /* two slots; longer messages are descriptors */
	KEUOS_PROOF_BYTES = 8,     /* what a tag takes of the first slot's payload */
	KEUOS_DATA_ALIGNMENT = 64, /* every payload in the data ring starts on a cache line */
	KEUOS_TEMPLATES_MAX = 128, /* one page of struct keuos_sealed */
	KEUOS_NOTIFY_MAX = 32,
	KEUOS_DATA_ORDER_MAX = 6, /* 2^6 pages: 256 KiB of payload */
	KEUOS_OFFSET_SLOTS = 0x0000,
	KEUOS_OFFSET_HEAD = 0x1000,
	KEUOS_OFFSET_TAIL = 0x2000,
	KEUOS_OFFSET_STATUS = 0x3000,
	KEUOS_OFFSET_TAGS = 0x4000,
	KEUOS_OFFSET_MAILBOX = 0x5000,
	KEUOS_OFFSET_DATA = 0x6000,
};

enum keuos_channel_mode {
	KEUOS_POLLED = 0,       /* no trap, no proof: the receiver checks length and sequence of its copy */
	KEUOS_POLLED_PROOF = 1, /* no trap: the receiver checks the tag of its copy as well */
	KEUOS_VERIFIED = 2, /* notify() has the kernel check every descriptor; the receiver reads the mailbox only */
};

enum keuos_channel_state {
	KEUOS_CHANNEL_FREE = 0,
	KEUOS_CHANNEL_OPEN = 1,
	KEUOS_CHANNEL_CLOSED = 2, /* no more messages; pages stay until both sides unmap them */
};

/*
 * What a gate said. The order is the order in which the gates stand, and the first that objects names the verdict.
 * The first three look at the notification, the others at each descriptor in turn.
 */
enum keuos_verdict {
	KEUOS_VERDICT_OK = 0,
	KEUOS_VERDICT_OWNERSHIP = 1, /* not the producer of this channel; or the descriptor names another channel */
	KEUOS_VERDICT_STATE = 2,     /* the channel is closed; or the descriptor is of another generation */
	KEUOS_VERDICT_INDEX = 3,     /* head regressed, ran ahead by more than the ring, or covers fewer than n slots */
	KEUOS_VERDICT_ALIGNMENT = 4, /* payload offset off a 64-byte line, or off the template's alignment */
	KEUOS_VERDICT_TEMPLATE =
		5,             /* no such template, not granted, or the word does not mark this as a descriptor of it */
	KEUOS_VERDICT_TAG = 6, /* sealed fields and tag differ from what the kernel sealed */
	KEUOS_VERDICT_LENGTH = 7,   /* longer than the template allows, or past the end of the data ring's window */
	KEUOS_VERDICT_SEQUENCE = 8, /* a replayed, skipped or stale sequence number */
	KEUOS_VERDICT_AGAIN = 9,    /* mailbox full: nothing consumed, nobody punished */
	KEUOS_VERDICT_TAIL = 10,    /* the consumer's tail regressed or ran past the head: the consumer is to blame */
	KEUOS_VERDICT_COUNT = 11,
};

/* Why a channel closed, as the status page tells both sides. */
enum keuos_close_reason {
	KEUOS_CLOSE_NONE = 0,
	KEUOS_CLOSE_BY_PEER = 1, /* a side closed it in good order */
	KEUOS_CLOSE_PRODUCER_DIED = 2,
	KEUOS_CLOSE_CONSUMER_DIED = 3,
	KEUOS_CLOSE_VIOLATION = 4, /* a gate objected; the verdict stands beside it */
	KEUOS_CLOSE_REVOKED = 5,
};

/*
 * A template: one operation that a call site sends (section .keuos.proofs) or that a receiver accepts (section
 * .keuos.interface). A sender's template lies within an interface entry of the same opcode if its flags are a subset,
 * its maximum length is no larger and its alignment no smaller.
 */
struct keuos_template {
	uint16_t opcode;
	uint16_t reserved; /* zero */
	uint32_t flags;
	uint32_t max_length; /* bytes */
	uint32_t alignment;  /* of the payload in the data ring: a power of two, at least 64 */
};

/*
 * A template bound to one generation of one channel. The tag is SipHash-2-4, under the channel's key, of the 24 bytes
 * before it. The tags page is an array of these; one that was not granted is all zero.
 */
struct keuos_sealed {
	uint32_t channel;
	uint32_t generation;
	uint16_t template_index;
	uint16_t opcode;
	uint32_t flags;
	uint32_t max_length;
	uint32_t alignment;
	uint64_t tag;
};

/*
 * A slot's word: bits 63..32 the sequence (slot counter + 1, so that a zeroed slot is never valid), bits 31..16 the
 * length in bytes of an inline message, bits 15..0 the template's index.
 */
enum keuos_word {
	KEUOS_WORD_SEQUENCE_SHIFT = 32,
	KEUOS_WORD_LENGTH_SHIFT = 16,
	KEUOS_WORD_LENGTH_MASK = 0xffff,
	KEUOS_WORD_TEMPLATE_MASK = 0xffff,
	KEUOS_LENGTH_DESCRIPTOR = 0xffff, /* in the length field: this slot is a descriptor */
	KEUOS_LENGTH_CONTINUED = 0xfffe,  /* in the length field: the second slot of an inline message */
};

struct keuos_slot {
	uint64_t word;
	uint8_t payload[KEUOS_SLOT_PAYLOAD];
};

/* A slot that describes payload in the data ring. Sealed fields and tag are copied from the tags page. */
struct keuos_descriptor {
	uint64_t word;
	struct keuos_sealed sealed;
	uint32_t offset;    /* the data counter at the payload's first byte: free-running, masked on use */
	uint32_t length;    /* bytes; the data counter goes on at offset + length, rounded up to 64 */
	uint64_t cookie[2]; /* the program's own */
};

/* The head and the tail page have the same shape; each is written by one side only. */
struct keuos_index_page {
	uint32_t slots;
	uint32_t data;
	uint32_t sleeping; /* nonzero: ring the doorbell after the next change */
};

struct keuos_status_page {
	uint32_t state;   /* enum keuos_channel_state */
	uint32_t reason;  /* enum keuos_close_reason */
	uint32_t verdict; /* enum keuos_verdict, if the reason is a violation */
	uint32_t channel;
	uint32_t generation;
	uint32_t mode;       /* enum keuos_channel_mode */
	uint32_t data_bytes; /* a power of two, or 0 */
	uint32_t templates;  /* how many templates the sender's ELF has, granted or not */
};

_Static_assert(sizeof(struct keuos_template) == 16, "template");
_Static_assert(sizeof(struct keuos_sealed) == 32, "sealed template");
_Static_assert(sizeof(struct keuos_slot) == KEUOS_SLOT_BYTES, "slot");
_Static_assert(sizeof(struct keuos_descriptor) == KEUOS_SLOT_BYTES, "descriptor");
_Static_assert(KEUOS_TEMPLATES_MAX * sizeof(struct keuos_sealed) == KEUOS_PAGE_BYTES, "tags page");

#endif
