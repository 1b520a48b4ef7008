"""TCP as a case speaks it: segments sent with whatever is named, and segments expected to be what is named.

A :class:`Conversation` is one pair of endpoints, ours played by hand. It keeps count (SND.NXT, RCV.NXT) so that a case
need not, fills in what :meth:`Conversation.tx` is not told, and looks in :meth:`Conversation.rx` at nothing but what is
named. It sends nothing by itself. :class:`Stack` opens conversations and leads them into each state of RFC 9293.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from . import wire
from .host import Host, WireFailure
from .invariants import MAX_SHIFT, Rules
from .seq import add, diff
from .sockets import App, Socket
from .wire import ACK, FIN, PSH, RST, SYN, Segment, flags_of, letters_of

#: What has to come at once comes within a tick; so long means that it won't, even on a loaded machine.
SOON_S = 3.0

#: Conversations that are ended before what came is looked at: no more than a NIC's queue holds.
_BURST = 50

STATES = (
    "CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING",
    "LAST-ACK", "TIME-WAIT",
)  # fmt: skip
#: Those in which both sides know each other's sequence numbers.
SYNCHRONISED = STATES[4:]

_issues = itertools.count(0x10_0000, 0x1234_567)


class Conversation:
    """One pair of endpoints.

    Args:
        host: our end of the wire.
        target_port: the target's port.
        port: ours; a new one by default.
        source: our address, by default the host's.
        iss: our initial sequence number.
        window: what we advertise, in bytes; scaled down where scaling is in force.
        mss, shift, sack, ts: the options that our SYN carries; none but the MSS by default.
    """

    def __init__(
        self,
        host: Host,
        target_port: int,
        port: int,
        *,
        source: bytes | None = None,
        iss: int | None = None,
        window: int = 0xFFFF,
        mss: int | None = 1460,
        shift: int | None = None,
        sack: bool = False,
        ts: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.target_port = target_port
        self.source = source or host.address
        self.iss = next(_issues) % (1 << 32) if iss is None else iss
        self.irs = 0
        self.snd = self.iss
        self.una = self.iss
        self.rcv = 0
        self.window = window
        self.offer_mss, self.offer_shift, self.offer_sack, self.offer_ts = mss, shift, sack, ts
        self.rules = Rules()
        self.segments: deque[Segment] = deque()
        #: The target's last segment, taken or not.
        self.last: Segment | None = None
        self.clock = 0x1000
        self.ts_recent = 0
        #: The socket of the program on the target, once there is one.
        self.app: Socket | None = None
        host.register(self.source, port, target_port, self)

    def take(self, segment: Segment) -> None:
        """See Sink.take."""
        problem = self.rules.received(segment)
        if problem and self.host.judging:
            raise self.host.failure(problem)
        self.last = segment
        if segment.options.ts is not None:
            self.ts_recent = segment.options.ts[0]
        self.segments.append(segment)

    # What is known ---------------------------------------------------------------------------------------------

    @property
    def sock(self) -> Socket:
        """The target's socket."""
        assert self.app is not None, "this conversation has no socket yet"
        return self.app

    @property
    def timestamps(self) -> bool:
        """Whether both sides asked for timestamps."""
        return self.offer_ts and self.rules.ts

    @property
    def target_window(self) -> int:
        """What the target's last segment offers, in bytes."""
        assert self.last is not None
        return self.rules.scaled(self.last)

    @property
    def edge(self) -> int:
        """The right edge of the target's receive window."""
        assert self.rules.right_edge is not None
        return self.rules.right_edge

    @property
    def una_of_target(self) -> int:
        """The target's SND.UNA: the highest number that we have acknowledged to it."""
        return self.rules.acked if self.rules.acked is not None else self.irs

    @property
    def flight(self) -> int:
        """Bytes that the target has sent and we have not acknowledged by a :meth:`tx` that follows :attr:`rcv`."""
        return diff(self.rules.max_sent or self.rcv, self.rcv)

    # Sending ---------------------------------------------------------------------------------------------------

    def syn_options(self) -> bytes:
        """Those of our SYN."""
        parts: list[bytes] = []
        if self.offer_mss is not None:
            parts.append(wire.mss(self.offer_mss))
        if self.offer_sack:
            parts.append(wire.sack_ok())
        if self.offer_ts:
            parts.append(wire.timestamps(self.clock, self.ts_recent))
        if self.offer_shift is not None:
            parts.append(bytes((wire.OPTION_NOP,)) + wire.wscale(self.offer_shift))
        return wire.join(parts)

    def window_field(self, syn: bool) -> int:
        """The window as it stands in the header."""
        scaled = not syn and self.offer_shift is not None and self.rules.shift is not None
        shift = min(self.offer_shift or 0, MAX_SHIFT) if scaled else 0
        return min(self.window >> shift, 0xFFFF)

    def tx(
        self,
        letters: str = "A",
        *,
        data: bytes | int = b"",
        seq: int | None = None,
        ack: int | None = None,
        win: int | None = None,
        opts: bytes | None = None,
        urg: int = 0,
        remark: str = "",
        ip: dict[str, Any] | None = None,
        **raw: Any,
    ) -> None:
        """Send one segment.

        Args:
            letters: the flags, such as "SA".
            data: bytes, or how many of the test pattern, which go on where the last number left off.
            seq: SND.NXT if it is not given; only then does that advance.
            ack: RCV.NXT by default where ACK is set.
            win: the field's value.
            opts: all options; by default the SYN's, or timestamps once they are negotiated.
            urg: the urgent pointer.
            ip: arguments of :func:`keuos_hil.net.wire.ipv4`; `to` is the hardware address it is sent to.
            raw: further arguments of :func:`keuos_hil.net.wire.tcp`.
        """
        flags = flags_of(letters)
        payload = self.pattern(data, seq) if isinstance(data, int) else data
        if opts is None:
            opts = self.syn_options() if flags & SYN else b""
            if self.timestamps and not flags & SYN:
                self.clock += 1
                opts = wire.timestamps(self.clock, self.ts_recent)
        at = self.snd if seq is None else seq % (1 << 32)
        number = (self.rcv if flags & ACK else 0) if ack is None else ack
        field = self.window_field(bool(flags & SYN)) if win is None else win
        length = len(payload) + bool(flags & SYN) + bool(flags & FIN)
        if seq is None:
            self.snd = add(self.snd, length)
        self.rules.sent(at, number, flags, field, length, wire.parse_options(wire.padded(opts)))
        below: dict[str, Any] = dict(ip or {})
        to = below.pop("to", None)
        destination, ends = below.pop("destination", self.host.target), (self.port, self.target_port)
        options: dict[str, Any] = {"urgent": urg, "options": opts, "payload": payload, **raw}
        segment = wire.tcp(self.source, destination, *ends, at, number, flags, field, **options)
        datagram = wire.ipv4(self.source, destination, wire.PROTOCOL_TCP, segment, **below)
        frame = wire.ethernet(to or self.host.network.mac, self.host.mac, wire.ETHERTYPE_IPV4, datagram)
        self.host.send(frame, remark)

    def pattern(self, count: int, seq: int | None = None) -> bytes:
        """The next `count` bytes of the pattern that our direction carries, or those at `seq`."""
        start = diff(self.snd if seq is None else seq, add(self.iss, 1))
        return wire.pattern(max(start, 0), count)

    # Receiving -------------------------------------------------------------------------------------------------

    def rx(self, letters: str | None = None, *, within: float = SOON_S, track: bool = True, **wanted: Any) -> Segment:
        """The next segment, which has to be what is named.

        Acknowledgments without data that come before a segment with data or control flags are passed over: when they
        are sent is the receiver's choice.

        Args:
            letters: the flags, exactly; PSH counts only where it is named.
            within: seconds of the target's time.
            track: whether RCV.NXT follows.
            wanted: seq, ack, win, data (bytes, or how many), and whatever a Segment or its options have.

        Raises:
            WireFailure: something else came, or nothing.
        """
        flags = None if letters is None else flags_of(letters)
        bare = flags == ACK and not wanted.get("data")
        passed: list[Segment] = []
        while True:
            if not self.host.wait(lambda: bool(self.segments), within):
                raise self.host.failure(self._expected(letters, wanted) + f"; nothing came within {within:g} s")
            segment = self.segments.popleft()
            problem = self._differs(segment, flags, wanted)
            if not problem:
                break
            if bare or segment.flags & ~PSH != ACK or segment.payload or letters is None:
                told = self.host.transcript.tell(segment)
                raise self.host.failure(f"{self._expected(letters, wanted)}; came: {told}: {problem}")
            passed.append(segment)
        if track:
            self._follow(segment)
        return segment

    def _follow(self, segment: Segment) -> None:
        if segment.flags & SYN:
            self.irs = segment.seq
            self.rcv = segment.seq
        if diff(self.rcv, segment.seq) >= 0 and diff(add(segment.seq, segment.length), self.rcv) > 0:
            self.rcv = add(segment.seq, segment.length)
        if segment.flags & ACK and diff(segment.ack, self.una) > 0:
            self.una = segment.ack

    def _told(self, name: str, value: Any) -> str:
        """A part of a segment for a person; numbers count from each side's first."""
        bases = {"seq": self.irs, "ack": self.iss}
        return f"{name} {diff(value, bases[name])} (relative)" if name in bases else f"{name} {value}"

    def _expected(self, letters: str | None, wanted: dict[str, Any]) -> str:
        parts = [] if letters is None else [letters]
        for name, value in wanted.items():
            parts.append(f"{name} {len(value)} bytes" if isinstance(value, bytes) else self._told(name, value))
        return f"expected from port {self.target_port}: {', '.join(parts) or 'a segment'}"

    def _differs(self, segment: Segment, flags: int | None, wanted: dict[str, Any]) -> str:
        if flags is not None and (segment.flags if flags & PSH else segment.flags & ~PSH) != flags:
            return f"flags {letters_of(segment.flags)}"
        for name, value in wanted.items():
            if name == "data":
                if (len(segment.payload) if isinstance(value, int) else segment.payload) != value:
                    return f"{len(segment.payload)} bytes of data" + ("" if isinstance(value, int) else ", or others")
                continue
            field = {"win": "window", "urg": "urgent"}.get(name, name)
            has = getattr(segment, field) if hasattr(segment, field) else getattr(segment.options, field)
            if has != value:
                return self._told(name, has)
        return ""

    def rx_ack(self, number: int | None = None, *, within: float = SOON_S) -> Segment:
        """Wait until the target has acknowledged up to `number` (all that was sent); data may come with it."""
        wanted = self.snd if number is None else number
        seen: list[Segment] = []

        def covered() -> bool:
            if self.last is not None and not self.segments and diff(self.una, wanted) >= 0:
                seen.append(self.last)
                return True
            while self.segments:
                seen.append(self.segments.popleft())
                self._follow(seen[-1])
                if seen[-1].flags & RST:
                    raise self.host.failure(f"expected an acknowledgment of {diff(wanted, self.iss)}; came: a reset")
                if seen[-1].flags & ACK and diff(seen[-1].ack, wanted) >= 0:
                    return True
            return False

        if not self.host.wait(covered, within):
            raise self.host.failure(
                f"expected an acknowledgment of {diff(wanted, self.iss)} (relative) within {within} s"
            )
        return seen[-1]

    def rx_data(self, count: int, *, within: float = SOON_S, reply: bool = False, fin: bool = False) -> list[Segment]:
        """Take segments until `count` more bytes (and a FIN) are there in order; those that carried something.

        Args:
            reply: acknowledge each segment that carries something.
            fin: whether a FIN has to come behind them.
        """
        start, taken = self.rcv, list[Segment]()
        end = add(start, count + fin)
        while diff(end, self.rcv) > 0:
            if not self.host.wait(lambda: bool(self.segments), within):
                have = diff(self.rcv, start)
                raise self.host.failure(
                    f"expected {count} bytes{' and FIN' if fin else ''}; {have} came in {within:g} s"
                )
            segment = self.segments.popleft()
            if segment.flags & RST:
                raise self.host.failure(f"expected {count} bytes of data; came: a reset")
            self._follow(segment)
            if segment.length:
                taken.append(segment)
                if reply:
                    self.tx()
        return taken

    def burst(self, within: float = 0.0) -> list[Segment]:
        """What is there once the target has dealt with everything sent (and `within` seconds more have passed)."""
        self.host.fence()
        if within:
            self.host.elapse(within)
        found = list(self.segments)
        self.segments.clear()
        for segment in found:
            self._follow(segment)
        return found

    def silent(self, *, but: str = "") -> None:
        """The target has dealt with everything sent, and said nothing (more than flags `but`).

        Raises:
            WireFailure: it said something.
        """
        self.host.fence()
        allowed = flags_of(but) if but else None
        for segment in self.segments:
            if allowed is None or segment.flags & ~PSH != allowed:
                told = self.host.transcript.tell(segment)
                raise self.host.failure(f"expected silence; came: {told}")
        self.segments.clear()

    # Ends ------------------------------------------------------------------------------------------------------

    def alive(self) -> None:
        """The target still holds this connection: an unacceptable segment gets the ACK that RFC 9293 3.10.7.4 wants.

        It ends one byte before RCV.NXT, as some stacks take one that ends at RCV.NXT for acceptable.
        """
        self.burst()
        self.tx("A", seq=add(self.snd, -2), data=b"\0", remark="is the connection alive?")
        if not self.host.wait(lambda: bool(self.segments), SOON_S):
            raise self.host.failure("expected the connection to live; an unacceptable segment was not answered")
        segment = self.segments.popleft()
        if segment.flags & RST or not segment.flags & ACK:
            raise self.host.failure(f"expected the connection to live; came: {letters_of(segment.flags)}")
        self.burst()

    def gone(self) -> None:
        """The target holds nothing of this connection: an ACK is answered by RST.

        What a RST has to look like is a matter of its own (RFC 9293, 3.10.7.1): the matrix of suites/tcp asks it.
        """
        self.burst()
        self.tx("A", ack=self.rcv, remark="is the connection gone?")
        segment = self.rx(track=False)
        if not segment.flags & RST:
            raise self.host.failure(f"expected the connection to be gone; came: {letters_of(segment.flags)}")

    def kill(self) -> None:
        """End it for both sides, whatever the state: RST exactly at what the target expects."""
        if self.last is None:
            return
        number = self.last.ack if self.last.flags & ACK else self.snd
        self.tx("RA", seq=number, ack=add(self.last.seq, self.last.length), remark="clean up")
        if self.snd != number:
            self.tx("RA", seq=self.snd, remark="clean up")


