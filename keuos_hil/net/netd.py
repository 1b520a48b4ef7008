"""NetD on a KeuOS target: started, bound to applications, and asked, by the agent.

What lives here: what a host has to do so that NetD runs (docs/sockets.md, "Who binds whom"), and the part
:class:`keuos_hil.parts.Sockets` on top of the program `sockets`. Which cases run on it is the suites' affair.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import TypeVar

from ..agent import Agent, ChannelHandle, Process
from ..dwarf import Record
from ..errors import SocketError, TargetFailure
from ..image import NETD_PROGRAM, NETD_TEST_PROGRAM, SOCKETS_PROGRAM
from ..parts import Link, Network
from .side_line import SideLine

#: TEST-NET-1 (RFC 5737): nobody has these, and the target linux uses the same.
ADDRESS, PREFIX, GATEWAY = "192.0.2.2", 24, "192.0.2.1"
#: Pages: its memory is static, 12 MB (netd_hil: 32) for the stack and less than 1 MB for the NIC.
_PAGES = {NETD_PROGRAM: 4096, NETD_TEST_PROGRAM: 9216}
#: What the suites ask for of netd_hil: buffers longer than an unscaled window, connections for a hundred attackers.
TEST_LIMITS = "blocks=384 connections=128 send=131072"
_NETWORK_CLASS = 2
#: A step of a program takes milliseconds; so long means that it never ends. In seconds of the host.
_STEP_S = 20.0
#: What is read of an answer at once: as much as most have.
_ANSWER_READ = 256
_T = TypeVar("_T")


def until(what: str, ask: Callable[[], _T], done: Callable[[_T], bool], timeout: float = _STEP_S) -> _T:
    """Ask until the answer is the one wanted. Raises TargetFailure with the last one when time is up."""
    deadline = time.monotonic() + timeout
    while True:
        answer = ask()
        if done(answer):
            return answer
        if time.monotonic() >= deadline:
            raise TargetFailure(f"expected {what} within {timeout:g} s; last seen: {answer}")
        time.sleep(0.001)


def nic_number(agent: Agent) -> int:
    """The number of the target's NIC among its devices. Raises TargetFailure if the kernel lists none."""
    for device in agent.devices():
        if device.class_code >> 16 == _NETWORK_CLASS:
            return int(device.device)
    raise TargetFailure("the kernel lists no network device among its PCI functions")


class Netd:
    """NetD as a process that the agent spawned; it serves when the constructor returns.

    Args:
        arguments: further words of its command line (docs/netd.md), such as "mtu=576".
        program: "netd", or "netd_hil" for one whose clock can be held.

    Raises:
        TargetFailure: it ends instead; what it said stands on the console.
    """

    def __init__(
        self,
        agent: Agent,
        arguments: str = "",
        *,
        address: str = f"{ADDRESS}/{PREFIX}",
        gateway: str = GATEWAY,
        program: str = NETD_PROGRAM,
        core: int | None = None,
    ) -> None:
        self.agent = agent
        words = f"ip={address} gw={gateway} dns={gateway} {arguments}".strip() if address else arguments
        self.nic = nic_number(agent)
        self.process: Process = agent.spawn(program, words, suspended=True, pages=_PAGES[program], core=core)
        self.channels: list[ChannelHandle] = []
        #: Whether :meth:`close` was called.
        self.closed = False
        self._pairs = itertools.count(1)
        rights = agent.image.constant("KEUOS_RIGHT_READ") | agent.image.constant("KEUOS_RIGHT_CONTROL")
        agent.grant_device(self.process, self.nic, rights)
        self.process.start()
        self.wait_serving()
        nic = self.process.read_struct("wire").nic
        host, _, prefix = address.partition("/")
        self.network = Network(host, bytes(nic.mac), int(prefix or PREFIX), gateway, int(nic.mtu))

    def wait_serving(self) -> None:
        """Until it has its NIC and its address."""

        def serving() -> str:
            if self.process.read_struct("loop_counters").serving:
                return "serving"
            info = self.process.info()
            return f"ended with code {info.exit_detail}" if info.exit_reason else ""

        answer = until("netd to serve", serving, bool)
        if answer != "serving":
            raise TargetFailure(f"netd {answer} before it served anybody\n{self.agent.console.describe()}")

    def bind(
        self, application: Process, *, observer: bool = False, administrator: bool = False, alone: bool = False
    ) -> list[ChannelHandle]:
        """Give `application` a pair of channels with NetD.

        Args:
            alone: it has the NIC to itself, in direct mode.
        """
        constant = self.process.elf.layouts.constant
        label = constant("KEUOS_SOCKET_MARK") << constant("KEUOS_SOCKET_MARK_SHIFT")
        label |= next(self._pairs) * constant("KEUOS_SOCKET_PAIR")
        label |= constant("KEUOS_SOCKET_OBSERVER") if observer else 0
        label |= constant("KEUOS_SOCKET_ADMINISTRATOR") if administrator else 0
        label |= constant("KEUOS_SOCKET_ALONE") if alone else 0
        order = constant("KEUOS_SOCKET_ORDER")
        events = constant("KEUOS_SOCKET_DIRECT_ORDER") if alone else order
        made = [
            self.agent.bind(application, self.process, "polled_proof", order=order, label=label, kept="consumer"),
            self.agent.bind(self.process, application, "polled_proof", order=events, label=label, kept="producer"),
        ]
        self.channels += made
        return made

    def application(
        self, line: NetdLine | None = None, *, administrator: bool = True, observer: bool = True
    ) -> NetdSockets:
        """A program of its own that makes socket calls, bound and ready; told by its mailbox, or by frames."""
        return NetdSockets(self, line, administrator=administrator, observer=observer)

    def counters(self) -> dict[str, int]:
        """What it counts about rings, its loop and the NIC; the stack's counters are :meth:`NetdSockets.counters`."""
        rings: dict[str, int] = self.process.read_struct("application_counters").as_dict()
        loop: dict[str, int] = self.process.read_struct("loop_counters").as_dict()
        nic = self.process.read_struct("wire").device
        is_e1000e = nic.model == self.process.elf.layouts.constant("NIC_DEVICE_E1000E")
        driver: dict[str, int] = (nic.e1000e if is_e1000e else nic.virtio).counters.as_dict()
        return rings | loop | {f"nic_{name}": value for name, value in driver.items()}

    def disown(self) -> None:
        """It stays: the agent takes back neither process nor channels between tests."""
        self.agent.forget(self.process)
        for channel in self.channels:
            self.agent.forget(channel)

    def close(self) -> None:
        """End it, and drop what was bound to it. Safe to repeat."""
        for channel in self.channels:
            channel.drop()
        self.channels.clear()
        self.process.close()
        self.closed = True


