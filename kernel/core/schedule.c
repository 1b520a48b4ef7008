/*
 * The scheduler: per core, four priorities, first come first served within one, turns of 10 ms between equals. A core
 * with one runnable process takes no timer interrupt at all.
 *
 * There is no kernel thread to come back to: a process is its saved registers, so whoever gives up the core drops the
 * kernel stack (schedule_away never returns) and the next one starts from its registers.
 */
#include <kernel/lock.h>
#include <kernel/process.h>

enum { SLICE_NS = 10000000 };

struct cpu cpus[KEUOS_CORES_MAX];
uint32_t cpu_count;

static void enqueue(struct cpu *cpu, struct process *process)
{
	struct run_queue *queue = &cpu->ready[process->priority];
	process->state = KEUOS_PROCESS_READY;
	process->next = NULL;
	process->previous = queue->last;
	if (queue->last)
		queue->last->next = process;
	else
		queue->first = process;
	queue->last = process;
	cpu->ready_mask |= 1u << process->priority;
	cpu->arch.attention = 1;
}

static void dequeue(struct cpu *cpu, struct process *process)
{
	struct run_queue *queue = &cpu->ready[process->priority];
	if (process->previous)
		process->previous->next = process->next;
	else
		queue->first = process->next;
	if (process->next)
		process->next->previous = process->previous;
	else
		queue->last = process->previous;
	if (queue->first == NULL)
		cpu->ready_mask &= ~(1u << process->priority);
}

/* Sets this core's timer to what happens next; it touches the device only if that has changed. */
static inline void arm(struct cpu *cpu)
{
	uint64_t at = cpu->slice_end;
	if (unlikely(cpu->sleepers != NULL) && (at == 0 || cpu->sleepers->deadline < at))
		at = cpu->sleepers->deadline;
	if (likely(at == cpu->armed))
		return;
	cpu->armed = at;
	arch_timer_arm(at);
}

/* True if somebody ready here has at least the priority given. */
static bool ready_at_least(const struct cpu *cpu, uint32_t priority)
{
	return cpu->ready_mask >> priority != 0;
}

void schedule_ready(struct process *process)
{
	struct cpu *cpu = &cpus[process->core];
	enqueue(cpu, process);
	if (cpu != arch_this_cpu() &&
		(cpu->idle || (cpu->arch.current && process->priority >= cpu->arch.current->priority)))
		arch_send_reschedule(cpu);
}

static void remove_sleeper(struct process *process)
{
	struct process **at = &cpus[process->core].sleepers;
	while (*at != process)
		at = &(*at)->next;
	*at = process->next;
	process->asleep = false;
}

static void add_sleeper(struct cpu *cpu, struct process *process)
{
	struct process **at = &cpu->sleepers;
	while (*at && (*at)->deadline <= process->deadline)
		at = &(*at)->next;
	process->next = *at;
	*at = process;
	process->asleep = true;
}

void schedule_remove(struct process *process)
{
	if (process->asleep)
		remove_sleeper(process);
	process->waiting = 0;
	if (process->state == KEUOS_PROCESS_READY)
		dequeue(&cpus[process->core], process);
}

static inline void load_space(struct cpu *cpu, struct space *space)
{
	if (cpu->space == space)
		return;
	cpu->space = space;
	arch_load_root(space->root);
}

void schedule_forget(struct process *process)
{
	struct cpu *cpu = &cpus[process->core];
	if (cpu->loaded == process)
		cpu->loaded = NULL;
	if (cpu->space != &process->space)
		return;
	assert(cpu == arch_this_cpu());
	load_space(cpu, &kernel_space);
}

static void idle(struct cpu *cpu)
{
	cpu->arch.current = NULL;
	cpu->slice_end = 0;
	load_space(cpu, &kernel_space);
	while (cpu->ready_mask == 0) {
		arm(cpu);
		cpu->idle = true;
		kernel_lock_release();
		arch_idle();
		kernel_lock_take();
		cpu->idle = false;
	}
}

/* `loaded` is the process whose SIMD registers and tables are in the core; NULL: nobody's. */
static inline __attribute__((always_inline)) _Noreturn void run(
	struct cpu *cpu, struct process *next, struct process *loaded)
{
	next->state = KEUOS_PROCESS_RUNNING;
	cpu->arch.attention = 0;
	cpu->arch.current = next;
	load_space(cpu, &next->space);
	if (loaded != next) {
		arch_switch(&cpu->arch, loaded ? loaded->extended_state : NULL, next->extended_state, &next->regs);
		cpu->loaded = next;
	}
	arm(cpu);
	arch_resume();
}

