/*
 * Entry of a user program on x86-64. The kernel starts it here with rsp at the top of the stack (a multiple of 16),
 * rdi = address of the NUL-terminated argument string and rsi = its length. No caller: main's result goes to EXIT.
 */
	.section .text.start, "ax", @progbits
	.globl	_start
	.type	_start, @function
_start:
	.cfi_startproc
	.cfi_undefined rip		/* the outermost frame: a debugger stops unwinding here */
	xorl	%ebp, %ebp
	call	main			/* pushes 8 bytes, so main sees the stack that the ABI promises */
	movslq	%eax, %rdi
	movl	$2, %eax		/* KEUOS_SYS_EXIT; lib/log.c asserts the number */
	syscall
	ud2				/* EXIT does not come back */
	.cfi_endproc
	.size	_start, . - _start
	.section .note.GNU-stack, "", @progbits
