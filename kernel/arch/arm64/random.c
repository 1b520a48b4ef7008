/*
 * Randomness: RNDR (FEAT_RNG) where the core has it; else a generator that the loader's rng-seed has keyed. Seeds of less
 * than 16 bytes are nothing to make 128-bit keys of.
 */
#include "chacha.h"
#include "machine.h"

enum { ISAR0_RNDR = 60, SEED_BYTES_MIN = 16, ATTEMPTS = 16 };

static struct chacha_generator generator;
static bool seeded;

const char arch_random_wanted[] = "a CPU with RNDR, or a loader that gives rng-seed, is needed; QEMU: -cpu max";

void random_seed(const uint8_t *bytes, uint32_t count)
{
	chacha_absorb(&generator, bytes, count);
	seeded |= count >= SEED_BYTES_MIN;
}

static bool read_rndr(uint64_t *value)
{
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		uint64_t good;
		__asm__ volatile("mrs %0, S3_3_C2_C4_0\n\tcset %1, ne" : "=r"(*value), "=r"(good) : : "cc", "memory");
		if (good)
			return true;
	}
	return false;
}

bool arch_random(uint64_t *value)
{
	if (ID_FIELD(id_aa64isar0_el1, ISAR0_RNDR) != 0 && read_rndr(value))
		return true;
	if (!seeded)
		return false;
	*value = chacha_next(&generator);
	return true;
}
