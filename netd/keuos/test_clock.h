/*
 * What a test tells the clock of netd_hil, by writing into its memory or by a frame, and reads back. A step begins when
 * everything that has arrived is dealt with, moves the clock to the next deadline, and ends when NetD is idle again: what
 * it sends on the way has been handed to the NIC by then. netd has none of this.
 *
 * A frame of type TEST_LINE_CLOCK (test_line.h) is, behind its Ethernet header, a struct test_clock_order, and is answered by a struct test_clock_report. Frames keep their order, so the order is a fence, too: whatever was sent
 * before it has been dealt with when its report comes, and whatever NetD had to say stands before the report.
 */
#ifndef NETD_KEUOS_TEST_CLOCK_H
#define NETD_KEUOS_TEST_CLOCK_H

#include <netd/nic.h>
#include <stdint.h>

enum test_clock_operation {
	TEST_CLOCK_RELEASE = 0, /* follows the kernel's time again */
	TEST_CLOCK_HOLD = 1,    /* stands still from here on */
	TEST_CLOCK_STEP = 2,    /* to the next deadline, but by `amount` at most; there is none: by nothing */
	TEST_CLOCK_ADVANCE = 3, /* by `amount`, over all deadlines between */
	/* From deadline to deadline until a frame is sent, but by `amount` at most. By nothing if NetD has sent a frame that
	 * the test has not seen (`seen`): it may answer first. By frames only. */
	TEST_CLOCK_RUN = 4,
};

/* Little-endian, behind the Ethernet header of a frame to NetD. */
struct test_clock_order {
	uint32_t request;   /* comes back in the report */
	uint32_t operation; /* enum test_clock_operation */
	uint64_t amount;    /* microseconds */
	uint64_t seen;      /* how many frames of NetD's have come, but for those of the line */
};

/* Little-endian, behind the Ethernet header of the answer. */
struct test_clock_report {
	uint32_t request;
	uint32_t reserved;
	uint64_t now;  /* microseconds */
	uint64_t sent; /* frames so far, but for those of the line */
};

struct test_clock_params {
	uint32_t operation; /* enum test_clock_operation */
	uint32_t reserved;
	uint64_t amount;  /* microseconds */
	uint32_t request; /* counts up, written last */
};

struct test_clock_results {
	uint32_t request; /* carried out: the last params.request */
	uint32_t held;
	uint32_t steps;   /* deadlines that were stopped at */
	uint32_t pending; /* 1: there is a deadline ahead */
	uint64_t now;     /* microseconds */
	uint64_t due;     /* the next deadline, if there is one */
};

extern volatile struct test_clock_params test_clock_params;
extern volatile struct test_clock_results test_clock_results;

/* A frame with an order has come; the reference is moved. */
void test_clock_take(struct netd_frame *frame);

#endif
