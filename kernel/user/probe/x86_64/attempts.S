/*
 * One attempt each, for PROBE_EXECUTE: what user mode must not have, or may have without harm. The first word of a name
 * behind attempt_ is how it must end (enum keuos_exit_reason, or survives); the host finds them by that.
 */
	.section .text.attempts, "axR", @progbits
	.globl probe_attempts_begin
probe_attempts_begin:

/* An attempt that comes here found something else than it must. */
probe_attempt_failed:
	ud2

.macro ATTEMPT name
	.globl attempt_\name
	.type attempt_\name, @function
attempt_\name:
.endm

ATTEMPT illegal_sysenter
	sysenter
	ret

ATTEMPT illegal_sysexit
	sysexit
	ret

ATTEMPT illegal_sysretl
	.byte 0x0f, 0x07
	ret

ATTEMPT illegal_read_fs_base
	.byte 0xf3, 0x48, 0x0f, 0xae, 0xc0
	ret

ATTEMPT illegal_write_fs_base
	.byte 0xf3, 0x48, 0x0f, 0xae, 0xd0
	ret

ATTEMPT illegal_read_gs_base
	.byte 0xf3, 0x48, 0x0f, 0xae, 0xc8
	ret

ATTEMPT illegal_write_gs_base
	.byte 0xf3, 0x48, 0x0f, 0xae, 0xd8
	ret

ATTEMPT illegal_xsetbv
	xorl %ecx, %ecx
	movl $7, %eax
	xorl %edx, %edx
	xsetbv
	ret

ATTEMPT illegal_invd
	invd
	ret

ATTEMPT illegal_wbinvd
	wbinvd
	ret

ATTEMPT illegal_clts
	clts
	ret

ATTEMPT illegal_lmsw
	xorl %eax, %eax
	lmsw %ax
	ret

ATTEMPT illegal_lldt
	xorl %eax, %eax
	lldt %ax
	ret

ATTEMPT illegal_ltr
	movl $0x28, %eax
	ltr %ax
	ret

ATTEMPT illegal_write_cr8
	xorl %eax, %eax
	movq %rax, %cr8
	ret

ATTEMPT illegal_write_cr4
	xorl %eax, %eax
	movq %rax, %cr4
	ret

ATTEMPT illegal_write_cr0
	xorl %eax, %eax
	movq %rax, %cr0
	ret

ATTEMPT illegal_read_cr2
	movq %cr2, %rax
	ret

ATTEMPT illegal_read_cr3
	movq %cr3, %rax
	ret

ATTEMPT illegal_read_dr0
	movq %dr0, %rax
	ret

ATTEMPT illegal_write_dr0
	leaq probe_attempts_begin(%rip), %rax
	movq %rax, %dr0
	ret

ATTEMPT illegal_write_dr7
	movl $0x401, %eax
	movq %rax, %dr7
	ret

ATTEMPT illegal_read_dr6
	movq %dr6, %rax
	ret

ATTEMPT illegal_rsm
	rsm
	ret

ATTEMPT illegal_vmcall
	vmcall
	ret

ATTEMPT illegal_vmmcall
	vmmcall
	ret

ATTEMPT illegal_vmrun
	vmrun %rax
	ret

ATTEMPT illegal_stgi
	stgi
	ret

ATTEMPT illegal_monitor
	monitor
	ret

ATTEMPT illegal_mwait
	mwait
	ret

ATTEMPT illegal_clac
	clac
	ret

ATTEMPT illegal_stac
	stac
	ret

ATTEMPT illegal_invpcid
	invpcid (%rsp), %rax
	ret

ATTEMPT illegal_into
	.byte 0xce
	ret

ATTEMPT illegal_daa
	.byte 0x27
	ret

ATTEMPT illegal_push_segment
	.byte 0x06
	ret

ATTEMPT illegal_far_jump_immediate
	.byte 0xea, 0, 0, 0, 0, 8, 0
	ret

