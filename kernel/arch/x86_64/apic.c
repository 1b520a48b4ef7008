/* Local APICs, the I/O APIC's one line that is used, and time (Intel SDM vol. 3, chapter 11). */
#include "machine.h"
#include <kernel/pci.h>

enum local_apic {
	APIC_ID = 0x20,
	APIC_EOI = 0xb0,
	APIC_SPURIOUS = 0xf0,
	APIC_COMMAND_LOW = 0x300,
	APIC_COMMAND_HIGH = 0x310,
	APIC_TIMER = 0x320,
	APIC_LINT0 = 0x350,
	APIC_LINT1 = 0x360,
	APIC_ERROR = 0x370,
	APIC_TIMER_INITIAL = 0x380,
	APIC_TIMER_CURRENT = 0x390,
	APIC_TIMER_DIVIDE = 0x3e0,
};

enum {
	APIC_MASKED = 0x10000,
	APIC_DELIVERY_PENDING = 0x1000,
	APIC_NMI = 0x400,
	APIC_BASE_ENABLED = 0x800,
	APIC_BASE_X2APIC = 0x400,
	DIVIDE_BY_16 = 3,
	PIT_HZ = 1193182,
	CALIBRATION_MS = 10,
};

static volatile uint32_t *local_apic;
static volatile uint32_t *io_apic;
static uint64_t timer_per_ms;
static uint64_t counter_at_boot;
static uint64_t ns_per_tick_32; /* 32.32 fixed point */
static uint64_t timer_limit_ns;
uint64_t arch_counter_hz;

static uint32_t apic_read(enum local_apic reg)
{
	return local_apic[reg / 4];
}

static void apic_write(enum local_apic reg, uint32_t value)
{
	local_apic[reg / 4] = value;
}

uint32_t apic_id(void)
{
	return local_apic ? apic_read(APIC_ID) >> 24 : 0;
}

void apic_end_of_interrupt(void)
{
	apic_write(APIC_EOI, 0);
}

void apic_send(uint32_t id, uint32_t command)
{
	while (apic_read(APIC_COMMAND_LOW) & APIC_DELIVERY_PENDING)
		arch_pause();
	apic_write(APIC_COMMAND_HIGH, id << 24);
	apic_write(APIC_COMMAND_LOW, command);
}

void apic_broadcast(uint32_t command)
{
	apic_send(0, command | 0xc0000); /* all but this core */
}

void arch_send_reschedule(struct cpu *cpu)
{
	apic_send(cpu->arch.apic_id, VECTOR_RESCHEDULE);
}

void apic_broadcast_nmi(void)
{
	if (local_apic)
		apic_broadcast(APIC_NMI);
}

void apic_init_core(void)
{
	uint64_t base = read_msr(MSR_APIC_BASE);
	if (base & APIC_BASE_X2APIC)
		panic("the firmware left the local APIC in x2APIC mode: switch x2APIC off in its set-up");
	write_msr(MSR_APIC_BASE, base | APIC_BASE_ENABLED);
	apic_write(APIC_SPURIOUS, 0x100 | VECTOR_SPURIOUS);
	apic_write(APIC_LINT0, APIC_MASKED);
	apic_write(APIC_LINT1, APIC_MASKED);
	apic_write(APIC_ERROR, APIC_MASKED);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_16);
	apic_write(APIC_TIMER, VECTOR_TIMER);
}

static void io_apic_write(uint32_t reg, uint32_t value)
{
	io_apic[0] = reg;
	io_apic[4] = value;
}

static void io_apic_route(uint32_t gsi, uint32_t flags, uint32_t vector, uint32_t id)
{
	uint32_t low = vector;
	low |= (flags & 3) == 3 ? 1u << 13 : 0;      /* active low */
	low |= (flags >> 2 & 3) == 3 ? 1u << 15 : 0; /* level */
	uint32_t reg = 0x10 + 2 * (gsi - acpi.io_apic_base);
	io_apic_write(reg + 1, id << 24);
	io_apic_write(reg, low);
}

/* VT-d specification 4.0, 5.1.5.1: the format bit is bit 48; the entry's index, all below 2^15 here, lies behind it. */
void io_apic_route_remapped(uint32_t entry)
{
	uint32_t reg = 0x10 + 2 * (acpi.serial_gsi - acpi.io_apic_base);
	uint32_t flags = acpi.serial_flags;
	uint32_t low = VECTOR_SERIAL;
	low |= (flags & 3) == 3 ? 1u << 13 : 0;
	low |= (flags >> 2 & 3) == 3 ? 1u << 15 : 0;
	io_apic_write(reg + 1, 1u << 16 | entry << 17);
	io_apic_write(reg, low);
}

