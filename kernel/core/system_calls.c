/* System calls on the machine as a whole. All but getrandom, system_info and hil need the system capability. */
#include <kernel/channel.h>
#include <kernel/console.h>
#include <kernel/event.h>
#include <kernel/frame.h>
#include <kernel/initrd.h>
#include <kernel/random.h>
#include <kernel/syscall.h>

static int check(uint64_t index)
{
	int error = 0;
	capability_get(current_process(), index, KEUOS_CAP_SYSTEM, 0, &error);
	return error;
}

struct result sys_getrandom(uint64_t to, uint64_t bytes, REST2)
{
	enum { MOST = 256 };
	uint64_t words[MOST / 8];
	if (bytes > MOST)
		return result_of(-KEUOS_EINVAL);
	/* No more than is asked for: the source may be slow, and the lock is held. */
	for (size_t i = 0; i < (bytes + 7) / 8; i++)
		if (!random_u64(&words[i]))
			return result_of(-KEUOS_EENTROPY);
	return result_of(copy_to_user((struct user_pointer){to}, words, bytes) ? 0 : -KEUOS_EFAULT);
}

/* The linker's note: sizes of name and content, type, "GNU", the id. */
extern const struct {
	uint32_t name_bytes, bytes, type;
	char name[4];
	uint8_t id[20];
} kernel_build_id_note;

struct result sys_system_info(uint64_t to, REST1)
{
	struct keuos_system_info info = {.cores = cpu_count,
		.features = arch_features | (hil_syscall ? KEUOS_FEATURE_HIL : 0),
		.tick_hz = arch_counter_hz,
		.pages_total = frames_managed,
		.pages_free = frames_free,
		.processes = process_count,
		.channels = channel_count,
		.capabilities = capability_count,
		.events = (uint32_t)event_next,
		.initrd_hash = initrd_hash,
		.command_line_hash = siphash_2_4((const uint64_t[2]){0, 0}, boot_info.arguments,
			strnlen(boot_info.arguments, sizeof(boot_info.arguments)))};
	for (uint32_t i = 0; i < cpu_count; i++)
		info.interrupts[i] = cpus[i].interrupts;
	memcpy(info.build_id, kernel_build_id_note.id, sizeof(info.build_id));
	format_text(info.version, sizeof(info.version), "%s", KEUOS_VERSION);
	format_text(info.boot, sizeof(info.boot), "%s", boot_info.how);
	return result_of(copy_to_user((struct user_pointer){to}, &info, sizeof(info)) ? 0 : -KEUOS_EFAULT);
}

static uint8_t staging[KEUOS_CONSOLE_WRITE_MAX];

struct result sys_console_read(uint64_t index, uint64_t to, uint64_t bytes, REST3)
{
	int error = check(index);
	if (error)
		return result_of(error);
	if (!user_range(to, bytes))
		return result_of(-KEUOS_EFAULT);
	size_t count = console_peek(staging, bytes < sizeof(staging) ? bytes : sizeof(staging));
	if (!copy_to_user((struct user_pointer){to}, staging, count))
		return result_of(-KEUOS_EFAULT);
	console_take(count);
	return result_of((int64_t)count);
}

struct result sys_console_write(uint64_t index, uint64_t from, uint64_t bytes, REST3)
{
	int error = check(index);
	if (error)
		return result_of(error);
	if (bytes > sizeof(staging))
		return result_of(-KEUOS_EINVAL);
	if (!copy_from_user(staging, (struct user_pointer){from}, bytes))
		return result_of(-KEUOS_EFAULT);
	return result_of(console_write_whole(staging, bytes) ? 0 : -KEUOS_EAGAIN);
}

struct result sys_event_read(uint64_t index, uint64_t from, uint64_t to, uint64_t n, REST4)
{
	int error = check(index);
	if (error)
		return result_of(error);
	uint64_t oldest = event_next > EVENTS_KEPT ? event_next - EVENTS_KEPT : 0;
	uint64_t at = from > oldest ? from : oldest;
	int64_t count = 0;
	for (; at < event_next && (uint64_t)count < n; at++, count++)
		if (!copy_to_user((struct user_pointer){to + (uint64_t)count * sizeof(struct keuos_event)},
			    &event_log[at % EVENTS_KEPT], sizeof(struct keuos_event)))
			return result_of(-KEUOS_EFAULT);
	return (struct result){count, at};
}

struct result sys_process_list(uint64_t index, uint64_t to, uint64_t n, REST3)
{
	int error = check(index);
	if (error)
		return result_of(error);
	uint64_t count = 0;
	for (uint32_t i = 0; i < KEUOS_PROCESSES; i++) {
		struct keuos_process_info info;
		if (processes[i].state == KEUOS_PROCESS_FREE)
			continue;
		process_describe(&processes[i], &info);
		if (count < n && !copy_to_user((struct user_pointer){to + count * sizeof(info)}, &info, sizeof(info)))
			return result_of(-KEUOS_EFAULT);
		count++;
	}
	return result_of((int64_t)count);
}

struct result sys_channel_list(uint64_t index, uint64_t to, uint64_t n, REST3)
{
	int error = check(index);
	if (error)
		return result_of(error);
	uint64_t count = 0;
	for (uint32_t i = 0; i < KEUOS_CHANNELS; i++) {
		struct keuos_channel_info info;
		if (channels[i].state == KEUOS_CHANNEL_FREE)
			continue;
		channel_describe(&channels[i], &info);
		if (count < n && !copy_to_user((struct user_pointer){to + count * sizeof(info)}, &info, sizeof(info)))
			return result_of(-KEUOS_EFAULT);
		count++;
	}
	return result_of((int64_t)count);
}

struct result sys_initrd_list(uint64_t index, uint64_t number, uint64_t name, REST3)
{
	struct initrd_file file;
	char text[KEUOS_NAME_BYTES] = {0};
	int error = check(index);
	if (error)
		return result_of(error);
	if (number > UINT32_MAX || !initrd_at((uint32_t)number, &file))
		return result_of(-KEUOS_ENOENT);
	format_text(text, sizeof(text), "%s", file.name);
	return result_of(
		copy_to_user((struct user_pointer){name}, text, sizeof(text)) ? (int64_t)file.size : -KEUOS_EFAULT);
}

struct result sys_reboot(uint64_t index, uint64_t kind, REST2)
{
	int error = check(index);
	if (error)
		return result_of(error);
	if (kind > KEUOS_REBOOT_POWER_OFF)
		return result_of(-KEUOS_EINVAL);
	console_panic(); /* what was written before still goes out */
	arch_reboot((uint32_t)kind);
}

struct result sys_hil(uint64_t index, uint64_t operation, uint64_t a, uint64_t b, REST4)
{
	return hil_syscall ? hil_syscall(index, operation, a, b) : result_of(-KEUOS_ENOSYS);
}
