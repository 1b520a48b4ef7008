"""The DMA gate: a device reaches the pages that its driver registered and nothing else, whatever the driver tells it.

Memory is compared from outside, through the target's Debug part; the kernel is asked only for what it recorded.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from keuos_hil.agent import Agent, Process
from keuos_hil.dwarf import Record
from keuos_hil.errors import Refused
from keuos_hil.iommu import INTERRUPT_WINDOW, Kind, kind_of
from keuos_hil.page_tables import format_for, translate
from keuos_hil.rig import LiveTarget

from .programs import HOST, Probe, Rogue, device_of, frame_of, until

pytestmark = pytest.mark.needs("agent", "channels", "link", "iommu", "debug")

PAGE = 4096
#: In front of a received frame (struct virtio_net_hdr).
HEADER = 12
FRAME = 512
#: Where the rogue's honest pages lie for the device: far from any physical address of the machines here.
IOVA = 0x5_0000_0000


@pytest.fixture
def rogue(agent: Agent) -> Rogue:
    """A hostile driver that has claimed the NIC; nothing but its queues is registered."""
    rogue = Rogue(agent)
    rogue.open()
    return rogue


def put(target: LiveTarget, rogue: Rogue, seed: int) -> Callable[[], None]:
    """Puts a frame for the NIC on the wire; its bytes are nowhere in the target's memory yet."""
    frame = frame_of(rogue.mac, random.Random(seed).randbytes(FRAME))
    return lambda: target.link.send(frame)


def faults(agent: Agent, start: int) -> list[Record]:
    """The faults recorded from event `start` on."""
    kind = agent.image.constant("KEUOS_EVENT_DMA_FAULT")
    return [event for event in agent.events(start) if event.kind == kind]


def expect_fault(rogue: Rogue, start: int, access: str, page: int) -> None:
    """A fault at `page`, and it is laid at this driver's door."""
    agent = rogue.agent
    found = until("a fault in the event record", lambda: faults(agent, start), bool)
    device = device_of(agent, rogue.nic)
    for event in found:
        assert event.verdict == agent.image.constant(f"KEUOS_DMA_FAULT_{access.upper()}"), event
        assert (event.pid, event.channel, event.generation) == (rogue.process.pid, rogue.nic, device.requester), event
        assert event.detail == page, f"the fault is at {event.detail:#x}, not at {page:#x}"
    assert device.faults >= 1


def expect_nic_works(target: LiveTarget, rogue: Rogue, seed: int) -> None:
    """After a reset this driver gets a frame into a page that it registered; after its death another one does."""
    rogue.reset()
    address = rogue.new_page(IOVA)
    frame = frame_of(rogue.mac, random.Random(seed + 1).randbytes(FRAME))
    rogue.receive_into(IOVA, PAGE, lambda: target.link.send(frame))
    assert rogue.process.read(address + HEADER, len(frame)) == frame
    rogue.process.close()
    probe = Probe(rogue.agent)
    target.link.send(frame)
    probe.wait_received(1)
    assert probe.frame(0) == frame


def frames_of(target: LiveTarget) -> list[bytes]:
    """What the NIC has sent up to now."""
    found = []
    while (frame := target.link.receive(0.3)) is not None:
        found.append(frame)
    return found


def iommu(target: LiveTarget) -> Kind:
    """The kind of the target's IOMMU."""
    found = kind_of(target.kernel)
    assert found is not None
    return found


SPOTS = ("kernel_data", "kernel_code", "process")
#: So many bytes of a spot are compared; a frame here is shorter.
SPOT = 1024


def spot(target: LiveTarget, agent: Agent, seed: int, where: str) -> int:
    """Physical address of SPOT bytes that nobody changes: what was booted, code, a victim."""
    if where == "process":
        return victim_page(target, agent, seed)
    return target.kernel.physical(
        target.kernel.address({"kernel_data": "boot_info", "kernel_code": "frame_alloc"}[where])
    )


def pages_with(target: LiveTarget, marker: bytes, *offsets: int) -> set[int]:
    """Physical addresses of those pages of memory objects that hold `marker` at one of these offsets."""
    frames = target.kernel.read_array("memory_objects")["frames"]
    contents = {page: target.debug.read_physical(page, PAGE) for page in frames[frames != 0].tolist()}
    return {page for page, data in contents.items() if any(data.startswith(marker, at) for at in offsets)}


