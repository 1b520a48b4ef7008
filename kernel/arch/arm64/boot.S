/*
 * The first instructions: from QEMU's or U-Boot's entry (MMU off, EL2 or EL1, x0 = the device tree; Linux,
 * Documentation/arch/arm64/booting.rst) to C at the kernel's own addresses; and the same way for every other core, which
 * PSCI starts. Nothing here depends on where the image was loaded but that it is a multiple of 2 MiB. The tables made
 * here map the image writable and executable, and are dropped once mm/ has made the real ones.
 */
#include "asm_offsets.h"

	.section .boot.header, "ax"
	.globl kernel_start
	.type kernel_start, %function
kernel_start:
	b boot_first
	.long 0
	.quad TEXT_OFFSET
	.quad kernel_image_bytes
	.quad 0xa                               /* little-endian, 4 KiB pages, anywhere in memory */
	.quad 0, 0, 0
	.ascii "ARM\x64"
	.long 0

	.section .boot.text, "ax"
	.type boot_first, %function
boot_first:
	mov x20, x0
	adrp x19, kernel_start
	mov x0, #TEXT_OFFSET
	cmp x20, #0                             /* QEMU gives an ELF no address: the tree begins the memory then */
	sub x0, x19, x0
	csel x20, x0, x20, eq
	bl drop_to_el1

	/* A flat image's memory behind its bytes holds anything. */
	adrp x0, kernel_bss_start
	add x0, x0, :lo12:kernel_bss_start
	adrp x1, kernel_end
1:	stp xzr, xzr, [x0], #16
	cmp x0, x1
	b.lo 1b

	bl make_boot_tables
	bl enable_mmu
	ldr x0, =boot_first_high
	br x0
boot_first_high:
	ldr x0, =boot_stack_top
	mov sp, x0
	mov x29, xzr
	mov x30, xzr
	ldr x0, =vectors
	msr vbar_el1, x0
	isb
	mov x0, x20
	mov x1, x19
	bl arch_start
	brk #0

	.globl boot_other
	.type boot_other, %function
boot_other:
	bl drop_to_el1
	bl enable_mmu
	ldr x0, =boot_other_high
	br x0
boot_other_high:
	/* The cores start one by one, so one stack does until each has its own. */
	ldr x0, =boot_stack_top
	mov sp, x0
	mov x29, xzr
	mov x30, xzr
	ldr x0, =vectors
	msr vbar_el1, x0
	isb
	bl arch_start_secondary
	brk #0

/*
 * From EL2 to EL1 with everything switched off that would trap EL1 or keep a device from it; at EL1 nothing but the
 * state that the kernel begins with. Clobbers x9 to x11.
 */
drop_to_el1:
	msr daifset, #15
	ldr x9, =SCTLR_OFF
	mrs x10, CurrentEL
	cmp x10, #(2 << 2)
	b.eq 1f
	msr sctlr_el1, x9
	isb
	ret
1:	msr sctlr_el1, x9
	mov x9, #(1 << 31)                      /* EL1 is 64-bit */
	msr hcr_el2, x9
	isb
	mrs x9, cnthctl_el2                     /* EL1 reads the counter and sets the timer */
	orr x9, x9, #3
	msr cnthctl_el2, x9
	msr cntvoff_el2, xzr
	mrs x9, midr_el1
	msr vpidr_el2, x9
	mrs x9, mpidr_el1
	msr vmpidr_el2, x9
	msr vttbr_el2, xzr
	msr hstr_el2, xzr
	mov x9, #0x33ff                         /* no trap of SIMD registers */
	msr cptr_el2, x9

	mrs x9, id_aa64dfr0_el1                 /* all PMU counters are EL1's */
	ubfx x9, x9, #8, #4
	mov x10, xzr
	cbz x9, 2f
	cmp x9, #15
	b.eq 2f
	mrs x10, pmcr_el0
	ubfx x10, x10, #11, #5
2:	msr mdcr_el2, x10

	mrs x9, id_aa64pfr0_el1                 /* GICv3's registers are EL1's */
	ubfx x9, x9, #24, #4
	cbz x9, 3f
	mrs x9, S3_4_C12_C9_5                   /* ICC_SRE_EL2 */
	mov x10, #9
	orr x9, x9, x10                         /* Enable, SRE */
	msr S3_4_C12_C9_5, x9
	isb
	msr S3_4_C12_C11_0, xzr                 /* ICH_HCR_EL2 */

