/* The driver of e1000e.h. Registers, their bits and descriptors are named in the 82574 datasheet, chapters 7 and 10. */
#include "e1000e.h"

enum e1000e_register {
	CTRL = 0x0000,
	STATUS = 0x0008,
	EECD = 0x0010,
	CTRL_EXT = 0x0018,
	ICR = 0x00c0,
	IMS = 0x00d0,
	IMC = 0x00d8,
	EIAC = 0x00dc,
	IVAR = 0x00e4,
	RCTL = 0x0100,
	TCTL = 0x0400,
	TIPG = 0x0410,
	RDBAL = 0x2800, /* of queue 0: base, its upper half, bytes, head, tail */
	TDBAL = 0x3800,
	RING_HIGH = 4,
	RING_BYTES = 8,
	RING_HEAD = 16,
	RING_TAIL = 24,
	RXDCTL = 0x2828,
	TXDCTL = 0x3828,
	TARC = 0x3840,
	RXCSUM = 0x5000,
	RFCTL = 0x5008,
	MTA = 0x5200, /* 128 words: which groups are received */
	RAL = 0x5400, /* 16 pairs: addresses; the first is the NVM's */
	RAH = 0x5404,
	GCR = 0x5b00,
};

enum e1000e_count { MTA_WORDS = 128, ADDRESSES = 16 };

#define CTRL_MASTER_DISABLE (1u << 2)
#define CTRL_LINK_UP (1u << 6)
#define CTRL_FORCE_SPEED (1u << 11)
#define CTRL_FORCE_DUPLEX (1u << 12)
#define CTRL_RESET (1u << 26)
#define STATUS_LINK_UP (1u << 1)
#define STATUS_MASTERING (1u << 19)
#define EECD_AUTO_READ_DONE (1u << 9)
#define CTRL_EXT_CLEAR_PENDING (1u << 31) /* a pending bit goes with its message */
#define CAUSE_LINK (1u << 2)
#define CAUSE_RECEIVE (1u << 20)
#define CAUSE_TRANSMIT (1u << 22)
#define CAUSE_OTHER (1u << 24)
#define IVAR_VALID (1u << 3)
#define IVAR_EVERY_WRITE_BACK (1u << 31)
#define RCTL_ENABLE (1u << 1)
#define RCTL_BROADCAST (1u << 15)
#define RCTL_STRIP_CRC (1u << 26)
#define TCTL_ENABLE (1u << 1)
#define TCTL_PAD (1u << 3)
#define TCTL_COLLISIONS (0x0fu << 4 | 0x3fu << 12) /* threshold and distance for full duplex */
#define TIPG_COPPER (8u | 8u << 10 | 6u << 20)
#define DCTL_ONE_BY_ONE (1u << 24 | 1u << 16) /* thresholds in descriptors; each is written back at once */
#define TXDCTL_MUST_BE_SET (1u << 22)
#define TARC_MUST_BE_SET (1u << 26)
#define GCR_MUST_BE_SET (1u << 22)
#define RFCTL_NO_ACK_INTERRUPT (1u << 12)
#define RAH_VALID (1u << 31)
#define ALL_ONES UINT32_MAX

#define RESET_PAUSE_NS 1000000ull /* registers are left alone for so long */
#define MASTER_DISABLE_NS 10000000ull
#define RESET_NS 1000000000ull
#define DRAIN_NS 20000000ull /* 128 frames of 1,518 bytes take 16 ms at 100 Mbit/s */

/* The legacy formats of both directions. */
struct descriptor {
	uint64_t address;
	uint16_t bytes;
	uint8_t received_checksum,
		command; /* one 16-bit field of a received frame; of one to send: offset and command */
	uint8_t status;
	uint8_t errors;
	uint16_t vlan;
};

_Static_assert(sizeof(struct descriptor) == 16, "legacy descriptor");

enum {
	DONE = 1,
	END_OF_FRAME = 2,
	COMMAND_END = 1,
	COMMAND_CRC = 2,
	COMMAND_REPORT = 8,
	UNWRITTEN = 0xff,
	TRANSMIT_RING_PAGE = 2,
	RECEIVE_PAGE = E1000E_RING_PAGES,
	TRANSMIT_PAGE = RECEIVE_PAGE + E1000E_RECEIVE_PAGES,
	VECTORS = 5,
};

