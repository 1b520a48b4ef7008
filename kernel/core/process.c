/* Processes: made, started, ended, and reached into by those who hold a capability. */
#include <kernel/channel.h>
#include <kernel/device.h>
#include <kernel/event.h>
#include <kernel/frame.h>
#include <kernel/initrd.h>
#include <kernel/process.h>

enum { STACK_PAGES = 16, DEFAULT_PAGES = 1024, DEFAULT_CHANNELS = 4 };

/* The stack ends below an unmapped page; what is above it is the argument string. */
const uint64_t process_stack_top = 0x00007ffff0000000ull, process_stack_pages = STACK_PAGES;

struct process processes[KEUOS_PROCESSES];
uint32_t process_count;
struct process *first_process;
static uint32_t next_pid = 1;

/* Device registers are no memory: a device may take its time for each byte, and every core would wait for the lock. */
static bool user_memory(uint64_t address, uint64_t bytes)
{
	uint64_t device_end = device_window + KEUOS_CAPABILITIES * device_window_bytes;
	return user_range(address, bytes) && (address >= device_end || address + bytes <= device_window);
}

bool copy_from_user(void *to, struct user_pointer from, size_t bytes)
{
	return user_memory(from.address, bytes) && user_copy(to, (const void *)from.address, bytes);
}

bool copy_to_user(struct user_pointer to, const void *from, size_t bytes)
{
	return user_memory(to.address, bytes) && user_copy((void *)to.address, from, bytes);
}

bool process_charge_pages(struct process *process, uint32_t pages)
{
	if (process->pages_max - process->pages < pages || process->pages > process->pages_max)
		return false;
	process->pages += pages;
	return true;
}

/* A parent that is dead but still held may be freed before what is left to it: it inherits nothing. */
struct process *process_heir(const struct process *process)
{
	struct process *heir = process->parent;
	while (heir && heir->state == KEUOS_PROCESS_DEAD)
		heir = heir->parent;
	return heir;
}

void process_inherit_pages(struct process *process, uint32_t pages)
{
	struct process *heir = process_heir(process);
	process_refund_pages(process, pages);
	if (heir)
		heir->pages += pages; /* its quota comes back with the rest of what the process was lent */
}

void process_refund_pages(struct process *process, uint32_t pages)
{
	assert(process->pages >= pages);
	process->pages -= pages;
}

static void process_free(struct process *process)
{
	schedule_forget(process);
	arch_space_destroy(&process->space);
	if (process->extended_state_frame)
		frame_release(process->extended_state_frame);
	struct process *parent = process->parent;
	if (parent) {
		parent->processes--;
		parent->pages_max += process->pages_max;
		parent->channels_max += process->channels_max;
		parent->processes_max += process->processes_max;
	}
	/* Children that are not freed yet go on owing what they were lent, now to the one it came from. */
	for (uint32_t i = 0; i < KEUOS_PROCESSES; i++) {
		if (processes[i].parent != process)
			continue;
		processes[i].parent = parent;
		if (parent)
			parent->processes++;
	}
	memset(process, 0, sizeof(*process));
	process_count--;
}

void process_hold(struct process *process)
{
	process->references++;
}

void process_release(struct process *process)
{
	assert(process->references > 0);
	if (--process->references == 0 && process->state == KEUOS_PROCESS_DEAD)
		process_free(process);
	else if (process->references == 0 && process->state == KEUOS_PROCESS_SUSPENDED)
		process->doomed = true; /* nobody could start it any more */
}

static int map_stack(struct process *process, const struct keuos_spawn *request, uint64_t *top)
{
	for (uint32_t i = 1; i <= STACK_PAGES; i++) {
		uint64_t frame = frame_alloc(FRAME_USER, (uint16_t)process->pid);
		if (frame == 0)
			return -KEUOS_ENOMEM;
		if (!arch_map(&process->space, process_stack_top - i * KEUOS_PAGE_BYTES, frame,
			    PROTECTION_USER | PROTECTION_WRITE)) {
			frame_release(frame);
			return -KEUOS_ENOMEM;
		}
		process->pages++;
		if (i == 1)
			memcpy((uint8_t *)arch_direct(frame) + KEUOS_PAGE_BYTES - KEUOS_ARGS_BYTES, request->args,
				KEUOS_ARGS_BYTES);
	}
	*top = process_stack_top - KEUOS_ARGS_BYTES;
	return process->pages <= process->pages_max ? 0 : -KEUOS_EQUOTA;
}

