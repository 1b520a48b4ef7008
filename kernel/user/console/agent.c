/*
 * The operations of agent.h: a table, and one function for each.
 *
 *   message -> cbor_parse_map -> id kept? -> kept reply
 *                                id new?  -> operation -> reply, kept
 *
 * An operation reads its arguments with the argument_* functions and adds results with the result_* functions. The
 * first thing that goes wrong becomes the reply; what was added before is thrown away.
 */
#include "agent.h"

#include "cbor.h"
#include "frames.h"
#include "words.h"
#include "words32.h"

#include <format.h>
#include <string.h>
#include <user.h>

enum agent_code {
	AGENT_UNKNOWN_OPERATION = 100,
	AGENT_MALFORMED = 101,
	AGENT_TOO_LARGE = 102,
};

enum {
	PROTOCOL = 1,
	SYSTEM = KEUOS_CAP_SYSTEM_INDEX,
	MEMORY_MAX = 3072, /* bytes of one read or write */
	ENVELOPE = 96,     /* of a reply: id, ok, keys and numbers beside one byte string */
	ROOM = FRAME_MESSAGE_MAX - ENVELOPE,
	ERROR_TEXT = 160,
	OPERATION_MAX = 32,
	NEW_MAP = 0xa0, /* an empty map; its low bits count the pairs, up to 23 */
	PAIRS_MAX = 23,
};

struct call {
	const char *operation;
	struct cbor_map request;
	struct cbor_writer reply;
	uint32_t id;
	int failed; /* the reply is an error already */
};

/* Each bound channel holds a capability, so there can't be more entries in use than capabilities. */
static struct bound_channel {
	int used;
	uint32_t capability;
	uint32_t channel;
} bound[KEUOS_CAPABILITIES];

/* The last reply, for a request that is repeated because its reply was lost. */
static struct {
	int valid;
	uint32_t id;
	size_t bytes;
	uint8_t data[FRAME_MESSAGE_MAX];
} kept;

/* --- writing maps --- */

static void map_begin(struct cbor_writer *w, uint8_t *data, size_t capacity)
{
	*w = (struct cbor_writer){.data = data, .capacity = capacity, .bytes = 1};
	data[0] = NEW_MAP;
}

static void map_key(struct cbor_writer *w, const char *key)
{
	if ((w->data[0] & 31) == PAIRS_MAX)
		w->overflow = 1;
	else
		w->data[0]++;
	cbor_put_text(w, key);
}

static void map_unsigned(struct cbor_writer *w, const char *key, uint64_t value)
{
	map_key(w, key);
	cbor_put_unsigned(w, value);
}

static void map_text(struct cbor_writer *w, const char *key, const char *text)
{
	map_key(w, key);
	cbor_put_text(w, text);
}

static void map_bytes(struct cbor_writer *w, const char *key, const void *data, size_t bytes)
{
	map_key(w, key);
	cbor_put_bytes(w, data, bytes);
}

static void reply_begin(struct call *call, int ok)
{
	map_begin(&call->reply, kept.data, sizeof(kept.data));
	map_unsigned(&call->reply, "id", call->id);
	map_key(&call->reply, "ok");
	cbor_put_bool(&call->reply, ok);
}

/* The reply becomes an error, unless it is one already. */
__attribute__((format(printf, 3, 4))) static void fail(struct call *call, uint32_t code, const char *format, ...)
{
	char text[ERROR_TEXT];
	va_list arguments;
	size_t length;

	if (call->failed)
		return;
	call->failed = 1;
	length = user_format(text, sizeof(text), "%s: ", call->operation);
	va_start(arguments, format);
	user_vformat(text + length, sizeof(text) - length, format, arguments);
	va_end(arguments);
	reply_begin(call, 0);
	map_unsigned(&call->reply, "code", code);
	map_text(&call->reply, "text", text);
}

