/* System calls on the caller itself, on other processes, and on capabilities. docs/syscall-abi.md has their contracts. */
#include <kernel/console.h>
#include <kernel/memory.h>
#include <kernel/syscall.h>

enum { LOG_MAX = 256, COPY_CHUNK = 1024 };

struct result sys_null(REST0)
{
	return result_of(0);
}

struct result sys_yield(REST0)
{
	if (!schedule_has_peer())
		return result_of(0);
	arch_set_result(current_process(), 0, 0);
	schedule_requeue();
}

struct result sys_exit(uint64_t code, REST1)
{
	process_end(current_process(), KEUOS_EXIT_CODE, code);
	schedule_away();
}

/* A process's text can't be mistaken for the agent's frames or for another's line: it comes with its name, on one line. */
struct result sys_log(uint64_t text, uint64_t bytes, REST2)
{
	char line[LOG_MAX];
	struct process *process = current_process();
	if (bytes > LOG_MAX)
		return result_of(-KEUOS_EINVAL);
	if (!copy_from_user(line, (struct user_pointer){text}, bytes))
		return result_of(-KEUOS_EFAULT);
	char out[LOG_MAX + KEUOS_NAME_BYTES + 16];
	size_t at = format_text(out, sizeof(out), "[%u %s] ", process->pid, process->name);
	while (bytes > 0 && line[bytes - 1] == '\n')
		bytes--;
	for (size_t i = 0; i < bytes; i++)
		out[at++] = line[i] >= ' ' && line[i] <= '~' ? line[i] : '.';
	out[at++] = '\n';
	return result_of(console_write_line(out, at) ? 0 : -KEUOS_EAGAIN);
}

struct result sys_time(REST0)
{
	return result_of((int64_t)arch_time_ns());
}

struct result sys_wait(uint64_t mask, uint64_t deadline, REST2)
{
	struct process *process = current_process();
	uint64_t taken = process->pending & mask;
	if (taken != 0) {
		process->pending &= ~taken;
		return result_of((int64_t)taken);
	}
	if (deadline != KEUOS_FOREVER && deadline <= arch_time_ns())
		return result_of(0);
	schedule_wait(mask, deadline);
}

static struct process *process_at(uint64_t index, uint32_t rights, int *error)
{
	struct capability *capability = capability_get(current_process(), index, KEUOS_CAP_PROCESS, rights, error);
	return capability ? capability->object : NULL;
}

struct result sys_spawn(uint64_t request, REST1)
{
	struct keuos_spawn spawn;
	struct process *self = current_process(), *made;
	if (!copy_from_user(&spawn, (struct user_pointer){request}, sizeof(spawn)))
		return result_of(-KEUOS_EFAULT);
	spawn.name[sizeof(spawn.name) - 1] = 0;
	spawn.args[sizeof(spawn.args) - 1] = 0;
	int error = process_create(&spawn, self, &made);
	if (error)
		return result_of(error);
	process_hold(made);
	int index = capability_add(self, KEUOS_CAP_PROCESS, KEUOS_RIGHT_ALL, made);
	if (index < 0) {
		process_release(made);
		process_end_doomed();
		return result_of(index);
	}
	if (!spawn.suspended)
		process_start(made);
	return (struct result){index, made->pid};
}

struct result sys_process_start(uint64_t index, REST1)
{
	int error;
	struct process *process = process_at(index, KEUOS_RIGHT_CONTROL, &error);
	if (process == NULL)
		return result_of(error);
	if (process->state != KEUOS_PROCESS_SUSPENDED)
		return result_of(-KEUOS_ESTATE);
	process_start(process);
	return result_of(0);
}

struct result sys_process_kill(uint64_t index, REST1)
{
	int error;
	struct process *self = current_process();
	struct process *process = process_at(index, KEUOS_RIGHT_CONTROL, &error);
	if (process == NULL)
		return result_of(error);
	process_kill(process, KEUOS_EXIT_KILLED, self->pid);
	return result_of(0);
}

struct result sys_process_info(uint64_t index, uint64_t to, REST2)
{
	int error;
	struct keuos_process_info info;
	struct process *process = process_at(index, KEUOS_RIGHT_READ, &error);
	if (process == NULL)
		return result_of(error);
	process_describe(process, &info);
	return result_of(copy_to_user((struct user_pointer){to}, &info, sizeof(info)) ? 0 : -KEUOS_EFAULT);
}

static struct result access(uint64_t index, uint64_t address, uint64_t buffer, uint64_t bytes, bool write)
{
	int error;
	uint8_t chunk[COPY_CHUNK];
	struct process *process = process_at(index, KEUOS_RIGHT_CONTROL, &error);
	if (process == NULL)
		return result_of(error);
	while (bytes > 0) {
		uint64_t part = bytes < sizeof(chunk) ? bytes : sizeof(chunk);
		struct user_pointer at = {buffer};
		if (write && !copy_from_user(chunk, at, part))
			return result_of(-KEUOS_EFAULT);
		error = process_access(process, address, chunk, part, write);
		if (error)
			return result_of(error);
		if (!write && !copy_to_user(at, chunk, part))
			return result_of(-KEUOS_EFAULT);
		address += part;
		buffer += part;
		bytes -= part;
	}
	return result_of(0);
}

enum { ACCESS_MAX = 1 << 20 };

struct result sys_process_read(uint64_t index, uint64_t address, uint64_t buffer, uint64_t bytes, REST4)
{
	return bytes > ACCESS_MAX ? result_of(-KEUOS_EINVAL) : access(index, address, buffer, bytes, false);
}

struct result sys_process_write(uint64_t index, uint64_t address, uint64_t buffer, uint64_t bytes, REST4)
{
	return bytes > ACCESS_MAX ? result_of(-KEUOS_EINVAL) : access(index, address, buffer, bytes, true);
}

struct result sys_cap_grant(uint64_t to, uint64_t index, uint64_t rights, REST3)
{
	int error;
	struct process *process = process_at(to, KEUOS_RIGHT_CONTROL, &error);
	if (process == NULL)
		return result_of(error);
	if (rights > KEUOS_RIGHT_ALL)
		return result_of(-KEUOS_EINVAL);
	return result_of(capability_grant(current_process(), index, process, (uint32_t)rights));
}

struct result sys_cap_revoke(uint64_t index, REST1)
{
	return result_of(capability_revoke(current_process(), index));
}

struct result sys_cap_drop(uint64_t index, REST1)
{
	return result_of(capability_drop(current_process(), index));
}

struct result sys_memory_create(uint64_t pages, REST1)
{
	return result_of(pages > UINT32_MAX ? -KEUOS_EINVAL : memory_create(current_process(), (uint32_t)pages));
}

struct result sys_memory_map(uint64_t index, uint64_t writable, REST2)
{
	int error;
	struct process *self = current_process();
	uint32_t rights = KEUOS_RIGHT_READ | (writable ? KEUOS_RIGHT_WRITE : 0);
	struct capability *capability = capability_get(self, index, KEUOS_CAP_MEMORY, rights, &error);
	if (capability == NULL)
		return result_of(error);
	error = memory_map(self, (uint32_t)index, capability->object, writable != 0);
	return result_of(error ? error : (int64_t)memory_address((uint32_t)index));
}

struct result sys_memory_unmap(uint64_t index, REST1)
{
	int error;
	struct process *self = current_process();
	struct capability *capability = capability_get(self, index, KEUOS_CAP_MEMORY, KEUOS_RIGHT_READ, &error);
	if (capability == NULL)
		return result_of(error);
	memory_unmap(self, (uint32_t)index, capability->object);
	return result_of(0);
}
