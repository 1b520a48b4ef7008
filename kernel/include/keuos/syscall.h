/*
 * The system call interface: numbers, errors, and the structures that cross it. docs/syscall-abi.md explains each.
 *
 * x86-64: number in rax; arguments in rdi, rsi, rdx, r10, r8, r9; result in rax (negative: an error), second result in
 * rdx. rbx, rbp, rsp, r12 to r15 are kept; every other general register is destroyed and comes back without kernel data.
 *
 * arm64: svc, number in x8; arguments in x0 to x5; result in x0, second result in x1. x18 to x30 and sp are kept; x2 to
 * x17 come back zero.
 */
#ifndef KEUOS_SYSCALL_H
#define KEUOS_SYSCALL_H

#include <keuos/channel.h>
#include <stdint.h>

enum keuos_syscall {
	KEUOS_SYS_NULL = 0,  /* () -> 0 */
	KEUOS_SYS_YIELD = 1, /* () -> 0: lets an equal-priority process on this core run */
	KEUOS_SYS_EXIT = 2,  /* (code): never returns */
	KEUOS_SYS_LOG = 3, /* (text, bytes <= 256) -> 0: a line on the console, unprintable bytes replaced; or EAGAIN */
	KEUOS_SYS_TIME = 4,   /* () -> ns since boot */
	KEUOS_SYS_WAIT = 5,   /* (mask, deadline ns) -> notification bits taken; 0 on time-out */
	KEUOS_SYS_NOTIFY = 6, /* (producer, n <= 32) -> descriptors accepted, or EAGAIN */
	KEUOS_SYS_NOTIFY_AND_WAIT =
		7,              /* (producer, n, mask) -> notification bits: notify, then wait without a deadline */
	KEUOS_SYS_DOORBELL = 8, /* (producer or consumer) -> 0: wakes the other side of a channel */
	KEUOS_SYS_SPAWN = 9,    /* (struct keuos_spawn *) -> process capability */
	KEUOS_SYS_PROCESS_START = 10, /* (process) -> 0: starts a process spawned suspended */
	KEUOS_SYS_PROCESS_KILL = 11,  /* (process) -> 0 */
	KEUOS_SYS_PROCESS_INFO = 12,  /* (process, struct keuos_process_info *) -> 0 */
	KEUOS_SYS_PROCESS_READ =
		13, /* (process, its address, buffer, bytes) -> 0; works until the process is dropped */
	KEUOS_SYS_PROCESS_WRITE = 14, /* (process, its address, buffer, bytes) -> 0 */
	KEUOS_SYS_CHANNEL_BIND =
		15, /* (producer process, consumer process, struct keuos_bind *) -> channel capability */
	KEUOS_SYS_CHANNEL_ACCEPT = 16, /* (struct keuos_endpoint *) -> 0: the next end bound to the caller, or EAGAIN */
	KEUOS_SYS_CHANNEL_CLOSE = 17,  /* (producer, consumer or channel) -> 0: both sides learn it; mappings stay */
	KEUOS_SYS_CHANNEL_UNMAP = 18,  /* (producer or consumer) -> 0: closes, unmaps and drops this end */
	KEUOS_SYS_CHANNEL_INFO = 19,   /* (producer, consumer or channel, struct keuos_channel_info *) -> 0 */
	KEUOS_SYS_CAP_GRANT = 20,      /* (process, capability, rights) -> its index there */
	KEUOS_SYS_CAP_REVOKE =
		21, /* (capability) -> copies taken back from other processes; a channel is closed and unmapped */
	KEUOS_SYS_CAP_DROP = 22, /* (capability) -> 0; the last capability to a dead process frees what is left of it */
	KEUOS_SYS_MEMORY_CREATE = 23, /* (pages) -> memory capability, zeroed */
	KEUOS_SYS_MEMORY_MAP = 24,    /* (memory, writable) -> address */
	KEUOS_SYS_MEMORY_UNMAP = 25,  /* (memory) -> 0 */
	KEUOS_SYS_GETRANDOM = 26,     /* (buffer, bytes <= 256) -> 0 */
	KEUOS_SYS_SYSTEM_INFO = 27,   /* (struct keuos_system_info *) -> 0 */
	KEUOS_SYS_CONSOLE_READ = 28,  /* (system, buffer, bytes) -> bytes read, 0 if none is waiting */
	KEUOS_SYS_CONSOLE_WRITE = 29, /* (system, buffer, bytes <= 8192) -> 0, all of it in one piece; or EAGAIN */
	KEUOS_SYS_EVENT_READ = 30,    /* (system, from sequence, struct keuos_event *, n) -> how many were copied */
	KEUOS_SYS_PROCESS_LIST = 31,  /* (system, struct keuos_process_info *, n) -> how many there are */
	KEUOS_SYS_CHANNEL_LIST = 32,  /* (system, struct keuos_channel_info *, n) -> how many there are */
	KEUOS_SYS_INITRD_LIST = 33,   /* (system, index, char name[32]) -> bytes of the file, or ENOENT past the last */
	KEUOS_SYS_REBOOT = 34,        /* (system, enum keuos_reboot) */
	KEUOS_SYS_HIL = 35,           /* (capability, enum keuos_hil_op, ...): HIL builds only, else ENOSYS */
	KEUOS_SYS_DEVICE_LIST = 36,   /* (system, struct keuos_device_info *, n) -> how many there are */
	KEUOS_SYS_DEVICE_INFO = 37,   /* (device, struct keuos_device_info *) -> 0 */
	KEUOS_SYS_DEVICE_CONFIG = 38, /* (device, offset, width) -> 1, 2 or 4 bytes of configuration space; read only */
	KEUOS_SYS_DEVICE_CONTROL = 39, /* (device, enum keuos_device_op, argument) -> 0 */
	KEUOS_SYS_DEVICE_MAP = 40,     /* (device, BAR, offset, pages) -> address of the registers at that offset */
	KEUOS_SYS_DMA_MAP = 41,   /* (device, memory or end of a channel, first page, pages, IOVA, writable) -> 0 */
	KEUOS_SYS_DMA_UNMAP = 42, /* (device, IOVA of a range that was mapped) -> 0, when no access is under way */
	KEUOS_SYS_DEVICE_WAIT =
		43, /* (device, mask, deadline ns): lets its interrupts through once more, then waits like WAIT */
	KEUOS_SYS_COUNT = 44,
};

