/* What the files of arch/arm64 share among themselves. Nothing outside this folder includes it. */
#ifndef ARM64_MACHINE_H
#define ARM64_MACHINE_H

#include "asm_offsets.h"
#include "tree.h"
#include <kernel/arch.h>
#include <kernel/iommu.h>
#include <kernel/pci.h>

#define READ_SYSTEM(name)                                                                                              \
	({                                                                                                             \
		uint64_t value_;                                                                                       \
		__asm__ volatile("mrs %0, " #name : "=r"(value_));                                                     \
		value_;                                                                                                \
	})
#define WRITE_SYSTEM(name, value) __asm__ volatile("msr " #name ", %0" : : "r"((uint64_t)(value)) : "memory")

/*
 * Barriers where a device looks on (Arm ARM B2.3). Macros, so that each place has a line of its own in the debug
 * information, by which tests/arm64/barriers.py looks for the instruction.
 */
#define DMB(which) __asm__ volatile("dmb " #which ::: "memory")
#define DSB(which) __asm__ volatile("dsb " #which ::: "memory")

/* A field of four bits of an ID register; 0: not there. */
#define ID_FIELD(name, shift) (READ_SYSTEM(name) >> (shift)&15)

/* What brought the kernel to be entered: traps.S hands over these. */
enum trap { TRAP_SYNCHRONOUS = 0, TRAP_INTERRUPT = 1, TRAP_FATAL = 2, TRAP_STACK = 3 };

/* Interrupts that cores send each other (SGIs). */
enum { SGI_RESCHEDULE = 0, SGI_STOP = 1 };

extern struct machine machine; /* what the device tree said */

void boot_info_read(uint64_t tree);
/* The kernel's own view of a device, before there is memory for tables; bytes do not cross a multiple of 2 MiB. */
void *boot_map_device(uint64_t physical);

void space_init_kernel(void); /* the real tables, loaded */
void space_init_core(void);   /* loads them on another core */
uint64_t make_stack(void);    /* its top */

void gic_init(void);
void gic_init_core(struct cpu *cpu);
void gic_enable(uint32_t interrupt, bool edge); /* a shared one, to the first core */
void gic_ask_again(uint32_t interrupt);         /* a shared one, as if it had come once more */
void gic_send(const struct cpu *cpu, uint32_t sgi);
void gic_broadcast(uint32_t sgi);
/* The interrupt that this core has to serve, to be handed to gic_end afterwards; false: none. */
bool gic_next(uint32_t *taken, uint32_t *interrupt);
void gic_end(uint32_t taken);

/* Interrupts of messages (LPIs) have numbers from here on; kernel/iommu.h's slots are the first of them. */
enum { LPI_FIRST = 8192 };

/* its.c: what PCI functions write becomes interrupts. False: it can't. Functions are known by now. */
bool its_init(void);
uint64_t its_doorbell(void); /* physical: the page whose word at ITS_MESSAGE takes messages */
enum { ITS_MESSAGE = 0x40 };

void smmu_interrupt(void);

/* pci.c: whether each function has a number at that controller, and none has another's. Functions are known by now. */
bool pci_told_apart(const struct tree_id_map *map, uint32_t controller);

void clock_begin(void);
void clock_init_core(void);
void clock_interrupt(void);

void serial_interrupt(void);
void serial_map(void); /* from the boot tables' view to the kernel's */

int64_t psci(uint32_t function, uint64_t a, uint64_t b, uint64_t c);

void random_seed(const uint8_t *bytes, uint32_t count);
bool random_ready(void);

uint64_t image_physical(const void *address);
extern uint64_t image_start; /* where the loader put the image */

/* hil/arm64.c, in HIL builds only. */
void hil_init_core(void) __attribute__((weak));

#endif