def page_of(target: LiveTarget, process: Process, address: int, marker: bytes) -> int:
    """The physical address of a process's page; `marker` lies in it at `address`."""
    processes = target.kernel.read_array("processes")
    (own,) = processes[processes["pid"] == process.pid]["space"]["root"].tolist()
    format_, read = format_for(target.image.kernel.machine), target.debug.read_physical
    at = translate(format_, read, format_.roots(own, int(target.kernel.read("kernel_space").root)), address)
    assert at is not None, f"{address:#x} is mapped"
    assert read(at, len(marker)) == marker
    return at & -PAGE


def victim_page(target: LiveTarget, agent: Agent, seed: int) -> int:
    """Physical address of a page of another process, which waits for ever."""
    victim = agent.spawn("probe", suspended=True)
    marker = random.Random(seed + 2).randbytes(48)
    victim.write_struct("params", hold=1, args=[int.from_bytes(marker[i : i + 8], "little") for i in range(0, 48, 8)])
    victim.start()
    rests = victim.elf.layouts.constant("PROBE_SURVIVED")
    until("the victim to rest", lambda: victim.read_struct("results").stage, lambda stage: stage == rests)
    fields = victim.elf.layouts.variable("params").fields
    assert fields is not None
    at = victim.variables.address("params") + fields["args"][1]
    return page_of(target, victim, at, marker)


@pytest.mark.parametrize("where", SPOTS)
def test_a_receive_descriptor_at_somebody_elses_page_changes_nothing(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int, where: str
) -> None:
    at = spot(target, agent, seed, where)
    start = agent.next_event()
    before = target.debug.read_physical(at, SPOT)
    rogue.receive_into(at, SPOT, put(target, rogue, seed))
    assert target.debug.read_physical(at, SPOT) == before
    expect_fault(rogue, start, "write", at & -PAGE)
    expect_nic_works(target, rogue, seed)


@pytest.mark.parametrize("where", SPOTS)
def test_a_transmit_descriptor_at_somebody_elses_page_tells_nothing(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int, where: str
) -> None:
    at = spot(target, agent, seed, where)
    start = agent.next_event()
    secret = target.debug.read_physical(at, SPOT)
    rogue.post("transmit", at, SPOT)
    for frame in frames_of(target):
        words = {frame[i : i + 8] for i in range(len(frame) - 7)} - {bytes(8)}
        told = {word for word in words if word in secret}
        assert not told, f"the frame holds {len(told)} words of the page: {frame.hex()}"
    expect_fault(rogue, start, "read", at & -PAGE)
    expect_nic_works(target, rogue, seed)


@pytest.mark.parametrize("place", ["interrupt controller", "iommu", "bar"])
def test_registers_of_other_devices_are_out_of_reach(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int, place: str
) -> None:
    page = iommu(target).registers(target.kernel).get(place)
    if page is None:
        page = rogue.good("device_config", rogue.capability, 0x20, 4) & -16
    start = agent.next_event()
    rogue.receive_into(page, PAGE, put(target, rogue, seed))
    expect_fault(rogue, start, "write", page)
    assert not rogue.results.status & 64, "the device calls itself broken"
    agent.ping()
    expect_nic_works(target, rogue, seed)


def bind_ring(agent: Agent, rogue: Rogue) -> tuple[Any, Record, int]:
    """A channel from the rogue, its data ring shown to the device: (channel, endpoint, address of the ring)."""
    consumer = agent.spawn("sleeper")
    channel = agent.bind(rogue.process, consumer, "polled", order=0)
    end = rogue.step("accept").endpoint
    rogue.good("dma_map", rogue.capability, end.capability, 0, 1, IOVA, 1)
    return channel, end, end.base + agent.image.constant("KEUOS_OFFSET_DATA")


