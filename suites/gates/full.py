"""Notifications by real processes, which are really killed: gate_full (kernel/user/gate_full) driven from outside.

A case is what one gate_sender does: valid messages first, then a notification of some descriptors of which one is the
case's own. Cases are written, and outcomes read, in gate_full's memory through Debug.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.agent import Agent, Process
from keuos_hil.dwarf import Record
from keuos_hil.errors import WaitTimeout
from keuos_hil.fuzz import Sender
from keuos_hil.image import Image
from keuos_hil.oracle import Channel, Descriptor, GateAbi, Outcome, Shadow, Template, after_good, notify
from keuos_hil.rig import LiveTarget

from ..waiting import look
from .judgement import Compared
from .pair import key_of

SENDER = "gate_sender"
SUPERVISOR = "gate_full"
#: Data ring of 2^ORDER pages.
ORDER = 0
HANG_S = 60.0
U32 = 0xFFFF_FFFF


@dataclass(frozen=True)
class Ending:
    """What became of a sender: predicted, or seen on the target.

    Attributes:
        exit: how the process ended, as "gate tag" or "code 0".
        result: what notify returned, if it did.
        told: what the status page tells the peer, as "violation tag".
        woken: whether the peer was woken for it.
        event: the gate's record: verdict, index that was refused, and the descriptor; None if there is none.
        mailbox: the descriptors that lie in the peer's mailbox, by slot.
    """

    exit: str
    result: int | None
    told: str
    woken: bool
    event: tuple[str, int, bytes] | None
    mailbox: dict[int, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        event = "none" if self.event is None else f"{self.event[0]} at {self.event[1]:#x}, {self.event[2].hex()}"
        mail = ", ".join(f"{at}: {data.hex()}" for at, data in self.mailbox.items()) or "empty"
        returned = "did not return" if self.result is None else f"returned {self.result}"
        return f"{self.exit}; notify {returned}; peer told: {self.told}, woken {self.woken}; event {event}; mail {mail}"


def _valid(channel: Channel, at: int, data: int, length: int) -> Descriptor:
    """What gate_sender writes at that head: its own data counter, its own cookies."""
    return channel.valid(Shadow(at, data), length, offset=data, cookie=(at, ~at & 0xFFFF_FFFF_FFFF_FFFF))


@dataclass(frozen=True)
class Judged:
    """What became of a case.

    Attributes:
        compared: the sender's end as predicted, and as it was.
        outcome: the oracle's, of the notification.
    """

    case: Sender
    compared: Compared
    outcome: Outcome


def predicted(channel: Channel, case: Sender, own: Descriptor, errors: dict[str, int]) -> tuple[Ending, Outcome]:
    """By the oracle. own: the case's descriptor. errors: enum keuos_error by name, without prefix and in lower case."""
    abi = channel.abi
    step = -(-case.length // abi.line) * abi.line
    start = after_good(case.good, case.length)
    count = case.before + 1 + case.after

    def slot(at: int) -> Descriptor:
        index = (at - start.head) & U32
        return own if index == case.before else _valid(channel, at, (start.data + index * step) & U32, case.length)

    head = (start.head + count + case.head_slots) & U32
    outcome = notify(channel, start, slot, n=case.n or count, head=head)
    mail = {at: _valid(channel, at, at * step, case.length).packed(abi) for at in range(case.good)}
    mail |= {(start.head + i) % abi.slots: slot(start.head + i).packed(abi) for i in range(outcome.accepted)}
    if outcome.culprit:
        bad = bytes(abi.descriptor.itemsize) if outcome.verdict == "index" else slot(outcome.shadow.head).packed(abi)
        index = head if outcome.verdict == "index" else outcome.shadow.head
        ending = Ending(
            f"gate {outcome.verdict}", None, f"violation {outcome.verdict}", True, (outcome.verdict, index, bad), mail
        )
    else:
        result = -errors[outcome.error] if outcome.error else outcome.accepted
        ending = Ending("code 0", result, "producer_died ok", True, None, mail)
    return ending, outcome


def _words(descriptors: NDArray[Any]) -> NDArray[np.uint64]:
    return descriptors.view("<u8").reshape(len(descriptors), -1)


@dataclass
class _Asked:
    """A wave that the target was given."""

    which: int
    number: int
    cases: list[Sender]
    events_from: int
    expected: list[tuple[Ending, Outcome]] = field(default_factory=list)


class FullGate:
    """Waves of senders: one can run on the target while another is asked for or looked at.

    Args:
        target: runs a HIL build.

    Attributes:
        quotas: the supervisor's, with one wave bound, when the wave that was asked for last had not been.
    """

    def __init__(self, target: LiveTarget, agent: Agent, image: Image) -> None:
        self._target, self._image = target, image
        self.abi = GateAbi.of(image)
        self._proofs = [Template.of(t) for t in image.templates(SENDER)]
        self._interface = [Template.of(t) for t in image.templates(SUPERVISOR, ".keuos.interface")]
        self.data_bytes = image.constant("KEUOS_PAGE_BYTES") << ORDER
        self._params: Any = image.program(SENDER).layouts.variable("params")
        self._results: Any = image.program(SENDER).layouts.variable("results")
        self._events_kept = image.kernel.layouts.constant("EVENTS_KEPT")
        self.supervisor: Process = agent.spawn(
            SUPERVISOR, core=1 if agent.info().cores > 1 else 0, suspended=True, pages=4096, channels=64, processes=40
        )
        layouts = self.supervisor.elf.layouts
        self._exchange: Any = layouts.variable("exchange")
        waves: Any = self._exchange["waves"]
        self._wave: Any = waves.base
        self.waves: int = waves.shape[0]
        self.wave_max: int = self._wave["senders"].shape[0]
        self._page = image.constant("KEUOS_PAGE_BYTES")
        sender = image.program(SENDER)
        self.supervisor.write_struct(
            "params",
            sender=SENDER,
            params_address=sender.symbol("params").address,
            results_address=sender.symbol("results").address,
            params_bytes=self._params.itemsize,
            results_bytes=self._results.itemsize,
            core=1 if agent.info().cores > 1 else 0,
            data_order=ORDER,
        )
        self.errors = {name: value for value, name in image.enumerators("keuos_error", "KEUOS_").items()}
        self._names = {
            "exit": image.enumerators("keuos_exit_reason", "KEUOS_EXIT_"),
            "close": image.enumerators("keuos_close_reason", "KEUOS_CLOSE_"),
        }
        self._gate_event = image.constant("KEUOS_EVENT_GATE")
        self._literal = sender.layouts.constant("GATE_LITERAL")
        self._turns = 0
        self._waiting: deque[_Asked] = deque()
        self._pids: set[int] = set()  # of every sender that was told what to do
        self._pages: list[int] = []
        self.quotas: dict[str, Any] = {}
        self.supervisor.start()
        self._await_pages()

    # Its memory, from outside --------------------------------------------------------------------------------------

    def _await_pages(self) -> None:
        """The first wave is awaited over the line: where its memory lies is known only then."""
        deadline = self._target.console.clock() + HANG_S
        while self.supervisor.read_struct("exchange").waves[0].ready != 1:
            self._still_runs(deadline)
        self._pages = [int(page) for page in self.supervisor.read_array("physical")]

    def _still_runs(self, deadline: float) -> None:
        self._target.console.wait_for(lambda: None, 0)  # a panic is raised
        info = self.supervisor.info()
        if info.exit_reason:
            error = self.supervisor.read_struct("exchange").error
            raise AssertionError(f"gate_full ended: reason {info.exit_reason}, error {error}")
        if self._target.console.clock() >= deadline:
            raise WaitTimeout(f"a wave of senders did not end within {HANG_S:g} s")

    def _read(self, offset: int, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:
            page, within = divmod(offset + len(out), self._page)
            part = min(size - len(out), self._page - within)
            out += self._target.debug.read_physical(self._pages[page] + within, part)
        return bytes(out)

    def _write(self, offset: int, data: bytes) -> None:
        done = 0
        while done < len(data):
            page, within = divmod(offset + done, self._page)
            part = min(len(data) - done, self._page - within)
            self._target.debug.write_physical(self._pages[page] + within, data[done : done + part])
            done += part

    def _at(self, which: int, name: str) -> int:
        """Where a field of a wave lies in the exchange."""
        waves: int = self._exchange.fields["waves"][1]
        field_at: int = self._wave.fields[name][1]
        return waves + which * int(self._wave.itemsize) + field_at

    def _field(self, which: int, name: str) -> NDArray[Any]:
        dtype = self._wave[name]
        return np.frombuffer(self._read(self._at(which, name), dtype.itemsize), dtype.base).reshape(dtype.shape)

    def _await(self, which: int, name: str, number: int) -> None:
        deadline = self._target.console.clock() + HANG_S
        next_look = time.monotonic() + 0.5
        while not look(lambda: int(self._field(which, name)) == number):
            if time.monotonic() >= next_look:
                self._still_runs(deadline)
                next_look = time.monotonic() + 0.5

    # Waves ---------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Waves that were asked for and not yet taken."""
        return len(self._waiting)

    @property
    def room(self) -> bool:
        """Whether another wave can be asked for now."""
        return len(self._waiting) < self.waves

    def _channels(self, senders: NDArray[Any]) -> list[Channel]:
        """What each sender's gates must go by."""
        records = self._target.kernel.read_array("channels")
        channels = []
        for sender in senders:
            record = records[int(sender["channel"]) - 1]
            assert (record["id"], record["generation"]) == (sender["channel"], sender["generation"])
            channels.append(
                Channel.bound(
                    self.abi,
                    int(sender["channel"]),
                    int(sender["generation"]),
                    key_of(record["key"]),
                    int(record["data_bytes"]),
                    self._proofs,
                    self._interface,
                )
            )
        return channels

    def ask(self, cases: Sequence[Sender]) -> None:
        """Have a wave do this, each sender one case, the first ones again if there are fewer than senders.

        :meth:`take` gives the answers in the order of asking.
        """
        if not self.room or not 0 < len(cases) <= self.wave_max:
            raise ValueError(f"no room, or {len(cases)} cases are not for one wave")
        which, number = self._turns % self.waves, self._turns // self.waves + 1
        self._turns += 1
        self._await(which, "ready", number)
        self.quotas = Record(self._field(which, "self").reshape(())).as_dict()
        senders = self._field(which, "senders").copy()
        channels = self._channels(senders)
        filled = [cases[i % len(cases)] for i in range(self.wave_max)]
        own = [case.difference.descriptor(channel)[1] for case, channel in zip(filled, channels, strict=True)]
        parameters = self._parameters(filled, own)
        senders["params"][:, : self._params.itemsize] = parameters.view(np.uint8).reshape(len(filled), -1)
        self._write(self._at(which, "senders"), senders.tobytes())
        self._pids.update(senders["pid"].tolist())
        asked = _Asked(which, number, filled, int(self._target.kernel.read("event_next")))
        self._write(self._at(which, "go"), number.to_bytes(4, "little"))
        self._waiting.append(asked)
        # While they run.
        asked.expected = [predicted(*one, self.errors) for one in zip(channels, filled, own, strict=True)]

    def take(self) -> list[Judged]:
        """What became of every sender of the wave that was asked for first.

        Raises:
            WaitTimeout: it does not end.
        """
        asked = self._waiting.popleft()
        self._await(asked.which, "done", asked.number)
        senders, mailboxes = self._field(asked.which, "senders"), self._field(asked.which, "mailboxes")
        gates = self._gate_events(asked.events_from)
        endings = (
            self._ending(sender, mailbox, gates.get(int(sender["end"]["pid"])))
            for sender, mailbox in zip(senders, mailboxes, strict=True)
        )
        return [
            Judged(case, Compared(expected, seen), outcome)
            for case, (expected, outcome), seen in zip(asked.cases, asked.expected, endings, strict=True)
        ]

    def take_all(self) -> None:
        """Until none is under way, whatever becomes of them."""
        while self._waiting:
            self.take()

    def _parameters(self, cases: Sequence[Sender], own: Sequence[Descriptor]) -> NDArray[Any]:
        """What each sender shall do: struct gate_sender_params."""
        rows = np.zeros(len(cases), self._params)
        for name in ("good", "length", "before", "after", "n", "head_slots", "head_data"):
            rows[name] = [getattr(case, name) for case in cases]
        rows["action"] = self._literal
        rows["descriptor"] = np.frombuffer(b"".join(one.packed(self.abi) for one in own), self.abi.descriptor)
        return rows

    def _gate_events(self, since: int) -> dict[int, Any]:
        """What the gates recorded from that sequence number on, by the culprit's pid.

        Raises AssertionError if they recorded two for one sender, or one for somebody else.
        """
        log = self._target.kernel.read_array("event_log")
        recorded = int(self._target.kernel.read("event_next")) - since
        assert recorded <= self._events_kept, f"{recorded} events since a wave began, and {self._events_kept} are kept"
        of_gates = log[(log["kind"] == self._gate_event) & (log["sequence"] >= since)]
        by_pid = {int(event["pid"]): event for event in of_gates}
        assert len(by_pid) == len(of_gates), f"a sender has two events of the gates: pids {of_gates['pid'].tolist()}"
        assert by_pid.keys() <= self._pids, f"the gates recorded pids {by_pid.keys() - self._pids}, who are no senders"
        return by_pid

    def _ending(self, sender: Any, mailbox: Any, event: Any) -> Ending:
        names = self.abi.names
        reason = self._names["exit"].get(int(sender["end"]["exit_reason"]), "?")
        detail = int(sender["end"]["exit_detail"])
        results = Record.of(self._results, sender["results"][: self._results.itemsize].tobytes())
        status = sender["status"]
        told = self._names["close"].get(int(status["reason"]), "?")
        return Ending(
            exit=f"{reason} {names.get(detail, detail) if reason == 'gate' else detail}",
            result=int(results.result) if results.survived else None,
            told=f"{told} {names.get(int(status['verdict']), int(status['verdict']))}",
            woken=bool(sender["notified"]),
            event=None
            if event is None
            else (names.get(int(event["verdict"]), "?"), int(event["detail"]), event["descriptor"].tobytes()),
            mailbox={int(at): mailbox[at].tobytes() for at in np.flatnonzero(_words(mailbox).any(axis=1))},
        )

    def stop(self) -> None:
        """Have gate_full leave; what it holds goes with it."""
        self._write(self._exchange.fields["stop"][1], (1).to_bytes(4, "little"))
