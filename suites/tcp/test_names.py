"""The resolver (RFC 1035): a name is asked for; only the answer that belongs to the question is believed (RFC 5452).

Only where a stack has one that can be told to ask: the call `resolve` of docs/socket-calls.md.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from keuos_hil.errors import SocketError
from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.sockets import App

pytestmark = [pytest.mark.needs("link", "sockets"), pytest.mark.timed(60)]

_DOMAIN = 53
_A, _CNAME, _IN = 1, 5, 1
_RESPONSE = 0x8180  # QR, RD, RA
_TRUNCATED = 0x0200
_SERVER_FAILURE, _NAME_ERROR = 2, 3
_AT_QUESTION = b"\xc0\x0c"  # a pointer to the question's name (RFC 1035, 4.1.4)
_ADDRESS = wire.ip("198.51.100.7")


def labels(name: str) -> bytes:
    """A name as it is sent."""
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


def record(name: bytes, kind: int, data: bytes, length: int | None = None) -> bytes:
    """A resource record; `length`: what it says of its data, if not the truth."""
    return name + struct.pack("!HHIH", kind, _IN, 60, len(data) if length is None else length) + data


@dataclass(frozen=True)
class Question:
    """What the resolver asked, and how to answer it. RFC 1035, 4.1."""

    host: Host
    call: str
    port: int
    number: int
    text: bytes

    def answer(
        self,
        *records: bytes,
        flags: int = _RESPONSE,
        number: int | None = None,
        text: bytes | None = None,
        source: bytes | None = None,
        source_port: int = _DOMAIN,
    ) -> None:
        """Send a message; what is not given is right."""
        head = struct.pack("!HHHHHH", self.number if number is None else number, flags, 1, len(records), 0, 0)
        data = head + (self.text if text is None else text) + b"".join(records)
        own = self.host.address
        datagram = wire.udp(source or own, self.host.target, source_port, self.port, data)
        self.host.send_ip(wire.ipv4(source or own, self.host.target, wire.PROTOCOL_UDP, datagram))


def questions(host: Host) -> deque[wire.Udp]:
    """What the resolver asked and nobody took yet; without what earlier tests' datagrams had been waiting for."""
    for stray in [one for one in host.udps if one.destination_port != _DOMAIN]:
        host.udps.remove(stray)
    return host.udps


def asked(host: Host, call: str = "", within: float = 1) -> Question:
    """The next question on the wire."""
    assert host.wait(lambda: bool(questions(host)), within), "nobody is asked"
    datagram = questions(host).popleft()
    assert datagram.ip.destination == host.address
    number, flags, *counts = struct.unpack_from("!HHHHHH", datagram.payload)
    assert flags == 0x0100, "a standard query that desires recursion"
    assert counts == [1, 0, 0, 0]
    return Question(host, call, datagram.source_port, number, datagram.payload[12:])


def begin(app: App, name: str) -> str:
    """Has a name asked for. The call's number."""
    try:
        (call,) = app.sockets.call("resolve", name)
    except SocketError as error:
        if error.name == "ENOSYS":
            pytest.skip("nobody can have this stack ask for a name")
        raise
    return call


def outcome(app: App, call: str) -> str:
    """The name's address, or the error's name."""
    try:
        (address,) = app.sockets.call("resolved", call)
    except SocketError as error:
        return error.name
    return address


@pytest.fixture
def question(host: Host, app: App) -> Callable[[str], Question]:
    """Has a name asked for, and takes the question."""

    def ask(name: str = "www.example") -> Question:
        found = asked(host, begin(app, name))
        assert found.text == labels(name) + struct.pack("!HH", _A, _IN)
        return found

    return ask


def test_a_name_is_asked_for_and_its_address_told(app: App, question: Callable[..., Question]) -> None:
    one = question()
    assert outcome(app, one.call) == "EAGAIN"
    one.answer(record(_AT_QUESTION, _A, _ADDRESS))
    one.host.fence()
    assert outcome(app, one.call) == wire.dotted(_ADDRESS)


def test_an_alias_is_followed_wherever_it_stands(app: App, question: Callable[..., Question]) -> None:
    one = question()
    one.answer(record(labels("other.example"), _A, _ADDRESS), record(_AT_QUESTION, _CNAME, labels("other.example")))
    one.host.fence()
    assert outcome(app, one.call) == wire.dotted(_ADDRESS)