class Stack:
    """Opens conversations with the target's TCP.

    Args:
        host: our end of the wire.
        app: the program on the target.
    """

    def __init__(self, host: Host, app: App, ports: Callable[[], int]) -> None:
        self.host = host
        self.app = app
        self._ports = ports
        self.conversations: list[Conversation] = []

    def port(self) -> int:
        """A port that no other case of this run has used."""
        return self._ports()

    def talk(self, target_port: int, **how: Any) -> Conversation:
        """A conversation in which nothing was said yet; arguments as Conversation's."""
        how.setdefault("port", self.port())
        conversation = Conversation(self.host, target_port, **how)
        self.conversations.append(conversation)
        return conversation

    def listen(self, *, backlog: int = 64, port: int | None = None, **options: int) -> tuple[Socket, int]:
        """A listening socket of the target, and its port; `options` are set before."""
        sock = self.app.open()
        number = port or self.port()
        for name, value in options.items():
            sock.set(name, value)
        sock.bind(port=number)
        sock.listen(backlog)
        return sock, number

    # Ways to each state ----------------------------------------------------------------------------------------

    def closed(self, **how: Any) -> Conversation:
        """CLOSED: a port on which nobody listens."""
        return self.talk(self.port(), **how)

    def listening(self, *, options: dict[str, int] | None = None, **how: Any) -> tuple[Conversation, Socket]:
        """LISTEN."""
        listener, port = self.listen(**(options or {}))
        return self.talk(port, **how), listener

    def syn_received(self, **how: Any) -> tuple[Conversation, Socket]:
        """SYN-RECEIVED by passive open."""
        conversation, listener = self.listening(**how)
        conversation.tx("S")
        conversation.rx("SA", ack=conversation.snd)
        return conversation, listener

    def est(self, **how: Any) -> Conversation:
        """ESTABLISHED by passive open; `options` is a dict of what is set on the listener."""
        conversation, listener = self.syn_received(**how)
        conversation.tx("A")
        conversation.app = listener.accept()
        return conversation

    def syn_sent(
        self, *, options: dict[str, int] | None = None, address: str | None = None, **how: Any
    ) -> Conversation:
        """SYN-SENT: the target's SYN has come, and was not answered."""
        sock = self.app.open()
        for name, value in (options or {}).items():
            sock.set(name, value)
        sock.bind(port=(port := self.port()))
        conversation = self.talk(port, **how)
        conversation.app = sock
        sock.connect(address or wire.dotted(conversation.source), conversation.port)
        conversation.rx("S")
        return conversation

    def active(self, **how: Any) -> Conversation:
        """ESTABLISHED by active open of the target."""
        conversation = self.syn_sent(**how)
        conversation.tx("SA")
        conversation.rx("A", ack=conversation.snd)
        return conversation

    def simultaneous(self, **how: Any) -> Conversation:
        """SYN-RECEIVED by simultaneous open."""
        conversation = self.syn_sent(**how)
        conversation.tx("S")
        conversation.rx("SA", ack=conversation.snd)
        return conversation

    def fin_wait_1(self, **how: Any) -> Conversation:
        """FIN-WAIT-1: the target's FIN has come, and was not acknowledged."""
        conversation = self.est(**how)
        conversation.sock.shutdown()
        conversation.rx("FA")
        return conversation

    def fin_wait_2(self, **how: Any) -> Conversation:
        """FIN-WAIT-2."""
        conversation = self.fin_wait_1(**how)
        conversation.tx("A")
        self.host.fence()
        return conversation

    def close_wait(self, **how: Any) -> Conversation:
        """CLOSE-WAIT."""
        conversation = self.est(**how)
        conversation.tx("FA")
        conversation.rx_ack()
        return conversation

    def closing(self, **how: Any) -> Conversation:
        """CLOSING: both FINs have crossed."""
        conversation = self.fin_wait_1(**how)
        conversation.tx("FA", ack=add(conversation.rcv, -1))
        conversation.rx("A", ack=conversation.snd)
        return conversation

    def last_ack(self, **how: Any) -> Conversation:
        """LAST-ACK."""
        conversation = self.close_wait(**how)
        conversation.sock.close()
        conversation.rx("FA")
        return conversation

    def time_wait(self, **how: Any) -> Conversation:
        """TIME-WAIT, entered a moment ago."""
        conversation = self.fin_wait_2(**how)
        conversation.tx("FA")
        conversation.rx("A", ack=conversation.snd)
        return conversation

    def state(self, name: str, **how: Any) -> Conversation:
        """A conversation in the state `name` of :data:`STATES`."""
        if name == "CLOSED":
            return self.closed(**how)
        if name == "LISTEN":
            return self.listening(**how)[0]
        if name == "SYN-RECEIVED":
            return self.syn_received(**how)[0]
        ways = {
            "SYN-SENT": self.syn_sent,
            "ESTABLISHED": self.est,
            "FIN-WAIT-1": self.fin_wait_1,
            "FIN-WAIT-2": self.fin_wait_2,
            "CLOSE-WAIT": self.close_wait,
            "CLOSING": self.closing,
            "LAST-ACK": self.last_ack,
            "TIME-WAIT": self.time_wait,
        }
        return ways[name](**how)

    def clean_up(self) -> None:
        """Close what the target has open, and end every conversation from our side too; what comes is not judged."""
        self.host.judging = False
        self.app.reset()
        self.host.elapse(0)
        for at, conversation in enumerate(self.conversations, 1):
            conversation.kill()
            if at % _BURST == 0:
                self.host.elapse(0)
        self.host.elapse(0)


__all__ = ["STATES", "SYNCHRONISED", "Conversation", "Stack", "WireFailure"]