/* Passes a kernel's result on: a negative one becomes the reply. Returns whether it was good. */
static int good(struct call *call, int64_t result)
{
	if (result < 0)
		fail(call, (uint32_t)-result, "%s", user_error(result));
	return result >= 0;
}

/* --- reading arguments --- */

static struct cbor_item argument(struct call *call, const char *key, enum cbor_kind kind, const char *expected)
{
	static const char *const kinds[] = {"an unsigned integer", "a negative integer", "bytes", "text", "an array",
		"a map", "a tagged item", "a simple value", "none, or two"};
	struct cbor_item item = cbor_find(&call->request, key);

	if (item.kind != kind)
		fail(call, AGENT_MALFORMED, "argument '%s': expected %s, got %s", key, expected, kinds[item.kind]);
	return item;
}

/* An unsigned argument up to `max`; 0 if the call has failed. */
static uint64_t argument_unsigned(struct call *call, const char *key, uint64_t max)
{
	struct cbor_item item = argument(call, key, CBOR_UNSIGNED, "an unsigned integer");

	if (!call->failed && item.value > max)
		fail(call, AGENT_MALFORMED, "argument '%s': expected at most %lu, got %lu", key, (unsigned long)max,
			(unsigned long)item.value);
	return call->failed ? 0 : item.value;
}

static uint32_t argument_u32(struct call *call, const char *key)
{
	return (uint32_t)argument_unsigned(call, key, UINT32_MAX);
}

static uint32_t argument_u32_or(struct call *call, const char *key, uint32_t otherwise)
{
	if (cbor_find(&call->request, key).kind == CBOR_ABSENT)
		return otherwise;
	return argument_u32(call, key);
}

/* A truth value: false, true or a number. Absent: false. */
static uint32_t argument_flag(struct call *call, const char *key)
{
	struct cbor_item item = cbor_find(&call->request, key);

	if (item.kind == CBOR_SIMPLE && (item.value == 20 || item.value == 21))
		return item.value == 21;
	return argument_u32_or(call, key, 0) != 0;
}

/* A text for a field of the system call interface, NUL included; the rest of the field is zeroed. */
static void argument_text(struct call *call, const char *key, int optional, char *field, size_t capacity)
{
	struct cbor_item item;

	memset(field, 0, capacity);
	if (optional && cbor_find(&call->request, key).kind == CBOR_ABSENT)
		return;
	item = argument(call, key, CBOR_TEXT, "text");
	if (call->failed)
		return;
	if (item.value >= capacity || memchr(item.data, 0, (size_t)item.value)) {
		fail(call, AGENT_MALFORMED, "argument '%s': expected at most %lu bytes and no NUL, got %lu bytes", key,
			(unsigned long)capacity - 1, (unsigned long)item.value);
		return;
	}
	memcpy(field, item.data, (size_t)item.value);
}

/* The child that a pid argument names; NULL if the call has failed. */
static struct child *argument_child(struct call *call, const char *key)
{
	uint32_t pid = argument_u32(call, key);
	struct child *child = call->failed ? NULL : child_find(pid);

	if (!call->failed && !child)
		fail(call, KEUOS_ENOENT, "argument '%s': no process %u that was spawned here and not dropped", key,
			pid);
	return child;
}

/* --- operations --- */

static void op_hello(struct call *call)
{
	uint32_t nonce = argument_u32(call, "nonce");

	if (call->failed)
		return;
	map_unsigned(&call->reply, "nonce", nonce);
	map_unsigned(&call->reply, "protocol", PROTOCOL);
	map_text(&call->reply, "agent", "keuos console");
}

static void op_ping(struct call *call)
{
	(void)call;
}

static void op_info(struct call *call)
{
	struct keuos_system_info info;

	if (good(call, sys_system_info(&info)))
		map_bytes(&call->reply, "info", &info, sizeof(info));
}

