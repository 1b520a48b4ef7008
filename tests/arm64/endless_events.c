/*
 * The SMMU's interrupt on a machine without one: a device that makes an event for each that is taken, until it has made
 * MOST of them, for the kernel's own code, which is included. No real device can be made to do that. An event interrupts
 * as the unit's do: where it comes into an empty queue, and where the kernel asks for it. How many each interrupt took is
 * said on the PL011 of QEMU's `virt`, then what is left; then the machine ends by semihosting.
 */
#include "smmu.c"

enum {
	ALL = 2 << EVENTS_BITS,
	PLACES = 1 << EVENTS_BITS,
	MOST = 10 * PLACES + 3,
	STREAM = 8,
	SYS_EXIT = 0x18,
	EXITED = 0x20026
};

struct machine machine;
struct pci_function pci_functions[PCI_FUNCTIONS_MAX];
uint32_t pci_function_count;

static _Alignas(8) uint8_t unit[SMMU_BYTES];
static uint64_t queue[PLACES * EVENT_WORDS];
static uint32_t made, taken;
static bool pending;

static void event(void)
{
	uint32_t produced = read32(SMMU_EVENTS_PRODUCED);
	pending |= produced == read32(SMMU_EVENTS_CONSUMED);
	write32(SMMU_EVENTS_PRODUCED, (produced + 1) % ALL);
	made++;
}

bool tree_id_of(const struct tree_id_map *map, uint32_t controller, uint32_t requester, uint32_t *id)
{
	(void)map;
	(void)controller;
	*id = requester;
	return true;
}

void device_fault(uint16_t requester, enum keuos_dma_fault kind, uint64_t address, uint32_t reason)
{
	(void)requester;
	(void)kind;
	(void)address;
	(void)reason;
	taken++;
	if (made < MOST)
		event();
}

void gic_ask_again(uint32_t interrupt)
{
	pending |= interrupt == machine.smmu_interrupt;
}

static void say(char c)
{
	*(volatile uint32_t *)0x9000000 = (uint32_t)c;
}

static void say_number(uint32_t n)
{
	if (n >= 10)
		say_number(n / 10);
	say((char)('0' + n % 10));
}

void main(void);
void main(void)
{
	registers = unit;
	events = queue;
	machine.smmu_interrupt = 106;
	pci_function_count = 1;
	pci_functions[0].requester = STREAM;
	for (uint64_t i = 0; i < PLACES; i++) { /* each at a page of its own */
		queue[i * EVENT_WORDS] = (uint64_t)STREAM << 32 | EVENT_TRANSLATION;
		queue[i * EVENT_WORDS + 2] = i * KEUOS_PAGE_BYTES;
	}
	event();
	while (pending) {
		uint32_t before = taken;
		pending = false;
		smmu_interrupt();
		say_number(taken - before);
		say(' ');
	}
	say_number((read32(SMMU_EVENTS_PRODUCED) - read32(SMMU_EVENTS_CONSUMED)) % ALL);
	say('\n');
	const uint64_t end[] = {EXITED, 0};
	register uint64_t operation __asm__("x0") = SYS_EXIT;
	register const uint64_t *argument __asm__("x1") = end;
	__asm__ volatile("hlt #0xf000" : : "r"(operation), "r"(argument) : "memory");
}
