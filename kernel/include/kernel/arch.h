/*
 * What an architecture gives to the portable kernel, beyond arch/cpu.h. Each folder arch/ARCH implements it; core/, ipc/
 * and mm/ call nothing of the machine but this.
 */
#ifndef KERNEL_ARCH_H
#define KERNEL_ARCH_H

#include <kernel/base.h>
#include <kernel/cpu.h>

/* Memory that firmware or loader described; filled before kernel_main. */
struct memory_range {
	uint64_t base;
	uint64_t bytes;
};

enum { BOOT_RANGES_MAX = 64, BOOT_RESERVED_MAX = 32, BOOT_ARGUMENTS_BYTES = 512 };

struct boot_info {
	const char *how; /* "pvh", "multiboot2" or "device-tree" */
	uint32_t ranges_count;
	struct memory_range ranges[BOOT_RANGES_MAX]; /* in order */
	uint32_t reserved_count;
	struct memory_range reserved[BOOT_RESERVED_MAX]; /* parts of them that somebody else needs */
	uint64_t mapped_end; /* the tables that the kernel starts with map all memory below */
	uint64_t initrd;     /* physical; 0: none */
	uint64_t initrd_bytes;
	uint64_t rsdp;                        /* physical; 0: search for it */
	char arguments[BOOT_ARGUMENTS_BYTES]; /* the kernel command line */
};

extern struct boot_info boot_info;

/* Portable entry points, called by the architecture. */
_Noreturn void kernel_main(void);           /* on the first core, tables still the boot loader's own */
_Noreturn void kernel_main_secondary(void); /* on every other core */

/* Bring-up, called by kernel_main in this order. */
void arch_init_memory(void);          /* after the frame allocator: device mappings, per-core stacks */
void arch_init_core(struct cpu *cpu); /* descriptors, protections, system-call entry: on the core itself */
void arch_init_devices(void);         /* interrupt controllers, timer, serial interrupts */
void arch_start_cores(void);          /* returns when all are up */

extern uint32_t arch_features; /* enum keuos_feature */
struct feature_name {
	uint32_t feature;
	const char *name; /* as the architecture's manual has it */
};
extern const struct feature_name arch_feature_names[]; /* its protections; ends with a name of NULL */
extern const char arch_random_wanted[];                /* what a machine without randomness lacks */
extern uint64_t arch_counter_hz;

/* Time and interrupts. */
uint64_t arch_time_ns(void);
void arch_timer_arm(uint64_t at_ns); /* one shot on this core; 0 switches it off */
void arch_send_reschedule(struct cpu *cpu);
void arch_stop_other_cores(void); /* for panics: never waits */

/* Address spaces. Portable code names rights; the architecture makes table entries of them. */
enum protection {
	PROTECTION_READ = 0,
	PROTECTION_WRITE = 1,
	PROTECTION_EXECUTE = 2,
	PROTECTION_USER = 4,
	PROTECTION_DEVICE = 8,
};

struct space {
	uint64_t
		root; /* what arch_load_root takes: the top table's physical address, and a tag of the architecture's */
	uint32_t *charged; /* frames of tables are counted here, if not NULL ... */
	uint32_t *limit;   /* ... and refused past this */
	uint16_t owner;    /* pid, for the frames' records */
};

extern struct space kernel_space;

void *arch_direct(uint64_t physical); /* the kernel's own view of a frame */
uint64_t arch_direct_physical(const void *address);
bool arch_space_init(struct space *space); /* false: no frame */
bool arch_map(struct space *space, uint64_t address, uint64_t physical, uint32_t protection);
uint64_t arch_unmap(struct space *space, uint64_t address); /* the frame that was there, or 0 */
/* The first page from one page address on, and before another, that is mapped; else the latter. Holes cost little. */
uint64_t arch_next_mapped(const struct space *space, uint64_t from, uint64_t end);
static inline bool arch_is_mapped(const struct space *space, uint64_t address)
{
	return arch_next_mapped(space, address, address + KEUOS_PAGE_BYTES) == address;
}
/* Physical address of the memory (not: device) behind a user address, or 0; with `write`, only if the process itself
 * could write it. */
uint64_t arch_translate(const struct space *space, uint64_t address, bool write);
/* Lets go of every user frame, then frees the tables. The space must be loaded on no core. */
void arch_space_destroy(struct space *space);
/* Makes every core forget what it cached of a process's tables; when it returns, none can use an old entry any more. */
void arch_flush(struct process *process);
/* Instructions were written through the kernel's own view: whoever executes them must see them. */
void arch_code_written(const void *address, size_t bytes);
/* One turn of waiting for the kernel lock, whose holder may be in arch_flush. */
void arch_wait_turn(void);

extern const uint64_t arch_user_base, arch_user_end; /* user addresses lie in [base, end) */

/* Copies between the kernel and the current process; false if a page is missing. The range is checked by the caller. */
bool user_copy(void *to, const void *from, size_t bytes);

/* Registers of processes. */
void arch_process_init(
	struct process *process, uint64_t entry, uint64_t stack, uint64_t argument, uint64_t argument_bytes);
bool arch_extended_state_init(struct process *process); /* SIMD registers; false: no frame */
uint64_t arch_program_counter(const struct process *process);
_Noreturn void arch_resume(void); /* drops this core's kernel stack and goes on with its current process */
_Noreturn void arch_call_on_stack(void (*function)(void)); /* starts this core's kernel stack afresh */

/* Hardware randomness: false if there is none (or it does not answer). */
bool arch_random(uint64_t *value);

/* The line. Bytes go out by polling until arch_init_devices has run, and again in a panic. */
void arch_serial_init(void);
void arch_serial_put(uint8_t byte); /* waits for room in the device */
bool arch_serial_get(uint8_t *byte);
size_t arch_serial_put_some(const uint8_t *bytes, size_t count); /* how many it took: it never waits */
void arch_serial_interrupt_on_room(bool on);

_Noreturn void arch_reboot(uint32_t kind);
_Noreturn void arch_triple_fault(void); /* HIL builds: the machine's own last resort, on purpose */
_Noreturn void arch_halt(void);
void arch_registers_here(struct arch_regs *regs); /* the caller's own */
void arch_print_registers(const struct arch_regs *regs);
void arch_print_backtrace(const struct arch_regs *regs);

#endif
