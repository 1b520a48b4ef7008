/*
 * The interrupt controller: GICv2 (Arm IHI0048) by memory, GICv3 (IHI0069) by system registers, in the non-secure view.
 * Interrupts come from the timer, each core's own; from other cores; from the serial port and the IOMMU; and, as messages
 * that the translation service (its.c) makes interrupts of, from PCI functions.
 */
#include "machine.h"
#include <kernel/cpu.h>

enum distributor {
	D_CONTROL = 0x000,
	D_GROUP = 0x080,
	D_ENABLE = 0x100,
	D_DISABLE = 0x180,
	D_SET_PENDING = 0x200,
	D_PRIORITY = 0x400,
	D_TARGETS = 0x800,
	D_TRIGGER = 0xc00,
	D_SGI = 0xf00,
	D_ROUTER = 0x6000,
};

enum interface { C_CONTROL = 0x00, C_PRIORITY_MASK = 0x04, C_ACKNOWLEDGE = 0x0c, C_END = 0x10 };

enum redistributor {
	R_CONTROL = 0x0,
	R_TYPE = 0x8,
	R_WAKER = 0x14,
	R_PRIVATE = 0x10000 /* from here as a distributor's */
};

enum {
	WRITE_PENDING = 1u << 31,
	TRIGGER_EDGE = 2,
	AFFINITY_ROUTING = 1 << 4,
	GROUP_1 = 1 << 1,
	WAKER_SLEEP = 1 << 1,
	WAKER_ASLEEP = 1 << 2,
	TYPE_VLPIS = 1 << 1,
	TYPE_LAST = 1 << 4,
	REDISTRIBUTOR_BYTES = 0x20000,
	PRIORITY = 0xa0a0a0a0u,
	SPURIOUS_FROM = 1020,
	SGI_ALL_BUT_SELF = 1 << 24,
	PRIVATE_COUNT = 32,
};
#define SGI1R_ALL_BUT_SELF (1ull << 40)

static volatile uint8_t *distributor, *interface;
static uint32_t lines; /* shared interrupts and private ones together */

static uint32_t read32(volatile const uint8_t *at)
{
	return *(volatile const uint32_t *)at;
}

