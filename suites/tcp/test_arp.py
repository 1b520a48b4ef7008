"""ARP: questions answered, answers believed, nonsense dropped; what waits for an answer."""

from __future__ import annotations

from typing import Any

import pytest

from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.sockets import App

pytestmark = pytest.mark.needs("link", "sockets")

OTHER_MAC = bytes.fromhex("02000000beef")
STRANGER = "192.0.2.201"


def _ask(host: Host, *, source: str = "192.0.2.200", to: bytes = wire.BROADCAST_MAC, target: bytes | None = None,
         operation: int = 1, mac: bytes = OTHER_MAC, **raw: Any) -> list[wire.Arp]:  # fmt: skip
    """Send an ARP packet; the ARP packets that come back."""
    host.fence()
    host.arps.clear()
    body = wire.arp(operation, mac, wire.ip(source), bytes(6), target or host.target, **raw)
    host.send(wire.ethernet(to, mac, wire.ETHERTYPE_ARP, body))
    host.fence()
    return list(host.arps)


@pytest.mark.requirement("826:1")
@pytest.mark.parametrize("to", ["broadcast", "unicast"])
def test_a_question_for_the_targets_address_is_answered(host: Host, to: str) -> None:
    (answer,) = _ask(host, to=wire.BROADCAST_MAC if to == "broadcast" else host.network.mac)
    assert (answer.operation, answer.sender_mac, answer.sender) == (2, host.network.mac, host.target)
    assert (answer.target_mac, answer.target) == (OTHER_MAC, wire.ip("192.0.2.200"))
    assert answer.destination_mac == OTHER_MAC


@pytest.mark.requirement("826:2")
@pytest.mark.parametrize("asked", ["192.0.2.77", "192.0.2.255", "255.255.255.255", "224.0.0.1", "0.0.0.0", "127.0.0.1"])
def test_a_question_for_another_address_is_not_answered(host: Host, asked: str) -> None:
    assert not _ask(host, target=wire.ip(asked))


@pytest.mark.requirement("826:5")
@pytest.mark.parametrize(
    "raw",
    [{"hardware": 2}, {"hardware": 0}, {"protocol": 0x86DD}, {"sizes": (8, 4)}, {"sizes": (6, 16)}, {"sizes": (0, 0)}],
    ids=["hardware-2", "hardware-0", "protocol", "mac-size", "ip-size", "sizes-0"],
)
def test_a_question_of_another_kind_is_dropped(host: Host, raw: dict[str, Any]) -> None:
    assert not _ask(host, **raw)


@pytest.mark.requirement("826:5")
@pytest.mark.parametrize("operation", [0, 2, 3, 4, 8, 0xFFFF])
def test_what_is_no_question_is_not_answered(host: Host, operation: int) -> None:
    assert not _ask(host, operation=operation, source="192.0.2.202")


@pytest.mark.requirement("826:5")
@pytest.mark.parametrize("size", [0, 8, 20, 27])
def test_a_cut_packet_is_dropped(host: Host, size: int) -> None:
    host.fence()
    host.arps.clear()
    body = wire.arp(1, OTHER_MAC, wire.ip("192.0.2.200"), bytes(6), host.target)[:size]
    host.send(wire.BROADCAST_MAC + OTHER_MAC + b"\x08\x06" + body)
    host.fence()
    assert not host.arps


def _reached_by(host: Host, source: str) -> bytes | None:
    """The hardware address that an echo to `source` is answered to; None if none comes."""
    _, sequence = host.ping(source=wire.ip(source))

    def mine() -> list[wire.Icmp]:
        return [reply for reply in host.icmps if reply.type == 0 and int.from_bytes(reply.rest[2:], "big") == sequence]

    if not host.wait(lambda: bool(mine()), 2.0):
        return None
    return mine()[0].ip.destination_mac


@pytest.mark.requirement("826:3")
@pytest.mark.parametrize("operation", [1, 2])
def test_a_known_address_that_speaks_from_elsewhere_is_followed(host: Host, operation: int) -> None:
    source = f"192.0.2.{210 + operation}"
    assert _reached_by(host, source) == host.mac
    host.elapse(0.02)
    _ask(host, source=source, operation=operation, to=host.network.mac, target=host.target)
    assert _reached_by(host, source) == OTHER_MAC
    _ask(host, source=source, operation=operation, mac=host.mac)


@pytest.mark.requirement("826:4")
def test_a_stranger_that_asks_for_others_makes_no_entry(host: Host) -> None:
    _ask(host, source="192.0.2.205", target=wire.ip("192.0.2.205"))  # a gratuitous one
    host.arps.clear()
    assert _reached_by(host, "192.0.2.205") == host.mac
    assert any(arp.operation == 1 and wire.dotted(arp.target) == "192.0.2.205" for arp in host.arps)


@pytest.mark.requirement("826:6", "1122:L-03")
def test_a_question_precedes_the_first_datagram_which_waits_for_the_answer(host: Host) -> None:
    host.fence()
    host.arps.clear()
    assert _reached_by(host, "192.0.2.206") == host.mac
    question = host.arps[0]
    assert question.operation == 1
    assert question.destination_mac == wire.BROADCAST_MAC
    assert (question.sender_mac, question.sender) == (host.network.mac, host.target)
    assert question.target == wire.ip("192.0.2.206")


@pytest.mark.requirement("1122:L-02")
def test_many_datagrams_to_a_silent_host_make_few_questions(host: Host, app: App) -> None:
    host.answers = lambda address: None if wire.dotted(address) == STRANGER else host.mac
    sock = app.open("udp")
    for _ in range(60):
        sock.send_to(STRANGER, 9, b"x")
    host.elapse(0.3)
    asked = [arp for arp in host.arps if wire.dotted(arp.target) == STRANGER]
    assert 1 <= len(asked) <= 2
    app.reset()


@pytest.mark.requirement("5227:1")
def test_a_probe_is_answered(host: Host) -> None:
    answers = _ask(host, source="0.0.0.0")
    assert [answer.operation for answer in answers] == [2]
    assert answers[0].sender == host.target


@pytest.mark.requirement("5227:2")
def test_an_announcement_of_the_targets_own_address_does_not_silence_it(host: Host) -> None:
    _ask(host, source=host.network.address, target=host.target)
    host.fence()
    assert _reached_by(host, "192.0.2.207") == host.mac


@pytest.mark.requirement("1122:L-04", "1122:L-06")
def test_frames_are_ethernet_ii(host: Host) -> None:
    _reached_by(host, "192.0.2.208")
    kinds = {int.from_bytes(entry.frame[12:14], "big") for entry in host.transcript.entries if entry.direction == "<"}
    assert kinds <= {wire.ETHERTYPE_IPV4, wire.ETHERTYPE_ARP}