def test_a_frame_lands_in_a_channels_data_ring_and_after_the_revocation_it_does_not(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int
) -> None:
    channel, _, ring = bind_ring(agent, rogue)
    rogue.receive_into(IOVA, PAGE, put(target, rogue, seed))
    payload = random.Random(seed).randbytes(FRAME)
    assert rogue.process.read(ring + HEADER + 14, FRAME) == payload
    page = page_of(target, rogue.process, ring + HEADER + 14, payload)

    channel.revoke()
    assert device_of(agent, rogue.nic).dma_ranges == 1, "only the queues are left"
    start = agent.next_event()
    before = target.debug.read_physical(page, PAGE)
    rogue.receive_into(IOVA, PAGE, put(target, rogue, seed + 7))
    assert target.debug.read_physical(page, PAGE) == before
    expect_fault(rogue, start, "write", IOVA)
    expect_nic_works(target, rogue, seed)


def test_a_dropped_memory_object_is_out_of_reach_before_its_frames_are_anybodys(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int
) -> None:
    memory = rogue.good("memory_create", 1)
    rogue.good("dma_map", rogue.capability, memory, 0, 1, IOVA, 1)
    free = agent.counts().pages_free
    rogue.good("cap_drop", memory)
    assert agent.counts().pages_free == free + 1
    start = agent.next_event()
    rogue.receive_into(IOVA, PAGE, put(target, rogue, seed))
    expect_fault(rogue, start, "write", IOVA)


def test_a_page_stays_in_use_for_as_long_as_the_device_can_reach_it(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int
) -> None:
    memory = rogue.good("memory_create", 1)
    rogue.good("memory_map", memory, 1)
    rogue.good("dma_map", rogue.capability, memory, 0, 1, IOVA, 1)
    free = agent.counts().pages_free
    rogue.good("memory_unmap", memory)
    rogue.receive_into(IOVA, PAGE, put(target, rogue, seed))
    assert agent.counts().pages_free == free
    assert not faults(agent, 0) or faults(agent, 0)[-1].pid != rogue.process.pid
    rogue.good("dma_unmap", rogue.capability, IOVA)
    start = agent.next_event()
    rogue.receive_into(IOVA, PAGE, put(target, rogue, seed))
    expect_fault(rogue, start, "write", IOVA)


def test_a_page_shown_for_reading_is_not_written(target: LiveTarget, agent: Agent, rogue: Rogue, seed: int) -> None:
    address = rogue.new_page(IOVA, writable=False)
    start = agent.next_event()
    rogue.receive_into(IOVA, PAGE, put(target, rogue, seed))
    assert rogue.process.read(address, PAGE) == bytes(PAGE)
    expect_fault(rogue, start, "write", IOVA)


# Interrupts --------------------------------------------------------------------------------------------------------


def interrupts_of_core_0(target: LiveTarget) -> int:
    """Seen from outside. Core 0 has the console alone: with a silent line and no timer it gets none."""
    return int(target.kernel.read_element("cpus", 0).interrupts)


def until_silent(target: LiveTarget) -> int:
    """Until core 0 has got no interrupt for a while; how many there were."""
    last = [-1, -2]
    while len({*last[-4:]}) > 1:
        time.sleep(0.05)  # silence can't be waited for by its sign
        last.append(interrupts_of_core_0(target))
    return last[-1]


def forge(target: LiveTarget, rogue: Rogue, address: int, data: int) -> tuple[int, int]:
    """Have the device write the four bytes `data` to `address`; (interrupts of core 0, strays) that came of it."""
    page = rogue.new_page(IOVA + PAGE)
    marker = random.Random(address).randbytes(64)
    rogue.process.write(page, marker)
    landing = page_of(target, rogue.process, page, marker)
    frame = frame_of(rogue.mac, data.to_bytes(4, "little") * 16)
    seen: list[tuple[int, int]] = []

    def send() -> None:
        seen.append((until_silent(target), target.kernel.read("stray_interrupts")))
        target.link.send(frame)
        until("the frame to land", lambda: target.debug.read_physical(landing, 64), lambda now: now != marker)
        time.sleep(0.1)  # what would come, has come
        seen.append((interrupts_of_core_0(target), target.kernel.read("stray_interrupts")))

    rogue.receive_into(IOVA + PAGE, PAGE, send, piece=(4, HEADER + 14 + 8, address))
    rogue.good("dma_unmap", rogue.capability, IOVA + PAGE)
    return seen[1][0] - seen[0][0], seen[1][1] - seen[0][1]


