/*
 * Every way into the kernel and out of it.
 *
 * A trap or interrupt from user mode pushes straight into the process's own register area (TSS.rsp0 points at its end),
 * a system call stores the registers that C would keep; both then run on the core's one kernel stack with the kernel
 * lock held and interrupts off, and leave through return_to_user, which restores whatever process is current by then.
 */
#include "asm_offsets.h"

	.text

/* Takes the kernel lock (core/lock.h: a ticket lock); clobbers ecx and flags. */
.macro TAKE_KERNEL_LOCK
	movl $1, %ecx
	lock xaddl %ecx, kernel_lock+4(%rip)
	cmpl %ecx, kernel_lock(%rip)
	jne 91f
90:
	.pushsection .text.slow, "ax"
91:	call lock_contended
	jmp 90b
	.popsection
.endm

/* The lock was taken: waits for the ticket in ecx with every argument of a system call kept. rsp is 16-byte aligned + 8. */
lock_contended:
	pushq %rax
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %r8
	pushq %r9
	pushq %r10
	movl %ecx, %edi
	call kernel_lock_contended
	popq %r10
	popq %r9
	popq %r8
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rax
	ret

.macro POP_REGISTERS
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rbp
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
.endm

	.globl syscall_entry
	.align 64
syscall_entry:
	swapgs
	movq %rsp, %gs:CPU_SCRATCH
	movq %gs:CPU_CURRENT, %rsp
	movq %rcx, REGS_RIP(%rsp)
	movq %r11, REGS_RFLAGS(%rsp)
	movq %rbx, REGS_RBX(%rsp)
	movq %rbp, REGS_RBP(%rsp)
	xorl %ebp, %ebp                                /* a backtrace ends here, not in user memory */
	movq %r12, REGS_R12(%rsp)
	movq %r13, REGS_R13(%rsp)
	movq %r14, REGS_R14(%rsp)
	movq %r15, REGS_R15(%rsp)
	movb $0, PROCESS_ENTERED_BY_TRAP(%rsp)
	movq %rsp, %rbx
	movq %gs:CPU_SCRATCH, %rcx
	movq %rcx, REGS_RSP(%rbx)
	movq %gs:CPU_KERNEL_STACK, %rsp
	TAKE_KERNEL_LOCK
	incq PROCESS_SYSCALLS(%rbx)
	cmpq syscall_table_entries(%rip), %rax
	jae bad_syscall
	sbbq %rcx, %rcx                                /* all ones if in range: no mispredicted branch gets past the table */
	andq %rcx, %rax
	movq %r10, %rcx
	callq *syscall_table(,%rax,8)
syscall_done:
	movq %rax, REGS_RAX(%rbx)
	movq %rdx, REGS_RDX(%rbx)
	cmpb $0, %gs:CPU_ATTENTION
	jne attend

	.globl return_to_user
return_to_user:
	movq %gs:CPU_CURRENT, %rbx
	incl kernel_lock(%rip)
	cmpb $0, PROCESS_ENTERED_BY_TRAP(%rbx)
	jne return_from_trap
	movq REGS_RIP(%rbx), %rcx
	movq REGS_RFLAGS(%rbx), %r11
	movq REGS_RAX(%rbx), %rax
	movq REGS_RDX(%rbx), %rdx
	movq REGS_RBP(%rbx), %rbp
	movq REGS_R12(%rbx), %r12
	movq REGS_R13(%rbx), %r13
	movq REGS_R14(%rbx), %r14
	movq REGS_R15(%rbx), %r15
	xorl %edi, %edi
	xorl %esi, %esi
	xorl %r8d, %r8d
	xorl %r9d, %r9d
	xorl %r10d, %r10d
	movq REGS_RSP(%rbx), %rsp
	movq REGS_RBX(%rbx), %rbx
	swapgs
	sysretq

attend:
	call schedule_attend
	jmp return_to_user

bad_syscall:
	movq %rax, %rdi
	call syscall_bad
	jmp syscall_done

return_from_trap:
	movq %rbx, %rsp
	POP_REGISTERS
	addq $16, %rsp
	swapgs
	iretq

.macro PUSH_REGISTERS
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %rbp
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	/* A user process may have set AC, which would switch SMAP off for the kernel. */
	cmpb $0, smap_on(%rip)
	je 92f
	clac
92:
.endm

trap_common:
	PUSH_REGISTERS
	testb $3, REGS_CS(%rsp)
	jz trap_in_kernel
	swapgs
	movq %rsp, %rbx
trap_of_process:
	movb $1, PROCESS_ENTERED_BY_TRAP(%rbx)
	movq %gs:CPU_KERNEL_STACK, %rsp
	TAKE_KERNEL_LOCK
	xorl %ebp, %ebp
	movq %rbx, %rdi
	call trap_from_user
	jmp return_to_user

