/*
 * The end of the kernel: every core stops, and the line says why. The banner's first and last line are fixed: a host
 * waits for them.
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/process.h>

/* Written by tools/symbols.py behind the first link: sorted addresses, and names at an offset. */
struct symbol {
	uint32_t address; /* from the start of the image */
	uint32_t name;
};
extern const struct symbol symbol_table[] __attribute__((weak));
extern const uint32_t symbol_count __attribute__((weak));
extern const char symbol_names[] __attribute__((weak));
extern char kernel_start[], kernel_text_end[];

const char *symbol_name(uint64_t address, uint64_t *offset)
{
	*offset = address;
	if (&symbol_count == NULL || address < (uint64_t)kernel_start || address >= (uint64_t)kernel_text_end)
		return "?";
	uint32_t wanted = (uint32_t)(address - (uint64_t)kernel_start);
	uint32_t low = 0, high = symbol_count;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (symbol_table[middle].address <= wanted)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return "?";
	*offset = wanted - symbol_table[low - 1].address;
	return symbol_names + symbol_table[low - 1].name;
}

static bool panicking;

static void print_where(void)
{
	const struct cpu *cpu = arch_this_cpu();
	if (cpu == NULL)
		return; /* before the first core knows its own block */
	const struct process *current = cpu->arch.current;
	print("core %u, process %u %s\n", cpu->index, current ? current->pid : 0, current ? current->name : "(idle)");
}

static _Noreturn void panic_v(const struct arch_regs *regs, const char *format, va_list args)
{
	char message[200];
	arch_interrupts_off();
	if (__atomic_exchange_n(&panicking, true, __ATOMIC_ACQ_REL))
		arch_halt(); /* another core, or the panic itself, fails: one report is enough */
	arch_stop_other_cores();
	console_panic();
	format_text_v(message, sizeof(message), format, args);
	print("\nKEUOS PANIC: %s\n", message);
	print_where();
	arch_print_registers(regs);
	print("backtrace:\n");
	arch_print_backtrace(regs);
	print("KEUOS PANIC END\n");
	arch_halt();
}

_Noreturn void panic(const char *format, ...)
{
	struct arch_regs regs;
	va_list args;
	arch_registers_here(&regs);
	va_start(args, format);
	panic_v(&regs, format, args);
}

_Noreturn void panic_with_registers(const struct arch_regs *regs, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	panic_v(regs, format, args);
}