def heard_each_time(target: LiveTarget, rogue: Rogue, address: int, data: int) -> tuple[int, int]:
    """Like :func:`forge`, of as many as three. A write that raises an interrupt does so each time, while a late one of
    the serial line's comes when the host's threads get to run."""
    came, strays = forge(target, rogue, address, data)
    for _ in range(2):
        if not came:
            break
        again = forge(target, rogue, address, data)
        came, strays = min(came, again[0]), strays + again[1]
    return came, strays


@pytest.mark.parametrize("index", [0, 5, 255, 256, 0x7FFF])
def test_a_device_cannot_raise_an_interrupt_that_is_not_its_own(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int, index: int
) -> None:
    """Entry 0 is the serial line's where it has one; 5 and 255 are nobody's, the last two lie past the table."""
    if iommu(target).checks_writers and "qemu" in target.session.command:
        pytest.skip("QEMU 7.2's ITS refuses whatever a virtio device forges, the device's own event too")
    came, strays = heard_each_time(target, rogue, *iommu(target).message(index))
    expect_nic_works(target, rogue, seed)
    if came and index == 0 and "qemu" in target.session.command:
        assert iommu(target).line_names_its_writer(target.kernel), "the entry names no source that could be checked"
        pytest.xfail("QEMU 7.2 knows no requester of a virtio device's write, so it can't check the entry's source id")
    assert (came, strays) == (0, 0)


@pytest.mark.parametrize("vector", [0x21, 0x24, 0x51, 0xF0])
def test_a_device_cannot_raise_an_interrupt_in_the_old_format(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int, vector: int
) -> None:
    """0x21 is the serial line's vector, 0x24 the IOMMU's own, the others are nobody's."""
    message = iommu(target).old_message(vector)
    if message is None:
        pytest.skip(f"{iommu(target).name} knows one format of messages")
    start = agent.next_event()
    came, strays = heard_each_time(target, rogue, *message)
    agent.ping()
    if strays:
        kind = agent.image.constant("KEUOS_EVENT_STRAY")
        recorded = [event.detail for event in agent.events(start) if event.kind == kind]
        assert recorded or strays & (strays - 1), "the record gets the first, second, fourth ... of them"
    expect_nic_works(target, rogue, seed)
    if came and "qemu" in target.session.command:
        pytest.xfail("QEMU before 10.0 passes the old format though the kernel forbids it (VT-d 4.0, 5.1.4)")
    assert (came, strays) == (0, 0)


def test_a_device_that_forges_its_own_interrupt_is_heard_twice_for_each_wait(
    target: LiveTarget, agent: Agent, rogue: Rogue
) -> None:
    """A message that the device was told to write passes the vector's mask; no driver may bury a core with them."""
    rogue.good("device_control", rogue.capability, agent.image.constant("KEUOS_DEVICE_INTERRUPT"), 0)
    slot = int(target.kernel.read_element("devices", rogue.nic - 1).slots[0])
    assert slot >= 0, "the vector is not on"
    own = iommu(target).message(iommu(target).index_of(slot))
    for _ in range(2):
        before = device_of(agent, rogue.nic).interrupts
        for _ in range(5):
            forge(target, rogue, *own)
        if iommu(target).checks_writers and "qemu" in target.session.command:
            assert device_of(agent, rogue.nic).interrupts == before
            pytest.xfail("QEMU 7.2 tells the ITS no requester of a virtio device's write: even its own is refused")
        assert 1 <= device_of(agent, rogue.nic).interrupts - before <= 2
        rogue.good("device_wait", rogue.capability, 0, 0)  # looks, and lets its vectors through again
    agent.ping()


def test_a_device_cannot_read_the_interrupt_window(target: LiveTarget, agent: Agent, rogue: Rogue, seed: int) -> None:
    before = until_silent(target), target.kernel.read("stray_interrupts")
    rogue.post("transmit", INTERRUPT_WINDOW, 1024)
    assert target.kernel.read("stray_interrupts") == before[1]
    agent.ping()
    expect_nic_works(target, rogue, seed)


# A storm -----------------------------------------------------------------------------------------------------------


