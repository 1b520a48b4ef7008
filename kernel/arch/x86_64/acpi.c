/* The few ACPI tables that a microkernel needs (ACPI 6.5, 5.2): MADT for cores and interrupt controllers, FADT to power off. */
#include "machine.h"

struct acpi_facts acpi;

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t bytes;
	uint64_t xsdt;
} __attribute__((packed));

struct table {
	char signature[4];
	uint32_t bytes;
	uint8_t rest[28];
} __attribute__((packed));

struct madt {
	struct table table;
	uint32_t local_apic;
	uint32_t flags;
	uint8_t entries[];
} __attribute__((packed));

enum madt_type { MADT_LOCAL_APIC = 0, MADT_IO_APIC = 1, MADT_OVERRIDE = 2, MADT_LOCAL_APIC_ADDRESS = 5 };

static uint32_t read32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return value;
}

static uint16_t read16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static void read_madt_entry(const uint8_t *entry)
{
	switch (entry[0]) {
	case MADT_LOCAL_APIC: {
		bool enabled = read32(entry + 4) & 1;
		if (enabled && acpi.cores < KEUOS_CORES_MAX)
			acpi.apic_ids[acpi.cores++] = entry[3];
		break;
	}
	case MADT_IO_APIC:
		if (acpi.io_apic == 0) {
			acpi.io_apic = read32(entry + 4);
			acpi.io_apic_base = read32(entry + 8);
		}
		break;
	case MADT_OVERRIDE:
		if (entry[3] == 4) { /* ISA interrupt of the first serial port */
			acpi.serial_gsi = read32(entry + 4);
			acpi.serial_flags = read16(entry + 8);
		}
		break;
	case MADT_LOCAL_APIC_ADDRESS:
		memcpy(&acpi.local_apic, entry + 4, sizeof(acpi.local_apic));
		break;
	default:
		break;
	}
}

static void read_madt(const struct madt *madt)
{
	acpi.local_apic = madt->local_apic;
	const uint8_t *end = (const uint8_t *)madt + madt->table.bytes;
	for (const uint8_t *at = madt->entries; at + 2 <= end && at[1] >= 2 && at + at[1] <= end; at += at[1])
		read_madt_entry(at);
}

/*
 * The value that PM1a_CNT wants for soft-off stands in the DSDT as Name (_S5_, Package {SLP_TYPa, ...}). There is no
 * interpreter here: the package's bytes are found by its name (20.2.4: NameOp, name, PackageOp, length, count, integers).
 */
static void read_dsdt(const struct table *dsdt)
{
	const uint8_t *bytes = (const uint8_t *)dsdt;
	for (uint32_t i = sizeof(struct table); i + 16 < dsdt->bytes; i++) {
		if (memcmp(bytes + i, "_S5_", 4) != 0 || bytes[i + 4] != 0x12)
			continue;
		const uint8_t *at = bytes + i + 5;
		at += (*at >> 6) + 2;                        /* package length, then the count of elements */
		acpi.sleep_type = *at == 0x0a ? at[1] : *at; /* BytePrefix, or ZeroOp and OneOp as they are */
		acpi.sleep_known = true;
		return;
	}
}

static void read_fadt(const uint8_t *fadt)
{
	acpi.pm1_control = (uint16_t)read32(fadt + 64);
	uint32_t dsdt = read32(fadt + 40);
	if (dsdt != 0)
		read_dsdt(arch_direct(dsdt));
}

static const struct rsdp *find_rsdp(void)
{
	if (boot_info.rsdp != 0)
		return arch_direct(boot_info.rsdp);
	for (uint64_t at = 0xe0000; at < 0x100000; at += 16)
		if (memcmp(arch_direct(at), "RSD PTR ", 8) == 0)
			return arch_direct(at);
	return NULL;
}

static void read_table(uint64_t physical)
{
	const struct table *table = arch_direct(physical);
	if (memcmp(table->signature, "APIC", 4) == 0)
		read_madt((const struct madt *)table);
	else if (memcmp(table->signature, "FACP", 4) == 0)
		read_fadt((const uint8_t *)table);
}

void acpi_init(void)
{
	acpi.local_apic = 0xfee00000;
	acpi.serial_gsi = 4;
	const struct rsdp *rsdp = find_rsdp();
	if (rsdp == NULL)
		panic("no ACPI tables: this kernel finds its cores and interrupt controllers there");
	bool extended = rsdp->revision >= 2 && rsdp->xsdt != 0;
	const struct table *root = arch_direct(extended ? rsdp->xsdt : rsdp->rsdt);
	uint32_t width = extended ? 8 : 4;
	for (uint32_t at = sizeof(struct table); at + width <= root->bytes; at += width) {
		uint64_t address = 0;
		memcpy(&address, (const uint8_t *)root + at, width);
		read_table(address);
	}
	if (acpi.cores == 0 || acpi.io_apic == 0)
		panic("the ACPI MADT names %u cores and %s I/O APIC", acpi.cores, acpi.io_apic ? "an" : "no");
}
