/*
 * The line editor and the commands of prompt.h. A new command is a function and a line in the table at the end; a
 * command sees the rest of its line, without leading and trailing blanks, and takes words off its front.
 */
#include "prompt.h"

#include "network.h"
#include "output.h"
#include "words.h"

#include <format.h>
#include <string.h>
#include <user.h>

enum {
	SYSTEM = KEUOS_CAP_SYSTEM_INDEX,
	LINE_MAX = KEUOS_NAME_BYTES + KEUOS_ARGS_BYTES + 32,
	WORDS_BYTES = 96,
	EVENTS_SHOWN = 20,
	CONTROL_C = 0x03,
	CONTROL_U = 0x15,
	BACKSPACE = 0x08,
	DELETE = 0x7f,
	ESCAPE = 0x1b,
};

static const char prompt_text[] = "keuos> ";

/* A terminal sends ESC [ ... letter for its cursor keys; the editor has no use for them and swallows them whole. */
enum escape_state { ESCAPE_NONE, ESCAPE_SEEN, ESCAPE_IN_SEQUENCE };

static struct {
	char text[LINE_MAX];
	size_t length;
	int noise;        /* a byte came that no person types: the line is not carried out */
	int after_return; /* the last byte was CR: an LF behind it belongs to it */
	enum escape_state escape;
} line;

/* --- words of a command line --- */

static char *skip_blanks(char *text)
{
	while (*text == ' ')
		text++;
	return text;
}

/* Takes the first word off *rest and returns it; empty if there is none. */
static char *take_word(char **rest)
{
	char *word = skip_blanks(*rest);
	char *end = word;

	while (*end && *end != ' ')
		end++;
	*rest = *end ? skip_blanks(end + 1) : end;
	*end = 0;
	return word;
}

/* Reads a whole decimal number. Returns 0, or -1 if the word is none below 2^32. */
static int parse_number(const char *word, uint32_t *number)
{
	uint64_t value = 0;

	if (!*word)
		return -1;
	for (; *word; word++) {
		if (*word < '0' || *word > '9')
			return -1;
		value = value * 10 + (uint64_t)(*word - '0');
		if (value > UINT32_MAX)
			return -1;
	}
	*number = (uint32_t)value;
	return 0;
}

/* Says what the kernel objected to. Returns whether it did. */
static int refused(const char *what, int64_t result)
{
	if (result < 0)
		output_text("%s: %s\n", what, user_error(result));
	return result < 0;
}

/* --- commands --- */

static void command_help(char *rest);

static void command_ps(char *rest)
{
	static struct keuos_process_info processes[KEUOS_PROCESSES];
	int64_t count = sys_process_list(SYSTEM, processes, KEUOS_PROCESSES);
	char ended[WORDS_BYTES];

	(void)rest;
	if (refused("ps", count))
		return;
	output_text("%5s %-16s %6s %4s %4s %6s %8s %10s  %s\n", "PID", "NAME", "PARENT", "CORE", "PRIO", "PAGES",
		"CHANNELS", "SYSCALLS", "STATE");
	for (int64_t i = 0; i < count && i < KEUOS_PROCESSES; i++) {
		const struct keuos_process_info *p = &processes[i];

		output_text("%5u %-16.31s %6u %4u %4u %6u %8u %10lu  %s", p->pid, p->name, p->parent, p->core,
			p->priority, p->pages, p->channels, (unsigned long)p->syscalls, word_process_state(p->state));
		if (p->state == KEUOS_PROCESS_DEAD)
			output_text(": %s",
				word_exit(ended, sizeof(ended), p->exit_reason, p->exit_detail, p->exit_address));
		output_text("\n");
	}
}

/* Spawns for a person, and says what came of it. */
static struct child *spawn_for_prompt(const struct keuos_spawn *spawn)
{
	int64_t error;
	struct child *child;

	output_flush(); /* the program may log at once, and its line should stand below the command */
	child = child_spawn(spawn, CHILD_OF_PROMPT, &error);
	if (child)
		output_text("[%u] %s on core %u\n", child->pid, spawn->name, spawn->core);
	else if (error == -KEUOS_ENOENT)
		output_text("spawn: no file '%s' in the initrd; 'files' lists them\n", spawn->name);
	else if (error == -KEUOS_EINVAL)
		output_text("spawn: core %u does not exist; 'info' shows how many there are\n", spawn->core);
	else
		refused("spawn", error);
	output_flush();
	return child;
}

