/*
 * The first instructions: from QEMU's PVH entry or GRUB's multiboot2 entry (both 32-bit, paging off) to 64-bit C at the
 * kernel's own addresses; and the trampoline that brings the other cores to the same place. The tables made here map
 * the first 4 GiB three times (identity, direct map, kernel) and are dropped once mm/ has made the real ones.
 */
#include "asm_offsets.h"

#define PHYSICAL(x) ((x) - KERNEL_VIRTUAL)

	.section .boot.header, "ax"
	.align 8
multiboot2_header:
	.long 0xe85250d6
	.long 0                                        /* i386, protected mode */
	.long multiboot2_header_end - multiboot2_header
	.long -(0xe85250d6 + (multiboot2_header_end - multiboot2_header))
	/* entry address: physical, since e_entry is virtual */
	.align 8
	.short 3, 0
	.long 12
	.long PHYSICAL(multiboot2_entry)
	/* load modules on page boundaries */
	.align 8
	.short 6, 0
	.long 8
	.align 8
	.short 0, 0
	.long 8
multiboot2_header_end:

	.section .note.Xen, "a", @note
	.align 4
	.long 4, 8, 18                                 /* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.quad PHYSICAL(pvh_entry)

	.section .boot.text, "ax"
	.code32
	.globl pvh_entry
pvh_entry:
	cli
	cld
	xorl %ebp, %ebp
	jmp boot32

	.globl multiboot2_entry
multiboot2_entry:
	cli
	cld
	movl %eax, %ebp                                /* 0x36d76289 tells multiboot2 from PVH */

boot32:
	movl %ebx, %esi                                /* boot information */
	movl $PHYSICAL(boot_stack_top), %esp

	/* Four page directories of 2 MiB pages: the first 4 GiB. */
	movl $PHYSICAL(boot_directories), %edi
	movl $0x83, %eax
	xorl %ecx, %ecx
1:	movl %eax, (%edi,%ecx,8)
	movl $0, 4(%edi,%ecx,8)
	addl $0x200000, %eax
	incl %ecx
	cmpl $2048, %ecx
	jne 1b

	movl $PHYSICAL(boot_pdpt), %edi
	movl $PHYSICAL(boot_directories) + 3, %eax
	xorl %ecx, %ecx
2:	movl %eax, (%edi,%ecx,8)
	addl $4096, %eax
	incl %ecx
	cmpl $4, %ecx
	jne 2b

	movl $PHYSICAL(boot_directories) + 3, PHYSICAL(boot_pdpt_high) + 510 * 8
	movl $PHYSICAL(boot_pdpt) + 3, PHYSICAL(boot_pml4)
	movl $PHYSICAL(boot_pdpt) + 3, PHYSICAL(boot_pml4) + 256 * 8
	movl $PHYSICAL(boot_pdpt_high) + 3, PHYSICAL(boot_pml4) + 511 * 8

	call enter_long_mode
	ljmpl $SELECTOR_KERNEL_CODE, $PHYSICAL(boot64)

/* PAE, long mode, NX where there is one, paging with WP. Clobbers eax, ecx, edx, ebx, edi. */
enter_long_mode:
	movl %cr4, %eax
	orl $0x20, %eax
	movl %eax, %cr4
	movl $PHYSICAL(boot_pml4), %eax
	movl %eax, %cr3
	movl $0x80000001, %eax
	cpuid
	movl %edx, %edi
	movl $0xc0000080, %ecx
	rdmsr
	orl $0x100, %eax
	testl $0x100000, %edi
	jz 1f
	orl $0x800, %eax
1:	wrmsr
	movl %cr0, %eax
	orl $0x80010001, %eax
	movl %eax, %cr0
	lgdt PHYSICAL(boot_gdt_pointer)
	ret

	.code64
boot64:
	movabsq $boot64_high, %rax
	jmp *%rax
boot64_high:
	movl $SELECTOR_KERNEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movabsq $boot_stack_top, %rsp
	movl %ebp, %edi
	movl %esi, %esi
	xorl %ebp, %ebp
	call arch_start
	ud2

/* Copied to AP_TRAMPOLINE; a core wakes here in real mode with cs = AP_TRAMPOLINE >> 4. */
	.code16
	.globl ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	cld
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl AP_TRAMPOLINE + (ap_gdt_pointer - ap_trampoline)
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $0x18, $PHYSICAL(ap_start32)
	.align 8
ap_gdt_pointer:
	.short boot_gdt_end - boot_gdt - 1
	.long PHYSICAL(boot_gdt)
ap_trampoline_end:

	.code32
ap_start32:
	movl $SELECTOR_KERNEL_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	/* The cores start one by one, so one stack does until each has its own. */
	movl $PHYSICAL(boot_stack_top), %esp
	call enter_long_mode
	ljmpl $SELECTOR_KERNEL_CODE, $PHYSICAL(ap_start64)
	.code64
ap_start64:
	movabsq $1f, %rax
	jmp *%rax
1:	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movabsq $boot_stack_top, %rsp
	xorl %ebp, %ebp
	call arch_start_secondary
	ud2

	.section .rodata
	.align 8
	.globl boot_gdt
boot_gdt:
	.quad 0
	.quad 0x00af9a000000ffff                       /* 0x08: 64-bit code */
	.quad 0x00cf92000000ffff                       /* 0x10: data */
	.quad 0x00cf9a000000ffff                       /* 0x18: 32-bit code */
boot_gdt_end:
boot_gdt_pointer:
	.short boot_gdt_end - boot_gdt - 1
	.long PHYSICAL(boot_gdt)

	.bss
	.align 4096
	.globl boot_pml4
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pdpt_high:
	.skip 4096
boot_directories:
	.skip 4 * 4096
	.globl boot_stack
boot_stack:
	.skip 8192
boot_stack_top:
	.section .note.GNU-stack, "", @progbits