def test_a_device_that_faults_without_end_loses_its_bus_mastering_and_not_the_record(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int
) -> None:
    start, limit = agent.next_event(), agent.image.constant("KEUOS_DMA_FAULTS_MAX")
    quarantined = agent.image.constant("KEUOS_DEVICE_QUARANTINED")
    for _ in range(40):
        rogue.post("transmit", IOVA, 64, wait_ns=10**10, repeat=100)
        if device_of(agent, rogue.nic).state & quarantined:
            break
    device = device_of(agent, rogue.nic)
    assert device.state & quarantined, f"{device.faults} faults, and it is still at large"
    assert not device.state & agent.image.constant("KEUOS_DEVICE_MASTERING")
    assert device.faults >= limit
    assert 1 <= len(faults(agent, start)) <= limit.bit_length()
    master = agent.image.constant("KEUOS_DEVICE_MASTER")
    assert rogue.refused("device_control", rogue.capability, master, 1) == "estate"
    expect_nic_works(target, rogue, seed)


# The calls ---------------------------------------------------------------------------------------------------------


def test_a_page_with_the_msix_table_is_not_given_away(agent: Agent, rogue: Rogue) -> None:
    bars = device_of(agent, rogue.nic).bars
    table = [bar for bar in range(6) if bars[bar].kind == 1 and bars[bar].bytes == PAGE]
    assert table, "expected the NIC to have its MSI-X table in a BAR of a page"
    assert rogue.refused("device_map", rogue.capability, table[0], 0, 1) == "eperm"


def test_registers_are_nobodys_to_read_through_the_kernel(agent: Agent, rogue: Rogue) -> None:
    address = rogue.good("device_map", rogue.capability, 4, 0, 1)
    with pytest.raises(Refused, match="efault"):
        rogue.process.read(address, 16)
    with pytest.raises(Refused, match="efault"):
        rogue.process.write(address, b"1234")


def test_no_call_reads_or_writes_registers_as_if_they_were_memory(agent: Agent, rogue: Rogue) -> None:
    """Each byte takes as long as the device likes, and the kernel would hold every other core up for all of them."""
    registers = rogue.good("device_map", rogue.capability, 4, 0, 1)
    here = rogue.process.variables.address("params")
    assert rogue.refused("log", registers, 8) == "efault"
    assert rogue.refused("system_info", registers) == "efault"
    assert rogue.refused("process_read", 0, here, registers, 16) == "efault"
    assert rogue.refused("process_write", 0, here, registers, 16) == "efault"
    assert rogue.refused("getrandom", registers - 8, 16) == "efault"


def test_what_cannot_be_shown_to_a_device_is_refused(agent: Agent, rogue: Rogue) -> None:
    device, memory = rogue.capability, rogue.good("memory_create", 2)
    end = device_of(agent, rogue.nic).iova_end

    def refused(*arguments: int) -> str:
        return rogue.refused("dma_map", *arguments)

    assert refused(device, memory, 0, 1, INTERRUPT_WINDOW, 0) == "einval"
    assert refused(device, memory, 0, 2, INTERRUPT_WINDOW - PAGE, 0) == "einval"
    assert refused(device, memory, 0, 1, INTERRUPT_WINDOW + (1 << 20) - PAGE, 0) == "einval"
    assert refused(device, memory, 0, 1, end, 0) == "einval"
    assert refused(device, memory, 0, 2, end - PAGE, 0) == "einval"
    assert refused(device, memory, 0, 1, 2**64 - PAGE, 0) == "einval"
    assert refused(device, memory, 0, 1, IOVA + 1, 0) == "einval"
    assert refused(device, memory, 0, 3, IOVA, 0) == "einval"
    assert refused(device, memory, 2, 1, IOVA, 0) == "einval"
    assert refused(device, memory, 1, 2, IOVA, 0) == "einval"
    assert refused(device, memory, 2**63, 1, IOVA, 0) == "einval"
    assert refused(device, memory, 0, 0, IOVA, 0) == "einval"
    assert refused(device, memory, 0, 2**32, IOVA, 0) == "einval"
    assert refused(device, memory, 0, 1, IOVA, 2) == "einval"
    assert refused(device, device, 0, 1, IOVA, 0) == "ebadcap"
    assert refused(device, 0, 0, 1, IOVA, 0) == "ebadcap"
    assert refused(device, 127, 0, 1, IOVA, 0) == "ebadcap"
    assert refused(device, 2**40, 0, 1, IOVA, 0) == "ebadcap"
    assert refused(memory, memory, 0, 1, IOVA, 0) == "ebadcap"
    rogue.good("dma_map", device, memory, 0, 2, IOVA, 0)
    assert refused(device, memory, 0, 1, IOVA + PAGE, 0) == "estate"
    assert rogue.refused("dma_unmap", device, IOVA + PAGE) == "enoent"
    rogue.good("dma_unmap", device, IOVA)
    rogue.good("dma_map", device, memory, 0, 1, end - PAGE, 1)