static void op_files(struct call *call)
{
	char name[KEUOS_NAME_BYTES];
	uint64_t count = 0;
	int64_t result;

	while ((result = sys_initrd_list(SYSTEM, count, name)) >= 0)
		count++;
	if (result != -KEUOS_ENOENT) {
		good(call, result);
		return;
	}
	map_key(&call->reply, "files");
	cbor_put_head(&call->reply, CBOR_ARRAY, count);
	for (uint64_t i = 0; i < count; i++) {
		if (!good(call, sys_initrd_list(SYSTEM, i, name)))
			return;
		name[sizeof(name) - 1] = 0;
		cbor_put_text(&call->reply, name);
	}
}

/*
 * A list of structures. Without `from` all of them, or an error if they do not fit; with it as many as fit from that
 * index on, and `next`, the index to go on at, as long as there are more.
 */
static void list(struct call *call, const char *key, const void *items, size_t size, uint64_t count)
{
	int paged = cbor_find(&call->request, "from").kind != CBOR_ABSENT;
	uint64_t from = paged ? argument_unsigned(call, "from", UINT32_MAX) : 0;
	uint64_t n;

	if (call->failed)
		return;
	from = from < count ? from : count;
	n = count - from;
	if (n > ROOM / size) {
		n = ROOM / size;
		if (!paged) {
			fail(call, AGENT_TOO_LARGE, "%lu do not fit into a reply: ask in pieces with 'from'",
				(unsigned long)count);
			return;
		}
		map_unsigned(&call->reply, "next", from + n);
	}
	map_bytes(&call->reply, key, (const uint8_t *)items + from * size, n * size);
}

static void op_processes(struct call *call)
{
	static struct keuos_process_info processes[KEUOS_PROCESSES];
	int64_t count = sys_process_list(SYSTEM, processes, KEUOS_PROCESSES);

	if (good(call, count))
		list(call, "processes", processes, sizeof(processes[0]),
			count < KEUOS_PROCESSES ? (uint64_t)count : KEUOS_PROCESSES);
}

static void op_channels(struct call *call)
{
	static struct keuos_channel_info channels[KEUOS_CHANNELS];
	int64_t count = sys_channel_list(SYSTEM, channels, KEUOS_CHANNELS);

	if (good(call, count))
		list(call, "channels", channels, sizeof(channels[0]),
			count < KEUOS_CHANNELS ? (uint64_t)count : KEUOS_CHANNELS);
}

static void op_events(struct call *call)
{
	enum { EVENTS = ROOM / sizeof(struct keuos_event) };
	static struct keuos_event events[EVENTS];
	uint64_t from = argument_unsigned(call, "from", UINT64_MAX);
	int64_t count;

	if (call->failed)
		return;
	count = sys_event_read(SYSTEM, from, events, EVENTS);
	if (!good(call, count))
		return;
	map_bytes(&call->reply, "events", events, (size_t)count * sizeof(events[0]));
	map_unsigned(&call->reply, "next", count ? events[count - 1].sequence + 1 : from);
}

static void op_spawn(struct call *call)
{
	struct keuos_spawn spawn;
	struct child *child;
	int64_t error;

	memset(&spawn, 0, sizeof(spawn));
	argument_text(call, "name", 0, spawn.name, sizeof(spawn.name));
	argument_text(call, "args", 1, spawn.args, sizeof(spawn.args));
	spawn.core = argument_u32_or(call, "core", child_default_core());
	spawn.priority = argument_u32_or(call, "priority", KEUOS_PRIORITY_NORMAL);
	spawn.suspended = argument_flag(call, "suspended");
	spawn.pages_max = argument_u32_or(call, "pages", 0);
	spawn.channels_max = argument_u32_or(call, "channels", 0);
	spawn.processes_max = argument_u32_or(call, "processes", 0);
	if (call->failed)
		return;
	child = child_spawn(&spawn, CHILD_OF_HOST, &error);
	if (child)
		map_unsigned(&call->reply, "pid", child->pid);
	else if (error == -KEUOS_ENOENT)
		fail(call, KEUOS_ENOENT, "no file '%s' in the initrd; operation 'files' lists them", spawn.name);
	else
		good(call, error);
}