@pytest.mark.parametrize("how", ["number", "question", "server", "port", "query", "loop-in-the-question", "cut"])
def test_what_does_not_belong_to_the_question_is_not_believed(
    app: App, question: Callable[..., Question], how: str
) -> None:
    one, wrong = question(), record(_AT_QUESTION, _A, wire.ip("203.0.113.66"))
    if how == "number":
        one.answer(wrong, number=one.number ^ 1)
    elif how == "question":
        one.answer(wrong, text=labels("www.elsewhere") + one.text[-4:])
    elif how == "server":
        one.answer(wrong, source=wire.ip("192.0.2.53"))
    elif how == "port":
        one.answer(wrong, source_port=_DOMAIN + 1)
    elif how == "query":
        one.answer(wrong, flags=_RESPONSE & 0x7FFF)
    elif how == "loop-in-the-question":
        one.answer(wrong, text=_AT_QUESTION + one.text[-4:])
    else:
        one.answer(text=one.text[:3])
    one.host.fence()
    assert outcome(app, one.call) == "EAGAIN"
    one.answer(record(_AT_QUESTION, _A, _ADDRESS))
    one.host.fence()
    assert outcome(app, one.call) == wire.dotted(_ADDRESS)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("truncated", "EHOSTUNREACH"),
        ("server-failure", "EHOSTUNREACH"),
        ("pointer-to-itself", "EHOSTUNREACH"),
        ("pointers-in-a-circle", "EHOSTUNREACH"),
        ("pointer-forward", "EHOSTUNREACH"),
        ("lying-length", "EHOSTUNREACH"),
        ("aliases-in-a-circle", "EHOSTUNREACH"),
        ("no-such-name", "ENOENT"),
        ("no-address", "ENOENT"),
        ("another-kind", "ENOENT"),
        ("another-name", "ENOENT"),
    ],
)
def test_an_answer_without_an_address_says_why(
    app: App, question: Callable[..., Question], how: str, error: str
) -> None:
    one = question()
    behind = 12 + len(one.text)  # where the first record stands
    pointer = struct.pack("!H", 0xC000 | behind)
    right = record(_AT_QUESTION, _A, _ADDRESS)
    if how == "truncated":
        one.answer(right, flags=_RESPONSE | _TRUNCATED)
    elif how == "server-failure":
        one.answer(flags=_RESPONSE | _SERVER_FAILURE)
    elif how == "pointer-to-itself":
        one.answer(record(pointer, _A, _ADDRESS))
    elif how == "pointers-in-a-circle":
        inside = struct.pack("!H", 0xC000 | behind + 12)
        one.answer(record(_AT_QUESTION, _CNAME, inside), right)
    elif how == "pointer-forward":
        one.answer(record(struct.pack("!H", 0xC000 | behind + 20), _A, _ADDRESS))
    elif how == "lying-length":
        one.answer(record(_AT_QUESTION, _A, _ADDRESS, length=400))
    elif how == "aliases-in-a-circle":
        there = labels("other.example")
        one.answer(record(_AT_QUESTION, _CNAME, there), record(there, _CNAME, _AT_QUESTION))
    elif how == "no-such-name":
        one.answer(flags=_RESPONSE | _NAME_ERROR)
    elif how == "no-address":
        one.answer()
    elif how == "another-kind":
        one.answer(record(_AT_QUESTION, 16, b"\x03txt"))
    else:
        one.answer(record(labels("other.example"), _A, _ADDRESS))
    one.host.fence()
    assert outcome(app, one.call) == error


def test_a_server_that_is_silent_is_asked_three_times(host: Host, app: App) -> None:
    call = begin(app, "www.example")
    times = []
    for _ in range(3):
        asked(host, within=5)
        times.append(host.clock.now())
    assert times[2] - times[1] > times[1] - times[0], "ever more slowly"
    host.elapse(20)
    assert not questions(host)
    assert outcome(app, call) == "ETIMEDOUT"


def test_questions_can_not_be_guessed_from_earlier_ones(question: Callable[..., Question], app: App) -> None:
    """RFC 5452, 9.1: ports and identifications."""
    seen = []
    for _ in range(6):
        one = question()
        seen.append(one)
        one.answer(record(_AT_QUESTION, _A, _ADDRESS))
        one.host.fence()
        assert outcome(app, one.call) == wire.dotted(_ADDRESS)
    for of in ("number", "port"):
        steps = {(getattr(b, of) - getattr(a, of)) & 0xFFFF for a, b in pairwise(seen)}
        assert len(steps) > 1, f"each {of} follows from the last"


def test_one_question_too_many_is_refused_and_room_comes_back(host: Host, app: App) -> None:
    begun: list[str] = []

    def ask_on() -> None:
        while len(begun) < 9:
            begun.append(begin(app, f"host{len(begun)}.example"))

    with pytest.raises(SocketError, match="ENOBUFS"):
        ask_on()
    assert len(begun) >= 2
    host.elapse(20)
    host.udps.clear()
    begin(app, "again.example")
    asked(host).answer(record(_AT_QUESTION, _A, _ADDRESS))


@pytest.mark.parametrize("name", ["a..b", ".", "x" * 64 + ".example", ".".join(["x" * 60] * 5)])
def test_what_is_no_name_is_refused(host: Host, app: App, name: str) -> None:
    with pytest.raises(SocketError) as refused:
        begin(app, name)
    assert refused.value.name == "EINVAL"
    host.fence()
    assert not questions(host)