class NetdLine(SideLine):
    """The wire to `netd_hil`, without the frames by which a test talks to it (netd/keuos/test_line.h)."""

    def __init__(self, netd: Netd, link: Link) -> None:
        self.layouts = netd.process.elf.layouts
        self.mtu = netd.network.mtu
        types = {name: self.layouts.constant(f"TEST_LINE_{name}") for name in ("CLOCK", "CALLS")}
        super().__init__(link, netd.network, types, "netd_hil", _STEP_S)


class NetdClock:
    """See :class:`keuos_hil.net.clock.Clock`: the time of `netd_hil`, wound by frames (netd/keuos/test_clock.h).

    It is held from here on, and moves only while a test waits: by that wait, or to the next frame that NetD sends.

    Raises:
        TargetFailure: NetD reports nothing.
    """

    winds = True

    def __init__(self, line: NetdLine) -> None:
        self._line = line
        self._order, self._report = (line.layouts.struct(f"test_clock_{name}") for name in ("order", "report"))
        self._hold, self._run = (line.layouts.constant(f"TEST_CLOCK_{name}") for name in ("HOLD", "RUN"))
        self._requests = 0
        self._now = 0
        self._do(self._hold, 0)

    def now(self) -> float:
        """See Clock.now."""
        return self._now / 1e6

    def receive(self, link: Link, most: float) -> bytes | None:
        """See Clock.receive; `link` is the line, or something before it."""
        waiting = link.receive(0.0)
        if waiting is None:
            self._do(self._run, math.ceil(most * 1e6))  # never less: a wait of less than a tick ends, too
            waiting = link.receive(0.0)
        return waiting

    def _do(self, operation: int, amount: int) -> None:
        """Give an order, and wait for its report."""
        self._requests += 1
        order = Record.of(self._order)
        order.request, order.operation, order.amount, order.seen = self._requests, operation, amount, self._line.seen
        self._line.tell("CLOCK", bytes(order))
        while True:
            report = Record.of(self._report, self._line.hear("CLOCK")[: self._report.itemsize])
            if report.request == self._requests:
                self._now, self._line.seen = int(report.now), int(report.sent)
                return


