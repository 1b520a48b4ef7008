/*
 * The table of system calls, by number. One that may give up the core and go on later is marked as such: an architecture
 * may save fewer registers for the others, and panics if it has to go on without.
 */
#include <kernel/syscall.h>

system_call ARCH_MAY_BLOCK(sys_yield), ARCH_MAY_BLOCK(sys_wait), ARCH_MAY_BLOCK(sys_notify_and_wait),
	ARCH_MAY_BLOCK(sys_device_wait);

system_call *const syscall_table[KEUOS_SYS_COUNT] = {
	[KEUOS_SYS_NULL] = sys_null,
	[KEUOS_SYS_YIELD] = ARCH_MAY_BLOCK(sys_yield),
	[KEUOS_SYS_EXIT] = sys_exit,
	[KEUOS_SYS_LOG] = sys_log,
	[KEUOS_SYS_TIME] = sys_time,
	[KEUOS_SYS_WAIT] = ARCH_MAY_BLOCK(sys_wait),
	[KEUOS_SYS_NOTIFY] = sys_notify,
	[KEUOS_SYS_NOTIFY_AND_WAIT] = ARCH_MAY_BLOCK(sys_notify_and_wait),
	[KEUOS_SYS_DOORBELL] = sys_doorbell,
	[KEUOS_SYS_SPAWN] = sys_spawn,
	[KEUOS_SYS_PROCESS_START] = sys_process_start,
	[KEUOS_SYS_PROCESS_KILL] = sys_process_kill,
	[KEUOS_SYS_PROCESS_INFO] = sys_process_info,
	[KEUOS_SYS_PROCESS_READ] = sys_process_read,
	[KEUOS_SYS_PROCESS_WRITE] = sys_process_write,
	[KEUOS_SYS_CHANNEL_BIND] = sys_channel_bind,
	[KEUOS_SYS_CHANNEL_ACCEPT] = sys_channel_accept,
	[KEUOS_SYS_CHANNEL_CLOSE] = sys_channel_close,
	[KEUOS_SYS_CHANNEL_UNMAP] = sys_channel_unmap,
	[KEUOS_SYS_CHANNEL_INFO] = sys_channel_info,
	[KEUOS_SYS_CAP_GRANT] = sys_cap_grant,
	[KEUOS_SYS_CAP_REVOKE] = sys_cap_revoke,
	[KEUOS_SYS_CAP_DROP] = sys_cap_drop,
	[KEUOS_SYS_MEMORY_CREATE] = sys_memory_create,
	[KEUOS_SYS_MEMORY_MAP] = sys_memory_map,
	[KEUOS_SYS_MEMORY_UNMAP] = sys_memory_unmap,
	[KEUOS_SYS_GETRANDOM] = sys_getrandom,
	[KEUOS_SYS_SYSTEM_INFO] = sys_system_info,
	[KEUOS_SYS_CONSOLE_READ] = sys_console_read,
	[KEUOS_SYS_CONSOLE_WRITE] = sys_console_write,
	[KEUOS_SYS_EVENT_READ] = sys_event_read,
	[KEUOS_SYS_PROCESS_LIST] = sys_process_list,
	[KEUOS_SYS_CHANNEL_LIST] = sys_channel_list,
	[KEUOS_SYS_INITRD_LIST] = sys_initrd_list,
	[KEUOS_SYS_REBOOT] = sys_reboot,
	[KEUOS_SYS_HIL] = sys_hil,
	[KEUOS_SYS_DEVICE_LIST] = sys_device_list,
	[KEUOS_SYS_DEVICE_INFO] = sys_device_info,
	[KEUOS_SYS_DEVICE_CONFIG] = sys_device_config,
	[KEUOS_SYS_DEVICE_CONTROL] = sys_device_control,
	[KEUOS_SYS_DEVICE_MAP] = sys_device_map,
	[KEUOS_SYS_DMA_MAP] = sys_dma_map,
	[KEUOS_SYS_DMA_UNMAP] = sys_dma_unmap,
	[KEUOS_SYS_DEVICE_WAIT] = ARCH_MAY_BLOCK(sys_device_wait),
};
const uint64_t syscall_table_entries = KEUOS_SYS_COUNT;

struct result syscall_bad(uint64_t number);

/* From assembly: a number past the table. Nobody calls that by mistake and goes on well. */
struct result syscall_bad(uint64_t number)
{
	process_end(current_process(), KEUOS_EXIT_BAD_SYSCALL, number);
	schedule_away();
}