/* Another core wants the current process dead: it ends before it can block, or nobody would be left to do it. */
static inline void die_if_told(struct process *current)
{
	if (likely(!current->kill_pending))
		return;
	process_end(current, current->kill_reason, current->kill_detail);
	schedule_away();
}

_Noreturn void schedule_away(void)
{
	struct cpu *cpu = arch_this_cpu();
	if (cpu->ready_mask == 0)
		idle(cpu);
	uint32_t priority = 31 - (uint32_t)__builtin_clz(cpu->ready_mask);
	struct run_queue *queue = &cpu->ready[priority];
	struct process *next = queue->first;
	queue->first = next->next;
	if (queue->first) {
		queue->first->previous = NULL;
		cpu->slice_end = arch_time_ns() + SLICE_NS;
	} else {
		queue->last = NULL;
		cpu->ready_mask &= ~(1u << priority);
		cpu->slice_end = 0;
	}
	run(cpu, next, cpu->loaded);
}

_Noreturn void schedule_hand_over(uint64_t mask, struct process *to, uint64_t bits)
{
	struct cpu *cpu = arch_this_cpu();
	struct process *self = cpu->arch.current;
	die_if_told(self);
	if (unlikely(to->core != cpu->index || !(bits & to->waiting) || to->asleep ||
		    ready_at_least(cpu, to->priority))) {
		notify_process(to, bits);
		schedule_wait(mask, KEUOS_FOREVER);
	}
	/* No bit that it waits for was pending, or it would not wait. */
	to->waiting = 0;
	arch_set_result(to, bits, 0);
	self->state = KEUOS_PROCESS_WAITING;
	self->waiting = mask;
	cpu->slice_end = 0;
	run(cpu, to, self);
}

/* A more urgent process takes the core at once; an equal shares it from now on, turn by turn. */
void schedule_attend(void)
{
	struct cpu *cpu = arch_this_cpu();
	struct process *current = cpu->arch.current;
	cpu->arch.attention = 0;
	if (unlikely(current->state != KEUOS_PROCESS_RUNNING)) /* it ended in its own call */
		schedule_away();
	die_if_told(current);
	bool turn_over = cpu->slice_end != 0 && cpu->slice_end <= arch_time_ns();
	if (ready_at_least(cpu, current->priority + (turn_over ? 0 : 1)))
		schedule_requeue();
	if (turn_over)
		cpu->slice_end = 0;
	else if (cpu->slice_end == 0 && ready_at_least(cpu, current->priority))
		cpu->slice_end = arch_time_ns() + SLICE_NS;
	arm(cpu);
}

bool schedule_has_peer(void)
{
	struct cpu *cpu = arch_this_cpu();
	return ready_at_least(cpu, cpu->arch.current->priority);
}

_Noreturn void schedule_requeue(void)
{
	struct cpu *cpu = arch_this_cpu();
	die_if_told(cpu->arch.current);
	enqueue(cpu, cpu->arch.current);
	schedule_away();
}

void schedule_tick(void)
{
	struct cpu *cpu = arch_this_cpu();
	uint64_t now = arch_time_ns();
	while (cpu->sleepers && cpu->sleepers->deadline <= now) {
		struct process *process = cpu->sleepers;
		remove_sleeper(process);
		process->waiting = 0;
		arch_set_result(process, 0, 0);
		enqueue(cpu, process);
	}
	/* schedule_attend, or idle's loop, sees to turns and sets the timer again. */
}

_Noreturn void schedule_wait(uint64_t mask, uint64_t deadline)
{
	struct cpu *cpu = arch_this_cpu();
	struct process *process = cpu->arch.current;
	die_if_told(process);
	process->state = KEUOS_PROCESS_WAITING;
	process->waiting = mask;
	process->deadline = deadline;
	if (deadline != KEUOS_FOREVER)
		add_sleeper(cpu, process);
	schedule_away();
}

void notify_process(struct process *process, uint64_t bits)
{
	process->pending |= bits;
	uint64_t taken = process->pending & process->waiting; /* only one that waits has a mask */
	if (taken == 0)
		return;
	process->pending &= ~taken;
	process->waiting = 0;
	arch_set_result(process, taken, 0);
	if (process->asleep)
		remove_sleeper(process);
	schedule_ready(process);
}