ATTEMPT illegal_far_call_immediate
	.byte 0x9a, 0, 0, 0, 0, 8, 0
	ret

ATTEMPT illegal_string_in
	movl $0x3f8, %edx
	leaq -64(%rsp), %rdi
	insb
	ret

ATTEMPT illegal_string_out
	movl $0xcf9, %edx
	movq %rsp, %rsi
	outsb
	ret

ATTEMPT illegal_in_pit
	inb $0x40, %al
	ret

ATTEMPT illegal_out_pci
	movl $0xcf8, %edx
	xorl %eax, %eax
	outl %eax, %dx
	ret

ATTEMPT illegal_out_reset
	movl $0xcf9, %edx
	movb $6, %al
	outb %al, %dx
	ret

ATTEMPT illegal_write_efer
	movl $0xc0000080, %ecx
	xorl %eax, %eax
	xorl %edx, %edx
	wrmsr
	ret

ATTEMPT illegal_write_gs_msr
	movl $0xc0000101, %ecx
	xorl %eax, %eax
	xorl %edx, %edx
	wrmsr
	ret

ATTEMPT illegal_read_sysenter
	movl $0x176, %ecx
	rdmsr
	ret

ATTEMPT illegal_cli_after_asking_for_the_port_level
	pushfq
	orq $0x3000, (%rsp)
	popfq
	cli
	ret

ATTEMPT illegal_load_cs
	.byte 0x8e, 0xc8
	ret

ATTEMPT illegal_lock_on_a_register
	.byte 0xf0, 0x01, 0xc0
	ret

ATTEMPT illegal_too_long
	.byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
	ret

ATTEMPT illegal_return_to_non_canonical
	movabsq $0x0000800000000000, %rax
	pushq %rax
	ret
	ret

ATTEMPT illegal_return_above_non_canonical
	movabsq $0xffff7fffffffffff, %rax
	pushq %rax
	ret
	ret

ATTEMPT illegal_jump_to_non_canonical
	movabsq $0x8000000000000000, %rax
	jmp *%rax
	ret

ATTEMPT illegal_iret_to_non_canonical
	movq %rsp, %rax
	pushq $0x1b
	pushq %rax
	pushq $0x202
	pushq $0x23
	movabsq $0x0000800000000000, %rax
	pushq %rax
	iretq
	ret

ATTEMPT illegal_iret_to_the_kernels_code
	movq %rsp, %rax
	pushq $0x10
	pushq %rax
	pushq $2
	pushq $8
	leaq 1f(%rip), %rax
	pushq %rax
	iretq
1:
	ret

ATTEMPT illegal_iret_to_no_stack_segment
	movq %rsp, %rax
	pushq $0
	pushq %rax
	pushq $0x202
	pushq $0x23
	leaq 1f(%rip), %rax
	pushq %rax
	iretq
1:
	ret

ATTEMPT illegal_iret_with_nested_task
	pushfq
	orq $0x4000, (%rsp)
	popfq
	movq %rsp, %rax
	pushq $0x1b
	pushq %rax
	pushq $0x202
	pushq $0x23
	leaq 1f(%rip), %rax
	pushq %rax
	iretq
1:
	ret

ATTEMPT illegal_far_return_to_the_kernels_code
	pushq $8
	leaq 1f(%rip), %rax
	pushq %rax
	lretq
1:
	ret

ATTEMPT illegal_push_on_a_non_canonical_stack
	movabsq $0x0000800000000010, %rsp
	pushq %rax
	ret

ATTEMPT illegal_undefined_on_no_stack
	xorl %esp, %esp
	ud2
	ret

ATTEMPT illegal_undefined_on_a_non_canonical_stack
	movabsq $0x0000800000000008, %rsp
	ud2
	ret

ATTEMPT illegal_undefined_on_the_kernels_stack
	movabsq $0xffffffff80200000, %rsp
	ud2
	ret