static void write32(volatile uint8_t *at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

static void wait_for(volatile uint8_t *at, uint32_t bits)
{
	while (read32(at) & bits)
		arch_pause();
}

/* Everything off, in the group that is told by IRQ, at one priority. */
static void silence(volatile uint8_t *base, uint32_t from, uint32_t to, bool group)
{
	for (uint32_t i = from; i < to; i += 32) {
		write32(base + D_DISABLE + i / 8, UINT32_MAX);
		if (group)
			write32(base + D_GROUP + i / 8, UINT32_MAX);
	}
	for (uint32_t i = from; i < to; i += 4)
		write32(base + D_PRIORITY + i, PRIORITY);
}

void gic_init(void)
{
	if (machine.gic == GIC_NONE || machine.gic_ranges_count < 2)
		panic("the device tree names no interrupt controller of kind GICv2 or GICv3");
	distributor = arch_map_device(machine.gic_ranges[0].base, 0x10000);
	if (machine.gic == GIC_V2)
		interface = arch_map_device(machine.gic_ranges[1].base, 0x2000);
	lines = 32 * ((read32(distributor + 4) & 31) + 1);
	lines = lines < SPURIOUS_FROM ? lines : SPURIOUS_FROM & ~31u;
	write32(distributor + D_CONTROL, 0);
	if (machine.gic == GIC_V3) {
		wait_for(distributor + D_CONTROL, WRITE_PENDING);
		write32(distributor + D_CONTROL, AFFINITY_ROUTING);
	}
	silence(distributor, PRIVATE_COUNT, lines, machine.gic == GIC_V3);
	write32(distributor + D_CONTROL, machine.gic == GIC_V3 ? AFFINITY_ROUTING | GROUP_1 : 1);
}

/* Where a core's redistributor is: in one of the regions, the one that says so. False: nowhere. */
static bool find_redistributor(struct arch_cpu *cpu)
{
	uint64_t affinity = cpu->affinity;
	uint32_t wanted = (uint32_t)(affinity >> 8 & 0xff000000) | (uint32_t)(affinity & 0xffffff);
	for (uint32_t region = 1; region <= machine.gic_redistributors && region < machine.gic_ranges_count; region++) {
		const struct tree_range *range = &machine.gic_ranges[region];
		for (uint64_t at = 0; at + REDISTRIBUTOR_BYTES <= range->bytes;) {
			volatile uint8_t *base = arch_map_device(range->base + at, REDISTRIBUTOR_BYTES);
			uint32_t type = read32(base + R_TYPE);
			if (read32(base + R_TYPE + 4) == wanted) {
				cpu->redistributor = base;
				cpu->redistributor_physical = range->base + at;
				return true;
			}
			if (type & TYPE_LAST)
				break;
			uint64_t step = REDISTRIBUTOR_BYTES * (type & TYPE_VLPIS ? 2 : 1);
			at += machine.gic_stride ? machine.gic_stride : step;
		}
	}
	return false;
}

static void init_core_v3(struct cpu *cpu)
{
	if (!find_redistributor(&cpu->arch))
		panic("no GICv3 redistributor for core %lx", cpu->arch.affinity);
	volatile uint8_t *own = cpu->arch.redistributor;
	write32(own + R_WAKER, read32(own + R_WAKER) & ~(uint32_t)WAKER_SLEEP);
	wait_for(own + R_WAKER, WAKER_ASLEEP);
	silence(own + R_PRIVATE, 0, PRIVATE_COUNT, true);
	write32(own + R_PRIVATE + D_ENABLE, 1u << machine.timer_interrupt | 1u << SGI_RESCHEDULE | 1u << SGI_STOP);
	WRITE_SYSTEM(S3_0_C12_C12_5, READ_SYSTEM(S3_0_C12_C12_5) | 1); /* ICC_SRE_EL1: by registers */
	__asm__ volatile("isb");
	WRITE_SYSTEM(S3_0_C4_C6_0, 0xff); /* ICC_PMR_EL1: every priority */
	WRITE_SYSTEM(S3_0_C12_C12_3, 0);  /* ICC_BPR1_EL1 */
	WRITE_SYSTEM(S3_0_C12_C12_4, 0);  /* ICC_CTLR_EL1: the end is the end */
	WRITE_SYSTEM(S3_0_C12_C12_7, 1);  /* ICC_IGRPEN1_EL1 */
	__asm__ volatile("isb");
}

static void init_core_v2(struct cpu *cpu)
{
	silence(distributor, 0, PRIVATE_COUNT, false);
	write32(distributor + D_ENABLE, 1u << machine.timer_interrupt | 1u << SGI_RESCHEDULE | 1u << SGI_STOP);
	cpu->arch.gic_target =
		read32(distributor + D_TARGETS) & 0xff; /* the first eight read as the reader's own bit */
	write32(interface + C_PRIORITY_MASK, 0xff);
	write32(interface + C_CONTROL, 1);
}

void gic_init_core(struct cpu *cpu)
{
	if (machine.timer_interrupt >= PRIVATE_COUNT)
		panic("the timer's interrupt is %u, which is not one of a core's own", machine.timer_interrupt);
	if (machine.gic == GIC_V3)
		init_core_v3(cpu);
	else
		init_core_v2(cpu);
}

void gic_enable(uint32_t interrupt, bool edge)
{
	if (interrupt < PRIVATE_COUNT || interrupt >= lines)
		return;
	volatile uint8_t *trigger = distributor + D_TRIGGER + interrupt / 16 * 4;
	uint32_t bit = (uint32_t)TRIGGER_EDGE << interrupt % 16 * 2;
	write32(trigger, (read32(trigger) & ~bit) | (edge ? bit : 0));
	if (machine.gic == GIC_V3)
		*(volatile uint64_t *)(distributor + D_ROUTER + 8 * interrupt) = cpus[0].arch.affinity;
	else
		distributor[D_TARGETS + interrupt] = (uint8_t)cpus[0].arch.gic_target;
	write32(distributor + D_ENABLE + interrupt / 32 * 4, 1u << interrupt % 32);
}

void gic_ask_again(uint32_t interrupt)
{
	write32(distributor + D_SET_PENDING + interrupt / 32 * 4, 1u << interrupt % 32);
}

void gic_send(const struct cpu *cpu, uint32_t sgi)
{
	uint64_t affinity = cpu->arch.affinity;
	DSB(ishst); /* what was stored before is there when the interrupt comes: IHI0069, 4.4 */
	if (machine.gic == GIC_V2) {
		write32(distributor + D_SGI, cpu->arch.gic_target << 16 | sgi);
		return;
	}
	/* ICC_SGI1R_EL1: the three upper affinities, which sixteen of the lowest, and a bit in them. */
	uint64_t value = (affinity >> 32 & 0xff) << 48 | (affinity >> 16 & 0xff) << 32 | (affinity >> 8 & 0xff) << 16;
	value |= (affinity >> 4 & 15) << 44 | 1ull << (affinity & 15) | (uint64_t)sgi << 24;
	WRITE_SYSTEM(S3_0_C12_C11_5, value);
	__asm__ volatile("isb");
}

void gic_broadcast(uint32_t sgi)
{
	if (distributor == NULL)
		return; /* a panic before there is more than one core */
	DSB(ishst);
	if (machine.gic == GIC_V2)
		write32(distributor + D_SGI, SGI_ALL_BUT_SELF | sgi);
	else
		WRITE_SYSTEM(S3_0_C12_C11_5, SGI1R_ALL_BUT_SELF | (uint64_t)sgi << 24);
}

bool gic_next(uint32_t *taken, uint32_t *interrupt)
{
	if (machine.gic == GIC_V2) {
		*taken = read32(interface + C_ACKNOWLEDGE);
		*interrupt = *taken & 0x3ff;
	} else {
		*taken = (uint32_t)READ_SYSTEM(S3_0_C12_C12_0); /* ICC_IAR1_EL1 */
		*interrupt = *taken & 0xffffff;
		DSB(sy); /* the acknowledgment has taken effect */
	}
	return *interrupt < SPURIOUS_FROM || *interrupt >= LPI_FIRST;
}

void gic_end(uint32_t taken)
{
	if (machine.gic == GIC_V2) {
		write32(interface + C_END, taken);
	} else {
		WRITE_SYSTEM(S3_0_C12_C12_1, taken); /* ICC_EOIR1_EL1 */
		__asm__ volatile("isb");
	}
}