enum keuos_error {
	KEUOS_EPERM = 1,     /* the capability lacks the right */
	KEUOS_ENOENT = 2,    /* no such file in the initrd, or no such item */
	KEUOS_EBADCAP = 3,   /* no capability of that type at that index */
	KEUOS_EFAULT = 4,    /* a pointer outside the caller's memory */
	KEUOS_EINVAL = 5,    /* an argument out of its range */
	KEUOS_EAGAIN = 6,    /* nothing there now, or full; nothing was consumed */
	KEUOS_ENOMEM = 7,    /* no frames left */
	KEUOS_EQUOTA = 8,    /* the caller's quota is used up */
	KEUOS_ECLOSED = 9,   /* the channel is closed */
	KEUOS_ESTATE = 10,   /* the process is not in a state for this */
	KEUOS_EENTROPY = 11, /* no source of randomness: no channels */
	KEUOS_ENOEXEC = 12,  /* not an ELF that can be run here */
	KEUOS_ENOSYS = 13,   /* no such call in this build, or on this machine */
};

enum keuos_capability_type {
	KEUOS_CAP_NONE = 0,
	KEUOS_CAP_PROCESS = 1,
	KEUOS_CAP_SYSTEM = 2,
	KEUOS_CAP_PRODUCER = 3,
	KEUOS_CAP_CONSUMER = 4,
	KEUOS_CAP_CHANNEL = 5,
	KEUOS_CAP_MEMORY = 6,
	KEUOS_CAP_DEVICE = 7, /* a PCI function */
};

enum keuos_right {
	KEUOS_RIGHT_CONTROL =
		1,            /* process: start, kill, read, write, grant into; channel: close, revoke; device: drive */
	KEUOS_RIGHT_BIND = 2, /* process: may be a side of a channel that the holder binds */
	KEUOS_RIGHT_READ = 4, /* memory: map; process, channel and device: info */
	KEUOS_RIGHT_WRITE = 8,  /* memory: map writable */
	KEUOS_RIGHT_GRANT = 16, /* may be granted on */
	KEUOS_RIGHT_ALL = 31,
};

enum keuos_limit {
	KEUOS_CAPABILITIES = 128, /* per process; the notification bit of capability i is i mod 64 */
	KEUOS_PROCESSES = 64,
	KEUOS_CHANNELS = 128,
	KEUOS_NAME_BYTES = 32,
	KEUOS_ARGS_BYTES = 128,
	KEUOS_CORES_MAX = 16,
	KEUOS_CAP_SELF = 0, /* every process: itself; its bit tells of newly bound ends */
	KEUOS_CAP_SYSTEM_INDEX =
		1, /* the first process: console, events, lists, reboot; its bit tells of console input and room */
	KEUOS_PRIORITIES = 4, /* 3 is the most urgent */
	KEUOS_PRIORITY_NORMAL = 1,
	KEUOS_CONSOLE_WRITE_MAX = 8192,
};

#define KEUOS_FOREVER UINT64_MAX

