/*
 * The few ACPI tables that a microkernel needs (ACPI 6.5, 5.2): MADT for cores and interrupt controllers, FADT to power
 * off, MCFG for PCI's configuration space, DMAR for IOMMUs.
 */
#include "machine.h"
#include <kernel/pci.h>

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
			acpi.io_apic_id = entry[2];
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

static uint64_t read64(const uint8_t *at)
{
	return read32(at) | (uint64_t)read32(at + 4) << 32;
}

/* PCI Firmware Specification 3.3, 4.1.2: the entry of segment 0. */
static void read_mcfg(const uint8_t *mcfg, uint32_t bytes)
{
	enum { FIRST = 44, ENTRY = 16 };
	for (const uint8_t *at = mcfg + FIRST; at + ENTRY <= mcfg + bytes; at += ENTRY) {
		if (read16(at + 8) != 0)
			continue;
		acpi.pci_config = read64(at);
		acpi.pci_first_bus = at[10];
		acpi.pci_last_bus = at[11];
	}
}

/* Who an I/O APIC is to a remapping unit stands in the unit's device scope. */
static void read_scopes(const uint8_t *at, const uint8_t *end)
{
	enum { SCOPE_IO_APIC = 3, PATH = 6 };
	for (; at + PATH <= end && at[1] >= PATH && at + at[1] <= end; at += at[1])
		if (at[0] == SCOPE_IO_APIC && at[1] >= PATH + 2 && at[4] == acpi.io_apic_id)
			acpi.io_apic_requester = (uint16_t)(at[5] << 8 | at[PATH] << 3 | at[PATH + 1]);
}

/* VT-d specification 4.0, 8.1 to 8.3. */
static void read_dmar(const uint8_t *dmar, uint32_t bytes)
{
	enum { FIRST = 48, UNIT = 0, UNIT_BYTES = 16 };
	const uint8_t *end = dmar + bytes;
	for (const uint8_t *at = dmar + FIRST; at + 4 <= end; at += read16(at + 2)) {
		uint16_t length = read16(at + 2);
		if (length < 4 || at + length > end)
			return;
		if (read16(at) != UNIT || length < UNIT_BYTES || read16(at + 6) != 0)
			continue;
		if (acpi.iommus < VTD_UNITS_MAX)
			acpi.iommu[acpi.iommus++] = read64(at + 8);
		else
			panic("more than %u IOMMUs", VTD_UNITS_MAX);
		read_scopes(at + UNIT_BYTES, at + length);
	}
}

bool arch_pci_host(struct pci_host *host)
{
	enum { BUS_BYTES = 1 << 20 };
	const uint64_t devices_from = 0xfec00000; /* the I/O APIC, and other fixed addresses behind it */
	if (acpi.pci_config == 0)
		return false;
	*host = (struct pci_host){.config = acpi.pci_config,
		.first_bus = acpi.pci_first_bus,
		.last_bus = acpi.pci_last_bus,
		.window = 0x80000000,
		.window_end = devices_from};
	for (uint32_t i = 0; i < boot_info.ranges_count; i++) {
		uint64_t end = boot_info.ranges[i].base + boot_info.ranges[i].bytes;
		if (end <= devices_from && end > host->window)
			host->window = end;
	}
	uint64_t config_end = acpi.pci_config + (acpi.pci_last_bus - acpi.pci_first_bus + 1ull) * BUS_BYTES;
	if (config_end <= devices_from && config_end > host->window)
		host->window = config_end;
	return true;
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

static const struct table *dmar;

static void read_table(uint64_t physical)
{
	const struct table *table = arch_direct(physical);
	if (memcmp(table->signature, "DMAR", 4) == 0)
		dmar = table; /* it refers to the MADT */
	if (memcmp(table->signature, "APIC", 4) == 0)
		read_madt((const struct madt *)table);
	else if (memcmp(table->signature, "FACP", 4) == 0)
		read_fadt((const uint8_t *)table);
	else if (memcmp(table->signature, "MCFG", 4) == 0)
		read_mcfg((const uint8_t *)table, table->bytes);
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
	if (dmar)
		read_dmar((const uint8_t *)dmar, dmar->bytes);
	if (acpi.cores == 0 || acpi.io_apic == 0)
		panic("the ACPI MADT names %u cores and %s I/O APIC", acpi.cores, acpi.io_apic ? "an" : "no");
}