_Static_assert(
	E1000E_RECEIVE_PLACES * sizeof(struct descriptor) == TRANSMIT_RING_PAGE * NIC_PAGE_BYTES, "receive ring");
_Static_assert(E1000E_RECEIVE < E1000E_RECEIVE_PLACES, "a full ring would look like an empty one");

const struct nic_range e1000e_ranges[E1000E_RANGES] = {
	{0, E1000E_RING_PAGES, true},
	{RECEIVE_PAGE, E1000E_RECEIVE_PAGES, true},
	{TRANSMIT_PAGE, E1000E_TRANSMIT_PAGES, false},
};

static uint32_t read(const struct e1000e_bus *bus, uint32_t offset)
{
	return bus->read(bus->context, offset);
}

static void write(const struct e1000e_bus *bus, uint32_t offset, uint32_t value)
{
	bus->write(bus->context, offset, value);
}

static void set(const struct e1000e_bus *bus, uint32_t offset, uint32_t bits)
{
	write(bus, offset, read(bus, offset) | bits);
}

static size_t offset_of(unsigned page, uint16_t index)
{
	return (size_t)page * NIC_PAGE_BYTES + (size_t)index * E1000E_BUFFER_BYTES;
}

static struct descriptor *received_at(const struct e1000e *device, uint16_t counter)
{
	return (struct descriptor *)device->memory + counter % E1000E_RECEIVE_PLACES;
}

static struct descriptor *sent_at(const struct e1000e *device, uint16_t counter)
{
	return (struct descriptor *)(device->memory + (size_t)TRANSMIT_RING_PAGE * NIC_PAGE_BYTES) +
		counter % E1000E_TRANSMIT;
}

/* What stands behind a set bit was written before it. */
static bool is_done(struct descriptor *descriptor)
{
	return __atomic_load_n(&descriptor->status, __ATOMIC_ACQUIRE) & DONE;
}

static bool wait_for(const struct e1000e_bus *bus, uint32_t offset, uint32_t mask, uint32_t value, uint64_t ns)
{
	uint64_t until = bus->time_ns(bus->context) + ns;

	while ((read(bus, offset) & mask) != value)
		if (bus->time_ns(bus->context) >= until)
			return false;
	return true;
}

static void pause(const struct e1000e_bus *bus, uint64_t ns)
{
	uint64_t until = bus->time_ns(bus->context) + ns;

	while (bus->time_ns(bus->context) < until)
		;
}

/* What is under way ends first; a device that does not let go of the bus is reset all the same. */
enum e1000e_fault e1000e_reset(const struct e1000e_bus *bus)
{
	write(bus, IMC, ALL_ONES);
	write(bus, RCTL, 0);
	write(bus, TCTL, 0);
	set(bus, CTRL, CTRL_MASTER_DISABLE);
	wait_for(bus, STATUS, STATUS_MASTERING, 0, MASTER_DISABLE_NS);
	set(bus, CTRL, CTRL_RESET);
	pause(bus, RESET_PAUSE_NS);
	if (!wait_for(bus, CTRL, CTRL_RESET, 0, RESET_NS) ||
		!wait_for(bus, EECD, EECD_AUTO_READ_DONE, EECD_AUTO_READ_DONE, RESET_NS))
		return E1000E_FAULT_RESET;
	write(bus, IMC, ALL_ONES);
	read(bus, ICR);
	return E1000E_FAULT_NONE;
}

static void lend(struct e1000e *device, uint16_t index)
{
	const struct nic_area *area = nic_areas_now(&device->areas);
	size_t at = offset_of(0, index);

	/* The device has to change this, or it has written nothing. Nobody's own address is a group's. */
	memset(area->memory + at, UNWRITTEN, NETD_ETHERNET_BYTES);
	device->placed[device->receive_posted % E1000E_RECEIVE_PLACES] = index;
	*received_at(device, device->receive_posted) = (struct descriptor){.address = area->iova + at};
	device->receive_posted++;
}

static void show(struct e1000e *device, uint32_t ring, uint16_t posted, uint16_t *published, uint32_t places)
{
	if (*published == posted)
		return;
	*published = posted;
	device->counters.notifications++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* descriptors and buffers, then the tail */
	write(device->bus, ring + RING_TAIL, posted % places);
}