static void op_start(struct call *call)
{
	struct child *child = argument_child(call, "pid");

	if (child)
		good(call, sys_process_start(child->capability));
}

static void op_kill(struct call *call)
{
	struct child *child = argument_child(call, "pid");

	if (child)
		good(call, sys_process_kill(child->capability));
}

static void op_process(struct call *call)
{
	struct child *child = argument_child(call, "pid");
	struct keuos_process_info info;

	if (child && good(call, sys_process_info(child->capability, &info)))
		map_bytes(&call->reply, "process", &info, sizeof(info));
}

static void op_read(struct call *call)
{
	static uint8_t memory[MEMORY_MAX];
	struct child *child = argument_child(call, "pid");
	uint64_t address = argument_unsigned(call, "address", UINT64_MAX);
	uint64_t bytes = argument_unsigned(call, "bytes", MEMORY_MAX);

	if (call->failed)
		return;
	if (good(call, sys_process_read(child->capability, address, memory, bytes)))
		map_bytes(&call->reply, "data", memory, bytes);
}

/* Words in few bytes: as many as fit. */
static void op_read_words(struct call *call)
{
	static uint8_t packed[MEMORY_MAX];
	static uint32_t words[256];
	struct child *child = argument_child(call, "pid");
	uint64_t address = argument_unsigned(call, "address", UINT64_MAX);
	uint64_t count = argument_unsigned(call, "words", UINT32_MAX);
	uint64_t room = argument_unsigned(call, "bytes", MEMORY_MAX);
	uint64_t done = 0, bytes = 0;
	uint32_t previous = 0;

	while (!call->failed && done < count) {
		size_t most = sizeof(words) / sizeof(words[0]);
		size_t piece = count - done < most ? (size_t)(count - done) : most;
		size_t took, encoded;

		if (!good(call,
			    sys_process_read(child->capability, address + done * sizeof(words[0]), words,
				    piece * sizeof(words[0]))))
			return;
		encoded = words32_encode(words, piece, &previous, packed + bytes, room - bytes, &took);
		done += encoded;
		bytes += took;
		if (encoded < piece)
			break;
	}
	if (call->failed)
		return;
	map_unsigned(&call->reply, "words", done);
	map_bytes(&call->reply, "data", packed, bytes);
}

static void op_write(struct call *call)
{
	struct child *child = argument_child(call, "pid");
	uint64_t address = argument_unsigned(call, "address", UINT64_MAX);
	struct cbor_item data = argument(call, "data", CBOR_BYTES, "bytes");

	if (!call->failed && data.value > MEMORY_MAX)
		fail(call, AGENT_MALFORMED, "argument 'data': expected at most %u bytes, got %lu", (unsigned)MEMORY_MAX,
			(unsigned long)data.value);
	if (call->failed)
		return;
	good(call, sys_process_write(child->capability, address, data.data, (size_t)data.value));
}

static void op_drop(struct call *call)
{
	struct child *child = argument_child(call, "pid");

	if (child)
		good(call, child_drop(child));
}

static void op_bind(struct call *call)
{
	struct child *producer = argument_child(call, "producer");
	struct child *consumer = argument_child(call, "consumer");
	struct keuos_bind bind = {
		.mode = argument_u32(call, "mode"),
		.data_order = argument_u32_or(call, "order", KEUOS_NO_DATA),
		.label = cbor_find(&call->request, "label").kind == CBOR_ABSENT
			? 0
			: argument_unsigned(call, "label", UINT64_MAX),
		.kept = argument_u32_or(call, "kept", KEUOS_KEPT_BY_NOBODY),
	};
	struct keuos_channel_info info;
	int64_t capability;

	if (call->failed)
		return;
	capability = sys_channel_bind(producer->capability, consumer->capability, &bind);
	if (!good(call, capability))
		return;
	for (size_t i = 0; i < KEUOS_CAPABILITIES; i++) {
		if (bound[i].used)
			continue;
		if (!good(call, sys_channel_info((uint32_t)capability, &info)))
			break;
		bound[i] =
			(struct bound_channel){.used = 1, .capability = (uint32_t)capability, .channel = info.channel};
		map_unsigned(&call->reply, "channel", info.channel);
		return;
	}
	sys_cap_revoke((uint32_t)capability);
	sys_cap_drop((uint32_t)capability);
	fail(call, KEUOS_EQUOTA, "%s", user_error(KEUOS_EQUOTA));
}

