/*
 * void fuzz_instruction(const uint64_t number_and_arguments[7], uint64_t found[12]): a system call with every register
 * filled. found: x0, x1, then x2 to x17 by groups, or-ed (x2 to x4, to x7, to x10, to x13, to x17), two that this
 * architecture has no use for, and how many of x18 to x29 were changed.
 */
	.text
	.globl fuzz_instruction
	.type fuzz_instruction, %function
fuzz_instruction:
	stp x29, x30, [sp, #-112]!
	stp x19, x20, [sp, #16]
	stp x21, x22, [sp, #32]
	stp x23, x24, [sp, #48]
	stp x25, x26, [sp, #64]
	stp x27, x28, [sp, #80]
	stp x18, x1, [sp, #96]
	ldp x8, x9, [x0]
	ldp x1, x2, [x0, #16]
	ldp x3, x4, [x0, #32]
	ldr x5, [x0, #48]
	mov x0, x9
	mov x18, #0x1b1b
	mov x19, #0x2b2b
	mov x20, #0x3b3b
	mov x21, #0x4b4b
	mov x22, #0x5b5b
	mov x23, #0x6b6b
	mov x24, #0x7b7b
	mov x25, #0x8b8b
	mov x26, #0x9b9b
	mov x27, #0xabab
	mov x28, #0xbbbb
	mov x29, #0xcbcb
	mov x6, x29
	mov x7, x29
	mov x9, x29
	mov x10, x29
	mov x11, x29
	mov x12, x29
	mov x13, x29
	mov x14, x29
	mov x15, x29
	mov x16, x29
	mov x17, x29
	svc #0
	str x30, [sp, #-16]!
	ldr x30, [sp, #120]                     /* found */
	stp x0, x1, [x30]
	orr x0, x2, x3
	orr x0, x0, x4
	str x0, [x30, #16]
	orr x0, x5, x6
	orr x0, x0, x7
	str x0, [x30, #24]
	orr x0, x8, x9
	orr x0, x0, x10
	str x0, [x30, #32]
	orr x0, x11, x12
	orr x0, x0, x13
	str x0, [x30, #40]
	orr x0, x14, x15
	orr x0, x0, x16
	orr x0, x0, x17
	stp x0, xzr, [x30, #48]
	mov x0, xzr
	.macro KEPT pattern, register
	mov x1, #\pattern
	cmp x1, \register
	cinc x0, x0, ne
	.endm
	KEPT 0x1b1b, x18
	KEPT 0x2b2b, x19
	KEPT 0x3b3b, x20
	KEPT 0x4b4b, x21
	KEPT 0x5b5b, x22
	KEPT 0x6b6b, x23
	KEPT 0x7b7b, x24
	KEPT 0x8b8b, x25
	KEPT 0x9b9b, x26
	KEPT 0xabab, x27
	KEPT 0xbbbb, x28
	KEPT 0xcbcb, x29
	stp xzr, x0, [x30, #64]
	ldr x30, [sp], #16
	ldp x19, x20, [sp, #16]
	ldp x21, x22, [sp, #32]
	ldp x23, x24, [sp, #48]
	ldp x25, x26, [sp, #64]
	ldp x27, x28, [sp, #80]
	ldr x18, [sp, #96]
	ldp x29, x30, [sp], #112
	ret
	.section .note.GNU-stack, "", %progbits
