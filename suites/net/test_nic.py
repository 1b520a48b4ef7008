"""The NIC's driver on the target: frames in and out, whole and in order, and a driver that dies."""

from __future__ import annotations

import random

import pytest

from keuos_hil.agent import Agent
from keuos_hil.rig import LiveTarget

from .programs import HOST, Probe, device_of, frame_of, until

pytestmark = pytest.mark.needs("agent", "channels", "link", "iommu")

#: Frames that may be on their way at a time: fewer than Linux queues for a datagram socket.
UNDER_WAY = 8
#: Frames more than a driver without buffers, the emulator and Linux keep. Each of the last costs a second of waiting.
LOST = 13


@pytest.fixture(autouse=True)
def nothing_on_the_wire(target: LiveTarget) -> None:
    """What an earlier driver of this NIC sent last is nobody's answer here."""
    while target.link.receive(0.0) is not None:
        pass


def receive(target: LiveTarget, sender: bytes) -> bytes:
    """The next frame that the NIC with that address sent."""
    while True:
        frame = target.link.receive(10.0)
        assert frame is not None, "expected a frame from the target within 10 s"
        if frame[6:12] == sender:
            return frame


def test_a_frame_from_the_wire_arrives_as_it_was_sent(target: LiveTarget, agent: Agent, seed: int) -> None:
    probe = Probe(agent)
    frame = frame_of(probe.mac, random.Random(seed).randbytes(1500))
    target.link.send(frame)
    probe.wait_received(1)
    assert probe.frame(0) == frame


def test_a_frame_to_the_wire_leaves_as_it_was_given(target: LiveTarget, agent: Agent, seed: int) -> None:
    probe = Probe(agent)
    frame = frame_of(HOST, random.Random(seed).randbytes(1500), probe.mac)
    probe.send(frame)
    assert receive(target, probe.mac) == frame


def test_a_short_frame_is_padded_to_60_bytes(target: LiveTarget, agent: Agent) -> None:
    probe = Probe(agent)
    probe.send(frame_of(HOST, b"x", probe.mac))
    assert receive(target, probe.mac) == frame_of(HOST, b"x", probe.mac).ljust(60, b"\0")


def test_three_times_the_rings_pass_both_ways_in_order(target: LiveTarget, agent: Agent, seed: int) -> None:
    probe = Probe(agent, echo=1)
    sizes = random.Random(seed)
    frames = [
        frame_of(probe.mac, number.to_bytes(4, "big") + bytes(sizes.randrange(42, 1496))) for number in range(768)
    ]
    for number in range(len(frames) + UNDER_WAY):
        if number < len(frames):
            target.link.send(frames[number])
        if number >= UNDER_WAY:
            assert receive(target, probe.mac) == HOST + probe.mac + frames[number - UNDER_WAY][12:]
    assert probe.results.fault == 0


def test_a_driver_that_keeps_every_buffer_loses_frames_and_nothing_else(target: LiveTarget, agent: Agent) -> None:
    probe = Probe(agent, hold=1)
    for number in range(256 + LOST):
        target.link.send(frame_of(probe.mac, number.to_bytes(4, "big") * 16))
    probe.wait_received(256)
    probe.set(hold=0)
    held = until("the buffers to be given back", lambda: probe.results, lambda r: r.held == 0)
    before = held.received
    target.link.send(frame_of(probe.mac, b"once more" * 8))
    results = until("a frame after that", lambda: probe.results, lambda r: r.received > before)
    assert results.fault == 0


def test_a_reset_function_starts_over(target: LiveTarget, agent: Agent) -> None:
    probe = Probe(agent)
    target.link.send(frame_of(probe.mac, b"before" * 10))
    probe.wait_received(1)
    probe.restart()
    target.link.send(frame_of(probe.mac, b"behind" * 10))
    probe.wait_received(2)
    assert probe.frame(1) == frame_of(probe.mac, b"behind" * 10)


def test_interrupts_are_never_more_than_the_waits_that_ask_for_them(target: LiveTarget, agent: Agent) -> None:
    before = device_of(agent, Probe(agent).nic).interrupts
    agent.clean_up()
    probe = Probe(agent)
    for number in range(200):
        target.link.send(frame_of(probe.mac, number.to_bytes(4, "big") * 16))
    probe.wait_received(200)
    interrupts = device_of(agent, probe.nic).interrupts - before
    assert 1 <= interrupts <= probe.process.info().syscalls


def test_a_killed_driver_leaves_a_quiet_nic_and_the_next_one_finds_it_as_new(target: LiveTarget, agent: Agent) -> None:
    faults = []
    for _ in range(5):
        probe = Probe(agent, echo=1)
        faults.append(device_of(agent, probe.nic).faults)
        for number in range(64):
            target.link.send(frame_of(probe.mac, number.to_bytes(4, "big") * 16))
        probe.wait_received(1)
        probe.process.kill()
        probe.process.wait_exit()  # at its core's next entry into the kernel
        probe.process.close()
        device = device_of(agent, probe.nic)
        assert (device.holder, device.dma_pages, device.dma_ranges) == (0, 0, 0)
        assert not device.state & agent.image.constant("KEUOS_DEVICE_MASTERING")
    assert {*faults, device_of(agent, probe.nic).faults} == {faults[0]}, "a driver's end made its NIC fault"
