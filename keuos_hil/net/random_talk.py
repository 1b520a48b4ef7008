"""Conversations at random: an opening that leads into a state, then steps that are right but for a few things.

:class:`Generator` makes them from a seed, :class:`Player` has them with a target, :func:`shrink` leaves out of one that
fails what it fails without. Numbers in a step are relative, so that a conversation means the same whatever the initial
sequence numbers are, and can be kept as JSON (:class:`keuos_hil.fuzz.Corpus`). What is right is not decided here: that
is the business of the rules (:mod:`keuos_hil.net.invariants`) and of whoever plays.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from keuos_hil.errors import SocketError

from . import wire
from .invariants import RULES
from .seq import add
from .sockets import Socket
from .tcp import STATES, Conversation, Stack

#: TIME-WAIT, R2 and whatever else a stack waits for by itself is shorter.
OVER_S = 700.0
_FLAGS = ("A",) * 8 + ("PA",) * 8 + ("FA", "FA", "PUA", "R", "RA", "S", "SA", ".", "F", "SF", "SFRPUA", "P", "EA", "CA")
_AWAY = (1, -1, 2, -2, 100, -100, 536, -1460, 1460, 65535, -65536, 1 << 30, (1 << 31) - 1, 1 << 31, -(1 << 31) + 1)
_SIZES = (0, 1, 2, 10, 99, 536, 1000, 1460)
#: How a segment is spoilt, as arguments of Conversation.tx.
_DAMAGES: dict[str, dict[str, Any]] = {
    "checksum": {"given_checksum": 0x1234},
    "offset-low": {"offset": 4},
    "offset-high": {"offset": 15},
    "reserved": {"reserved": 5},
    "ip-options": {"ip": {"options": bytes.fromhex("07070400000000")}},
    "ip-cut": {"ip": {"total": 30}},
}
#: Conversations that go with each case of --fuzz-count, which counts in bulk cases of a gate.
SHARE = 1e-4
#: Rules that a conversation provokes in which numbers come from anywhere.
_ALLOWED = {"ack"}
#: And where further SYNs come: whose options and window are in force depends on which one was taken.
_ALLOWED_WITH_SYN = RULES - {"spacing"}
#: One option by itself: kinds and lengths that stacks have stumbled over.
_OPTIONS = (
    *("01", "00", "020405b4", "0204ffff", "02040000", "0203", "020305", "030307", "0303ff", "0302", "0402", "0403"),
    *("0404ffff", "0502", "050a00000000ffffffff", "050affffffff00000000", "0509", "080a0000000000000000"),
    *("080affffffffffffffff", "0809", "1312", "2200", "fd04f989", "fe01", "ff00", "ffff", "08"),
)


@dataclass(frozen=True)
class Step:
    """One thing that is done.

    Attributes:
        do: "segment", "scapy" (a segment of scapy's making), "send", "receive", "shutdown", "close" (the application's
            calls), "wait" (of the target's time, where a test can wind it), "fence".
        flags: of a segment, as letters.
        base: what `seq` counts from: "next" (SND.NXT) or "edge" (the right edge of the target's window).
        seq: bytes off `base`. At SND.NXT, and with nothing else wrong, the conversation goes on behind the segment.
        ack: bytes off RCV.NXT.
        window: the header's field; -1 for the conversation's own.
        data: bytes of the pattern that the segment carries.
        urgent: the urgent pointer.
        options: all options in hexadecimal, or "right" for those that belong there.
        sack: blocks, in bytes off what is acknowledged.
        damage: how the segment is spoilt: one of :data:`_DAMAGES`, or "".
        amount: bytes that an application sends or receives, or milliseconds.
        raw: a segment of scapy's making in hexadecimal; ports, numbers and checksum are put in.
    """

    do: str
    flags: str = "A"
    base: str = "next"
    seq: int = 0
    ack: int = 0
    window: int = -1
    data: int = 0
    urgent: int = 0
    options: str = "right"
    sack: tuple[tuple[int, int], ...] = ()
    damage: str = ""
    amount: int = 0
    raw: str = ""

    def has_syn(self) -> bool:
        """Whether it sends a SYN."""
        if self.do == "scapy":
            return bool(bytes.fromhex(self.raw)[13] & wire.SYN)
        return self.do == "segment" and "S" in self.flags

    def describe(self) -> str:
        """What differs from the plainest step."""
        plain = Step(self.do)
        parts = [
            f"{f.name} {getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != getattr(plain, f.name)
        ]
        return ", ".join([self.do, *parts])


@dataclass(frozen=True)
class Talk:
    """A conversation to be had.

    Attributes:
        state: one of :data:`keuos_hil.net.tcp.STATES`, to begin in.
        options: what our SYN offers: "" or some of the words mss, scale, sack, timestamps.
        steps: what is done then.
    """

    SCHEMA: ClassVar[str] = "keuos-hil/tcp-talk/1"

    state: str
    options: str
    steps: tuple[Step, ...]

    def as_json(self) -> dict[str, Any]:
        """As a corpus keeps it."""
        steps = [
            {k: v for k, v in asdict(step).items() if v != getattr(Step(step.do), k)} | {"do": step.do}
            for step in self.steps
        ]
        return {"state": self.state, "options": self.options, "steps": steps}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Talk:
        """From :meth:`as_json`. Raises KeyError, TypeError or ValueError for anything else."""
        if document["state"] not in STATES:
            raise ValueError(f"there is no state {document['state']!r}")
        steps = [Step(**{**step, "sack": tuple(map(tuple, step.get("sack", ())))}) for step in document["steps"]]
        return cls(document["state"], str(document["options"]), tuple(steps))

    def describe(self) -> str:
        """For a person."""
        head = f"in {self.state}, our SYN with {self.options or 'no option'}:"
        return "\n".join([head, *(f"  {step.describe()}" for step in self.steps)])


class Generator:
    """Makes conversations.

    Args:
        seed: of all that is drawn.
        scapy: whether some segments are of scapy's making (which takes a second to load).
    """

    def __init__(self, seed: int, *, scapy: bool = True) -> None:
        self._random = random.Random(seed)
        self._scapy = scapy

    def talk(self, most: int = 12) -> Talk:
        """The next one, of at most so many steps."""
        draw = self._random
        # Data flows in three states; the others are short.
        state = draw.choice((*STATES, *("ESTABLISHED", "CLOSE-WAIT", "FIN-WAIT-2") * 3))
        words = [word for word in ("mss", "scale", "sack", "timestamps") if draw.random() < 0.5]
        steps = tuple(self._step() for _ in range(draw.randint(1, most)))
        return Talk(state, " ".join(words), steps)

    def _step(self) -> Step:
        draw = self._random
        kind = draw.choices(
            ("segment", "scapy", "send", "receive", "shutdown", "close", "wait", "fence"), (60, 4, 10, 8, 1, 1, 4, 12)
        )[0]
        if kind == "scapy":
            return Step(kind, raw=self._of_scapy()) if self._scapy else self._segment()
        if kind == "segment":
            return self._segment()
        if kind == "wait":
            return Step(kind, amount=draw.choice((10, 60, 250, 1100, 5000, 30_000, 130_000)))
        if kind in ("send", "receive"):
            return Step(kind, amount=draw.choice((1, 10, 536, 1460, 5000, 40_000)))
        return Step(kind)

    def _segment(self) -> Step:
        """Valid, and then spoilt in none, one or some of its parts."""
        draw = self._random
        step = Step("segment", flags=draw.choice(("A", "PA")), data=draw.choice(_SIZES))
        changes: tuple[Callable[[Step], Step], ...] = (
            lambda s: replace(s, flags=draw.choice(_FLAGS)),
            lambda s: replace(s, flags=draw.choice(_FLAGS)),
            lambda s: replace(s, seq=self._away()),
            lambda s: replace(s, base="edge", seq=draw.choice((0, -1, 1, -100, 100, -1460))),
            lambda s: replace(s, ack=self._away()),
            lambda s: replace(s, window=draw.choice((0, 0, 1, 100, 1000, 0x8000, 0xFFFF))),
            lambda s: replace(
                s, flags=s.flags + "U" if "U" not in s.flags else s.flags, urgent=draw.choice((0, 1, 10, 0xFFFF))
            ),
            lambda s: replace(s, options=self._options()),
            lambda s: replace(s, sack=self._sack()),
            lambda s: replace(s, damage=draw.choice(tuple(_DAMAGES))),
        )
        for _ in range(draw.choice((0, 1, 1, 1, 2, 3))):
            step = draw.choice(changes)(step)
        return step

    def _away(self) -> int:
        return self._random.choice((*_AWAY, *_AWAY, self._random.randint(-(1 << 31) + 1, 1 << 31)))

    def _options(self) -> str:
        while True:
            drawn = bytes.fromhex("".join(self._random.choice(_OPTIONS) for _ in range(self._random.randint(1, 8))))[
                :40
            ]
            if _is_definite(drawn):
                return drawn.hex()

    def _sack(self) -> tuple[tuple[int, int], ...]:
        draw = self._random
        edges = (0, 1, 100, 536, 1460, 2920, 4380, -1, -1460, 1 << 20, 1 << 31)
        return tuple((draw.choice(edges), draw.choice(edges)) for _ in range(draw.randint(1, 3)))

    def _of_scapy(self) -> str:
        from scapy.layers.inet import TCP  # only here: it takes a second
        from scapy.packet import Raw, fuzz

        before = random.getstate()  # scapy draws from the one generator that is everybody's
        random.seed(self._random.getrandbits(64))
        try:
            while True:
                load = Raw(b"x" * self._random.choice(_SIZES[:5]))
                made = bytes(fuzz(TCP(sport=0, dport=0, seq=0, ack=0, chksum=0)) / load)
                if _is_definite(made[20 : (made[12] >> 4) * 4]):
                    return made.hex()
        finally:
            random.setstate(before)


def _is_definite(options: bytes) -> bool:
    """Which of two values counts is nobody's rule."""
    kinds = wire.parse_options(options).kinds
    return all(kinds.count(kind) <= 1 for kind in (wire.OPTION_MSS, wire.OPTION_WSCALE, wire.OPTION_TS))


class Player:
    """Has conversations with a target.

    Args:
        net: opens them.
    """

    def __init__(self, net: Stack) -> None:
        self._net = net

    def play(
        self,
        talk: Talk,
        each: Callable[[Step, Conversation], None] | None = None,
        allowed: Iterable[str] = (),
        options: Mapping[str, int] | None = None,
    ) -> None:
        """Have one, and leave nothing of it open.

        Args:
            allowed: further rules (:mod:`keuos_hil.net.invariants`) that need not hold.
            options: set on the target's socket before it opens.
            each: called behind each step, with the conversation.

        Raises:
            WireFailure: a rule does not hold of what came, or the target fell silent.
        """
        words = talk.options.split()
        how: dict[str, Any] = {
            "mss": 1000 if "mss" in words else None,
            "shift": 3 if "scale" in words else None,
            "sack": "sack" in words,
            "ts": "timestamps" in words,
        }
        if options:
            how["options"] = dict(options)
        app = self._net.app
        before = set(app.numbers)
        c = self._net.state(talk.state, **how)
        c.rules.allowed |= _ALLOWED | set(allowed)
        if any(step.has_syn() for step in talk.steps):
            c.rules.allowed |= _ALLOWED_WITH_SYN
        for step in talk.steps:
            self._do(c, step, [Socket(app, number) for number in sorted(app.numbers - before)])
            if each is not None:
                each(step, c)
        self._net.host.fence()
        self._end(c, before)

    def _end(self, c: Conversation, before: set[int]) -> None:
        """The application's side first: what it holds is aborted; then ours."""
        for number in sorted(self._net.app.numbers - before):
            Socket(self._net.app, number).abort()
        c.kill()
        self._net.conversations.remove(c)
        self._net.host.fence()

    def _do(self, c: Conversation, step: Step, sockets: list[Socket]) -> None:
        host = self._net.host
        if step.do == "fence":
            c.burst()
        elif step.do == "wait":
            if host.clock.winds:
                host.elapse(step.amount / 1000)
        elif step.do == "segment":
            _send(c, step)
        elif step.do == "scapy":
            _send_raw(c, bytes.fromhex(step.raw))
        else:
            _call(c, step, sockets)


def _call(c: Conversation, step: Step, sockets: list[Socket]) -> None:
    """A call that is refused is no failure: a peer may have reset the connection."""
    if c.app is None:
        for listener in sockets:
            try:
                c.app = listener.accept(0)
                break
            except SocketError:
                continue
    sock = c.app
    if sock is None:
        return
    try:
        if step.do == "send":
            sock.send(step.amount)
        elif step.do == "receive":
            sock.recv(step.amount, 0)
        elif step.do == "shutdown":
            sock.shutdown()
        else:
            c.app = None
            sock.close()
    except SocketError:
        pass


def _send(c: Conversation, step: Step) -> None:
    right = step == Step("segment", flags=step.flags, data=step.data, window=step.window, urgent=step.urgent)
    goes_on = right and set(step.flags) <= set("AFPU") and "A" in step.flags
    base = c.snd if step.base == "next" or c.rules.right_edge is None else c.edge
    options = None if step.options == "right" else bytes.fromhex(step.options)
    if step.sack:
        una = c.una_of_target
        blocks = wire.sack(*((add(una, left), add(una, right)) for left, right in step.sack))
        options = ((wire.timestamps(c.clock, c.ts_recent) if c.timestamps else b"") + blocks)[:40]
    c.tx(
        step.flags if step.flags != "." else "",
        data=wire.pattern(0, step.data) if not goes_on else step.data,
        seq=None if goes_on else add(base, step.seq),
        ack=add(c.rcv, step.ack),
        win=None if step.window < 0 else step.window,
        opts=options,
        urg=step.urgent,
        **_DAMAGES.get(step.damage, {}),
    )


def _send_raw(c: Conversation, made: bytes) -> None:
    """Ports, numbers relative to the conversation's, and a right checksum are put in."""
    ports = struct.pack("!HH", c.port, c.target_port)
    numbers = struct.pack("!II", c.snd, c.rcv)
    segment = ports + numbers + made[12:16] + bytes(2) + made[18:]
    pseudo = struct.pack("!4s4sBBH", c.source, c.host.target, 0, wire.PROTOCOL_TCP, len(segment))
    value = wire.checksum(pseudo + segment)
    segment = segment[:16] + value.to_bytes(2, "big") + segment[18:]
    end = min((segment[12] >> 4) * 4, len(segment))
    length = len(segment) - end + bool(segment[13] & wire.SYN) + bool(segment[13] & wire.FIN)
    window = int.from_bytes(segment[14:16], "big")
    c.rules.sent(c.snd, c.rcv, segment[13], window, length, wire.parse_options(segment[20:end]))
    c.host.send_ip(wire.ipv4(c.source, c.host.target, wire.PROTOCOL_TCP, segment))


def shorter(talk: Talk) -> Iterator[Talk]:
    """What is a little less than `talk`: without some steps, or with one part of a step as it should be."""
    count = len(talk.steps)
    size = count // 2
    while size:
        for at in range(0, count, size):
            yield replace(talk, steps=talk.steps[:at] + talk.steps[at + size :])
        size //= 2
    for at, step in enumerate(talk.steps):
        plain = Step(step.do)
        for part in fields(step):
            if getattr(step, part.name) != getattr(plain, part.name):
                fewer = replace(step, **{part.name: getattr(plain, part.name)})
                yield replace(talk, steps=(*talk.steps[:at], fewer, *talk.steps[at + 1 :]))
    if talk.options:
        yield replace(talk, options="")


def shrink(talk: Talk, fails: Callable[[Talk], bool], tries: int = 200) -> Talk:
    """The least found for which `fails`, asked at most `tries` times, says yes; `talk` if it doesn't fail again."""
    left = tries
    if not fails(talk):
        return talk
    found = True
    while found:
        found = False
        for smaller in shorter(talk):
            left -= 1
            if left < 0:
                return talk
            if fails(smaller):
                talk, found = smaller, True
                break
    return talk