void e1000e_flush(struct e1000e *device)
{
	if (!device->running)
		return;
	show(device, RDBAL, device->receive_posted, &device->receive_published, E1000E_RECEIVE_PLACES);
	show(device, TDBAL, device->transmit_posted, &device->transmit_published, E1000E_TRANSMIT);
}

static void release(void *owner, uint64_t id)
{
	struct e1000e *device = owner;

	if (nic_areas_return(&device->areas, id) && device->running)
		lend(device, (uint16_t)id);
}

static bool has_room(const struct e1000e *device)
{
	return (uint16_t)(device->transmit_posted - device->transmit_taken) < E1000E_TRANSMIT - 1;
}

static bool has_sent(const struct e1000e *device)
{
	return device->transmit_taken != device->transmit_published && is_done(sent_at(device, device->transmit_taken));
}

static void reclaim(struct e1000e *device)
{
	while (has_sent(device))
		device->transmit_taken++;
}

static bool transmit(void *context, const struct netd_part *parts, unsigned count)
{
	struct e1000e *device = context;

	if (device->running && !has_room(device)) {
		e1000e_flush(device); /* or the device would never be done with them */
		reclaim(device);
	}
	if (!device->running || !device->nic->link_up || !has_room(device)) {
		device->wanted_room = true;
		device->counters.no_room++;
		return false;
	}
	if (nic_bytes_of(parts, count) > E1000E_BUFFER_BYTES) {
		device->counters.oversized++; /* more than the MTU that the stack was told: lost, as on a real wire */
		return true;
	}
	size_t at = offset_of(TRANSMIT_PAGE, device->transmit_posted % E1000E_TRANSMIT);
	size_t bytes = nic_gather(device->memory + at, parts, count);

	*sent_at(device, device->transmit_posted) = (struct descriptor){.address = device->iova + at,
		.bytes = (uint16_t)bytes,
		.command = COMMAND_END | COMMAND_CRC | COMMAND_REPORT};
	device->transmit_posted++;
	if ((uint16_t)(device->transmit_posted - device->transmit_published) >= NIC_BURST)
		e1000e_flush(device);
	device->counters.transmitted++;
	device->counters.transmitted_bytes += bytes;
	return true;
}

static const struct netd_nic_driver driver = {.transmit = transmit};

static enum e1000e_fault read_identity(struct e1000e *device)
{
	struct netd_nic *nic = device->nic;
	uint32_t low = read(device->bus, RAL), high = read(device->bus, RAH);
	uint8_t any = 0;

	for (uint32_t i = 0; i < NETD_MAC_BYTES; i++) {
		nic->mac[i] = (uint8_t)((i < 4 ? low : high) >> i % 4 * 8);
		any |= nic->mac[i];
	}
	if (!(high & RAH_VALID) || !any || nic->mac[0] & 1)
		return E1000E_FAULT_IDENTITY;
	nic->mtu = NIC_MTU_MAX;
	return E1000E_FAULT_NONE;
}

/* Its own address and broadcasts. What the table of groups holds behind a reset nobody promises. */
static void set_filters(const struct e1000e_bus *bus)
{
	for (uint32_t i = 0; i < MTA_WORDS; i++)
		write(bus, MTA + 4 * i, 0);
	for (uint32_t i = 1; i < ADDRESSES; i++)
		write(bus, RAH + 8 * i, 0);
}

static void set_ring(const struct e1000e_bus *bus, uint32_t ring, uint64_t iova, uint32_t places)
{
	write(bus, ring, (uint32_t)iova);
	write(bus, ring + RING_HIGH, (uint32_t)(iova >> 32));
	write(bus, ring + RING_BYTES, places * (uint32_t)sizeof(struct descriptor));
	write(bus, ring + RING_HEAD, 0);
	write(bus, ring + RING_TAIL, 0);
}

/* All causes by one vector. Of the queues' the bits go out with the message; ICR keeps the others for arm(). */
static void set_vector(const struct e1000e_bus *bus, uint32_t vector)
{
	uint32_t entry = vector | IVAR_VALID;

	set(bus, CTRL_EXT, CTRL_EXT_CLEAR_PENDING);
	set(bus, RFCTL, RFCTL_NO_ACK_INTERRUPT);
	write(bus, IVAR, IVAR_EVERY_WRITE_BACK | entry | entry << 8 | entry << 16);
	write(bus, EIAC, CAUSE_RECEIVE | CAUSE_TRANSMIT);
}