enum keuos_process_state {
	KEUOS_PROCESS_FREE = 0,
	KEUOS_PROCESS_SUSPENDED = 1,
	KEUOS_PROCESS_READY = 2,
	KEUOS_PROCESS_RUNNING = 3,
	KEUOS_PROCESS_WAITING = 4,
	KEUOS_PROCESS_DEAD = 5, /* its memory can still be read by whoever holds a capability to it */
};

/* How a process ended. The detail beside it: exit code, fault address, verdict, or killer's pid. */
enum keuos_exit_reason {
	KEUOS_EXIT_NONE = 0,
	KEUOS_EXIT_CODE = 1,
	KEUOS_EXIT_KILLED = 2,
	KEUOS_EXIT_GATE = 3,       /* a gate objected to a descriptor or an index; detail: enum keuos_verdict */
	KEUOS_EXIT_FAULT_READ = 4, /* detail: the address */
	KEUOS_EXIT_FAULT_WRITE = 5,
	KEUOS_EXIT_FAULT_EXECUTE = 6,
	KEUOS_EXIT_ILLEGAL = 7, /* undefined or privileged instruction; detail: the instruction's address */
	KEUOS_EXIT_ARITHMETIC = 8,
	KEUOS_EXIT_ALIGNMENT = 9,
	KEUOS_EXIT_DEBUG = 10,       /* breakpoint or single step */
	KEUOS_EXIT_BAD_SYSCALL = 11, /* no such system call; detail: the number */
};

struct keuos_spawn {
	char name[KEUOS_NAME_BYTES]; /* a file in the initrd */
	char args[KEUOS_ARGS_BYTES]; /* handed to the program as one string */
	uint32_t core;
	uint32_t priority;  /* below the caller's own, or equal to it */
	uint32_t suspended; /* nonzero: wait for KEUOS_SYS_PROCESS_START */
	uint32_t pages_max; /* quotas; 0: what is left of the caller's default */
	uint32_t channels_max;
	uint32_t processes_max;
};

struct keuos_process_info {
	uint32_t pid;
	uint32_t parent;
	uint32_t state; /* enum keuos_process_state */
	uint32_t core;
	uint32_t priority;
	uint32_t exit_reason; /* enum keuos_exit_reason */
	uint64_t exit_detail;
	uint64_t exit_address; /* where it was executing */
	uint32_t pages;
	uint32_t pages_max;
	uint32_t channels;
	uint32_t channels_max;
	uint32_t processes;
	uint32_t processes_max;
	uint32_t capabilities;
	uint32_t reserved;
	uint64_t syscalls; /* traps it took of its own accord */
	char name[KEUOS_NAME_BYTES];
};

struct keuos_bind {
	uint32_t mode;       /* enum keuos_channel_mode */
	uint32_t data_order; /* data ring of 2^order pages; KEUOS_NO_DATA for none */
	uint64_t label;      /* handed to both sides as it is */
	uint32_t kept;       /* enum keuos_kept */
	uint32_t reserved;   /* 0 */
};
#define KEUOS_NO_DATA UINT32_MAX

/*
 * Who keeps its mapping when the channel is revoked, until it lets go by itself: a server, which a binder's change of mind must not
 * fault. One side at most, so that a revocation parts the two in any case.
 */
enum keuos_kept {
	KEUOS_KEPT_BY_NOBODY = 0,
	KEUOS_KEPT_BY_PRODUCER = 1,
	KEUOS_KEPT_BY_CONSUMER = 2,
};

enum keuos_role {
	KEUOS_PRODUCER = 0,
	KEUOS_CONSUMER = 1,
};

/* An end of a channel, as CHANNEL_ACCEPT hands it to the process that it was bound to. */
struct keuos_endpoint {
	uint32_t capability;
	uint32_t role; /* enum keuos_role */
	uint32_t channel;
	uint32_t generation;
	uint32_t mode;
	uint32_t peer; /* pid */
	uint32_t data_bytes;
	uint32_t templates;
	uint64_t base; /* address of the slots page in the caller */
	uint64_t label;
	uint32_t kept; /* 1: the pages stay mapped until the caller lets go of them, whatever the binder does */
	uint32_t reserved;
};

struct keuos_channel_info {
	uint32_t channel;
	uint32_t generation;
	uint32_t state;  /* enum keuos_channel_state */
	uint32_t reason; /* enum keuos_close_reason */
	uint32_t verdict;
	uint32_t mode;
	uint32_t producer; /* pid */
	uint32_t consumer;
	uint32_t data_bytes;
	uint32_t templates;
	uint32_t granted; /* how many of them lie within the interface */
	uint32_t pages;
	uint64_t notifications; /* traps of notify and notify_and_wait */
	uint64_t descriptors;   /* accepted */
	uint64_t doorbells;
	uint64_t again; /* answers EAGAIN */
	uint64_t label;
};