3:	mrs x9, id_aa64mmfr0_el1                /* no fine-grained traps */
	ubfx x9, x9, #56, #4
	cbz x9, 4f
	msr S3_4_C1_C1_4, xzr                   /* HFGRTR_EL2 */
	msr S3_4_C1_C1_5, xzr                   /* HFGWTR_EL2 */
	msr S3_4_C1_C1_6, xzr                   /* HFGITR_EL2 */
	msr S3_4_C3_C1_4, xzr                   /* HDFGRTR_EL2 */
	msr S3_4_C3_C1_5, xzr                   /* HDFGWTR_EL2 */

4:	mov x9, #0x3c5                          /* EL1 with its own stack pointer, everything masked */
	msr spsr_el2, x9
	msr elr_el2, x30
	eret

/*
 * Lower half: the 2 MiB that hold this code, where they are. Upper half: the image where it is linked; C adds memory and
 * the serial port. x19: the image's address. Clobbers x0 to x6.
 */
make_boot_tables:
	adrp x0, boot_low_0
	adrp x1, boot_low_1
	adrp x2, boot_low_2
	ubfx x3, x19, #39, #9
	orr x4, x1, #3
	str x4, [x0, x3, lsl #3]
	ubfx x3, x19, #30, #9
	orr x4, x2, #3
	str x4, [x1, x3, lsl #3]
	ubfx x3, x19, #21, #9
	ldr x5, =(1 << 10 | 3 << 8 | ATTRIBUTE_NORMAL << 2 | 1) /* accessed, inner-shareable, a block */
	orr x4, x19, x5
	str x4, [x2, x3, lsl #3]

	adrp x0, boot_high_0
	adrp x1, boot_high_1
	adrp x2, boot_high_2
	orr x4, x1, #3
	str x4, [x0, #511 * 8]
	orr x4, x2, #3
	str x4, [x1, #510 * 8]
	adrp x3, kernel_end
	mov x6, x19
	add x2, x2, #8                          /* the image is linked 2 MiB into this table */
	mov x4, #0x200000
5:	orr x1, x6, x5
	str x1, [x2], #8
	add x6, x6, x4
	cmp x6, x3
	b.lo 5b

	/* What caches hold of the tables is older than what was just written without them. */
	dmb sy
	adrp x0, boot_tables
	adrp x1, boot_tables_end
6:	dc ivac, x0
	add x0, x0, #16
	cmp x0, x1
	b.lo 6b
	dsb sy
	ret

/* Clobbers x0 to x2. */
enable_mmu:
	ic iallu
	tlbi vmalle1
	dsb nsh
	ldr x0, =MAIR_VALUE
	msr mair_el1, x0
	ldr x0, =TCR_VALUE
	mrs x1, id_aa64mmfr0_el1                /* as many address bits as the core has, at most 48 */
	and x1, x1, #15
	mov x2, #5
	cmp x1, x2
	csel x1, x1, x2, lo
	orr x0, x0, x1, lsl #32
	msr tcr_el1, x0
	adrp x0, boot_low_0
	msr ttbr0_el1, x0
	adrp x0, boot_high_0
	msr ttbr1_el1, x0
	isb
	ldr x0, =SCTLR_BOOT
	msr sctlr_el1, x0
	isb
	ret

/*
 * void switch_tables(uint64_t root, uint64_t empty): the upper half from the boot tables to the real ones, by way of none
 * (break before make: sizes and rights of the same addresses change). C calls it at its physical address, which the lower
 * half maps.
 */
	.globl switch_tables
	.type switch_tables, %function
switch_tables:
	msr ttbr1_el1, x1
	isb
	tlbi vmalle1
	dsb nsh
	isb
	msr ttbr1_el1, x0
	isb
	ret

	.pool

	.bss
	.balign 4096
	.globl boot_tables, boot_tables_end, boot_high_0, boot_low_0, boot_empty
boot_tables:
boot_low_0:
	.skip 4096
boot_low_1:
	.skip 4096
boot_low_2:
	.skip 4096
boot_high_0:
	.skip 4096
boot_high_1:
	.skip 4096
boot_high_2:
	.skip 4096
boot_empty:
	.skip 4096
boot_tables_end:
	.balign 2 << STACK_SHIFT
	.globl boot_stack
boot_stack:
	.skip 1 << STACK_SHIFT
boot_stack_top:
	.section .note.GNU-stack, "", %progbits