static void set_up(const struct e1000e *device, uint32_t vector)
{
	const struct e1000e_bus *bus = device->bus;

	set(bus, GCR, GCR_MUST_BE_SET);
	set(bus, TARC, TARC_MUST_BE_SET);
	write(bus, RXDCTL, DCTL_ONE_BY_ONE);
	write(bus, TXDCTL, DCTL_ONE_BY_ONE | TXDCTL_MUST_BE_SET);
	write(bus, RXCSUM, 0); /* on behind a reset: a wrong checksum is the stack's to find, and to count */
	set_filters(bus);
	set_vector(bus, vector);
	set_ring(bus, RDBAL, device->iova, E1000E_RECEIVE_PLACES);
	set_ring(bus, TDBAL, device->iova + (uint64_t)TRANSMIT_RING_PAGE * NIC_PAGE_BYTES, E1000E_TRANSMIT);
	write(bus, CTRL, (read(bus, CTRL) & ~(CTRL_FORCE_SPEED | CTRL_FORCE_DUPLEX)) | CTRL_LINK_UP);
}

static enum e1000e_fault bring_up(struct e1000e *device)
{
	struct netd_nic *nic = device->nic;

	nic->link_up = false;
	device->fault = device->vector < VECTORS ? e1000e_reset(device->bus) : E1000E_FAULT_RESET;
	if (!device->fault)
		device->fault = read_identity(device);
	if (device->fault)
		return device->fault;
	/* Only now: until the reset, frames come into the rings as they were. */
	memset(device->memory, 0, (size_t)E1000E_RING_PAGES * NIC_PAGE_BYTES);
	device->receive_posted = device->receive_published = device->receive_taken = 0;
	device->transmit_posted = device->transmit_published = device->transmit_taken = 0;
	set_up(device, device->vector);
	nic->link_up = read(device->bus, STATUS) & STATUS_LINK_UP;
	device->running = true;
	return E1000E_FAULT_NONE;
}

enum e1000e_fault e1000e_start(struct e1000e *device, struct netd_nic *nic, const struct e1000e_bus *bus, void *memory,
	uint64_t iova, uint32_t vector)
{
	struct nic_areas areas = device->areas;

	memset(device, 0, sizeof(*device));
	device->nic = nic;
	device->bus = bus;
	device->memory = memory;
	device->iova = iova;
	device->vector = vector;
	device->areas = areas;
	nic_areas_own(&device->areas, device->memory + offset_of(RECEIVE_PAGE, 0), iova + offset_of(RECEIVE_PAGE, 0));
	nic->driver = &driver;
	nic->device = device;
	return bring_up(device);
}

static void offer_room(struct e1000e *device)
{
	if (!device->wanted_room || !device->nic->link_up || !has_room(device))
		return;
	device->wanted_room = false;
	device->nic->client.room(device->nic->client.stack);
}

/* Waits for what was sent to leave, within reason: a device may hold on to it. */
static void drain(struct e1000e *device)
{
	uint64_t until = device->bus->time_ns(device->bus->context) + DRAIN_NS;

	e1000e_flush(device);
	while (device->transmit_taken != device->transmit_posted && device->bus->time_ns(device->bus->context) < until)
		reclaim(device);
}

enum e1000e_fault e1000e_receive_into(struct e1000e *device, uint8_t *memory, uint64_t iova, uint16_t buffers)
{
	struct netd_nic *nic = device->nic, before = *nic;

	if (!device->running)
		return device->fault;
	drain(device);
	device->running = device->armed = device->link_moved = false;
	nic_areas_lend(&device->areas, memory, iova, buffers);
	if (!bring_up(device) && memcmp(nic->mac, before.mac, sizeof(before.mac)) != 0)
		e1000e_stop(device, E1000E_FAULT_IDENTITY); /* another device than before */
	if (device->fault)
		return device->fault;
	if (before.mtu < nic->mtu)
		nic->mtu = before.mtu;
	e1000e_run(device);
	if (nic->link_up != before.link_up)
		nic->client.link(nic->client.stack);
	offer_room(device);
	return E1000E_FAULT_NONE;
}