def test_a_consumers_ring_is_not_shown_for_writing(agent: Agent, rogue: Rogue) -> None:
    producer = agent.spawn("sleeper")
    agent.bind(producer, rogue.process, "polled", order=0)
    end = rogue.step("accept").endpoint
    assert rogue.refused("dma_map", rogue.capability, end.capability, 0, 1, IOVA, 1) == "eperm"
    rogue.good("dma_map", rogue.capability, end.capability, 0, 1, IOVA, 0)


def test_ranges_and_tables_have_a_bound(agent: Agent, rogue: Rogue) -> None:
    memory, most = rogue.good("memory_create", 1), agent.image.constant("KEUOS_DMA_RANGES")
    for number in range(most - 1):  # one is taken by the queues
        rogue.good("dma_map", rogue.capability, memory, 0, 1, IOVA + number * (1 << 30) % (1 << 38), 0)
    assert rogue.refused("dma_map", rogue.capability, memory, 0, 1, 1 << 21, 0) == "equota"


def test_a_device_has_one_driver(agent: Agent, rogue: Rogue) -> None:
    second = Rogue(agent)
    claim = agent.image.constant("KEUOS_DEVICE_CLAIM")
    assert second.refused("device_control", second.capability, claim, 0) == "estate"
    assert second.refused("device_map", second.capability, 4, 0, 1) == "estate"
    assert (
        second.refused("device_control", second.capability, agent.image.constant("KEUOS_DEVICE_RESET"), 0) == "estate"
    )
    assert second.refused("device_control", second.capability, 99, 0) == "estate"
    assert rogue.refused("device_control", rogue.capability, 99, 0) == "einval"


def test_a_driver_whose_capability_is_revoked_has_nothing_left(
    target: LiveTarget, agent: Agent, rogue: Rogue, seed: int
) -> None:
    registers = rogue.good("device_map", rogue.capability, 4, 0, 1)
    agent.revoke_device(rogue.nic)
    device = device_of(agent, rogue.nic)
    assert (device.holder, device.dma_ranges) == (0, 0)
    assert rogue.refused("device_map", rogue.capability, 4, 0, 1) == "ebadcap"
    rogue.poke(registers)
    end = rogue.process.wait_exit(10.0)
    assert (end.name, end.detail) == ("fault_write", registers)
    probe = Probe(agent)
    frame = frame_of(probe.mac, random.Random(seed).randbytes(100))
    target.link.send(frame)
    probe.wait_received(1)
    assert probe.frame(0) == frame


def test_a_driver_that_dies_while_its_device_works_takes_its_frames_out_of_reach(
    target: LiveTarget, agent: Agent, seed: int
) -> None:
    """Killed under load ten times; afterwards no frame that was its own is changed by what still comes in."""
    start = agent.next_event()
    for round_number in range(10):
        probe = Probe(agent, hold=1)
        marker = random.Random(seed + round_number).randbytes(64)
        target.link.send(frame_of(probe.mac, marker + bytes(400)))
        probe.wait_received(1)
        payload_at = int(probe.results.frame_at) + 14
        pages = pages_with(target, marker, payload_at, PAGE // 2 + payload_at)
        assert pages
        for number in range(20):
            target.link.send(frame_of(probe.mac, number.to_bytes(4, "big") * 100))
        probe.process.kill()
        probe.process.wait_exit()  # at its core's next entry into the kernel
        probe.process.close()
        before = [target.debug.read_physical(page, PAGE) for page in pages]
        for number in range(20):
            target.link.send(frame_of(HOST, number.to_bytes(4, "big") * 100))
        assert [target.debug.read_physical(page, PAGE) for page in pages] == before
    assert not faults(agent, start)
    last = Probe(agent)  # what still waits on the wire is not for the next test
    fence = frame_of(last.mac, random.Random(seed).randbytes(64))
    target.link.send(fence)
    until("the last frame to come", lambda: last.frame(last.results.received - 1), lambda frame: frame == fence)
