/* Offsets and constants that assembly uses; traps.c asserts each against the C structures. */
#ifndef ASM_OFFSETS_H
#define ASM_OFFSETS_H

#define CPU_CURRENT 0
#define CPU_ATTENTION 8
#define CPU_KERNEL_STACK 16
#define CPU_EMERGENCY_STACK 24

#define REGS_X(n) (8 * (n))
#define REGS_X18 144
#define REGS_X29 232
#define REGS_SP 248
#define REGS_PC 256
#define REGS_PSTATE 264
#define REGS_ESR 272
#define REGS_FAR 280
#define REGS_ZERO 288
#define REGS_BYTES 304

#define PROCESS_ENTERED_BY_TRAP 304
#define PROCESS_SYSCALLS 312

/* Which of a process's registers its record holds. */
#define SAVED_PC_ONLY 0 /* in a system call that goes back at once */
#define SAVED_ALL 1
#define SAVED_AS_C_KEEPS 2

#define STATE_BYTES 544 /* q0 to q31, FPSR, FPCR, TPIDR_EL0 */

#define KERNEL_VIRTUAL 0xffffffff80000000
#define DIRECT_MAP 0xffff800000000000
#define DEVICE_WINDOW 0xffffff0000000000
#define STACK_WINDOW 0xffffff8000000000
#define TEXT_OFFSET 0x200000
#define STACK_SHIFT 14 /* a kernel stack is 2^14 bytes at a multiple of twice that: its addresses have this bit clear */

/* Memory attributes, by index in MAIR_EL1: Device-nGnRE, and normal memory, write-back. */
#define MAIR_VALUE 0xff04
#define ATTRIBUTE_DEVICE 0
#define ATTRIBUTE_NORMAL 1

/*
 * TCR_EL1 but IPS: 4 KiB pages; 47 bits of addresses for processes, so that one top table serves both halves; 48 for the
 * kernel; walks inner-shareable and write-back.
 */
#define TCR_VALUE                                                                                                      \
	((17 << 0) | (1 << 8) | (1 << 10) | (3 << 12) | (16 << 16) | (1 << 24) | (1 << 26) | (3 << 28) | (2 << 30))

/* SCTLR_EL1: what must be 1 in ARMv8.0, with SPAN still on, and the traps of EL0 that are switched off by a 1. */
#define SCTLR_OFF 0x30d00800
#define SCTLR_MMU (1 << 0)
#define SCTLR_DATA_CACHE (1 << 2)
#define SCTLR_STACK_CHECKS (3 << 3)
#define SCTLR_INSTRUCTION_CACHE (1 << 12)
#define SCTLR_WXN (1 << 19)
#define SCTLR_SPAN (1 << 23)
#define SCTLR_BOOT (SCTLR_OFF | SCTLR_MMU | SCTLR_DATA_CACHE | SCTLR_STACK_CHECKS | SCTLR_INSTRUCTION_CACHE)

/* ESR_EL1.EC */
#define CLASS_SVC 0x15

#endif
