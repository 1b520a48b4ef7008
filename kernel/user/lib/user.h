/*
 * What a user program of KeuOS includes: one stub for each system call, templates, and a log line.
 *
 * Here lives the thinnest cover over keuos/syscall.h, with C types in place of registers; policy and state do not.
 * Programs are static, freestanding C17, entered at main(args); docs/syscall-abi.md tells what each call does.
 *
 * Results: a negative int64_t is minus an enum keuos_error, except where a stub says otherwise. Every stub is a
 * compiler barrier: the kernel may read and write the caller's memory.
 */
#ifndef KEUOS_USER_H
#define KEUOS_USER_H

#include "arch_syscall.h"

#include <keuos/channel.h>
#include <keuos/device.h>
#include <keuos/syscall.h>
#include <stddef.h>
#include <stdint.h>

/* A program's entry: the arguments as one string, as the spawner gave them. The result is its exit code. */
int main(const char *args);

/* Whether a result that may use all 64 bits (WAIT, NOTIFY_AND_WAIT) is an error; the kernel's errors are small. */
static inline int sys_is_error(int64_t result)
{
	return result < 0 && result >= -4095;
}

/* --- the caller itself --- */

static inline int64_t sys_null(void)
{
	return syscall0(KEUOS_SYS_NULL);
}

static inline int64_t sys_yield(void)
{
	return syscall0(KEUOS_SYS_YIELD);
}

_Noreturn static inline void sys_exit(int64_t code)
{
	syscall1(KEUOS_SYS_EXIT, (uint64_t)code);
	__builtin_unreachable();
}

/* One console line of at most 256 bytes; user_log() formats one. */
static inline int64_t sys_log(const char *text, size_t bytes)
{
	return syscall2(KEUOS_SYS_LOG, (uintptr_t)text, bytes);
}

/* Nanoseconds since boot. */
static inline uint64_t sys_time(void)
{
	return (uint64_t)syscall0(KEUOS_SYS_TIME);
}

/*
 * Takes the notification bits in the mask, waiting for the first until the deadline (ns since boot, or KEUOS_FOREVER).
 * Returns 0 on time-out. Bit i stands for the capabilities whose index is i modulo 64; sys_bit() makes it.
 */
static inline uint64_t sys_wait(uint64_t mask, uint64_t deadline_ns)
{
	return (uint64_t)syscall2(KEUOS_SYS_WAIT, mask, deadline_ns);
}

static inline uint64_t sys_bit(uint64_t capability)
{
	return UINT64_C(1) << (capability % 64);
}

static inline int64_t sys_getrandom(void *buffer, size_t bytes)
{
	return syscall2(KEUOS_SYS_GETRANDOM, (uintptr_t)buffer, bytes);
}

static inline int64_t sys_system_info(struct keuos_system_info *info)
{
	return syscall1(KEUOS_SYS_SYSTEM_INFO, (uintptr_t)info);
}

/* --- processes --- */

static inline int64_t sys_spawn(const struct keuos_spawn *spawn)
{
	return syscall1(KEUOS_SYS_SPAWN, (uintptr_t)spawn);
}

static inline int64_t sys_process_start(uint32_t process)
{
	return syscall1(KEUOS_SYS_PROCESS_START, process);
}

static inline int64_t sys_process_kill(uint32_t process)
{
	return syscall1(KEUOS_SYS_PROCESS_KILL, process);
}

static inline int64_t sys_process_info(uint32_t process, struct keuos_process_info *info)
{
	return syscall2(KEUOS_SYS_PROCESS_INFO, process, (uintptr_t)info);
}

static inline int64_t sys_process_read(uint32_t process, uint64_t address, void *buffer, size_t bytes)
{
	return syscall4(KEUOS_SYS_PROCESS_READ, process, address, (uintptr_t)buffer, bytes);
}

static inline int64_t sys_process_write(uint32_t process, uint64_t address, const void *buffer, size_t bytes)
{
	return syscall4(KEUOS_SYS_PROCESS_WRITE, process, address, (uintptr_t)buffer, bytes);
}

/* --- channels --- */

/* Descriptors accepted, or -KEUOS_EAGAIN with nothing consumed. A gate that objects kills the caller. */
static inline int64_t sys_notify(uint32_t producer, uint64_t n)
{
	return syscall2(KEUOS_SYS_NOTIFY, producer, n);
}

