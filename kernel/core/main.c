/* The order in which the kernel comes up, on the first core and on the others. */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/device.h>
#include <kernel/frame.h>
#include <kernel/initrd.h>
#include <kernel/lock.h>
#include <kernel/process.h>
#include <kernel/syscall.h>

static const struct keuos_spawn first_request = {.name = "console",
	.core = 0,
	.priority = KEUOS_PRIORITIES - 1,
	.pages_max = UINT32_MAX,
	.channels_max = KEUOS_CHANNELS,
	.processes_max = KEUOS_PROCESSES - 1};

static void print_names(const struct feature_name *at)
{
	for (; at->name; at++)
		print(" %s%s", arch_features & at->feature ? "" : "no-", at->name);
}

static void print_features(void)
{
	static const struct feature_name common[] = {
		{KEUOS_FEATURE_ENTROPY, "entropy"}, {KEUOS_FEATURE_IOMMU, "IOMMU"}, {0, NULL}};
	print("protection:");
	print_names(arch_feature_names);
	print_names(common);
	print("\n");
	if (!(arch_features & KEUOS_FEATURE_ENTROPY))
		print("no source of randomness: channels can't be bound (%s)\n", arch_random_wanted);
}

/* The words behind `--` on the command line are the first process's, as they are on Linux. */
static const char *first_arguments(void)
{
	for (const char *at = boot_info.arguments; *at; at++) {
		if ((at == boot_info.arguments || at[-1] == ' ') && text_equal(at, "-- ", 3))
			return at + 3;
	}
	return "";
}

static void start_first_process(void)
{
	static struct keuos_spawn request;
	struct process *process;
	const char *arguments = first_arguments();
	size_t bytes = strnlen(arguments, BOOT_ARGUMENTS_BYTES);

	request = first_request;
	if (bytes < sizeof(request.args))
		memcpy(request.args, arguments, bytes);
	else
		print("boot arguments: more than %lu bytes behind -- are left out\n", sizeof(request.args) - 1);
	int error = process_create(&request, NULL, &process);
	if (error)
		panic("the first process (console) can't be loaded from the initrd: error %d", -error);
	process->capabilities[KEUOS_CAP_SYSTEM_INDEX] =
		(struct capability){.type = KEUOS_CAP_SYSTEM, .rights = KEUOS_RIGHT_ALL};
	first_process = process;
	devices_grant(process);
	console_set_owner(process);
	process_start(process);
}

static void main_on_own_stack(void)
{
	initrd_check();
	arch_start_cores();
	print("%u cores, %lu MiB, counter %lu kHz\n", cpu_count, frames_managed * KEUOS_PAGE_BYTES >> 20,
		arch_counter_hz / 1000);
	devices_init();
	print_features();
	start_first_process();
	arch_init_devices();
	schedule_away();
}

_Noreturn void kernel_main(void)
{
	print("KeuOS " KEUOS_VERSION " " ARCH_NAME " %s, by %s\n", hil_syscall ? "hil" : "release", boot_info.how);
	frame_init();
	arch_init_memory();
	cpu_count = 1;
	cpus[0].space = &kernel_space;
	kernel_lock_take();
	arch_init_core(&cpus[0]);
	arch_call_on_stack(main_on_own_stack);
}

_Noreturn void kernel_main_secondary(void)
{
	kernel_lock_take();
	schedule_away();
}