/* Whether programs can be bound to a NetD; says so if not. */
static int has_netd(const char *what)
{
	if (!network_serves())
		output_text("%s: there is no NetD: 'spawn netd ip=A.B.C.D/BITS gw=A.B.C.D' starts one\n", what);
	return network_serves() != NULL;
}

/* Has a process that was spawned suspended run; one that can't is ended. */
static void start(struct child *child, int64_t error)
{
	if (error >= 0)
		error = sys_process_start(child->capability);
	if (refused("spawn", error))
		sys_process_kill(child->capability);
}

/* NetD, unless there is one: two would want the same NIC. */
static void spawn_netd(struct keuos_spawn *spawn)
{
	struct child *child;

	if (network_serves()) {
		output_text("spawn: NetD already serves as [%u]; 'net off' ends it\n", network_serves()->pid);
		return;
	}
	network_quota(spawn);
	child = spawn_for_prompt(spawn);
	if (child && refused("spawn", network_start(child, spawn)))
		sys_process_kill(child->capability);
}

/* Takes a word off the front if it is `option`, or begins with it and `longer` is set. Returns it, or NULL. */
static const char *take_option(char **rest, const char *option, int longer)
{
	size_t bytes = strlen(option);

	if (strncmp(*rest, option, bytes) || (!longer && (*rest)[bytes] != 0 && (*rest)[bytes] != ' '))
		return NULL;
	return take_word(rest);
}

static void command_spawn(char *rest)
{
	struct keuos_spawn spawn;
	struct child *child;
	const char *name = take_word(&rest), *core;
	int sockets;

	memset(&spawn, 0, sizeof(spawn));
	spawn.priority = KEUOS_PRIORITY_NORMAL;
	spawn.core = child_default_core();
	core = take_option(&rest, "@", 1);
	sockets = take_option(&rest, "+net", 0) != NULL;
	if (core && parse_number(core + 1, &spawn.core)) {
		output_text("spawn: expected a core's number behind '@', got '%s'; 'info' shows how many there are\n",
			core);
		return;
	}
	if (!*name || strlen(name) >= sizeof(spawn.name) || strlen(rest) >= sizeof(spawn.args)) {
		output_text(
			"spawn: expected NAME [@CORE] [+net] [ARGUMENTS], a name of 1 to %u and arguments of up to %u "
			"characters; 'files' lists the names\n",
			KEUOS_NAME_BYTES - 1, KEUOS_ARGS_BYTES - 1);
		return;
	}
	memcpy(spawn.name, name, strlen(name));
	memcpy(spawn.args, rest, strlen(rest));
	if (!strcmp(name, network_program)) {
		spawn_netd(&spawn);
		return;
	}
	if (sockets && !has_netd("spawn"))
		return;
	spawn.suspended = (uint32_t)sockets;
	child = spawn_for_prompt(&spawn);
	if (child && sockets)
		start(child, network_bind(child, 0));
}

/* The program `net` asks NetD, as any application would, and tells on the console. */
static void command_net(char *rest)
{
	struct keuos_spawn spawn = {.name = "net", .priority = KEUOS_PRIORITY_NORMAL, .suspended = 1};
	static const char resolve[] = "resolve ";
	const char *name = rest;
	struct child *child;

	spawn.core = child_default_core();
	if (!strcmp(rest, "off")) {
		if (network_end() == -KEUOS_ESTATE)
			output_text("net: there is no NetD\n");
		return;
	}
	if (!strncmp(rest, resolve, sizeof(resolve) - 1))
		name = skip_blanks(rest + sizeof(resolve) - 1);
	if ((*rest && name == rest) || strlen(name) >= sizeof(spawn.args)) {
		output_text("net: expected nothing, 'off' or 'resolve' and a name, got '%s'\n", rest);
		return;
	}
	if (!has_netd("net"))
		return;
	memcpy(spawn.args, name, strlen(name));
	child = spawn_for_prompt(&spawn);
	if (child)
		start(child, network_bind(child, 1));
}

static void command_kill(char *rest)
{
	struct child *child;
	uint32_t pid;

	if (parse_number(rest, &pid)) {
		output_text("kill: expected a process's number, got '%s'; 'ps' lists them\n", rest);
		return;
	}
	child = child_find(pid);
	if (!child)
		output_text("kill: no process %u that was spawned from here; 'ps' lists all\n", pid);
	else
		refused("kill", sys_process_kill(child->capability));
}