static int load(struct process *process, const struct keuos_spawn *request)
{
	struct initrd_file file;
	uint64_t entry, top;
	if (!initrd_find(request->name, &file))
		return -KEUOS_ENOENT;
	if (!arch_space_init(&process->space) || !arch_extended_state_init(process))
		return -KEUOS_ENOMEM;
	process->pages++; /* the SIMD registers */
	int error = elf_load(process, &file, &entry);
	if (error == 0)
		error = map_stack(process, request, &top);
	if (error)
		return error;
	arch_process_init(process, entry, top, top, strnlen(request->args, KEUOS_ARGS_BYTES - 1));
	return 0;
}

/* What a new process may use is taken out of its parent's quota, so a family never has more than its first parent had. */
static bool take_quota(uint32_t wanted, uint32_t fallback, uint32_t left, uint32_t *most)
{
	uint32_t value = wanted ? wanted : fallback < left ? fallback : left;
	if (value > left)
		return false;
	*most = value;
	return true;
}

static int take_quotas(struct process *process, const struct keuos_spawn *request, struct process *parent)
{
	if (parent == NULL) {
		process->pages_max = request->pages_max;
		process->channels_max = request->channels_max;
		process->processes_max = request->processes_max;
		return 0;
	}
	uint32_t pages = parent->pages_max > parent->pages ? parent->pages_max - parent->pages : 0;
	uint32_t children = parent->processes_max > parent->processes ? parent->processes_max - parent->processes : 0;
	uint32_t channels_left = parent->channels_max > parent->channels ? parent->channels_max - parent->channels : 0;
	if (children == 0 || !take_quota(request->pages_max, DEFAULT_PAGES, pages, &process->pages_max) ||
		!take_quota(request->channels_max, DEFAULT_CHANNELS, channels_left, &process->channels_max) ||
		!take_quota(request->processes_max, 0, children - 1, &process->processes_max))
		return -KEUOS_EQUOTA;
	parent->processes++;
	parent->pages_max -= process->pages_max;
	parent->channels_max -= process->channels_max;
	parent->processes_max -= process->processes_max;
	process->parent = parent;
	process->parent_pid = parent->pid;
	return 0;
}

static struct process *free_record(void)
{
	for (uint32_t i = 0; i < KEUOS_PROCESSES; i++)
		if (processes[i].state == KEUOS_PROCESS_FREE)
			return &processes[i];
	return NULL;
}

int process_create(const struct keuos_spawn *request, struct process *parent, struct process **made)
{
	if (request->core >= cpu_count || request->priority >= KEUOS_PRIORITIES ||
		(parent && request->priority > parent->priority))
		return -KEUOS_EINVAL;
	struct process *process = free_record();
	if (process == NULL)
		return -KEUOS_EQUOTA;
	memset(process, 0, sizeof(*process));
	int error = take_quotas(process, request, parent);
	if (error)
		return error;
	process->pid = next_pid++;
	process->state = KEUOS_PROCESS_SUSPENDED;
	process->core = request->core;
	process->priority = request->priority;
	process->space.charged = &process->pages;
	process->space.limit = &process->pages_max;
	process->space.owner = (uint16_t)process->pid;
	memcpy(process->name, request->name, sizeof(process->name));
	process->name[sizeof(process->name) - 1] = 0;
	process_count++;

	error = load(process, request);
	if (error) {
		process_free(process);
		return error;
	}
	process->capabilities[KEUOS_CAP_SELF] =
		(struct capability){.type = KEUOS_CAP_PROCESS, .rights = KEUOS_RIGHT_ALL, .object = process};
	*made = process;
	return 0;
}

void process_start(struct process *process)
{
	schedule_ready(process);
}

static void tell_parent(struct process *process)
{
	struct process *parent = process->parent;
	if (parent == NULL || parent->state == KEUOS_PROCESS_DEAD)
		return;
	for (uint32_t i = 1; i < KEUOS_CAPABILITIES; i++) {
		const struct capability *capability = &parent->capabilities[i];
		if (capability->type == KEUOS_CAP_PROCESS && capability->object == process)
			notify_process(parent, notification_bit(i));
	}
}

static bool is_fault(enum keuos_exit_reason reason)
{
	return reason >= KEUOS_EXIT_FAULT_READ;
}

