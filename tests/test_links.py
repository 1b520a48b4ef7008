"""Wires: bursts, impairments that repeat, and scapy on top."""

from __future__ import annotations

import socket
import threading

import pytest
from keuos_hil.plugins.dgram_link import DatagramLink
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

from keuos_hil.errors import TargetFailure, UsageError
from keuos_hil.net.bridge import Bridge
from keuos_hil.net.impaired_link import Direction, ImpairedLink, Impairments
from keuos_hil.net.scapy_socket import LinkSocket

FRAMES = [bytes([number % 256, number // 256]) + bytes(80) for number in range(1000)]


def through(impairments: Impairments, seed: int = 1) -> list[bytes]:
    way = Direction(impairments, seed)
    out = []
    for number, frame in enumerate(FRAMES):
        way.put(frame, number * 0.001)
        out += way.due(number * 0.001)
    way.flush(10.0)
    return out + way.due(10.0)


def test_a_clean_wire_changes_nothing() -> None:
    assert through(Impairments()) == FRAMES


def test_the_same_seed_does_the_same_and_another_does_not() -> None:
    some = Impairments(loss=0.1, duplicate=0.1, corrupt=0.1, reorder=0.1)
    assert through(some, 7) == through(some, 7)
    assert through(some, 7) != through(some, 8)


def test_loss_takes_frames_and_duplication_doubles_them() -> None:
    assert 850 < len(through(Impairments(loss=0.1))) < 950
    assert 1050 < len(through(Impairments(duplicate=0.1))) < 1150
    assert through(Impairments(loss=1.0)) == []


def test_reordering_loses_nothing_and_lets_three_pass() -> None:
    out = through(Impairments(reorder=0.1))
    assert sorted(out) == sorted(FRAMES)
    late = [FRAMES.index(frame) for place, frame in enumerate(out) if FRAMES.index(frame) < place]
    assert late
    assert out != FRAMES


def test_corruption_turns_one_bit_behind_the_ethernet_header() -> None:
    changed = [(a, b) for a, b in zip(FRAMES, through(Impairments(corrupt=0.5)), strict=True) if a != b]
    assert 400 < len(changed) < 600
    for before, after in changed:
        assert before[:14] == after[:14]
        assert sum((x ^ y).bit_count() for x, y in zip(before, after, strict=True)) == 1


def test_delay_keeps_the_order() -> None:
    way = Direction(Impairments(delay_s=1.0, jitter_s=0.5), 1)
    for number, frame in enumerate(FRAMES):
        way.put(frame, number * 0.001)
    assert way.due(0.999) == []
    assert way.due(10.0) == FRAMES


def test_a_chance_past_one_is_refused() -> None:
    with pytest.raises(UsageError, match=r"loss = 1\.5"):
        Impairments(loss=1.5)


def pair() -> tuple[DatagramLink, socket.socket]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return DatagramLink(near), far


def test_a_burst_larger_than_the_sockets_queue_arrives_whole() -> None:
    link, far = pair()
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.extend(far.recv(2048) for _ in FRAMES))
    reader.start()
    for frame in FRAMES:
        link.send(frame)
    reader.join(30)
    assert got == FRAMES
    link.close()
    far.close()


def test_an_impaired_link_moves_frames_both_ways() -> None:
    link, far = pair()
    wire = ImpairedLink(link, Impairments(), Impairments(delay_s=0.01), seed=1)
    wire.send(b"out" * 10)
    assert far.recv(100) == b"out" * 10
    far.send(b"in" * 10)
    assert wire.receive(5.0) == b"in" * 10
    assert wire.receive(0.01) is None
    link.close()
    far.close()


class Neighbour:
    """A host at the other end that answers ARP and echo requests for 10.0.0.2."""

    MAC = "02:00:00:00:00:02"

    def __init__(self) -> None:
        self._answers: list[bytes] = []

    def send(self, frame: bytes) -> None:
        packet = Ether(frame)
        if ARP in packet and packet[ARP].pdst == "10.0.0.2":
            ask = packet[ARP]
            reply = ARP(op=2, hwsrc=self.MAC, psrc="10.0.0.2", hwdst=ask.hwsrc, pdst=ask.psrc)
            self._answers.append(bytes(Ether(src=self.MAC, dst=ask.hwsrc) / reply))
        elif ICMP in packet:
            echo = ICMP(type=0, id=packet[ICMP].id, seq=packet[ICMP].seq) / bytes(packet[ICMP].payload)
            ip = IP(src="10.0.0.2", dst=packet[IP].src)
            self._answers.append(bytes(Ether(src=self.MAC, dst=packet.src) / ip / echo))

    def receive(self, timeout: float) -> bytes | None:
        return self._answers.pop(0) if self._answers else None


def test_scapy_pings_over_a_link() -> None:
    wire = LinkSocket(Neighbour(), "02:00:00:00:00:01", "10.0.0.1")
    answer = wire.sr1(IP(dst="10.0.0.2") / ICMP(id=7, seq=3) / b"payload")
    assert answer is not None
    assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 7, 3)
    assert bytes(answer[ICMP].payload).startswith(b"payload")


def test_scapy_is_told_when_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keuos_hil.net.scapy_socket._RESOLVE_S", 0.05)
    wire = LinkSocket(Neighbour(), "02:00:00:00:00:01", "10.0.0.1")
    with pytest.raises(TargetFailure, match=r"10\.0\.0\.9"):
        wire.sr1(IP(dst="10.0.0.9") / ICMP(), timeout=0.2)


def bridged(impairments: Impairments) -> tuple[list[bytes], list[bytes]]:
    """What comes out at either end of a bridge, of a hundred frames into the other."""
    target, wire_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    linux, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    link = DatagramLink(wire_end)
    bridge = Bridge(link, device.fileno(), impairments, impairments, seed=1)
    out: tuple[list[bytes], list[bytes]] = ([], [])
    try:
        for end in (target, linux):
            end.settimeout(20.0)
        for frame in FRAMES[:100]:
            for put, got, kept in ((linux, target, out[0]), (target, linux, out[1])):
                put.send(frame)
                kept.append(got.recv(2000))
        assert (bridge.frames_to_target, bridge.frames_from_target) == (100, 100)
    finally:
        bridge.close()
        bridge.close()
        link.close()
        for end in (target, linux, device):
            end.close()
    return out


@pytest.mark.parametrize("delay", [0.0, 0.001])
def test_a_bridge_carries_every_frame_both_ways_in_order(delay: float) -> None:
    out = bridged(Impairments(delay_s=delay))
    assert list(out) == [FRAMES[:100]] * 2


def test_a_bridge_does_what_a_bad_wire_does() -> None:
    damaged = bridged(Impairments(corrupt=1.0))
    for frames in damaged:
        assert len(frames) == 100
        assert all(frame != right for frame, right in zip(frames, FRAMES, strict=False))
