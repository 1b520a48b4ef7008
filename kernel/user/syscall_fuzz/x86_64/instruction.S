/*
 * void fuzz_instruction(const uint64_t number_and_arguments[7], uint64_t found[12]): a system call with every register
 * filled. found: rax, rdx, rsi, rdi, r8, r9, r10, rcx, r11, and how many of rbx, rbp, r12 to r15 were changed.
 */
	.text
	.globl fuzz_instruction
fuzz_instruction:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	pushq %rsi
	movq $0x1b1b1b1b1b1b1b1b, %rbx
	movq $0x2b2b2b2b2b2b2b2b, %rbp
	movq $0x3b3b3b3b3b3b3b3b, %r12
	movq $0x4b4b4b4b4b4b4b4b, %r13
	movq $0x5b5b5b5b5b5b5b5b, %r14
	movq $0x6b6b6b6b6b6b6b6b, %r15
	movq 0(%rdi), %rax
	movq 16(%rdi), %rsi
	movq 24(%rdi), %rdx
	movq 32(%rdi), %r10
	movq 40(%rdi), %r8
	movq 48(%rdi), %r9
	movq 8(%rdi), %rdi
	syscall
	xchgq %rcx, (%rsp)
	movq %rax, 0(%rcx)
	movq %rdx, 8(%rcx)
	movq %rsi, 16(%rcx)
	movq %rdi, 24(%rcx)
	movq %r8, 32(%rcx)
	movq %r9, 40(%rcx)
	movq %r10, 48(%rcx)
	movq %r11, 64(%rcx)
	popq %rax
	movq %rax, 56(%rcx)
	xorl %edx, %edx
	.macro KEPT pattern, register
	movabsq $\pattern, %rax
	cmpq %rax, \register
	setne %al
	addb %al, %dl
	.endm
	KEPT 0x1b1b1b1b1b1b1b1b, %rbx
	KEPT 0x2b2b2b2b2b2b2b2b, %rbp
	KEPT 0x3b3b3b3b3b3b3b3b, %r12
	KEPT 0x4b4b4b4b4b4b4b4b, %r13
	KEPT 0x5b5b5b5b5b5b5b5b, %r14
	KEPT 0x6b6b6b6b6b6b6b6b, %r15
	movq %rdx, 72(%rcx)
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret
	.section .note.GNU-stack, "", @progbits