static void end_one(struct process *process, enum keuos_exit_reason reason, uint64_t detail)
{
	schedule_remove(process);
	schedule_forget(process);
	process->state = KEUOS_PROCESS_DEAD;
	process->kill_pending = 0;
	process->doomed = false;
	process->exit_reason = reason;
	process->exit_detail = detail;
	process->exit_address = arch_program_counter(process);
	event_record((struct keuos_event){.kind = is_fault(reason) ? KEUOS_EVENT_FAULT : KEUOS_EVENT_EXIT,
		.verdict = reason,
		.pid = process->pid,
		.peer = process->parent_pid,
		.detail = detail,
		.address = process->exit_address});
	channels_of_dead_process(process);
	process_hold(process); /* dropping its capabilities must not free it under our feet */
	capability_drop_all(process);
	for (uint32_t i = 0; i < KEUOS_PROCESSES; i++)
		if (processes[i].parent == process && processes[i].state != KEUOS_PROCESS_DEAD)
			processes[i].doomed = true;
	tell_parent(process);
	process_release(process);
}

void process_end(struct process *process, enum keuos_exit_reason reason, uint64_t detail)
{
	if (process->state == KEUOS_PROCESS_DEAD || process->state == KEUOS_PROCESS_FREE)
		return;
	if (process->kill_pending) { /* what condemned it first is what it died of */
		reason = process->kill_reason;
		detail = process->kill_detail;
	}
	if (process == first_process)
		panic("the first process (%s) ended: reason %u, detail %lx, at %lx", process->name, reason, detail,
			arch_program_counter(process));
	if (process == current_process())
		arch_this_cpu()->arch.attention = 1; /* it must not go on, whatever call it is in */
	end_one(process, reason, detail);
	process_end_doomed();
}

/* Ends what others' ends left without a parent, or without anybody who could start it: in a loop, not by recursion. */
void process_end_doomed(void)
{
	static bool at_it;
	if (at_it)
		return;
	at_it = true;
	for (uint32_t i = 0; i < KEUOS_PROCESSES; i++) {
		struct process *process = &processes[i];
		if (!process->doomed || process->state == KEUOS_PROCESS_FREE)
			continue;
		process->doomed = false;
		process_kill(process, KEUOS_EXIT_KILLED, process->parent_pid);
		i = UINT32_MAX; /* its end may have doomed an earlier one */
	}
	at_it = false;
}

void process_kill(struct process *process, enum keuos_exit_reason reason, uint64_t detail)
{
	if (process->state != KEUOS_PROCESS_RUNNING || process == current_process()) {
		process_end(process, reason, detail);
		return;
	}
	if (process->kill_pending)
		return;
	/* It runs on another core: that core ends it, at the interrupt we send. */
	process->kill_reason = (uint16_t)reason;
	process->kill_detail = (uint32_t)detail;
	process->kill_pending = 1;
	cpus[process->core].arch.attention = 1;
	arch_send_reschedule(&cpus[process->core]);
}

int process_access(struct process *process, uint64_t address, void *buffer, size_t bytes, bool write)
{
	if (!user_range(address, bytes))
		return -KEUOS_EFAULT;
	uint8_t *at = buffer;
	while (bytes > 0) {
		uint64_t in_page = KEUOS_PAGE_BYTES - address % KEUOS_PAGE_BYTES;
		size_t part = bytes < in_page ? bytes : in_page;
		uint64_t physical = arch_translate(&process->space, address, write);
		if (physical == 0)
			return -KEUOS_EFAULT;
		if (write)
			memcpy(arch_direct(physical), at, part);
		else
			memcpy(at, arch_direct(physical), part);
		address += part;
		at += part;
		bytes -= part;
	}
	return 0;
}

static uint32_t count_capabilities(const struct process *process)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < KEUOS_CAPABILITIES; i++)
		count += process->capabilities[i].type != KEUOS_CAP_NONE;
	return count;
}

void process_describe(const struct process *process, struct keuos_process_info *info)
{
	*info = (struct keuos_process_info){.pid = process->pid,
		.parent = process->parent_pid,
		.state = process->state,
		.core = process->core,
		.priority = process->priority,
		.exit_reason = process->exit_reason,
		.exit_detail = process->exit_detail,
		.exit_address = process->exit_address,
		.pages = process->pages,
		.pages_max = process->pages_max,
		.channels = process->channels,
		.channels_max = process->channels_max,
		.processes = process->processes,
		.processes_max = process->processes_max,
		.capabilities = count_capabilities(process),
		.syscalls = process->syscalls};
	memcpy(info->name, process->name, sizeof(info->name));
}
