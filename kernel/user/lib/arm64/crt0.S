/*
 * Entry of a user program on arm64. The kernel starts it here with sp at the top of the stack (a multiple of 16), x0 =
 * address of the NUL-terminated argument string and x1 = its length. No caller: main's result goes to EXIT.
 */
	.section .text.start, "ax", %progbits
	.globl	_start
	.type	_start, %function
_start:
	.cfi_startproc
	.cfi_undefined x30		/* the outermost frame: a debugger stops unwinding here */
	mov	x29, xzr
	mov	x30, xzr
	bl	main
	sxtw	x0, w0
	mov	w8, #2			/* KEUOS_SYS_EXIT; lib/log.c asserts the number */
	svc	#0
	brk	#0			/* EXIT does not come back */
	.cfi_endproc
	.size	_start, . - _start
	.section .note.GNU-stack, "", %progbits
