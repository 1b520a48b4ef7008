/*
 * A process: one thread, one address space, one table of capabilities, one word of notifications.
 *
 * It is made by another process (spawn), lives on one core, and ends by exit, by being killed, or by its own fault. When
 * it ends, its channels close at once; its memory stays readable to holders of a capability until the last one drops it.
 */
#ifndef KERNEL_PROCESS_H
#define KERNEL_PROCESS_H

#include <kernel/arch.h>
#include <kernel/capability.h>

struct keuos_template;
struct channel;

struct process {
	struct arch_regs regs;   /* first, 16-byte aligned: the architecture's assembly saves here */
	uint8_t entered_by_trap; /* for that assembly: which registers it goes back with */
	uint8_t kill_pending;    /* set by another core; carried out at this core's next kernel entry */
	uint16_t kill_reason;
	uint32_t kill_detail;
	uint64_t syscalls;

	uint64_t pending;     /* notifications not yet taken */
	uint64_t waiting;     /* mask, while it waits */
	uint64_t deadline;    /* ns, while it waits; KEUOS_FOREVER: none */
	struct process *next; /* in a run queue, or among the sleepers */
	struct process *previous;
	void *extended_state; /* SIMD registers */
	struct space space;
	uint32_t state; /* enum keuos_process_state */
	uint32_t pid;
	uint32_t core;
	uint32_t priority;
	uint32_t references; /* capabilities of others to it */
	bool asleep;         /* is in the list of sleepers */
	bool doomed;         /* process_end_doomed will end it */

	struct process *parent;
	uint32_t parent_pid;
	uint32_t exit_reason;
	uint64_t exit_detail;
	uint64_t exit_address;

	uint32_t pages, pages_max;
	uint32_t channels, channels_max;
	uint32_t processes, processes_max;

	const uint8_t *program; /* its file in the initrd; processes of one file share the pages that none can write */
	const struct keuos_template *proofs; /* in the kernel's copy of its ELF */
	const struct keuos_template *interface;
	uint32_t proofs_count;
	uint32_t interface_count;
	uint64_t extended_state_frame;
	char name[KEUOS_NAME_BYTES];
	uint64_t copied[KEUOS_CAPABILITIES / 64]; /* a bit for each of them that may have been granted on */
	struct capability capabilities[KEUOS_CAPABILITIES];
} __attribute__((aligned(64)));

extern const uint64_t process_stack_top, process_stack_pages; /* the stack ends below an unmapped page */
extern struct process processes[KEUOS_PROCESSES];
extern struct process *first_process; /* without it there is no system */
extern uint32_t process_count;        /* all that are not free, dead ones included */

/* What the process finds as the result of its system call. */
static inline void arch_set_result(struct process *process, uint64_t value, uint64_t second)
{
	arch_regs_set_result(&process->regs, value, second);
}

static inline struct process *current_process(void)
{
	return arch_current();
}

/* Makes a suspended process from a file of the initrd. Negative: an error of keuos/syscall.h. */
int process_create(const struct keuos_spawn *request, struct process *parent, struct process **made);
void process_start(struct process *process);
/* Ends a process, now or, if it runs on another core, at that core's next entry to the kernel. */
void process_kill(struct process *process, enum keuos_exit_reason reason, uint64_t detail);
void process_end(struct process *process, enum keuos_exit_reason reason, uint64_t detail);
void process_end_doomed(void); /* after a capability was dropped */
void process_hold(struct process *process);
void process_release(struct process *process);
void process_describe(const struct process *process, struct keuos_process_info *info);
bool process_charge_pages(struct process *process, uint32_t pages); /* false: over the quota */
void process_refund_pages(struct process *process, uint32_t pages);
/* A process ends and something it paid for stays: the nearest ancestor that lives pays from now on. */
struct process *process_heir(const struct process *process);
void process_inherit_pages(struct process *process, uint32_t pages);
/* Reads or writes another process's memory through the kernel's view of its frames. */
int process_access(struct process *process, uint64_t address, void *buffer, size_t bytes, bool write);

/* The scheduler (core/schedule.c). */
void schedule_ready(struct process *process);  /* puts it in its core's queue and tells that core */
void schedule_remove(struct process *process); /* out of queue and sleepers */
_Noreturn void schedule_away(void);            /* gives this core to the next process, or idles until there is one */
/* Before the current process goes on: at the end of an interrupt, and of a system call if `attention` was set in it. */
void schedule_attend(void);
void schedule_tick(void);                                       /* the timer has fired */
_Noreturn void schedule_wait(uint64_t mask, uint64_t deadline); /* the current process waits for one of these */
/* The same, and `to` is notified: it gets this core at once if it was waiting for that and nobody else is in line. */
_Noreturn void schedule_hand_over(uint64_t mask, struct process *to, uint64_t bits);
bool schedule_has_peer(void);                  /* somebody of at least the current process's priority is ready here */
_Noreturn void schedule_requeue(void);         /* the current process goes behind its peers */
void schedule_forget(struct process *process); /* its tables and registers are about to go */
void notify_process(struct process *process, uint64_t bits); /* may wake it */

static inline bool user_range(uint64_t address, uint64_t bytes)
{
	return address >= arch_user_base && bytes <= arch_user_end - arch_user_base && address <= arch_user_end - bytes;
}

/*
 * A pointer that came from user space proves nothing: it can be used only through these two.
 */
struct user_pointer {
	uint64_t address;
};
bool copy_from_user(void *to, struct user_pointer from, size_t bytes);
bool copy_to_user(struct user_pointer to, const void *from, size_t bytes);

#endif
