/*
 * The system call instruction of x86-64, for up to six arguments. Nothing else of the architecture lives here, and
 * only user.h includes it; a host build of a program puts a file of this name in front to supply its own kernel.
 *
 * The kernel keeps rbx, rbp, rsp and r12 to r15 and destroys every other general register, so the argument registers
 * are outputs too: an input-only operand would let the compiler reuse a value that is gone.
 */
#ifndef KEUOS_USER_ARCH_SYSCALL_H
#define KEUOS_USER_ARCH_SYSCALL_H

#include <stdint.h>

/* rax and rdx as the kernel left them. */
struct syscall_result {
	int64_t value;
	uint64_t second;
};

/* The long form: both results. */
static inline struct syscall_result syscall_pair(
	uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	struct syscall_result result;

	__asm__ volatile("syscall"
			 : "=a"(result.value), "=d"(result.second), "+D"(a), "+S"(b), "+r"(r10), "+r"(r8), "+r"(r9)
			 : "0"(number), "1"(c)
			 : "rcx", "r11", "memory", "cc");
	return result;
}

/* The short forms load no register that the call does not use: measured paths run through them. */
static inline int64_t syscall0(uint64_t number)
{
	int64_t value;

	__asm__ volatile("syscall"
			 : "=a"(value)
			 : "0"(number)
			 : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
	return value;
}

static inline int64_t syscall1(uint64_t number, uint64_t a)
{
	int64_t value;

	__asm__ volatile("syscall"
			 : "=a"(value), "+D"(a)
			 : "0"(number)
			 : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	return value;
}

static inline int64_t syscall2(uint64_t number, uint64_t a, uint64_t b)
{
	int64_t value;

	__asm__ volatile("syscall"
			 : "=a"(value), "+D"(a), "+S"(b)
			 : "0"(number)
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory", "cc");
	return value;
}

static inline int64_t syscall3(uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
	int64_t value;

	__asm__ volatile("syscall"
			 : "=a"(value), "+D"(a), "+S"(b), "+d"(c)
			 : "0"(number)
			 : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
	return value;
}

static inline int64_t syscall4(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	register uint64_t r10 __asm__("r10") = d;
	int64_t value;

	__asm__ volatile("syscall"
			 : "=a"(value), "+D"(a), "+S"(b), "+d"(c), "+r"(r10)
			 : "0"(number)
			 : "rcx", "r8", "r9", "r11", "memory", "cc");
	return value;
}

#endif
