/*
 * The system call instruction of arm64, for up to six arguments. Nothing else of the architecture lives here, and only
 * user.h includes it; a host build of a program puts a file of this name in front to supply its own kernel.
 *
 * The kernel keeps x18 to x30 and destroys x0 to x17, so the argument registers are outputs too: an input-only operand
 * would let the compiler reuse a value that is gone.
 */
#ifndef KEUOS_USER_ARCH_SYSCALL_H
#define KEUOS_USER_ARCH_SYSCALL_H

#include <stdint.h>

/* x0 and x1 as the kernel left them. */
struct syscall_result {
	int64_t value;
	uint64_t second;
};

#define SYSCALL_DESTROYS "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory", "cc"

/* The long form: both results. */
static inline struct syscall_result syscall_pair(
	uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t x8 __asm__("x8") = number;
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;
	register uint64_t x3 __asm__("x3") = d;
	register uint64_t x4 __asm__("x4") = e;
	register uint64_t x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x8), "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4), "+r"(x5)
			 :
			 : "x6", "x7", SYSCALL_DESTROYS);
	return (struct syscall_result){(int64_t)x0, x1};
}

/* The short forms load no register that the call does not use: measured paths run through them. */
static inline int64_t syscall0(uint64_t number)
{
	register uint64_t x8 __asm__("x8") = number;
	register uint64_t x0 __asm__("x0");

	__asm__ volatile("svc #0" : "+r"(x8), "=r"(x0) : : "x1", "x2", "x3", "x4", "x5", "x6", "x7", SYSCALL_DESTROYS);
	return (int64_t)x0;
}

static inline int64_t syscall1(uint64_t number, uint64_t a)
{
	register uint64_t x8 __asm__("x8") = number;
	register uint64_t x0 __asm__("x0") = a;

	__asm__ volatile("svc #0" : "+r"(x8), "+r"(x0) : : "x1", "x2", "x3", "x4", "x5", "x6", "x7", SYSCALL_DESTROYS);
	return (int64_t)x0;
}

static inline int64_t syscall2(uint64_t number, uint64_t a, uint64_t b)
{
	register uint64_t x8 __asm__("x8") = number;
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;

	__asm__ volatile("svc #0"
			 : "+r"(x8), "+r"(x0), "+r"(x1)
			 :
			 : "x2", "x3", "x4", "x5", "x6", "x7", SYSCALL_DESTROYS);
	return (int64_t)x0;
}

static inline int64_t syscall3(uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t x8 __asm__("x8") = number;
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;

	__asm__ volatile("svc #0"
			 : "+r"(x8), "+r"(x0), "+r"(x1), "+r"(x2)
			 :
			 : "x3", "x4", "x5", "x6", "x7", SYSCALL_DESTROYS);
	return (int64_t)x0;
}

static inline int64_t syscall4(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	register uint64_t x8 __asm__("x8") = number;
	register uint64_t x0 __asm__("x0") = a;
	register uint64_t x1 __asm__("x1") = b;
	register uint64_t x2 __asm__("x2") = c;
	register uint64_t x3 __asm__("x3") = d;

	__asm__ volatile("svc #0"
			 : "+r"(x8), "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
			 :
			 : "x4", "x5", "x6", "x7", SYSCALL_DESTROYS);
	return (int64_t)x0;
}

#endif
