/* Offsets that assembly uses; traps.c and process.c assert each against the C structures. */
#ifndef ASM_OFFSETS_H
#define ASM_OFFSETS_H

#define CPU_CURRENT 0
#define CPU_KERNEL_STACK 8
#define CPU_SCRATCH 16
#define CPU_ATTENTION 24
#define CPU_SELF 32

#define REGS_R15 0
#define REGS_R14 8
#define REGS_R13 16
#define REGS_R12 24
#define REGS_R11 32
#define REGS_R10 40
#define REGS_R9 48
#define REGS_R8 56
#define REGS_RBP 64
#define REGS_RDI 72
#define REGS_RSI 80
#define REGS_RDX 88
#define REGS_RCX 96
#define REGS_RBX 104
#define REGS_RAX 112
#define REGS_VECTOR 120
#define REGS_RIP 136
#define REGS_CS 144
#define REGS_RFLAGS 152
#define REGS_RSP 160
#define REGS_SS 168
#define REGS_BYTES 176

#define PROCESS_ENTERED_BY_TRAP 176
#define PROCESS_SYSCALLS 184

#define SELECTOR_KERNEL_CODE 0x08
#define SELECTOR_KERNEL_DATA 0x10
#define SELECTOR_USER_DATA 0x1b
#define SELECTOR_USER_CODE 0x23
#define SELECTOR_TSS 0x28

#define KERNEL_VIRTUAL 0xffffffff80000000
#define DIRECT_MAP 0xffff800000000000
#define AP_TRAMPOLINE 0x8000

#endif
