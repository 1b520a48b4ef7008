/*
 * The system call "instruction" of a host build: a call of host_syscall(), which kernel_model.c answers. It stands in
 * front of kernel/user/lib/ARCH/arch_syscall.h, so that the console's own source runs under the sanitizers, unchanged.
 */
#ifndef KEUOS_USER_ARCH_SYSCALL_H
#define KEUOS_USER_ARCH_SYSCALL_H

#include <stdint.h>

int64_t host_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

static inline int64_t syscall0(uint64_t number)
{
	return host_syscall(number, 0, 0, 0, 0);
}

static inline int64_t syscall1(uint64_t number, uint64_t a)
{
	return host_syscall(number, a, 0, 0, 0);
}

static inline int64_t syscall2(uint64_t number, uint64_t a, uint64_t b)
{
	return host_syscall(number, a, b, 0, 0);
}

static inline int64_t syscall3(uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
	return host_syscall(number, a, b, c, 0);
}

static inline int64_t syscall4(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	return host_syscall(number, a, b, c, d);
}

/* As on the target: both results. The model of the kernel has no second one, and no call of the console's has more than four arguments. */
struct syscall_result {
	int64_t value;
	uint64_t second;
};

static inline struct syscall_result syscall_pair(
	uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	(void)e;
	(void)f;
	return (struct syscall_result){.value = host_syscall(number, a, b, c, d)};
}

#endif
