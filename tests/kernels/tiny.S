/*
 * Kernels too small to go wrong, for the framework's own tests: a PVH ELF that prints a line on COM1 and then does what
 * its mode says: code behind a label `mode`, which tests/conftest.py appends, one ELF for each. 32-bit code in a 64-bit ELF, as the PVH entry wants it.
 */
#define COM1 0x3f8
#define LINE_STATUS (COM1 + 5)

	.section .note.pvh, "a", @note
	.long 4, 8, 18
	.asciz "Xen"
	.quad _start

	.code32
	.text
	.globl _start
_start:
	mov $stack_top, %esp
	mov $banner, %esi
	call print
	jmp mode

print:	lodsb
	test %al, %al
	jz 2f
	call put
	jmp print
2:	ret

put:	mov %al, %ah
	mov $LINE_STATUS, %dx
1:	in %dx, %al
	test $0x20, %al
	jz 1b
	mov %ah, %al
	mov $COM1, %dx
	out %al, %dx
	ret

get:	mov $LINE_STATUS, %dx
1:	in %dx, %al
	test $1, %al
	jnz 2f
	pause
	jmp 1b
2:	mov $COM1, %dx
	in %dx, %al
	ret

	.macro say text
	.pushsection .rodata
9:	.asciz "\text"
	.popsection
	mov $9b, %esi
	call print
	.endm

	.macro stop
8:	cli
	hlt
	jmp 8b
	.endm

	.section .rodata
banner:	.asciz "KeuOS 0.0.tiny\r\n"
empty_idt:
	.word 0
	.long 0
	.bss
	.globl counter
	.type counter, @object
	.size counter, 8
	.balign 8
counter:
	.skip 8
	.skip 1024
stack_top:
