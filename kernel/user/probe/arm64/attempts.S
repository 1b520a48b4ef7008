/*
 * One attempt each, for PROBE_EXECUTE: what user mode must not have, or may have without harm. The first word of a name
 * behind attempt_ is how it must end (enum keuos_exit_reason, or survives); the host finds them by that. Each class of
 * exception that ESR_EL1 can name for EL0 is among them, as far as user mode can raise it (Arm ARM D17.2.37).
 */
	.section .text.attempts, "axR", @progbits
	.globl probe_attempts_begin
probe_attempts_begin:

/* An attempt that comes here found something else than it must. */
probe_attempt_failed:
	udf #1

.macro ATTEMPT name
	.p2align 2
	.globl attempt_\name
	.type attempt_\name, %function
attempt_\name:
.endm

.macro KERNEL_ADDRESS register
	mov \register, #0xffffffff80000000
	movk \register, #0x20, lsl #16
.endm

/* System registers of the kernel's, of the machine's and of a debugger's: class 0x18, or unknown (0) by the manual. */
.irp register, vbar_el1, ttbr0_el1, ttbr1_el1, tcr_el1, mair_el1, sctlr_el1, actlr_el1, cpacr_el1, esr_el1, far_el1, elr_el1, spsr_el1, sp_el0, tpidr_el1, par_el1, contextidr_el1, midr_el1, mpidr_el1, id_aa64pfr0_el1, id_aa64isar0_el1, cntkctl_el1, cntp_ctl_el0, cntp_cval_el0, cntv_ctl_el0, cntv_cval_el0, cntpct_el0, mdscr_el1, dbgbvr0_el1, dbgbcr0_el1, daif, ctr_el0, S3_0_C12_C12_0, S3_0_C12_C12_5
ATTEMPT illegal_read_\register
	mrs x0, \register
	ret
.endr

.irp register, vbar_el1, ttbr0_el1, ttbr1_el1, tcr_el1, mair_el1, sctlr_el1, cpacr_el1, elr_el1, spsr_el1, sp_el0, tpidr_el1, tpidrro_el0, contextidr_el1, cntkctl_el1, cntp_ctl_el0, cntv_ctl_el0, mdscr_el1, dbgbcr0_el1, oslar_el1, daif, spsel, S3_0_C12_C11_5, S3_0_C12_C12_1, S3_0_C12_C12_5, S3_0_C4_C6_0
ATTEMPT illegal_write_\register
	mov x0, xzr
	msr \register, x0
	ret
.endr

.irp what, vmalle1, vmalle1is
ATTEMPT illegal_tlbi_\what
	tlbi \what
	ret
.endr
.irp what, vaae1is, aside1is, vale1
ATTEMPT illegal_tlbi_\what
	mov x0, xzr
	tlbi \what, x0
	ret
.endr
.irp what, iallu, ialluis
ATTEMPT illegal_ic_\what
	ic \what
	ret
.endr
.irp what, isw, csw, cisw, ivac
ATTEMPT illegal_dc_\what
	mov x0, xzr
	dc \what, x0
	ret
.endr
.irp what, s1e1r, s1e1w, s1e0r, s12e1r
ATTEMPT illegal_at_\what
	KERNEL_ADDRESS x0
	at \what, x0
	ret
.endr

/* Ways to a higher level, or to hardware's own debugger. */
ATTEMPT illegal_eret
	eret
ATTEMPT illegal_hvc
	hvc #0xffff
	ret
ATTEMPT illegal_smc
	smc #0xffff
	ret
ATTEMPT illegal_hlt
	hlt #0xf000
	ret
ATTEMPT illegal_dcps1
	dcps1
	ret
ATTEMPT illegal_dcps2
	dcps2
	ret
ATTEMPT illegal_drps
	drps
ATTEMPT illegal_undefined
	udf #0xffff
	ret
ATTEMPT illegal_wfi
	wfi
	ret

/* Vector lengths of its own would have to be kept for it: SVE (class 0x19) is off, SME (0x1d) as well. */
ATTEMPT illegal_sve_length
	.inst 0x04bf5020                        /* rdvl x0, #1 */
	ret
ATTEMPT illegal_sve_predicate
	.inst 0x2518e3e0                        /* ptrue p0.b */
	ret
ATTEMPT illegal_sme_start
	.inst 0xd503477f                        /* smstart */
	ret

/* Faults of fetches, and of data. */
ATTEMPT fault_execute_of_the_stack
	mov x0, sp
	and x0, x0, #~3
	blr x0
	ret
ATTEMPT fault_execute_of_the_kernel
	KERNEL_ADDRESS x0
	br x0
ATTEMPT fault_execute_of_nothing
	br xzr
ATTEMPT fault_execute_between_the_halves
	mov x0, #1 << 52
	br x0

.irp how, ldr, ldxr, ldaxr, ldar, ldtr
ATTEMPT fault_read_by_\how
	KERNEL_ADDRESS x1
	\how x0, [x1]
	ret
.endr
ATTEMPT fault_read_of_a_pair
	KERNEL_ADDRESS x1
	ldp q0, q1, [x1]
	ret
ATTEMPT fault_read_between_the_halves
	mov x1, #0x0000800000000000
	ldr x0, [x1]
	ret
.irp how, str, stlr, sttr
ATTEMPT fault_write_by_\how
	KERNEL_ADDRESS x1
	\how xzr, [x1]
	ret
.endr
ATTEMPT fault_write_of_its_own_code
	adr x1, .
	str xzr, [x1]
	ret
ATTEMPT fault_write_at_a_stack_pointer_of_the_kernels
	KERNEL_ADDRESS x1
	mov x2, sp
	mov sp, x1
	str xzr, [sp, #-16]!
	mov sp, x2
	ret

/* Classes 0x22 and 0x26, and the status of accesses that have to be aligned. */
ATTEMPT alignment_of_the_program_counter
	adr x0, attempt_survives_hints
	add x0, x0, #2
	br x0
ATTEMPT alignment_of_the_stack_pointer
	mov x1, sp
	sub x0, x1, #24
	mov sp, x0
	ldr x0, [sp]
	mov sp, x1
	ret
.irp how, ldxr, ldaxr, ldar
ATTEMPT alignment_of_\how
	sub x1, sp, #28                         /* over the edge of 16 bytes, where FEAT_LSE2 has no say */
	\how x0, [x1]
	ret
.endr

ATTEMPT debug_breakpoint
	brk #0
	ret
ATTEMPT debug_breakpoint_of_another_number
	brk #0xffff
	ret

/* What may be done. */
ATTEMPT survives_hints
	.irp number, 0,1,4,5,6,7,8,10,12,14,16,18,20,21,22,24,25,27,29,31,32,34,36,38,40,50,63,64,100,127
	hint #\number
	.endr
	ret
ATTEMPT survives_barriers
	isb
	dsb sy
	dmb sy
	clrex
	ret
ATTEMPT survives_a_prefetch_of_the_kernels
	KERNEL_ADDRESS x0
	prfm pldl1keep, [x0]
	prfm pstl1keep, [x0]
	prfm plil1keep, [x0]
	ret
ATTEMPT survives_a_division_by_zero
	mov x0, #5
	udiv x1, x0, xzr
	sdiv x2, x0, xzr
	orr x1, x1, x2
	cbnz x1, probe_attempt_failed
	ret

/* The number of a system call is in x8 alone. */
ATTEMPT survives_a_system_call_by_any_immediate
	mov x8, xzr
	svc #0xffff
	mov x8, xzr
	svc #1
	ret
ATTEMPT survives_registers_that_are_its_own
	movz x18, #0x1234, lsl #48
	msr tpidr_el0, x18
	mov x8, xzr
	svc #0
	mrs x0, tpidr_el0
	cmp x0, x18
	b.ne probe_attempt_failed
	mrs x0, tpidrro_el0
	cbnz x0, probe_attempt_failed
	mrs x0, cntvct_el0
	mrs x0, cntfrq_el0
	mrs x0, dczid_el0
	ret

/* All bits of the control and the status of floating point that there are; no trap comes of a division by zero. */
ATTEMPT survives_floating_point_of_every_kind
	mov w0, #-1
	msr fpcr, x0
	msr fpsr, x0
	fmov d0, #1.0
	movi d1, #0
	fdiv d2, d0, d1
	fsqrt d3, d1
	msr fpcr, xzr
	msr fpsr, xzr
	ret

/* The conditions: of all the flags, these are a process's to set. */
.irp flags, 0x10000000,0x20000000,0x40000000,0x80000000,0xf0000000
ATTEMPT survives_flags_\flags\()_over_a_system_call
	mov w0, #\flags
	msr nzcv, x0
	mov x8, xzr
	mov x19, x30
	svc #0
	mov x30, x19
	mrs x0, nzcv
	mov w1, #\flags
	cmp w0, w1
	b.ne probe_attempt_failed
	ret
.endr

ATTEMPT survives_flags_over_preemption
	mov w0, #0xf0000000
	msr nzcv, x0
	mov w1, #0x1310000                      /* some preemptions long */
1:	sub w1, w1, #1
	cbnz w1, 1b
	mov x8, xzr
	mov x19, x30
	svc #0
	mov x30, x19
	mrs x0, nzcv
	mov w1, #0xf0000000
	cmp w0, w1
	b.ne probe_attempt_failed
	ret

/* A process that has not touched them finds control, status and thread pointer empty. */
ATTEMPT survives_fresh_control_words
	mrs x0, fpcr
	mrs x1, fpsr
	orr x0, x0, x1
	mrs x1, tpidr_el0
	orr x0, x0, x1
	cbnz x0, probe_attempt_failed
	ret

.macro VECTORS what
	.irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	\what \number
	.endr
.endm

/* Both halves of a vector are x2 and its number. Clobbers x3, x5, x6. */
.macro SET_VECTOR number
	add x3, x2, #\number
	dup v\number\().2d, x3
.endm
.macro COMPARE_VECTOR number
	add x3, x2, #\number
	mov x5, v\number\().d[0]
	mov x6, v\number\().d[1]
	cmp x3, x5
	ccmp x3, x6, #0, eq
	b.ne probe_attempt_failed
.endm

/* Control, status, a thread pointer and all vectors of its own, kept through giving way to others that have other ones. */
.macro HOLD name, control, status, first
ATTEMPT survives_\name
	mov w0, #\control << 16
	msr fpcr, x0
	mov w1, #\status
	msr fpsr, x1
	mov x2, #\first
	msr tpidr_el0, x2
	VECTORS SET_VECTOR
	mov w4, #0x1310000                      /* some preemptions long */
2:	sub w4, w4, #1
	cbnz w4, 2b
	mrs x5, fpcr
	cmp x5, x0
	b.ne probe_attempt_failed
	mrs x5, fpsr
	cmp x5, x1
	b.ne probe_attempt_failed
	mrs x5, tpidr_el0
	cmp x5, x2
	b.ne probe_attempt_failed
	VECTORS COMPARE_VECTOR
	msr fpcr, xzr
	ret
.endm

	HOLD holding_round_up, 0x40, 0x1, 100
	HOLD holding_round_down, 0x80, 0x8, 70
	HOLD holding_single, 0x3c0, 0x10, 5     /* default NaNs, denormals flushed, towards zero */

/* Every vector register is as it was over system calls that succeed, fail and give way. */
ATTEMPT survives_vector_registers_over_system_calls
	stp x19, x30, [sp, #-16]!
	mov x2, #0x1234
	VECTORS SET_VECTOR
	mov x19, xzr
3:	cmp x19, #2                             /* EXIT does not come back */
	ccmp x19, #5, #4, ne                    /* WAIT might not */
	b.eq 4f
	mov x8, x19
	mov x0, #-1
	mov x1, #-1
	mov x2, #-1
	svc #0
4:	add x19, x19, #1
	cmp x19, #36
	b.lo 3b
	mov x2, #0x1234
	VECTORS COMPARE_VECTOR
	ldp x19, x30, [sp], #16
	ret

/*
 * Not an attempt, and for HIL builds: the same 2,000 instructions and those that read the counters, by the PMU's counter 0
 * into the results' `value`, and by the virtual counter into `second`.
 */
	.globl probe_count_instructions
	.type probe_count_instructions, %function
probe_count_instructions:
	adrp x6, results
	add x6, x6, :lo12:results
	mrs x3, pmevcntr0_el0
	mrs x4, cntvct_el0
	mov w5, #1000
1:	sub w5, w5, #1
	cbnz w5, 1b
	mrs x0, pmevcntr0_el0
	mrs x1, cntvct_el0
	sub x0, x0, x3
	sub x1, x1, x4
	stp x0, x1, [x6, #16]
	ret
