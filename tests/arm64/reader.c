/*
 * Runs the pure parts of kernel/arch/arm64 on bytes, for the tests beside. Standard input holds requests: an operation
 * (`t`: read a device tree; `c`: a ChaCha20 block of key, counter and nonce; `g`: absorb bytes, then give numbers), its
 * length as a 32-bit number, and so many bytes. Each is answered by lines of text and an empty line.
 */
#include "chacha.h"
#include "tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 9 };

static void print_map(const char *name, const struct tree_id_map *map, uint32_t controller)
{
	static const uint32_t requesters[] = {0, 0x108, 0xffff};
	printf("%s", name);
	for (uint32_t i = 0; i < sizeof(requesters) / sizeof(requesters[0]); i++) {
		uint32_t id;
		if (tree_id_of(map, controller, requesters[i], &id))
			printf(" %x", id);
		else
			printf(" none");
	}
	printf("\n");
}

static void print_machine(const struct machine *m)
{
	for (uint32_t i = 0; i < m->memory_count; i++)
		printf("memory %lx %lx\n", m->memory[i].base, m->memory[i].bytes);
	for (uint32_t i = 0; i < m->reserved_count; i++)
		printf("reserved %lx %lx %d\n", m->reserved[i].range.base, m->reserved[i].range.bytes,
			m->reserved[i].no_map);
	for (uint32_t i = 0; i < m->cores; i++)
		printf("core %lx\n", m->affinity[i]);
	printf("conduit %d\n", m->conduit);
	printf("gic %d %x %lx\n", m->gic, m->gic_redistributors, m->gic_stride);
	for (uint32_t i = 0; i < m->gic_ranges_count; i++)
		printf("gic-range %lx %lx\n", m->gic_ranges[i].base, m->gic_ranges[i].bytes);
	printf("timer %x\n", m->timer_interrupt);
	printf("serial %d %lx %x %x %x %d\n", m->serial, m->serial_range.base, m->serial_interrupt, m->serial_shift,
		m->serial_width, m->serial_interrupt_edge);
	printf("ecam %lx %lx %x %x\n", m->pci_ecam.base, m->pci_ecam.bytes, m->pci_first_bus, m->pci_last_bus);
	for (uint32_t i = 0; i < m->pci_windows_count; i++)
		printf("pci-window %lx %lx %lx\n", m->pci_windows[i].pci, m->pci_windows[i].physical,
			m->pci_windows[i].bytes);
	printf("smmu %lx %lx %x %d %d\n", m->smmu.base, m->smmu.bytes, m->smmu_interrupt, m->smmu_interrupt_edge,
		m->smmu_coherent);
	printf("its %lx %lx\n", m->its.base, m->its.bytes);
	print_map("streams", &m->pci_streams, m->smmu_phandle);
	print_map("messages", &m->pci_messages, m->its_phandle);
	printf("initrd %lx %lx\n", m->initrd, m->initrd_end);
	printf("arguments %s\n", m->arguments);
	printf("seed %x %x\n", m->seed, m->seed_bytes);
}

static void read_tree(const uint8_t *bytes, uint32_t count)
{
	static struct machine machine;
	struct fdt fdt;
	uint32_t size = count >= FDT_HEADER_BYTES ? fdt_size(bytes) : 0;
	if (size == 0 || size > count || !fdt_open(&fdt, bytes, size)) {
		printf("no-tree\n");
		return;
	}
	printf(tree_read(&fdt, &machine) ? "whole\n" : "damaged\n");
	print_machine(&machine);
}

static void make_block(const uint8_t *bytes, uint32_t count)
{
	uint32_t words[CHACHA_KEY_WORDS + 4], block[CHACHA_WORDS];
	if (count != sizeof(words))
		return;
	memcpy(words, bytes, sizeof(words));
	chacha20_block(words, words[CHACHA_KEY_WORDS], words + CHACHA_KEY_WORDS + 1, block);
	for (uint32_t i = 0; i < CHACHA_WORDS; i++)
		printf("word %x\n", block[i]);
}

static void generate(const uint8_t *bytes, uint32_t count)
{
	struct chacha_generator generator = {0};
	chacha_absorb(&generator, bytes, count);
	for (uint32_t i = 0; i < NUMBERS; i++)
		printf("number %lx\n", chacha_next(&generator));
	printf("left %x\n", generator.left);
	for (uint32_t i = generator.left; i < CHACHA_NUMBERS; i++)
		printf("given %lx\n", generator.numbers[i]);
}

int main(void)
{
	uint32_t count;
	int operation;
	while ((operation = getchar()) != EOF && fread(&count, sizeof(count), 1, stdin) == 1) {
		uint8_t *bytes = malloc(count); /* of that size to the byte: a sanitizer sees what is read behind */
		if (bytes == NULL || fread(bytes, 1, count, stdin) != count)
			return 1;
		if (operation == 't')
			read_tree(bytes, count);
		else if (operation == 'c')
			make_block(bytes, count);
		else if (operation == 'g')
			generate(bytes, count);
		free(bytes);
		printf("\n");
		fflush(stdout);
	}
	return 0;
}