void e1000e_run(struct e1000e *device)
{
	const struct nic_area *area = nic_areas_now(&device->areas);

	for (uint16_t i = 0; i < area->buffers; i++)
		if (!area->away[i])
			lend(device, i);
	write(device->bus, TIPG, TIPG_COPPER);
	write(device->bus, TCTL, TCTL_ENABLE | TCTL_PAD | TCTL_COLLISIONS);
	write(device->bus, RCTL, RCTL_ENABLE | RCTL_BROADCAST | RCTL_STRIP_CRC);
	e1000e_flush(device);
}

static void set_link(struct e1000e *device, bool up)
{
	if (up == device->nic->link_up)
		return;
	device->nic->link_up = up;
	device->nic->client.link(device->nic->client.stack);
}

void e1000e_stop(struct e1000e *device, enum e1000e_fault fault)
{
	if (!device->running)
		return;
	device->running = false;
	device->fault = fault;
	e1000e_reset(device->bus);
	set_link(device, false);
}

/* One frame to the stack, or back to the device; false: the device was caught. */
static bool deliver(struct e1000e *device, const volatile struct descriptor *descriptor, uint16_t index)
{
	const uint8_t *buffer = nic_areas_now(&device->areas)->memory + offset_of(0, index);
	uint16_t bytes = descriptor->bytes;
	bool damaged = descriptor->errors, unwritten = true;

	if (bytes > E1000E_BUFFER_BYTES || !(descriptor->status & END_OF_FRAME)) {
		e1000e_stop(device, E1000E_FAULT_LENGTH);
		return false;
	}
	for (uint32_t i = NETD_MAC_BYTES; i < 2 * NETD_MAC_BYTES; i++)
		unwritten = unwritten && ((const volatile uint8_t *)buffer)[i] == UNWRITTEN;
	if (damaged || unwritten || bytes < NETD_ETHERNET_BYTES) {
		*(damaged || unwritten ? &device->counters.damaged : &device->counters.runts) += 1;
		lend(device, index);
		return true;
	}
	struct netd_frame frame = {.data = buffer, .bytes = bytes, .owner = device};
	bool kept = nic_areas_keep(&device->areas, index, &frame.id);

	frame.release = kept ? release : NULL;
	device->counters.received++;
	device->counters.received_bytes += bytes;
	device->nic->client.receive(device->nic->client.stack, &frame);
	if (!kept && device->running)
		lend(device, index);
	return device->running; /* the stack may have been told to stop it */
}

static bool has_received(const struct e1000e *device)
{
	return device->receive_taken != device->receive_published &&
		is_done(received_at(device, device->receive_taken));
}

unsigned e1000e_poll(struct e1000e *device, unsigned budget)
{
	unsigned frames = 0;

	if (device->link_moved)
		e1000e_look(device);
	if (!device->running)
		return 0;
	reclaim(device);
	offer_room(device);
	while (device->running && frames < budget && has_received(device)) {
		uint16_t at = device->receive_taken++;

		frames++;
		if (!deliver(device, received_at(device, at), device->placed[at % E1000E_RECEIVE_PLACES]))
			break;
	}
	e1000e_flush(device);
	return frames;
}

void e1000e_look(struct e1000e *device)
{
	device->link_moved = false;
	if (!device->running)
		return;
	uint32_t status = read(device->bus, STATUS);

	if (status == ALL_ONES) {
		e1000e_stop(device, E1000E_FAULT_GONE);
		return;
	}
	set_link(device, status & STATUS_LINK_UP);
	offer_room(device);
}

/*
 * Interrupts are off here, so that reading the causes clears them, and is answered behind all that
 * was written back before: what comes from now on is a cause anew. Sent buffers are waited for only if somebody has no room.
 */
bool e1000e_arm(struct e1000e *device)
{
	if (!device->running)
		return false;
	e1000e_flush(device);
	device->link_moved = read(device->bus, ICR) & CAUSE_LINK;
	if (device->link_moved || has_received(device) || (device->wanted_room && has_sent(device)))
		return true;
	device->armed = true;
	write(device->bus, IMS, CAUSE_RECEIVE | CAUSE_OTHER | CAUSE_LINK | (device->wanted_room ? CAUSE_TRANSMIT : 0));
	return false;
}

void e1000e_disarm(struct e1000e *device)
{
	if (device->armed && device->running)
		write(device->bus, IMC, ALL_ONES);
	device->armed = false;
}