/* What the machine enforces. The names are x86's; behind each what gives the same on arm64. */
enum keuos_feature {
	KEUOS_FEATURE_NX = 1,       /* no execution of data; UXN */
	KEUOS_FEATURE_SMEP = 2,     /* the kernel executes no user page; PXN */
	KEUOS_FEATURE_SMAP = 4,     /* the kernel touches user memory only where it means to; PAN */
	KEUOS_FEATURE_UMIP = 8,     /* user mode learns nothing of the kernel's tables; always */
	KEUOS_FEATURE_ENTROPY = 16, /* randomness: channels can be bound */
	KEUOS_FEATURE_IOMMU = 32,
	KEUOS_FEATURE_HIL = 64,
	KEUOS_FEATURE_WP = 128, /* read-only pages are read-only for the kernel too; always */
};

struct keuos_system_info {
	uint32_t cores;
	uint32_t features;    /* enum keuos_feature, or-ed */
	uint64_t tick_hz;     /* of the counter that user programs read: TSC, CNTVCT_EL0 */
	uint64_t pages_total; /* frames the kernel manages */
	uint64_t pages_free;
	uint32_t processes;
	uint32_t channels;
	uint32_t capabilities;
	uint32_t events; /* the sequence that the next event will have */
	uint64_t interrupts[KEUOS_CORES_MAX];
	char version[32];
	char boot[16];              /* "pvh", "multiboot2" or "device-tree" */
	uint8_t build_id[20];       /* the kernel's, as the linker noted it */
	uint32_t reserved;          /* 0 */
	uint64_t initrd_hash;       /* SipHash-2-4 with a key of zeros, of the initrd as it was handed over */
	uint64_t command_line_hash; /* the same of the kernel's command line */
};

enum keuos_event_kind {
	KEUOS_EVENT_GATE = 1,  /* a gate objected; the descriptor is as the kernel's copy had it */
	KEUOS_EVENT_FAULT = 2, /* an exception killed a process */
	KEUOS_EVENT_EXIT = 3,  /* a process left or was killed */
	KEUOS_EVENT_BIND = 4,
	KEUOS_EVENT_CLOSE = 5,
	KEUOS_EVENT_REVOKE = 6,
	KEUOS_EVENT_DMA_FAULT = 7, /* the IOMMU stopped a device; keuos/device.h */
	KEUOS_EVENT_STRAY = 8,     /* an interrupt that nobody asked for; detail: how many so far */
};

struct keuos_event {
	uint64_t sequence;
	uint64_t time_ns;
	uint32_t kind; /* enum keuos_event_kind */
	uint32_t
		verdict; /* gate: enum keuos_verdict; fault, exit: enum keuos_exit_reason; close: enum keuos_close_reason */
	uint32_t pid; /* whom it is about: the culprit */
	uint32_t peer;
	uint32_t channel;
	uint32_t generation;
	uint64_t detail;  /* fault address, exit code, index as seen */
	uint64_t address; /* where the process was executing */
	struct keuos_descriptor descriptor;
};

enum keuos_reboot {
	KEUOS_REBOOT_RESET = 0,
	KEUOS_REBOOT_POWER_OFF = 1,
};

/* By the system capability, but for those that name another. */
enum keuos_hil_op {
	KEUOS_HIL_PANIC = 0,        /* () panics with a known message */
	KEUOS_HIL_TRIPLE_FAULT = 1, /* () */
	KEUOS_HIL_HANG = 2,  /* () this core spins in the kernel with interrupts off, and holds the kernel lock */
	KEUOS_HIL_FAULT = 3, /* () the kernel itself reads an unmapped address */
	KEUOS_HIL_STACK = 4, /* () the kernel's stack runs into its guard page */
	/* The capability is the caller's own producer's end of a verified channel. */
	KEUOS_HIL_GATE = 5, /* () -> how many cases of the host's batches were judged by that channel's gates */
	/* The capability is a process, with CONTROL. */
	KEUOS_HIL_PHYSICAL = 6, /* (its address) -> physical address */
	/* The capability is the caller's own producer's end. */
	KEUOS_HIL_HASH = 7, /* (bytes <= 64) -> ticks of one SipHash-2-4 under its key */
};

_Static_assert(sizeof(struct keuos_process_info) == 112, "process information");
_Static_assert(sizeof(struct keuos_endpoint) == 56, "endpoint");
_Static_assert(sizeof(struct keuos_channel_info) == 88, "channel information");
_Static_assert(sizeof(struct keuos_event) == 120, "event");

#endif
