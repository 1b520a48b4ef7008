/*
 * Every way into the kernel and out of it.
 *
 * While a process runs, SP_EL1 points at its record, whose first field is its registers: an exception stores there and
 * then takes the core's one kernel stack. A system call that goes back at once leaves everything that C keeps where it is
 * and stores only the program counter, flags, x29 and x30; what else a process needs to go on later is stored by the
 * calls that may block (blocking_*) and on the way through the scheduler (attend). All run with the kernel lock held and
 * interrupts off, and leave through return_to_user, which restores whatever process is current by then.
 */
#include "asm_offsets.h"

	.text

/* Takes the kernel lock (kernel/lock.h: a ticket lock); clobbers x9 to x11, x16, x17 and, if it has to wait, x12 to x15. */
.macro TAKE_KERNEL_LOCK
	adr x16, kernel_lock
	add x9, x16, #4
90:	ldxr w17, [x9]                          /* next */
	add w10, w17, #1
	stxr w11, w10, [x9]
	cbnz w11, 90b
	ldar w10, [x16]                         /* owner */
	cmp w10, w17
	b.ne 91f
92:
	.pushsection .text.slow, "ax"
91:	bl lock_contended
	b 92b
	.popsection
.endm

/* The holder alone writes `owner`. Clobbers x8 and x16. */
.macro RELEASE_KERNEL_LOCK
	adr x16, kernel_lock
	ldr w8, [x16]
	add w8, w8, #1
	stlr w8, [x16]
.endm

/* The lock was taken: waits for the ticket in w17 with every argument of a system call kept. */
	.type lock_contended, %function