/* Closed or revoked, a channel keeps its number, so that its record can be looked at; dropping is the end of it. */
static void op_unbind(struct call *call)
{
	enum { CLOSE = 0, REVOKE = 1, DROP = 2 };
	uint32_t channel = argument_u32(call, "channel");
	uint32_t how = (uint32_t)argument_unsigned(call, "how", DROP);
	size_t i = 0;

	if (call->failed)
		return;
	while (i < KEUOS_CAPABILITIES && !(bound[i].used && bound[i].channel == channel))
		i++;
	if (i == KEUOS_CAPABILITIES) {
		fail(call, KEUOS_ENOENT, "no channel %u that was bound here and not dropped", channel);
	} else if (how == DROP) {
		bound[i].used = 0;
		good(call, sys_cap_drop(bound[i].capability));
	} else {
		int64_t result =
			how == CLOSE ? sys_channel_close(bound[i].capability) : sys_cap_revoke(bound[i].capability);

		if (result != -KEUOS_ECLOSED) /* closed already: what was wanted */
			good(call, result);
	}
}

static void op_grant(struct call *call)
{
	struct child *to = argument_child(call, "to");
	struct child *what = argument_child(call, "what");
	uint32_t rights = (uint32_t)argument_unsigned(call, "rights", KEUOS_RIGHT_ALL);
	int64_t index;

	if (call->failed)
		return;
	index = sys_cap_grant(to->capability, what->capability, rights);
	if (good(call, index))
		map_unsigned(&call->reply, "capability", (uint64_t)index);
}

static void op_devices(struct call *call)
{
	static struct keuos_device_info devices[KEUOS_DEVICES];
	int64_t count = sys_device_list(SYSTEM, devices, KEUOS_DEVICES);

	if (good(call, count))
		list(call, "devices", devices, sizeof(devices[0]),
			count < KEUOS_DEVICES ? (uint64_t)count : KEUOS_DEVICES);
}

static void op_grant_device(struct call *call)
{
	static struct keuos_device_info devices[KEUOS_DEVICES];
	struct child *to = argument_child(call, "to");
	uint32_t device = argument_u32(call, "device");
	uint32_t rights = (uint32_t)argument_unsigned(call, "rights", KEUOS_RIGHT_ALL);
	int64_t count = sys_device_list(SYSTEM, devices, KEUOS_DEVICES), index;

	if (call->failed || !good(call, count))
		return;
	if (device == 0 || device > (uint64_t)count || device > KEUOS_DEVICES) {
		fail(call, KEUOS_ENOENT, "no device %u; operation 'devices' lists them", device);
		return;
	}
	index = sys_cap_grant(to->capability, devices[device - 1].capability, rights);
	if (good(call, index))
		map_unsigned(&call->reply, "capability", (uint64_t)index);
}

static void op_revoke_device(struct call *call)
{
	static struct keuos_device_info devices[KEUOS_DEVICES];
	uint32_t device = argument_u32(call, "device");
	int64_t count = sys_device_list(SYSTEM, devices, KEUOS_DEVICES);

	if (call->failed || !good(call, count))
		return;
	if (device == 0 || device > (uint64_t)count || device > KEUOS_DEVICES)
		fail(call, KEUOS_ENOENT, "no device %u; operation 'devices' lists them", device);
	else
		good(call, sys_cap_revoke(devices[device - 1].capability));
}