ATTEMPT illegal_restore_of_a_bad_state
	subq $1024, %rsp
	andq $-64, %rsp
	movq %rsp, %rdi
	movl $128, %ecx
	movq $-1, %rax
	cld
	rep stosq
	movl $7, %eax
	xorl %edx, %edx
	xrstor64 (%rsp)
	ret

/* Software interrupts: the exceptions, those that the kernel or the machine uses, and some that nobody does. */
.irp vector, 0,1,2,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,62,63,64,128,254,255
ATTEMPT illegal_interrupt_\vector
	.byte 0xcd, \vector
	ret
.endr

/* Every descriptor of the global table and of a local one, at other privileges: user mode loads its own two, or none. */
.macro LOAD ending, register, selector
ATTEMPT \ending\()_load_\selector\()_into_\register
	movl $\selector, %eax
	movl %eax, %\register
	ret
.endm
.irp register, ds, gs, ss
.irp selector, 0x04,0x07,0x08,0x0b,0x0f,0x10,0x13,0x28,0x2b,0x33,0x3b
	LOAD illegal, \register, \selector
.endr
.endr
.irp selector, 0x00,0x03,0x18,0x20,0x23
	LOAD illegal, ss, \selector
.endr

/* Selectors of a local descriptor table above all: a gate there would lead into the kernel. */
.irp selector, 0x07,0x0f,0x8007,0xffff,0x03,0x08,0x0b,0x28,0x30,0x38,0x40
ATTEMPT illegal_far_call_through_\selector
	lcall *1f(%rip)
	ret
1:	.long 0                                        /* a gate's own address goes unused */
	.short \selector
.endr

ATTEMPT illegal_misaligned_store_of_a_vector
	leaq -40(%rsp), %rax
	andq $-16, %rax
	movaps %xmm0, 8(%rax)
	ret

ATTEMPT fault_execute_call_of_the_vsyscall_page
	movq $0xffffffffff600000, %rax
	call *%rax
	ret

ATTEMPT fault_execute_jump_into_the_kernels_entry
	movabsq $0xffffffff80100000, %rax
	jmp *%rax
	ret

ATTEMPT fault_write_push_on_the_kernels_stack
	movabsq $0xffffffff80200000, %rsp
	pushq %rax
	ret

ATTEMPT fault_write_push_on_no_stack
	movl $8, %esp
	pushq %rax
	ret

ATTEMPT fault_write_flush_of_a_kernel_line_by_writing
	movabsq $0xffffffff80200000, %rax
	lock incq (%rax)
	ret

ATTEMPT fault_read_prefetched_and_read
	movabsq $0xffff800000000000, %rax
	prefetcht0 (%rax)
	movq (%rax), %rax
	ret

ATTEMPT arithmetic_divide_on_no_stack
	xorl %esp, %esp
	xorl %ecx, %ecx
	divl %ecx
	ret

ATTEMPT arithmetic_divide_by_zero
	movl $1, %eax
	xorl %edx, %edx
	xorl %ecx, %ecx
	divq %rcx
	ret

ATTEMPT arithmetic_divide_overflow
	movl $1, %edx
	movl $1, %ecx
	divl %ecx
	ret

/* The division leaves the exception pending: the next x87 instruction that waits reports it. */
.macro X87_DIVIDE
	fldcw probe_x87_control(%rip)
	fld1
	fdivs probe_x87_zero(%rip)
.endm
probe_x87_zero:
	.long 0
probe_x87_control:
	.short 0x37b                                   /* all exceptions masked but the division by zero */
ATTEMPT arithmetic_x87_divide_unmasked
	X87_DIVIDE
	fwait
	ret

/* Both restore the control word, so that a machine on which nothing is raised goes on as it was. */
ATTEMPT arithmetic_simd_divide_unmasked
	subq $8, %rsp
	stmxcsr (%rsp)
	movl $0x1d80, 4(%rsp)                          /* division by zero unmasked */
	ldmxcsr 4(%rsp)
	pxor %xmm0, %xmm0
	movl $1, %eax
	cvtsi2sd %eax, %xmm1
	divsd %xmm0, %xmm1
	ldmxcsr (%rsp)
	addq $8, %rsp
	ret