/* Notification bits, or an error as sys_is_error() tells; syscall_pair() gives how many were taken beside EAGAIN. */
static inline int64_t sys_notify_and_wait(uint32_t producer, uint64_t n, uint64_t mask)
{
	return syscall3(KEUOS_SYS_NOTIFY_AND_WAIT, producer, n, mask);
}

static inline int64_t sys_doorbell(uint32_t end)
{
	return syscall1(KEUOS_SYS_DOORBELL, end);
}

static inline int64_t sys_channel_bind(uint32_t producer, uint32_t consumer, const struct keuos_bind *bind)
{
	return syscall3(KEUOS_SYS_CHANNEL_BIND, producer, consumer, (uintptr_t)bind);
}

static inline int64_t sys_channel_accept(struct keuos_endpoint *endpoint)
{
	return syscall1(KEUOS_SYS_CHANNEL_ACCEPT, (uintptr_t)endpoint);
}

static inline int64_t sys_channel_close(uint32_t end)
{
	return syscall1(KEUOS_SYS_CHANNEL_CLOSE, end);
}

static inline int64_t sys_channel_unmap(uint32_t end)
{
	return syscall1(KEUOS_SYS_CHANNEL_UNMAP, end);
}

static inline int64_t sys_channel_info(uint32_t end, struct keuos_channel_info *info)
{
	return syscall2(KEUOS_SYS_CHANNEL_INFO, end, (uintptr_t)info);
}

/* --- capabilities and memory --- */

static inline int64_t sys_cap_grant(uint32_t process, uint32_t capability, uint32_t rights)
{
	return syscall3(KEUOS_SYS_CAP_GRANT, process, capability, rights);
}

static inline int64_t sys_cap_revoke(uint32_t capability)
{
	return syscall1(KEUOS_SYS_CAP_REVOKE, capability);
}

static inline int64_t sys_cap_drop(uint32_t capability)
{
	return syscall1(KEUOS_SYS_CAP_DROP, capability);
}

static inline int64_t sys_memory_create(size_t pages)
{
	return syscall1(KEUOS_SYS_MEMORY_CREATE, pages);
}

static inline int64_t sys_memory_map(uint32_t memory, int writable)
{
	return syscall2(KEUOS_SYS_MEMORY_MAP, memory, writable != 0);
}

static inline int64_t sys_memory_unmap(uint32_t memory)
{
	return syscall1(KEUOS_SYS_MEMORY_UNMAP, memory);
}

/* --- devices: keuos/device.h --- */

static inline int64_t sys_device_info(uint32_t device, struct keuos_device_info *info)
{
	return syscall2(KEUOS_SYS_DEVICE_INFO, device, (uintptr_t)info);
}

/* The value read, or an error. */
static inline int64_t sys_device_config(uint32_t device, uint64_t offset, uint64_t width)
{
	return syscall3(KEUOS_SYS_DEVICE_CONFIG, device, offset, width);
}

static inline int64_t sys_device_control(uint32_t device, enum keuos_device_op operation, uint64_t argument)
{
	return syscall3(KEUOS_SYS_DEVICE_CONTROL, device, operation, argument);
}

static inline int64_t sys_device_map(uint32_t device, uint64_t bar, uint64_t offset, uint64_t pages)
{
	return syscall4(KEUOS_SYS_DEVICE_MAP, device, bar, offset, pages);
}

static inline int64_t sys_dma_map(
	uint32_t device, uint32_t object, uint64_t first, uint64_t pages, uint64_t iova, int writable)
{
	return syscall_pair(KEUOS_SYS_DMA_MAP, device, object, first, pages, iova, writable != 0).value;
}

static inline int64_t sys_dma_unmap(uint32_t device, uint64_t iova)
{
	return syscall2(KEUOS_SYS_DMA_UNMAP, device, iova);
}

/* As sys_wait(), with the device's interrupts let through; an error as sys_is_error() tells. */
static inline uint64_t sys_device_wait(uint32_t device, uint64_t mask, uint64_t deadline_ns)
{
	return (uint64_t)syscall3(KEUOS_SYS_DEVICE_WAIT, device, mask, deadline_ns);
}