static void command_channels(char *rest)
{
	static struct keuos_channel_info channels[KEUOS_CHANNELS];
	int64_t count = sys_channel_list(SYSTEM, channels, KEUOS_CHANNELS);

	(void)rest;
	if (refused("channels", count))
		return;
	output_text("%7s %4s %8s %8s %8s %9s %9s %8s %8s %10s  %s\n", "CHANNEL", "GEN", "PRODUCER", "CONSUMER", "MODE",
		"DATA", "TEMPLATES", "NOTIFY", "DOORBELL", "DESCRIPTOR", "STATE");
	for (int64_t i = 0; i < count && i < KEUOS_CHANNELS; i++) {
		const struct keuos_channel_info *c = &channels[i];

		output_text("%7u %4u %8u %8u %8s %9u %5u/%-3u %8lu %8lu %10lu  %s", c->channel, c->generation,
			c->producer, c->consumer, word_channel_mode(c->mode), c->data_bytes, c->granted, c->templates,
			(unsigned long)c->notifications, (unsigned long)c->doorbells, (unsigned long)c->descriptors,
			word_channel_state(c->state));
		if (c->reason)
			output_text(": %s", word_close_reason(c->reason));
		if (c->reason == KEUOS_CLOSE_VIOLATION)
			output_text(" (gate %s)", word_verdict(c->verdict));
		output_text("\n");
	}
}

static void command_devices(char *rest)
{
	static struct keuos_device_info devices[KEUOS_DEVICES];
	int64_t count = sys_device_list(SYSTEM, devices, KEUOS_DEVICES);

	(void)rest;
	if (refused("devices", count))
		return;
	output_text("%6s %-8s %-9s %-6s %6s %9s %9s %9s  %s\n", "DEVICE", "PLACE", "ID", "CLASS", "DRIVER", "DMA PAGES",
		"FAULTS", "INTERRUPT", "STATE");
	for (int64_t i = 0; i < count && i < KEUOS_DEVICES; i++) {
		const struct keuos_device_info *d = &devices[i];

		output_text("%6u %02x:%02x.%x  %04x:%04x %06x %6u %9u %9lu %9lu  %s%s%s\n", d->device,
			(uint32_t)d->requester >> 8, (uint32_t)d->requester >> 3 & 31, (uint32_t)d->requester & 7,
			d->vendor, d->product, d->class_code, d->holder, d->dma_pages, (unsigned long)d->faults,
			(unsigned long)d->interrupts, d->state & KEUOS_DEVICE_CLAIMED ? "claimed" : "free",
			d->state & KEUOS_DEVICE_MASTERING ? ", mastering" : "",
			d->state & KEUOS_DEVICE_QUARANTINED ? ", quarantined" : "");
	}
}

/* What happened, behind the columns that every event has. */
static void show_event(const struct keuos_event *e)
{
	char words[WORDS_BYTES];

	output_text("%6lu %6lu.%06lu %-7s %5u  ", (unsigned long)e->sequence, (unsigned long)(e->time_ns / 1000000000),
		(unsigned long)(e->time_ns / 1000 % 1000000), word_event(e->kind), e->pid);
	switch (e->kind) {
	case KEUOS_EVENT_GATE:
		output_text("gate %s on channel %u, generation %u, to [%u]\n", word_verdict(e->verdict), e->channel,
			e->generation, e->peer);
		break;
	case KEUOS_EVENT_FAULT:
	case KEUOS_EVENT_EXIT:
		output_text("%s\n", word_exit(words, sizeof(words), e->verdict, e->detail, e->address));
		break;
	case KEUOS_EVENT_BIND:
		output_text("channel %u, generation %u, with [%u]\n", e->channel, e->generation, e->peer);
		break;
	case KEUOS_EVENT_CLOSE:
		output_text("channel %u, generation %u, with [%u]: %s\n", e->channel, e->generation, e->peer,
			word_close_reason(e->verdict));
		break;
	case KEUOS_EVENT_DMA_FAULT:
		output_text("device %u (%02x:%02x.%x): %s of 0x%lx stopped, reason 0x%lx\n", e->channel,
			e->generation >> 8, e->generation >> 3 & 31, e->generation & 7,
			e->verdict == KEUOS_DMA_FAULT_READ            ? "read"
				: e->verdict == KEUOS_DMA_FAULT_WRITE ? "write"
								      : "interrupt",
			(unsigned long)e->detail, (unsigned long)e->address);
		break;
	case KEUOS_EVENT_STRAY:
		output_text("interrupt 0x%lx that nobody asked for; %lu so far\n", (unsigned long)e->address,
			(unsigned long)e->detail);
		break;
	default:
		output_text("channel %u, generation %u, detail 0x%lx\n", e->channel, e->generation,
			(unsigned long)e->detail);
	}
}