static void op_reboot(struct call *call)
{
	uint64_t kind = argument_unsigned(call, "kind", UINT32_MAX);

	if (!call->failed)
		good(call, sys_reboot(SYSTEM, kind));
}

static void op_hil(struct call *call)
{
	uint64_t code = argument_unsigned(call, "code", UINT32_MAX);

	if (!call->failed)
		good(call, sys_hil(SYSTEM, code, 0, 0));
}

static const struct operation {
	const char *name;
	void (*carry_out)(struct call *call);
} operations[] = {
	{"hello", op_hello},
	{"ping", op_ping},
	{"info", op_info},
	{"files", op_files},
	{"processes", op_processes},
	{"channels", op_channels},
	{"events", op_events},
	{"spawn", op_spawn},
	{"start", op_start},
	{"kill", op_kill},
	{"process", op_process},
	{"read", op_read},
	{"read_words", op_read_words},
	{"write", op_write},
	{"drop", op_drop},
	{"bind", op_bind},
	{"unbind", op_unbind},
	{"grant", op_grant},
	{"devices", op_devices},
	{"grant_device", op_grant_device},
	{"revoke_device", op_revoke_device},
	{"reboot", op_reboot},
	{"hil", op_hil},
};

/* --- messages --- */

static void carry_out(struct call *call, const char *name)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (!strcmp(name, operations[i].name)) {
			operations[i].carry_out(call);
			return;
		}
	}
	fail(call, AGENT_UNKNOWN_OPERATION, "no such operation; docs/hil-protocol.md lists them");
}

struct agent_message agent_request(const uint8_t *data, size_t bytes)
{
	struct call call = {.operation = "request"};
	char name[OPERATION_MAX];
	struct cbor_item id;
	int hello;

	if (cbor_parse_map(&call.request, data, bytes))
		return (struct agent_message){0};
	id = cbor_find(&call.request, "id");
	if (id.kind != CBOR_UNSIGNED || id.value > UINT32_MAX)
		return (struct agent_message){0}; /* nothing to answer to */
	call.id = (uint32_t)id.value;
	if (kept.valid && kept.id == call.id && call.id)
		return (struct agent_message){.data = kept.data, .bytes = kept.bytes};

	kept.valid = 0;
	reply_begin(&call, 1);
	argument_text(&call, "op", 0, name, sizeof(name));
	hello = !call.failed && !strcmp(name, "hello");
	if (!call.failed) {
		call.operation = name;
		if (hello != !call.id)
			fail(&call, AGENT_MALFORMED, "expected id 0 for 'hello' and for nothing else, got %u", call.id);
		else
			carry_out(&call, name);
	}
	if (call.reply.overflow) {
		call.failed = 0;
		fail(&call, AGENT_TOO_LARGE, "the reply is larger than a frame");
	}
	kept.bytes = call.reply.bytes;
	kept.id = call.id;
	kept.valid = !hello;
	return (struct agent_message){.data = kept.data, .bytes = kept.bytes};
}

struct agent_message agent_exit_event(const struct child *child, const struct keuos_process_info *info)
{
	static uint8_t message[ENVELOPE];
	struct cbor_writer w;

	map_begin(&w, message, sizeof(message));
	map_text(&w, "event", "exit");
	map_unsigned(&w, "pid", child->pid);
	map_unsigned(&w, "reason", info->exit_reason);
	map_unsigned(&w, "detail", info->exit_detail);
	map_unsigned(&w, "address", info->exit_address);
	return (struct agent_message){.data = message, .bytes = w.bytes};
}

struct agent_message agent_boot_event(const char *build)
{
	static uint8_t message[ENVELOPE];
	struct cbor_writer w;

	map_begin(&w, message, sizeof(message));
	map_text(&w, "event", "boot");
	map_text(&w, "build", build);
	return (struct agent_message){.data = message, .bytes = w.bytes};
}