/* --- the system capability: the first process only --- */

static inline int64_t sys_device_list(uint32_t system, struct keuos_device_info *list, size_t n)
{
	return syscall3(KEUOS_SYS_DEVICE_LIST, system, (uintptr_t)list, n);
}

static inline int64_t sys_console_read(uint32_t system, void *buffer, size_t bytes)
{
	return syscall3(KEUOS_SYS_CONSOLE_READ, system, (uintptr_t)buffer, bytes);
}

static inline int64_t sys_console_write(uint32_t system, const void *buffer, size_t bytes)
{
	return syscall3(KEUOS_SYS_CONSOLE_WRITE, system, (uintptr_t)buffer, bytes);
}

static inline int64_t sys_event_read(uint32_t system, uint64_t from, struct keuos_event *events, size_t n)
{
	return syscall4(KEUOS_SYS_EVENT_READ, system, from, (uintptr_t)events, n);
}

static inline int64_t sys_process_list(uint32_t system, struct keuos_process_info *list, size_t n)
{
	return syscall3(KEUOS_SYS_PROCESS_LIST, system, (uintptr_t)list, n);
}

static inline int64_t sys_channel_list(uint32_t system, struct keuos_channel_info *list, size_t n)
{
	return syscall3(KEUOS_SYS_CHANNEL_LIST, system, (uintptr_t)list, n);
}

static inline int64_t sys_initrd_list(uint32_t system, uint64_t index, char name[KEUOS_NAME_BYTES])
{
	return syscall3(KEUOS_SYS_INITRD_LIST, system, index, (uintptr_t)name);
}

static inline int64_t sys_reboot(uint32_t system, uint64_t kind)
{
	return syscall2(KEUOS_SYS_REBOOT, system, kind);
}

/* HIL builds only: each operation asks for a capability of its own (enum keuos_hil_op). */
static inline int64_t sys_hil(uint32_t capability, uint64_t op, uint64_t a, uint64_t b)
{
	return syscall4(KEUOS_SYS_HIL, capability, op, a, b);
}

/* --- templates --- */

extern const struct keuos_template __keuos_proofs_start[], __keuos_proofs_end[];
extern const struct keuos_template __keuos_interface_start[], __keuos_interface_end[];

/*
 * Declares, at file scope, an operation that this program sends. The kernel finds the section in the ELF and seals
 * what the receiver's interface allows; the template's index is its place in the section.
 */
#define KEUOS_TEMPLATE(name, opcode_, max_length_, alignment_, flags_)                                                 \
	__attribute__((section(".keuos.proofs"), used, aligned(16))) const struct keuos_template name = {              \
		.opcode = (opcode_), .flags = (flags_), .max_length = (max_length_), .alignment = (alignment_)}

/* Declares, at file scope, an operation that this program accepts from the other end of a channel. */
#define KEUOS_ACCEPTS(opcode_, max_length_, alignment_, flags_)                                                        \
	KEUOS_ACCEPTS_AT_(__COUNTER__, opcode_, max_length_, alignment_, flags_)
#define KEUOS_ACCEPTS_AT_(n, opcode_, max_length_, alignment_, flags_)                                                 \
	KEUOS_ACCEPTS_NAMED_(n, opcode_, max_length_, alignment_, flags_)
#define KEUOS_ACCEPTS_NAMED_(n, opcode_, max_length_, alignment_, flags_)                                              \
	__attribute__((section(".keuos.interface"), used,                                                              \
		aligned(16))) static const struct keuos_template keuos_accepts_##n = {                                 \
		.opcode = (opcode_), .flags = (flags_), .max_length = (max_length_), .alignment = (alignment_)}

/* The index that a slot's word and the tags page use for a template of this program. */
static inline uint16_t keuos_template_index(const struct keuos_template *template)
{
	return (uint16_t)(template - __keuos_proofs_start);
}

/* --- log --- */

/*
 * Writes one line on the console, cut at 256 bytes. Formats: see user_vformat() in format.h. Returns what LOG
 * returned.
 */
int64_t user_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* An enum keuos_error, negative or not, as a clause: what is wrong and, where that can be said, what to do. */
const char *user_error(int64_t error);

#endif
