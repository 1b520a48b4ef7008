/* Physical memory, 4 KiB at a time. Every frame has a record: how often it is referred to, by what kind of use, for whom. */
#ifndef KERNEL_FRAME_H
#define KERNEL_FRAME_H

#include <kernel/base.h>

enum frame_kind {
	FRAME_RESERVED = 0, /* firmware, kernel image, initrd, the records themselves */
	FRAME_FREE = 1,
	FRAME_TABLE = 2,    /* a page table */
	FRAME_USER = 3,     /* of one process */
	FRAME_CHANNEL = 4,  /* a channel's shared page */
	FRAME_SECRET = 5,   /* a channel's sealed table: the kernel's own */
	FRAME_MEMORY = 6,   /* of a memory object */
	FRAME_STATE = 7,    /* SIMD registers of a process */
	FRAME_KERNEL = 8,   /* stacks and the like */
	FRAME_IOMMU = 9,    /* a table that the IOMMU reads */
	FRAME_PROGRAM = 10, /* code and constants, for every process of one file */
};

struct frame {
	uint32_t references;
	uint32_t next;  /* in the free list */
	uint16_t kind;  /* enum frame_kind */
	uint16_t owner; /* pid of who pays for it; 0: the kernel */
};

extern struct frame *frames; /* indexed by physical address / 4096 */
extern uint64_t frames_count;
extern uint64_t frames_managed, frames_free;

void frame_init(void);
uint64_t frame_alloc(enum frame_kind kind, uint16_t owner); /* zeroed, one reference; 0 if there is none left */
/* One whose address is a multiple of `alignment`. It is searched for: at boot, when low memory comes first. */
uint64_t frame_alloc_aligned(enum frame_kind kind, uint16_t owner, uint64_t alignment);
void frame_hold(uint64_t physical);
void frame_release(uint64_t physical); /* frees it with the last reference */

#endif