lock_contended:
	stp x29, x30, [sp, #-96]!
	mov x29, xzr
	stp x0, x1, [sp, #16]
	stp x2, x3, [sp, #32]
	stp x4, x5, [sp, #48]
	stp x8, x19, [sp, #64]
	mov w0, w17
	bl kernel_lock_contended
	ldp x0, x1, [sp, #16]
	ldp x2, x3, [sp, #32]
	ldp x4, x5, [sp, #48]
	ldp x8, x19, [sp, #64]
	ldp x29, x30, [sp], #96
	ret

/* Registers that C keeps, x29 and x30 apart, into the record at `to`; clobbers w8. */
.macro SAVE_KEPT to
	mrs x8, sp_el0
	str x18, [\to, #REGS_X18]
	stp x19, x20, [\to, #REGS_X(19)]
	stp x21, x22, [\to, #REGS_X(21)]
	stp x23, x24, [\to, #REGS_X(23)]
	stp x25, x26, [\to, #REGS_X(25)]
	stp x27, x28, [\to, #REGS_X(27)]
	str x8, [\to, #REGS_SP]
	mov w8, #SAVED_AS_C_KEEPS
	strb w8, [\to, #PROCESS_ENTERED_BY_TRAP]
.endm

/* The registers that a call destroys. sp points at a process's record. */
.macro LOAD_ZEROS
	ldp x2, x3, [sp, #REGS_ZERO]
	ldp x4, x5, [sp, #REGS_ZERO]
	ldp x6, x7, [sp, #REGS_ZERO]
	ldp x8, x9, [sp, #REGS_ZERO]
	ldp x10, x11, [sp, #REGS_ZERO]
	ldp x12, x13, [sp, #REGS_ZERO]
	ldp x14, x15, [sp, #REGS_ZERO]
	ldp x16, x17, [sp, #REGS_ZERO]
.endm

/* x0 to x28 to where sp points. */
.macro STORE_REGISTERS
	stp x0, x1, [sp, #REGS_X(0)]
	stp x2, x3, [sp, #REGS_X(2)]
	stp x4, x5, [sp, #REGS_X(4)]
	stp x6, x7, [sp, #REGS_X(6)]
	stp x8, x9, [sp, #REGS_X(8)]
	stp x10, x11, [sp, #REGS_X(10)]
	stp x12, x13, [sp, #REGS_X(12)]
	stp x14, x15, [sp, #REGS_X(14)]
	stp x16, x17, [sp, #REGS_X(16)]
	stp x18, x19, [sp, #REGS_X(18)]
	stp x20, x21, [sp, #REGS_X(20)]
	stp x22, x23, [sp, #REGS_X(22)]
	stp x24, x25, [sp, #REGS_X(24)]
	stp x26, x27, [sp, #REGS_X(26)]
	str x28, [sp, #REGS_X(28)]
.endm

/* All of them, x29 and x30 too. */
.macro LOAD_REGISTERS
	ldp x0, x1, [sp, #REGS_X(0)]
	ldp x2, x3, [sp, #REGS_X(2)]
	ldp x4, x5, [sp, #REGS_X(4)]
	ldp x6, x7, [sp, #REGS_X(6)]
	ldp x8, x9, [sp, #REGS_X(8)]
	ldp x10, x11, [sp, #REGS_X(10)]
	ldp x12, x13, [sp, #REGS_X(12)]
	ldp x14, x15, [sp, #REGS_X(14)]
	ldp x16, x17, [sp, #REGS_X(16)]
	ldp x18, x19, [sp, #REGS_X(18)]
	ldp x20, x21, [sp, #REGS_X(20)]
	ldp x22, x23, [sp, #REGS_X(22)]
	ldp x24, x25, [sp, #REGS_X(24)]
	ldp x26, x27, [sp, #REGS_X(26)]
	ldp x28, x29, [sp, #REGS_X(28)]
	ldr x30, [sp, #REGS_X(30)]
.endm

/* sp points at the record of the process; x29 and x30 are in it. */
	.globl syscall_entry
	.type syscall_entry, %function
	.balign 64
syscall_entry:
	mrs x29, elr_el1
	mrs x30, spsr_el1
	stp x29, x30, [sp, #REGS_PC]
	ldr x29, [sp, #PROCESS_SYSCALLS]
	strb wzr, [sp, #PROCESS_ENTERED_BY_TRAP] /* SAVED_PC_ONLY */
	add x29, x29, #1
	str x29, [sp, #PROCESS_SYSCALLS]
	mrs x16, tpidr_el1
	ldr x16, [x16, #CPU_KERNEL_STACK]
	mov sp, x16
	TAKE_KERNEL_LOCK
	mov x29, xzr                            /* a backtrace ends here, not in user memory */
	adr x16, syscall_table_entries
	ldr x16, [x16]
	cmp x8, x16
	b.hs bad_syscall
	csel x8, x8, xzr, lo                    /* 0 on a mispredicted path: no branch gets past the table */
	hint #20                                /* CSDB */
	adr x16, syscall_table
	ldr x16, [x16, x8, lsl #3]
	blr x16
syscall_done:
	mrs x16, tpidr_el1
	ldp x17, x8, [x16, #CPU_CURRENT]        /* and the core's attention */
	cbnz x8, attend
	RELEASE_KERNEL_LOCK
	mov sp, x17
	ldp x29, x30, [sp, #REGS_PC]
	msr elr_el1, x29
	msr spsr_el1, x30
	ldp x29, x30, [sp, #REGS_X29]
	LOAD_ZEROS
	eret

/* The results and what C keeps are still in their registers. */
attend:
	stp x0, x1, [x17, #REGS_X(0)]
	SAVE_KEPT x17
	bl schedule_attend
	b return_to_user

bad_syscall:
	mov x0, x8
	bl syscall_bad
	b syscall_done

/* Calls that may give up the core: kernel/core/syscall.c names them. */
.macro BLOCKING call
	.globl blocking_\call
	.type blocking_\call, %function
blocking_\call:
	mrs x16, tpidr_el1
	ldr x16, [x16, #CPU_CURRENT]
	SAVE_KEPT x16
	b \call
.endm
	BLOCKING sys_yield
	BLOCKING sys_wait
	BLOCKING sys_notify_and_wait
	BLOCKING sys_device_wait

	.globl return_to_user
	.type return_to_user, %function
return_to_user:
	mrs x16, tpidr_el1
	ldr x17, [x16, #CPU_CURRENT]
	ldrb w9, [x17, #PROCESS_ENTERED_BY_TRAP]
	cbz w9, not_saved
	RELEASE_KERNEL_LOCK
	mov sp, x17
	ldp x10, x11, [sp, #REGS_PC]
	ldr x12, [sp, #REGS_SP]
	msr elr_el1, x10
	msr spsr_el1, x11
	msr sp_el0, x12
	tbnz w9, #0, return_from_trap           /* SAVED_ALL */
	ldp x0, x1, [sp, #REGS_X(0)]
	ldp x18, x19, [sp, #REGS_X(18)]
	ldp x20, x21, [sp, #REGS_X(20)]
	ldp x22, x23, [sp, #REGS_X(22)]
	ldp x24, x25, [sp, #REGS_X(24)]
	ldp x26, x27, [sp, #REGS_X(26)]
	ldp x28, x29, [sp, #REGS_X(28)]
	ldr x30, [sp, #REGS_X(30)]
	LOAD_ZEROS
	eret

return_from_trap:
	LOAD_REGISTERS
	eret

not_saved:
	bl trap_not_saved

/* An exception or interrupt of the process whose record sp points at; x29 and x30 are in it. w29: what it is. */
	.type trap_of_process, %function
trap_of_process:
	STORE_REGISTERS
	mov x19, sp
	mov w20, w29
	mrs x0, sp_el0
	mrs x1, elr_el1
	mrs x2, spsr_el1
	mrs x3, esr_el1
	mrs x4, far_el1
	str x0, [x19, #REGS_SP]
	stp x1, x2, [x19, #REGS_PC]
	stp x3, x4, [x19, #REGS_ESR]
	mov w0, #SAVED_ALL
	strb w0, [x19, #PROCESS_ENTERED_BY_TRAP]
	mrs x0, tpidr_el1
	ldr x0, [x0, #CPU_KERNEL_STACK]
	mov sp, x0
	TAKE_KERNEL_LOCK
	mov x29, xzr
	mov x0, x19
	mov w1, w20
	bl trap_from_user
	b return_to_user

/* Of the kernel itself: on its own stack, below the registers that it was interrupted with. w29 as above. */
	.type trap_in_kernel, %function
trap_in_kernel:
	STORE_REGISTERS
	add x0, sp, #REGS_BYTES
	mrs x1, elr_el1
	mrs x2, spsr_el1
	mrs x3, esr_el1
	mrs x4, far_el1
	str x0, [sp, #REGS_SP]
	stp x1, x2, [sp, #REGS_PC]
	stp x3, x4, [sp, #REGS_ESR]
	mov w1, w29
	mov x29, xzr
	mov x0, sp
	bl trap_from_kernel
	ldp x1, x2, [sp, #REGS_PC]
	msr elr_el1, x1
	msr spsr_el1, x2
	LOAD_REGISTERS
	add sp, sp, #REGS_BYTES
	eret

/* The stack's guard page is near: sp, which can't be used, is in x0, whose own value is in TPIDRRO_EL0. */
	.type stack_overflow, %function
stack_overflow:
	mrs x0, tpidr_el1
	ldr x0, [x0, #CPU_EMERGENCY_STACK]
	mov sp, x0
	mrs x0, tpidrro_el0
	sub sp, sp, #REGS_BYTES
	stp x29, x30, [sp, #REGS_X29]
	mov w29, #3                             /* TRAP_STACK */
	b trap_in_kernel

/* Kinds of traps are enum trap of machine.h. */
.macro FROM_PROCESS kind
	.balign 128
	stp x29, x30, [sp, #REGS_X29]
	mov w29, #\kind
	b trap_of_process
.endm

.macro FROM_KERNEL kind
	.balign 128
	/* Is there a stack? Addresses of one have bit STACK_SHIFT clear. No register is free to look with, so sp itself is. */
	sub sp, sp, #REGS_BYTES
	add sp, sp, x0
	sub x0, sp, x0
	tbnz x0, #STACK_SHIFT, 1f
	sub x0, sp, x0
	sub sp, sp, x0
	stp x29, x30, [sp, #REGS_X29]
	mov w29, #\kind
	b trap_in_kernel
1:	sub x0, sp, x0
	msr tpidrro_el0, x0
	b stack_overflow
.endm

	.globl vectors
	.balign 2048
vectors:
	/* This level with SP_EL0: never. */
	FROM_KERNEL 2
	FROM_KERNEL 2
	FROM_KERNEL 2
	FROM_KERNEL 2
	/* This level: synchronous, IRQ, FIQ, SError. */
	FROM_KERNEL 0
	FROM_KERNEL 1
	FROM_KERNEL 2
	FROM_KERNEL 2
	/* EL0. */
	.balign 128
	stp x29, x30, [sp, #REGS_X29]
	mrs x30, esr_el1
	lsr w30, w30, #26
	cmp w30, #CLASS_SVC
	b.eq syscall_entry
	mov w29, #0
	b trap_of_process
	FROM_PROCESS 1
	FROM_PROCESS 2
	FROM_PROCESS 2
	/* EL0 in 32-bit state: no process is ever started in it. */
	FROM_PROCESS 2
	FROM_PROCESS 2
	FROM_PROCESS 2
	FROM_PROCESS 2
	.balign 128

/* void arch_registers_here(struct arch_regs *): the caller's registers, for a panic that no trap brought about. */
	.globl arch_registers_here
	.type arch_registers_here, %function
arch_registers_here:
	stp x0, x1, [x0, #REGS_X(0)]
	stp x2, x3, [x0, #REGS_X(2)]
	stp x4, x5, [x0, #REGS_X(4)]
	stp x6, x7, [x0, #REGS_X(6)]
	stp x8, x9, [x0, #REGS_X(8)]
	stp x10, x11, [x0, #REGS_X(10)]
	stp x12, x13, [x0, #REGS_X(12)]
	stp x14, x15, [x0, #REGS_X(14)]
	stp x16, x17, [x0, #REGS_X(16)]
	stp x18, x19, [x0, #REGS_X(18)]
	stp x20, x21, [x0, #REGS_X(20)]
	stp x22, x23, [x0, #REGS_X(22)]
	stp x24, x25, [x0, #REGS_X(24)]
	stp x26, x27, [x0, #REGS_X(26)]
	stp x28, x29, [x0, #REGS_X(28)]
	str x30, [x0, #REGS_X(30)]
	mov x1, sp
	mrs x2, daif
	str x1, [x0, #REGS_SP]
	stp x30, x2, [x0, #REGS_PC]
	stp xzr, xzr, [x0, #REGS_ESR]
	ret

/* _Noreturn void stack_resume(uint64_t stack) and stack_call(uint64_t stack, void (*)(void)): arch.h's, from core.c. */
	.globl stack_resume, stack_call
	.type stack_resume, %function
stack_resume:
	mov sp, x0
	mov x29, xzr
	b return_to_user
	.type stack_call, %function
stack_call:
	mov sp, x0
	mov x29, xzr
	mov x30, xzr
	br x1

/*
 * bool user_copy(void *to, const void *from, size_t bytes): one side is the current process's memory, and is accessed
 * with its rights and no more (LDTR and STTR), so that PAN stays on. A fault on the way makes it return false
 * (trap_from_kernel sends it to user_copy_fault).
 */
	.globl user_copy, user_copy_begin, user_copy_end, user_copy_fault
	.type user_copy, %function
user_copy:
user_copy_begin:
	tbz x0, #63, 4f
1:	subs x2, x2, #16                        /* from the process */
	b.lo 2f
	ldtr x3, [x1]
	ldtr x4, [x1, #8]
	stp x3, x4, [x0], #16
	add x1, x1, #16
	b 1b
2:	adds x2, x2, #16
	b.eq 7f
3:	ldtrb w3, [x1]
	add x1, x1, #1
	strb w3, [x0], #1
	subs x2, x2, #1
	b.ne 3b
	b 7f
4:	subs x2, x2, #16                        /* to the process */
	b.lo 5f
	ldp x3, x4, [x1], #16
	sttr x3, [x0]
	sttr x4, [x0, #8]
	add x0, x0, #16
	b 4b
5:	adds x2, x2, #16
	b.eq 7f
6:	ldrb w3, [x1], #1
	sttrb w3, [x0]
	add x0, x0, #1
	subs x2, x2, #1
	b.ne 6b
user_copy_end:
7:	mov w0, #1
	ret
user_copy_fault:
	mov w0, #0
	ret

/* void arch_save_state(void *to), void arch_restore_state(const void *from): STATE_BYTES. The kernel itself uses none. */
	.globl arch_save_state, arch_restore_state
	.type arch_save_state, %function
arch_save_state:
	stp q0, q1, [x0, #0]
	stp q2, q3, [x0, #32]
	stp q4, q5, [x0, #64]
	stp q6, q7, [x0, #96]
	stp q8, q9, [x0, #128]
	stp q10, q11, [x0, #160]
	stp q12, q13, [x0, #192]
	stp q14, q15, [x0, #224]
	stp q16, q17, [x0, #256]
	stp q18, q19, [x0, #288]
	stp q20, q21, [x0, #320]
	stp q22, q23, [x0, #352]
	stp q24, q25, [x0, #384]
	stp q26, q27, [x0, #416]
	stp q28, q29, [x0, #448]
	stp q30, q31, [x0, #480]
	mrs x1, fpsr
	mrs x2, fpcr
	mrs x3, tpidr_el0
	add x0, x0, #512
	stp x1, x2, [x0]
	str x3, [x0, #16]
	ret
	.type arch_restore_state, %function
arch_restore_state:
	ldp q0, q1, [x0, #0]
	ldp q2, q3, [x0, #32]
	ldp q4, q5, [x0, #64]
	ldp q6, q7, [x0, #96]
	ldp q8, q9, [x0, #128]
	ldp q10, q11, [x0, #160]
	ldp q12, q13, [x0, #192]
	ldp q14, q15, [x0, #224]
	ldp q16, q17, [x0, #256]
	ldp q18, q19, [x0, #288]
	ldp q20, q21, [x0, #320]
	ldp q22, q23, [x0, #352]
	ldp q24, q25, [x0, #384]
	ldp q26, q27, [x0, #416]
	ldp q28, q29, [x0, #448]
	ldp q30, q31, [x0, #480]
	add x0, x0, #512
	ldp x1, x2, [x0]
	ldr x3, [x0, #16]
	msr fpsr, x1
	msr fpcr, x2
	msr tpidr_el0, x3
	ret
	.section .note.GNU-stack, "", %progbits
