/* What the senders gate_sender and gate_bulk and their receiver gate_receiver agree on. Headers only: no program is built of this folder. */
#ifndef GATE_PROGRAM_H
#define GATE_PROGRAM_H

#include "../ring_common/ring_program.h"

enum gate_opcode {
	GATE_OPCODE_MESSAGE = 0x10, /* up to GATE_MESSAGE_MAX bytes */
	GATE_OPCODE_SHORT = 0x11,   /* up to 24 bytes */
	GATE_OPCODE_ALIGNED = 0x12, /* payload on 256 bytes */
	GATE_OPCODE_REFUSED = 0x13, /* in the sender's ELF, but not in the receiver's interface */
	GATE_OPCODE_FLAGGED = 0x14, /* with flags out of GATE_FLAGS */
	GATE_OPCODE_EMPTY = 0x15,   /* no payload at all */
	GATE_OPCODE_LONGEST = 0x16, /* as long as the data ring is */
};

enum gate_limits {
	GATE_MESSAGE_MAX = 8192,
	GATE_SHORT_MAX = 24,
	GATE_ALIGNMENT = 256,
	GATE_FLAGS = 0xff,
};

#endif