class NetdSockets:
    """See :class:`keuos_hil.parts.Sockets`: the program `sockets`, told what to do by its mailbox.

    Args:
        line: to a `netd_hil`: calls go by frames instead, which takes one round trip of the wire.
        administrator: it may say where NetD's address comes from.
        observer: it may look at everybody's connections, and at the counters.
    """

    def __init__(
        self, netd: Netd, line: NetdLine | None = None, *, administrator: bool = True, observer: bool = True
    ) -> None:
        self.netd = netd
        self._line = line
        self.process = netd.agent.spawn(SOCKETS_PROGRAM)
        self._variables = self.process.variables
        self._text = self._variables.address("request_text")
        self._answer = self._variables.address("answer")
        self._layout = self.process.elf.layouts.variable("answer")
        fields = self._layout.fields
        assert fields is not None, "the answer is a structure"
        self._text_offset = int(fields["text"][1])
        self._room = self.process.elf.layouts.constant("SOCKETS_TEXT")
        self._piece = self.process.elf.layouts.struct("sockets_piece")
        self._number = 0
        self.channels = netd.bind(self.process, observer=observer, administrator=administrator)
        until("the application to be bound", lambda: int(self._read()[0].open), lambda state: state == 1)

    @property
    def ordered(self) -> bool:
        """See Sockets.ordered."""
        return self._line is not None

    @property
    def longest_datagram(self) -> int:
        """See Sockets.longest_datagram: what a message of the rings holds."""
        return self.process.elf.layouts.constant("KEUOS_SOCKET_DATA_MAX")

    @cached_property
    def system(self) -> str:
        """NetD, with the kernel's version."""
        return f"NetD {self.netd.agent.info().version}"

    @property
    def bound(self) -> bool:
        """Whether NetD is there, as the application knows it."""
        return int(self._read()[0].open) == 1

    def _read(self) -> tuple[Record, bytes]:
        """The answer's head, and the first bytes of its text."""
        data = self.process.read(self._answer, _ANSWER_READ)
        return Record.of(self._layout, data.ljust(self._layout.itemsize, b"\0")), data[self._text_offset :]

    def begin(self, name: str, *arguments: int | str) -> None:
        """Hand a call over without waiting for its answer."""
        text = " ".join([name, *map(str, arguments)]).encode()
        if len(text) >= self._room:
            raise ValueError(f"{name}: a call of {len(text)} bytes; the mailbox takes {self._room - 1}")
        self._number += 1
        if self._line is not None:
            self._tell(self._line, text)
            return
        self.process.write(self._text, text)
        request = Record.of(self.process.elf.layouts.variable("request"))
        request.number, request.bytes = self._number, len(text)
        self.process.write(self._variables.address("request"), bytes(request))

    def finish(self) -> list[str]:
        """Wait for the answer of the call handed over last; its values. Raises as :meth:`call`."""
        text = self._mailed() if self._line is None else self._heard(self._line)
        verdict, *values = text.decode("ascii", "replace").split(" ")
        if verdict == "ok":
            return [value for value in values if value]
        raise SocketError(f"{SOCKETS_PROGRAM} {self._number}", values[0] if values else verdict)

    def _mailed(self) -> bytes:
        answer, text = until("a socket call's answer", self._read, lambda found: found[0].number == self._number)
        if answer.bytes > len(text):
            text = self.process.read(self._answer + self._text_offset, answer.bytes)
        return text[: answer.bytes]

    def _tell(self, line: NetdLine, text: bytes) -> None:
        """The text by frames, in pieces (kernel/user/sockets/sockets.h)."""
        piece = Record.of(self._piece)
        most = line.mtu - self._piece.itemsize
        for offset in range(0, len(text), most):
            piece.number, piece.bytes, piece.offset = self._number, len(text), offset
            line.tell("CALLS", bytes(piece) + text[offset : offset + most])

    def _heard(self, line: NetdLine) -> bytes:
        """The answer's text out of its pieces."""
        text = b""
        while True:
            payload = line.hear("CALLS")
            piece = Record.of(self._piece, payload[: self._piece.itemsize])
            if piece.number != self._number or piece.offset != len(text):
                continue  # of a call that was given up
            text += payload[self._piece.itemsize :][: piece.bytes - piece.offset]
            if len(text) == piece.bytes:
                return text

    def call(self, name: str, *arguments: int | str) -> list[str]:
        """See Sockets.call."""
        self.begin(name, *arguments)
        try:
            return self.finish()
        except SocketError as error:
            raise SocketError(" ".join([name, *map(str, arguments)])[:80], error.name) from None

    def disown(self) -> None:
        """It and its NetD stay: the agent takes them back between tests no more than what was there at boot."""
        self.netd.agent.forget(self.process)
        self.netd.disown()

    def require_alive(self) -> None:
        """Raise TargetFailure if NetD or this program has ended, or NetD has cut the connection to it."""
        if self._line is not None:
            with suppress(TargetFailure):  # told below, by whoever is gone
                self.call("reset")
                return
        for process in (self.netd.process, self.process):
            info = process.info()
            if info.exit_reason:
                raise TargetFailure(
                    str(process.agent.exit_of(process, info.exit_reason, info.exit_detail, info.exit_address))
                )
        if not self.bound:
            raise TargetFailure(f"NetD has closed its channels with the program {SOCKETS_PROGRAM}")
        if self._line is not None:
            raise TargetFailure(f"NetD and the program {SOCKETS_PROGRAM} are there, and answer no call")

    def counters(self) -> dict[str, int]:
        """The stack's counters, by the names of netd/statistics.h."""
        return {name: int(value) for name, _, value in (word.partition("=") for word in self.call("counters"))}

    def connections(self) -> int:
        """How many the stack holds, everybody's, in whatever state, listeners among them."""
        return int(self.call("connections")[0])

    def close(self) -> None:
        """End the program and drop its channels. Safe to repeat."""
        for channel in self.channels:
            channel.drop()
            if channel in self.netd.channels:
                self.netd.channels.remove(channel)
        self.channels = []
        self.process.close()
