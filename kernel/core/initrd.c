/* The initrd: cpio, format "newc" (cpio(5)): a header of ASCII hexadecimal, the name, the bytes, each padded to 4. */
#include <kernel/arch.h>
#include <kernel/channel.h>
#include <kernel/initrd.h>

uint64_t initrd_hash;

enum {
	HEADER_BYTES = 110,
	FIELD_MODE = 1,
	FIELD_FILE_BYTES = 6,
	FIELD_NAME_BYTES = 11,
	MODE_TYPE = 0170000,
	MODE_REGULAR = 0100000
};

static bool field(const uint8_t *header, uint32_t number, uint64_t *value)
{
	*value = 0;
	for (uint32_t i = 0; i < 8; i++) {
		uint8_t c = header[6 + 8 * number + i];
		uint32_t digit = c >= '0' && c <= '9' ? c - '0'
			: c >= 'a' && c <= 'f'        ? c - 'a' + 10u
			: c >= 'A' && c <= 'F'        ? c - 'A' + 10u
						      : 16;
		if (digit == 16)
			return false;
		*value = *value << 4 | digit;
	}
	return true;
}

enum step { STEP_FILE, STEP_END, STEP_DAMAGED };

/* The entry at *at, which moves behind it. */
static enum step next(uint64_t *at, struct initrd_file *file, bool *regular)
{
	uint64_t size = boot_info.initrd_bytes, name_bytes, mode;
	const uint8_t *archive = arch_direct(boot_info.initrd);
	const uint8_t *header = archive + *at;
	if (size - *at < HEADER_BYTES || memcmp(header, "070701", 6) != 0 || !field(header, FIELD_MODE, &mode) ||
		!field(header, FIELD_FILE_BYTES, &file->size) || !field(header, FIELD_NAME_BYTES, &name_bytes))
		return STEP_DAMAGED;
	uint64_t bytes_at = ALIGN_UP(*at + HEADER_BYTES + name_bytes, 4ull);
	if (name_bytes == 0 || bytes_at > size || file->size > size - bytes_at ||
		header[HEADER_BYTES + name_bytes - 1] != 0)
		return STEP_DAMAGED;
	file->name = (const char *)header + HEADER_BYTES;
	file->bytes = archive + bytes_at;
	*regular = (mode & MODE_TYPE) == MODE_REGULAR;
	*at = ALIGN_UP(bytes_at + file->size, 4ull);
	if (text_equal(file->name, "TRAILER!!!", 11))
		return STEP_END;
	return *at <= size ? STEP_FILE : STEP_DAMAGED;
}

void initrd_check(void)
{
	struct initrd_file file;
	bool regular;
	if (boot_info.initrd == 0)
		panic("no initrd: hand over a cpio archive that holds `console` (QEMU: -initrd, GRUB: module2)");
	uint64_t at = 0;
	for (;;) {
		uint64_t before = at;
		enum step step = next(&at, &file, &regular);
		if (step == STEP_END)
			break;
		if (step == STEP_DAMAGED)
			panic("the initrd is truncated or damaged at byte %lu of %lu", before, boot_info.initrd_bytes);
	}
	initrd_hash = siphash_2_4((const uint64_t[2]){0, 0}, arch_direct(boot_info.initrd), boot_info.initrd_bytes);
}

bool initrd_at(uint32_t index, struct initrd_file *file)
{
	uint64_t at = 0;
	bool regular;
	while (next(&at, file, &regular) == STEP_FILE)
		if (regular && index-- == 0)
			return true;
	return false;
}

bool initrd_find(const char *name, struct initrd_file *file)
{
	for (uint32_t i = 0; initrd_at(i, file); i++)
		if (text_equal(name, file->name, 256))
			return true;
	return false;
}
