/*
 * System calls. Each takes the six argument registers as they came and gives two results; it runs with the kernel lock
 * held. One that ends or blocks the caller does not return (schedule_away).
 */
#ifndef KERNEL_SYSCALL_H
#define KERNEL_SYSCALL_H

#include <kernel/process.h>

struct result {
	int64_t value;
	uint64_t second;
};

static inline struct result result_of(int64_t value)
{
	return (struct result){value, 0};
}

typedef struct result system_call(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);

/* The arguments behind the first n, which a call does not look at. */
#define REST_ARGUMENT(name) __attribute__((unused)) uint64_t name
#define REST4 REST_ARGUMENT(unused5), REST_ARGUMENT(unused6)
#define REST3 REST_ARGUMENT(unused4), REST4
#define REST2 REST_ARGUMENT(unused3), REST3
#define REST1 REST_ARGUMENT(unused2), REST2
#define REST0 REST_ARGUMENT(unused1), REST1

/* core/process_calls.c */
system_call sys_null, sys_yield, sys_exit, sys_log, sys_time, sys_wait, sys_spawn, sys_process_start, sys_process_kill,
	sys_process_info, sys_process_read, sys_process_write, sys_cap_grant, sys_cap_revoke, sys_cap_drop,
	sys_memory_create, sys_memory_map, sys_memory_unmap;
/* ipc/channel_calls.c */
system_call sys_notify, sys_notify_and_wait, sys_doorbell, sys_channel_bind, sys_channel_accept, sys_channel_close,
	sys_channel_unmap, sys_channel_info;
/* core/system_calls.c */
system_call sys_getrandom, sys_system_info, sys_console_read, sys_console_write, sys_event_read, sys_process_list,
	sys_channel_list, sys_initrd_list, sys_reboot, sys_hil;
/* dev/device_calls.c */
system_call sys_device_list, sys_device_info, sys_device_config, sys_device_control, sys_device_map, sys_dma_map,
	sys_dma_unmap, sys_device_wait;

/* hil/hil.c, linked into HIL builds only. It checks the capability at the index that the operation asks for. */
struct result hil_syscall(uint64_t index, uint64_t operation, uint64_t a, uint64_t b) __attribute__((weak));

#endif
