/*
 * A plugin for QEMU's emulation: how often the instruction at each byte of the guest's RAM was executed.
 *
 * The counts are 64-bit words in a file as long as eight times the RAM, which the bench maps too: word n is of the
 * instruction that begins at byte n of the file that is the RAM. So what is counted does not depend on which address
 * space a core was in, and reading the counts asks nobody. One thread has to emulate all cores: the words are added to
 * without a lock.
 *
 * Arguments: ram=PATH, counts=PATH; both files are open in QEMU already, as /dev/fd/N.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* What is used of QEMU's interface for plugins, version 1; Debian 12 packages no header of it. */
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 };
void qemu_plugin_register_vcpu_tb_trans_cb(
	qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation, void *word, uint64_t by);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *insn);

EXPORT int qemu_plugin_version = 1;

/* Pieces of the RAM as this process has them mapped: a piece begins at byte `offset` of the file. */
#define PIECES_MAX 64
static struct piece {
	uintptr_t start, end;
	uint64_t offset;
} pieces[PIECES_MAX];
static unsigned int pieces_count;
static struct stat ram;
static uint64_t *counts;

/* QEMU maps the RAM after it has loaded its plugins, so this is looked up when the first instruction is met. */
static void find_pieces(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];

	while (maps && pieces_count < PIECES_MAX && fgets(line, sizeof(line), maps)) {
		struct piece piece;
		unsigned int major_, minor_;
		uint64_t inode;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %" SCNx64 " %x:%x %" SCNu64, &piece.start, &piece.end,
			    &piece.offset, &major_, &minor_, &inode) == 6 &&
			makedev(major_, minor_) == ram.st_dev && inode == ram.st_ino)
			pieces[pieces_count++] = piece;
	}
	if (maps)
		fclose(maps);
}

static uint64_t *word_of(const void *host)
{
	uintptr_t address = (uintptr_t)host;

	for (unsigned int i = 0; i < pieces_count; i++)
		if (pieces[i].start <= address && address < pieces[i].end)
			return &counts[address - pieces[i].start + pieces[i].offset];
	return NULL; /* in a ROM */
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	(void)id;
	if (!pieces_count)
		find_pieces();
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t *word = word_of(qemu_plugin_insn_haddr(insn));

		if (word)
			qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, word, 1);
	}
}

static const char *argument(int argc, char **argv, const char *name)
{
	size_t length = strlen(name);

	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], name, length) && argv[i][length] == '=')
			return argv[i] + length + 1;
	fprintf(stderr, "qemu_counter: the argument %s=PATH is missing\n", name);
	return "";
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	int fd = open(argument(argc, argv, "counts"), O_RDWR | O_CLOEXEC);

	(void)info;
	if (fd < 0 || stat(argument(argc, argv, "ram"), &ram)) {
		perror("qemu_counter: the files can't be opened");
		return -1;
	}
	counts = mmap(
		NULL, (size_t)ram.st_size * sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	close(fd);
	if (counts == MAP_FAILED) {
		perror("qemu_counter: the counts can't be mapped");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
