/*
 * Programs. The initrd is a cpio archive ("newc") that the kernel keeps and never maps into a process: it is the
 * loader's own copy, from which templates are taken. The archive is the builder's, but its bytes are checked like any.
 */
#ifndef KERNEL_INITRD_H
#define KERNEL_INITRD_H

#include <kernel/base.h>

struct keuos_template;
struct process;

struct initrd_file {
	const char *name;
	const uint8_t *bytes;
	uint64_t size;
};

void initrd_check(void);     /* panics with one clear line if the archive is damaged; sets initrd_hash */
extern uint64_t initrd_hash; /* see struct keuos_system_info */
bool initrd_find(const char *name, struct initrd_file *file);
bool initrd_at(uint32_t index, struct initrd_file *file);

/*
 * Maps an ELF into a fresh process and finds its templates. 0, or an error of keuos/syscall.h. The entry point comes
 * back in *entry.
 */
int elf_load(struct process *process, const struct initrd_file *file, uint64_t *entry);

#endif