static void command_events(char *rest)
{
	static struct keuos_event events[EVENTS_SHOWN];
	struct keuos_system_info info;
	uint32_t from = 0;
	int64_t count;

	if (refused("events", sys_system_info(&info)))
		return;
	if (!*rest)
		from = info.events > EVENTS_SHOWN ? info.events - EVENTS_SHOWN : 0;
	else if (parse_number(rest, &from)) {
		output_text("events: expected the number to start at, got '%s'\n", rest);
		return;
	}
	count = sys_event_read(SYSTEM, from, events, EVENTS_SHOWN);
	if (refused("events", count))
		return;
	output_text("%6s %13s %-7s %5s  %s\n", "NUMBER", "SECONDS", "EVENT", "PID", "WHAT");
	for (int64_t i = 0; i < count && i < EVENTS_SHOWN; i++)
		show_event(&events[i]);
	if (count == EVENTS_SHOWN && events[count - 1].sequence + 1 < info.events)
		output_text("... 'events %lu' shows more\n", (unsigned long)events[count - 1].sequence + 1);
}

static void command_files(char *rest)
{
	char name[KEUOS_NAME_BYTES];
	int64_t bytes;

	(void)rest;
	output_text("%-31s %9s\n", "FILE", "BYTES");
	for (uint64_t i = 0; (bytes = sys_initrd_list(SYSTEM, i, name)) >= 0; i++)
		output_text("%-31.31s %9ld\n", name, (long)bytes);
	if (bytes != -KEUOS_ENOENT)
		refused("files", bytes);
}

static void command_info(char *rest)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} features[] = {
#if defined(__aarch64__)
		{KEUOS_FEATURE_NX, "UXN"},
		{KEUOS_FEATURE_SMEP, "PXN"},
		{KEUOS_FEATURE_WP, "WXN"},
		{KEUOS_FEATURE_SMAP, "PAN"},
#else
		{KEUOS_FEATURE_NX, "NX"},
		{KEUOS_FEATURE_WP, "WP"},
		{KEUOS_FEATURE_SMEP, "SMEP"},
		{KEUOS_FEATURE_SMAP, "SMAP"},
		{KEUOS_FEATURE_UMIP, "UMIP"},
#endif
		{KEUOS_FEATURE_ENTROPY, "entropy"},
		{KEUOS_FEATURE_IOMMU, "IOMMU"},
		{KEUOS_FEATURE_HIL, "HIL build"},
	};
	struct keuos_system_info info;
	uint64_t now = sys_time();

	(void)rest;
	if (refused("info", sys_system_info(&info)))
		return;
	output_text("version     %.31s, booted by %.15s\n", info.version, info.boot);
	output_text(
		"up          %lu.%03lu s\n", (unsigned long)(now / 1000000000), (unsigned long)(now / 1000000 % 1000));
	output_text("cores       %u, counter at %lu kHz\n", info.cores, (unsigned long)(info.tick_hz / 1000));
	output_text(
		"memory      %lu of %lu pages free\n", (unsigned long)info.pages_free, (unsigned long)info.pages_total);
	output_text("in use      %u processes, %u channels, %u capabilities\n", info.processes, info.channels,
		info.capabilities);
	output_text("events      %u\n", info.events);
	output_text("interrupts ");
	for (uint32_t i = 0; i < info.cores && i < KEUOS_CORES_MAX; i++)
		output_text(" %lu", (unsigned long)info.interrupts[i]);
	output_text(" (by core)\nfeatures   ");
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (info.features & features[i].bit)
			output_text(" %s", features[i].name);
	}
	output_text("\n");
}

static void command_reboot(char *rest)
{
	uint64_t kind = KEUOS_REBOOT_RESET;

	if (!strcmp(rest, "off")) {
		kind = KEUOS_REBOOT_POWER_OFF;
	} else if (*rest) {
		output_text("reboot: expected nothing or 'off', got '%s'\n", rest);
		return;
	}
	output_flush();
	refused("reboot", sys_reboot(SYSTEM, kind));
}