/* The kernel takes interrupts only while idle, and exceptions only while it copies from or to a process. */
trap_in_kernel:
	movq %rsp, %rdi
	movq %rsp, %rbx
	andq $-16, %rsp
	call trap_from_kernel
	movq %rbx, %rsp
pop_and_return:
	POP_REGISTERS
	addq $16, %rsp
	iretq

/*
 * Debug exceptions have a stack of their own: with the trap flag set, one that was held back by a load of SS arrives on
 * the first instruction of syscall_entry, where rsp is still the user's. There the kernel's flags have the trap flag off
 * already, so going on is right. Anywhere else in the kernel it means that the flag was let in: fatal. One that comes from
 * user mode is moved to the process's register area.
 */
trap_debug:
	pushq $0
	pushq $1
	PUSH_REGISTERS
	testb $3, REGS_CS(%rsp)
	jnz 94f
	leaq syscall_entry(%rip), %rax
	cmpq %rax, REGS_RIP(%rsp)
	je pop_and_return
	jmp fatal
94:	swapgs
	movq %rsp, %rsi
	movq %gs:CPU_CURRENT, %rbx
	movq %rbx, %rdi
	movl $REGS_BYTES / 8, %ecx
	rep movsq
	jmp trap_of_process

/* NMI, double fault and machine check: own stacks, any moment, so GS is judged by its sign. They end in a panic or a halt. */
.macro FATAL_TRAP name, vector, has_error
\name:
	.if !\has_error
	pushq $0
	.endif
	pushq $\vector
	PUSH_REGISTERS
	jmp fatal
.endm

fatal:
	movl $0xc0000101, %ecx
	rdmsr
	testl %edx, %edx
	js 93f
	swapgs
93:	movq %rsp, %rdi
	call trap_fatal
	ud2

FATAL_TRAP trap_nmi, 2, 0
FATAL_TRAP trap_double_fault, 8, 1
FATAL_TRAP trap_machine_check, 18, 0

.macro STUB vector
	.align 16
stub_\vector:
	.if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30)
	pushq $0
	.endif
	pushq $\vector
	jmp trap_common
.endm

.macro STUB_ADDRESS vector
	.quad stub_\vector
.endm

.altmacro
.set i, 0
.rept 65
	STUB %i
	.set i, i + 1
.endr

	.section .rodata
	.align 8
	.globl trap_stubs
trap_stubs:
.set i, 0
.rept 65
	STUB_ADDRESS %i
	.set i, i + 1
.endr
	.globl trap_debug_entry, trap_nmi_entry, trap_double_fault_entry, trap_machine_check_entry
trap_debug_entry:
	.quad trap_debug
trap_nmi_entry:
	.quad trap_nmi
trap_double_fault_entry:
	.quad trap_double_fault
trap_machine_check_entry:
	.quad trap_machine_check

	.text
/* void arch_registers_here(struct arch_regs *): the caller's registers, for a panic that no trap brought about. */
	.globl arch_registers_here
arch_registers_here:
	movq %rax, REGS_RAX(%rdi)
	movq %rbx, REGS_RBX(%rdi)
	movq %rcx, REGS_RCX(%rdi)
	movq %rdx, REGS_RDX(%rdi)
	movq %rsi, REGS_RSI(%rdi)
	movq %rdi, REGS_RDI(%rdi)
	movq %rbp, REGS_RBP(%rdi)
	movq %r8, REGS_R8(%rdi)
	movq %r9, REGS_R9(%rdi)
	movq %r10, REGS_R10(%rdi)
	movq %r11, REGS_R11(%rdi)
	movq %r12, REGS_R12(%rdi)
	movq %r13, REGS_R13(%rdi)
	movq %r14, REGS_R14(%rdi)
	movq %r15, REGS_R15(%rdi)
	movq (%rsp), %rax
	movq %rax, REGS_RIP(%rdi)
	leaq 8(%rsp), %rax
	movq %rax, REGS_RSP(%rdi)
	pushfq
	popq REGS_RFLAGS(%rdi)
	movl %cs, %eax
	movq %rax, REGS_CS(%rdi)
	movl %ss, %eax
	movq %rax, REGS_SS(%rdi)
	ret

/*
 * bool user_copy(void *to, const void *from, size_t bytes): one side is the current process's memory. A fault on the way
 * makes it return false (trap_from_kernel sends it to user_copy_fault).
 */
	.globl user_copy, user_copy_begin, user_copy_end, user_copy_fault
user_copy:
	movq %rdx, %rcx
	cmpb $0, smap_on(%rip)
	je 1f
	stac
1:
user_copy_begin:
	rep movsb
user_copy_end:
	movl $1, %eax
2:	cmpb $0, smap_on(%rip)
	je 3f
	clac
3:	ret
user_copy_fault:
	xorl %eax, %eax
	jmp 2b
	.section .note.GNU-stack, "", @progbits