void apic_init(void)
{
	local_apic = arch_map_device(acpi.local_apic, 4096);
	io_apic = arch_map_device(acpi.io_apic, 4096);
	/* The old interrupt controllers are moved out of the way and masked. */
	static const uint8_t words[][2] = {{0x11, 0x11}, {0xf0, 0xf8}, {4, 2}, {1, 1}, {0xff, 0xff}};
	for (uint32_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		outb(i == 0 ? 0x20 : 0x21, words[i][0]);
		outb(i == 0 ? 0xa0 : 0xa1, words[i][1]);
	}
	apic_init_core();
	io_apic_route(acpi.serial_gsi, acpi.serial_flags, VECTOR_SERIAL, apic_id());
}

struct window {
	uint64_t counter; /* ticks of the TSC in CALIBRATION_MS */
	uint32_t timer;   /* of the local APIC's timer */
	uint64_t blur;    /* ticks for which we did not look: how wrong `counter` can be */
};

/*
 * Both clocks against channel 2 of the PIT, whose frequency is the one thing every PC agrees on. Its output rises when
 * the count is through. In a virtual machine the core may be taken away at the moment of either edge.
 */
static struct window measure_window(void)
{
	enum { COUNT = PIT_HZ * CALIBRATION_MS / 1000 };
	struct window window;
	outb(0x61, (uint8_t)((inb(0x61) & ~2) | 1)); /* gate on, speaker off */
	outb(0x43, 0xb0);                            /* channel 2, both bytes, mode 0 */
	outb(0x42, COUNT & 0xff);
	uint64_t before = arch_counter();
	outb(0x42, COUNT >> 8);
	apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
	uint64_t start = arch_counter(), last = start, now = start;
	do {
		last = now;
		now = arch_counter();
		arch_pause();
	} while (!(inb(0x61) & 0x20));
	window.timer = UINT32_MAX - apic_read(APIC_TIMER_CURRENT);
	uint64_t end = arch_counter();
	apic_write(APIC_TIMER_INITIAL, 0);
	window.counter = end - start;
	window.blur = (start - before) + (end - last);
	return window;
}

void clock_calibrate(void)
{
	enum { ATTEMPTS = 5, GOOD_ENOUGH = 200 };
	struct window best = {.blur = UINT64_MAX};
	apic_write(APIC_TIMER, VECTOR_TIMER | APIC_MASKED);
	for (int i = 0; i < ATTEMPTS && best.blur > best.counter / GOOD_ENOUGH; i++) {
		struct window window = measure_window();
		if (window.blur < best.blur)
			best = window;
	}
	apic_write(APIC_TIMER, VECTOR_TIMER);

	arch_counter_hz = best.counter * 1000 / CALIBRATION_MS;
	timer_per_ms = best.timer / CALIBRATION_MS;
	if (arch_counter_hz < 1000000 || timer_per_ms == 0)
		panic("the clocks stand still: TSC %lu Hz, APIC timer %lu per ms", arch_counter_hz, timer_per_ms);
	ns_per_tick_32 = (uint64_t)(((unsigned __int128)1000000000 << 32) / arch_counter_hz);
	timer_limit_ns = (uint64_t)UINT32_MAX / timer_per_ms * 1000000 / 2;
}

void clock_begin(void)
{
	counter_at_boot = arch_counter();
}

uint64_t arch_time_ns(void)
{
	return (uint64_t)((unsigned __int128)(arch_counter() - counter_at_boot) * ns_per_tick_32 >> 32);
}

void arch_timer_arm(uint64_t at_ns)
{
	if (at_ns == 0) {
		apic_write(APIC_TIMER_INITIAL, 0);
		return;
	}
	uint64_t now = arch_time_ns();
	uint64_t wait = at_ns > now ? at_ns - now : 1;
	wait = wait < timer_limit_ns ? wait : timer_limit_ns; /* a tick that comes too soon arms it again */
	uint64_t count = wait * timer_per_ms / 1000000 + 1;
	apic_write(APIC_TIMER_INITIAL, (uint32_t)count);
}