static const struct command {
	const char *name;
	const char *usage;
	const char *purpose;
	void (*run)(char *rest);
} commands[] = {
	{"help", "help", "this list", command_help},
	{"ps", "ps", "processes", command_ps},
	{"spawn", "spawn NAME [@CORE] [+net] [ARGUMENTS]", "start a program; +net: with sockets of NetD",
		command_spawn},
	{"kill", "kill PID", "end a process that was spawned from here", command_kill},
	{"files", "files", "the programs of the initrd", command_files},
	{"channels", "channels", "channels, their sides and counters", command_channels},
	{"devices", "devices", "PCI functions that drivers can have", command_devices},
	{"net", "net [off | resolve NAME]",
		"NetD's addresses, counters and connections; or end it; or a name's address", command_net},
	{"events", "events [FROM]", "what gates, faults and ends were recorded", command_events},
	{"info", "info", "cores, memory, features", command_info},
	{"reboot", "reboot [off]", "reset the machine, or switch it off", command_reboot},
};

static void command_help(char *rest)
{
	(void)rest;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		output_text("%-38s %s\n", commands[i].usage, commands[i].purpose);
}

static void run_line(void)
{
	char *rest = line.text;
	const char *name;
	size_t i = 0;

	while (line.length && line.text[line.length - 1] == ' ')
		line.length--;
	line.text[line.length] = 0;
	name = take_word(&rest);
	if (line.noise) {
		output_text("not carried out: the line held bytes that are not printable ASCII\n");
	} else if (*name) {
		while (i < sizeof(commands) / sizeof(commands[0]) && strcmp(name, commands[i].name))
			i++;
		if (i == sizeof(commands) / sizeof(commands[0]))
			output_text("no command '%s'; 'help' lists them\n", name);
		else if (*rest && !strcmp(commands[i].usage, name))
			output_text("%s: expected nothing behind it, got '%s'\n", name, rest);
		else
			commands[i].run(rest);
	}
}

/* --- the editor --- */

static void clear_line(void)
{
	line.length = 0;
	line.noise = 0;
}

static void rub_out(void)
{
	line.length--;
	output_byte('\b');
	output_byte(' ');
	output_byte('\b');
}

void prompt_show(void)
{
	output_text("%s%.*s", prompt_text, (int)line.length, line.text);
}

/* Whether the byte was part of a cursor key. */
static int swallow_escape(uint8_t byte)
{
	switch (line.escape) {
	case ESCAPE_NONE:
		line.escape = byte == ESCAPE ? ESCAPE_SEEN : ESCAPE_NONE;
		return byte == ESCAPE;
	case ESCAPE_SEEN:
		line.escape = byte == '[' || byte == 'O' ? ESCAPE_IN_SEQUENCE : ESCAPE_NONE;
		return byte >= ' ';
	default:
		if (byte < '0' || byte > '?')
			line.escape = ESCAPE_NONE;
		return byte >= ' ';
	}
}

void prompt_byte(uint8_t byte)
{
	int after_return = line.after_return;

	line.after_return = byte == '\r';
	if (swallow_escape(byte))
		return;
	switch (byte) {
	case '\n':
		if (after_return)
			return;
		/* fall through */
	case '\r':
		output_text("\n");
		run_line();
		clear_line();
		prompt_show();
		return;
	case BACKSPACE:
	case DELETE:
		if (line.length)
			rub_out();
		return;
	case CONTROL_U:
		while (line.length)
			rub_out();
		line.noise = 0;
		return;
	case CONTROL_C:
		output_text("^C\n");
		clear_line();
		prompt_show();
		return;
	default:
		break;
	}
	if (byte == '\t')
		byte = ' ';
	if (byte < ' ' || byte > '~') {
		line.noise = 1;
		return;
	}
	if (line.length + 1 == sizeof(line.text)) {
		output_byte('\a');
		return;
	}
	line.text[line.length++] = (char)byte;
	output_byte((char)byte);
}

void prompt_notice(const char *format, ...)
{
	char text[WORDS_BYTES + KEUOS_NAME_BYTES + 32];
	va_list arguments;
	size_t length, covered = sizeof(prompt_text) - 1 + line.length;

	va_start(arguments, format);
	length = user_vformat(text, sizeof(text), format, arguments);
	va_end(arguments);
	/* The notice takes the prompt's place, blanks cover what is left of it, and the prompt comes back below. */
	output_text("\r%s%*s\n", text, (int)(covered > length ? covered - length : 0), "");
	prompt_show();
}

void prompt_exit_notice(const struct child *child, const struct keuos_process_info *info)
{
	char words[WORDS_BYTES];

	prompt_notice("[%u] %.31s: %s", child->pid, info->name,
		word_exit(words, sizeof(words), info->exit_reason, info->exit_detail, info->exit_address));
}

void prompt_forget_noise(void)
{
	if (line.noise) {
		clear_line();
		output_text("\n");
		prompt_show();
	}
}
