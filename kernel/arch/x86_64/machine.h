/* What the files of arch/x86_64 share among themselves. Nothing outside this folder includes it. */
#ifndef X86_MACHINE_H
#define X86_MACHINE_H

#include "asm_offsets.h"
#include <kernel/arch.h>

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

struct cpuid_result {
	uint32_t a, b, c, d;
};

static inline struct cpuid_result cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_result r;
	__asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(subleaf));
	return r;
}

#define READ_CR(n)                                                                                                     \
	({                                                                                                             \
		uint64_t value_;                                                                                       \
		__asm__ volatile("movq %%cr" #n ", %0" : "=r"(value_));                                                \
		value_;                                                                                                \
	})
#define WRITE_CR(n, value) __asm__ volatile("movq %0, %%cr" #n : : "r"((uint64_t)(value)) : "memory")

enum msr {
	MSR_APIC_BASE = 0x1b,
	MSR_EFER = 0xc0000080,
	MSR_STAR = 0xc0000081,
	MSR_LSTAR = 0xc0000082,
	MSR_FMASK = 0xc0000084,
	MSR_GS_BASE = 0xc0000101,
	MSR_KERNEL_GS_BASE = 0xc0000102,
};

enum vector {
	VECTOR_TIMER = 32,
	VECTOR_SERIAL = 33,
	VECTOR_RESCHEDULE = 34,
	VECTOR_FLUSH = 35,
	VECTOR_IOMMU = 36,
	VECTOR_DEVICE = 40, /* and INTERRUPT_SLOTS - 1 behind it */
	VECTOR_SPURIOUS = 63,
	VECTOR_STRAY = 64, /* any number from here on: nothing of ours */
};

enum { VTD_UNITS_MAX = 4 };

/* ACPI tables that are used here (acpi.c fills it from the MADT, the FADT, the MCFG and the DMAR). */
struct acpi_facts {
	uint32_t cores;
	uint8_t apic_ids[KEUOS_CORES_MAX];
	uint64_t local_apic; /* physical */
	uint64_t io_apic;    /* physical; 0: none */
	uint32_t io_apic_base;
	uint32_t serial_gsi;   /* where ISA interrupt 4 arrives */
	uint32_t serial_flags; /* MPS INTI flags */
	uint16_t pm1_control;  /* I/O port; 0: unknown */
	uint16_t sleep_type;   /* of S5 */
	bool sleep_known;
	uint64_t pci_config; /* physical, of the first bus; 0: none */
	uint8_t pci_first_bus, pci_last_bus;
	uint32_t iommus;
	uint64_t iommu[VTD_UNITS_MAX]; /* physical, of their registers */
	uint8_t io_apic_id;
	uint16_t io_apic_requester; /* to the IOMMU; 0: not told */
};
extern struct acpi_facts acpi;
void acpi_init(void);

void flush_if_requested(void); /* answers a pending TLB shootdown of this core */

void apic_init_core(void);
/* The serial line's interrupt, once interrupts are remapped: by an entry of the IOMMU's table. */
void io_apic_route_remapped(uint32_t entry);
void vtd_interrupt(void);
void apic_init(void);
uint32_t apic_id(void);
void apic_end_of_interrupt(void);
void apic_send(uint32_t id, uint32_t command);
void apic_broadcast(uint32_t command);
void apic_broadcast_nmi(void);

void clock_calibrate(void); /* TSC and local APIC timer against the PIT, and the 10 ms that INIT wants */
void clock_begin(void);

void boot_info_read(uint32_t magic, uint32_t address);
void space_init_kernel(void); /* the real tables, loaded */
/* A stack with a guard page below it; returns its top. */
uint64_t make_stack(uint32_t pages);
bool in_stack_guard(uint64_t address);

void serial_interrupt(void);
extern uint8_t smap_on;
enum { FLAG_AC = 1 << 18 };
static inline uint64_t flags_here(void)
{
	uint64_t flags;
	__asm__ volatile("pushfq; popq %0" : "=r"(flags));
	return flags;
}

#endif
