/*
 * The console: the first process. One line carries a person's prompt and the host's frames; this file is the loop that
 * moves bytes between the line, the prompt and the agent, and tells of deaths.
 *
 *   input -> frame splitter -> message -> agent  -> frame
 *                           -> text    -> prompt -> text
 *   child's notification    -> children_reap     -> event frame, or a line above the prompt
 */
#include "agent.h"
#include "children.h"
#include "frames.h"
#include "network.h"
#include "output.h"
#include "prompt.h"

#include <user.h>

enum {
	SYSTEM = KEUOS_CAP_SYSTEM_INDEX,
	INPUT_BYTES = 512,
	FRAME_SILENCE_NS = 500 * 1000 * 1000, /* docs/hil-protocol.md: an unfinished frame is dropped after it */
};

static struct frame_splitter splitter;

static void send(struct agent_message message)
{
	if (message.bytes)
		output_frame(message.data, message.bytes);
}

static void report_death(struct child *child, const struct keuos_process_info *info)
{
	if (child->owner == CHILD_OF_HOST) {
		send(agent_exit_event(child, info));
		return;
	}
	prompt_exit_notice(child, info);
	struct child *next = network_died(child, info);

	child_drop(child);
	if (next)
		prompt_notice("[%u] netd: started again", next->pid);
}

/* Takes what input there is. Returns the bytes taken. */
static int64_t take_input(void)
{
	static uint8_t input[INPUT_BYTES];
	int64_t bytes = sys_console_read(SYSTEM, input, sizeof(input));

	for (int64_t i = 0; i < bytes; i++) {
		switch (frame_feed(&splitter, input[i])) {
		case FRAME_TEXT:
			prompt_byte(input[i]);
			break;
		case FRAME_PENDING:
			break;
		case FRAME_MESSAGE:
			/* What a damaged frame before this one left in the line was not typed by anybody. */
			prompt_forget_noise();
			send(agent_request(splitter.data, splitter.bytes));
			break;
		}
	}
	return bytes;
}

/* Nobody has business binding a channel to the console: an end that arrives is given back, so that it holds no pages. */
static void refuse_channels(void)
{
	struct keuos_endpoint endpoint;

	while (sys_channel_accept(&endpoint) >= 0)
		sys_channel_unmap(endpoint.capability);
}

/* What the boot loader said is carried out as if somebody had typed it. */
static void carry_out(const char *args)
{
	if (!*args)
		return;
	while (*args)
		prompt_byte((uint8_t)*args++);
	prompt_byte('\r');
}

int main(const char *args)
{
	static struct keuos_system_info info;
	uint64_t last_input = 0;

	if (sys_system_info(&info) < 0)
		return 1;
	info.version[sizeof(info.version) - 1] = 0;
	output_text("KeuOS agent ready\n");
	send(agent_boot_event(info.version));
	prompt_show();
	carry_out(args);

	for (;;) {
		uint64_t children = children_mask();
		uint64_t bits;
		int64_t taken;

		/* Writing may take the bit that tells of input, so whatever was written, a read must find none before WAIT. */
		output_flush();
		taken = take_input();

		if (taken < 0) {
			user_log("console: cannot read the console: error %d; only the first process may", (int)-taken);
			return 1;
		}
		if (taken) {
			last_input = sys_time();
			continue;
		}
		bits = sys_wait(sys_bit(SYSTEM) | sys_bit(KEUOS_CAP_SELF) | children,
			splitter.inside ? last_input + FRAME_SILENCE_NS : KEUOS_FOREVER);
		if (bits & sys_bit(KEUOS_CAP_SELF))
			refuse_channels();
		if (bits & children)
			children_reap(report_death);
		if (!bits && splitter.inside)
			frame_abandon(&splitter);
	}
}