ATTEMPT illegal_mxcsr_reserved_bits
	subq $8, %rsp
	stmxcsr (%rsp)
	movl $0x80001f80, 4(%rsp)
	ldmxcsr 4(%rsp)
	ldmxcsr (%rsp)
	addq $8, %rsp
	ret

ATTEMPT debug_software_interrupt_of_the_breakpoint
	.byte 0xcd, 3
	ret

/* The trap comes behind the instruction that follows popfq. */
ATTEMPT debug_trap_flag
	pushfq
	orq $0x100, (%rsp)
	popfq
	nop
	nop
	ret

ATTEMPT debug_trap_flag_over_a_system_call
	pushfq
	orq $0x100, (%rsp)
	xorl %eax, %eax
	popfq
	syscall
	nop
	nop
	ret

ATTEMPT debug_trap_flag_held_back_to_a_system_call
	movl %ss, %ecx
	pushfq
	orq $0x100, (%rsp)
	xorl %eax, %eax
	popfq
	movl %ecx, %ss
	syscall
	nop
	nop
	ret

ATTEMPT debug_trap_flag_by_iret
	movq %rsp, %rax
	pushq $0x1b
	pushq %rax
	pushq $0x302
	pushq $0x23
	leaq 1f(%rip), %rax
	pushq %rax
	iretq
1:	nop
	nop
	ret

ATTEMPT debug_breakpoint_on_no_stack
	xorl %esp, %esp
	int3
	ret

ATTEMPT survives_null_segments
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	movl %eax, %gs
	syscall
	ret

ATTEMPT survives_user_segments
	movl $0x1b, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %fs
	movl %eax, %gs
	movl %eax, %ss
	xorl %eax, %eax
	syscall
	ret

ATTEMPT survives_iret_to_itself
	movq %rsp, %rax
	pushq $0x1b
	pushq %rax
	pushq $0x202
	pushq $0x23
	leaq 1f(%rip), %rax
	pushq %rax
	iretq
1:
	ret

ATTEMPT survives_iret_that_asks_for_the_port_level
	movq %rsp, %rax
	pushq $0x1b
	pushq %rax
	pushq $0x3202
	pushq $0x23
	leaq 1f(%rip), %rax
	pushq %rax
	iretq
1:	pushfq
	popq %rax
	testl $0x3000, %eax
	jnz probe_attempt_failed
	ret

ATTEMPT survives_interrupts_stay_on
	pushfq
	andq $-0x201, (%rsp)
	popfq
	pushfq
	popq %rax
	testl $0x200, %eax
	jz probe_attempt_failed
	ret

/* Flags that a process may set stay with it over preemption and over system calls, and nowhere else. */
ATTEMPT survives_flags_over_preemption
	pushq %rbx
	pushfq
	orq $0x244400, (%rsp)                          /* ID, AC, NT, DF */
	popfq
	movl $20000000, %ebx
1:	decl %ebx
	jnz 1b
	pushfq
	popq %rbx
	xorl %eax, %eax
	syscall
	pushfq
	popq %rdx
	pushq $2
	popfq
	xorl %ebx, %edx
	testl $0x247700, %edx
	jnz probe_attempt_failed
	andl $0x4400, %ebx
	cmpl $0x4400, %ebx
	jne probe_attempt_failed
	popq %rbx
	ret

/* The kernel clears what it must not inherit: direction, nested task, alignment check. */
.irp flags, 0x400,0x4000,0x40000,0x44400
ATTEMPT survives_flags_\flags\()_over_a_system_call
	pushfq
	orq $\flags, (%rsp)
	popfq
	xorl %eax, %eax
	syscall
	pushq $2                                       /* compiled code counts on clear flags, direction above all */
	popfq
	ret
.endr

.irp selector, 0x00,0x03,0x18,0x1b,0x20,0x23
	LOAD survives, ds, \selector
	LOAD survives, gs, \selector
.endr
	LOAD survives, ss, 0x1b

/* A process that has not touched them finds control words as the ABI says, and empty x87 registers. */
ATTEMPT survives_fresh_control_words
	subq $40, %rsp
	fnstenv (%rsp)
	cmpw $0x37f, (%rsp)
	jne probe_attempt_failed
	cmpw $0, 4(%rsp)
	jne probe_attempt_failed
	cmpw $-1, 8(%rsp)
	jne probe_attempt_failed
	stmxcsr 32(%rsp)
	cmpl $0x1f80, 32(%rsp)
	jne probe_attempt_failed
	addq $40, %rsp
	ret

/* Control words, and eight x87 registers, of its own, kept through giving way to others that have other ones. */
.macro HOLD name, control, mxcsr, first
ATTEMPT survives_\name
	pushq %rbx
	pushq %r12
	subq $264, %rsp
	movw $\control, (%rsp)
	movl $\mxcsr, 4(%rsp)
	movl $\first, 8(%rsp)
	fninit
	fldcw (%rsp)
	ldmxcsr 4(%rsp)
	movl $8, %ecx
2:	fildl 8(%rsp)
	incl 8(%rsp)
	decl %ecx
	jnz 2b
	fnsave 16(%rsp)
	frstor 16(%rsp)
	movl $3000, %ebx
3:	movl $1, %eax                                  /* KEUOS_SYS_YIELD */
	syscall
	decl %ebx
	jnz 3b
	stmxcsr 8(%rsp)
	cmpl $\mxcsr, 8(%rsp)
	jne probe_attempt_failed
	fnsave 136(%rsp)
	xorl %ecx, %ecx
4:	movzbl 16(%rsp,%rcx), %eax
	cmpl $12, %ecx                                 /* 12 to 27: where the last x87 instruction was, and its operand */
	jb 5f
	cmpl $28, %ecx
	jb 6f
5:	cmpb 136(%rsp,%rcx), %al
	jne probe_attempt_failed
6:	incl %ecx
	cmpl $108, %ecx
	jb 4b
	addq $264, %rsp
	popq %r12
	popq %rbx
	ret
.endm
	HOLD holding_round_up, 0xb7f, 0x5f80, 100
	HOLD holding_round_down, 0x77f, 0x3f80, 70000
	HOLD holding_single, 0x07f, 0xff80, 5

/* A pending error waits in registers that the kernel saves and others load theirs over; only its owner's next use reports it. */
ATTEMPT survives_holding_a_pending_x87_error
	pushq %rbx
	X87_DIVIDE
	movl $3000, %ebx
1:	movl $1, %eax                                  /* KEUOS_SYS_YIELD */
	syscall
	decl %ebx
	jnz 1b
	fnclex
	fninit
	popq %rbx
	ret

/* Every vector register is as it was over system calls that succeed, fail and give way. */
ATTEMPT survives_vector_registers_over_system_calls
	pushq %rbx
	pushq %r12
	movabsq $0x0123456789abcdef, %r12
	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	leaq \n(%r12), %rax
	movq %rax, %xmm\n
	.endr
	xorl %ebx, %ebx
7:	movl %ebx, %eax
	cmpl $2, %ebx                                  /* EXIT does not come back */
	je 8f
	cmpl $5, %ebx                                  /* WAIT might not */
	je 8f
	movq $-1, %rdi
	movq $-1, %rsi
	movq $-1, %rdx
	syscall
8:	incl %ebx
	cmpl $36, %ebx
	jb 7b
	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	movq %xmm\n, %rax
	leaq \n(%r12), %rcx
	cmpq %rax, %rcx
	jne probe_attempt_failed
	.endr
	popq %r12
	popq %rbx
	ret

	.section .note.GNU-stack, "", @progbits
