"""The agent on the target as Python objects: processes, channels, events (docs/hil-protocol.md, "Operations").

What lives here: the meaning of each operation. Bytes and repetition are the client's (:mod:`keuos_hil.protocol`);
structures are decoded by the booted image's own debug information.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .console import Console
from .dwarf import Record, records
from .errors import Ended, ProtocolViolation, Refused, WaitTimeout
from .image import Elf, Image
from .memory import Variables
from .protocol import words
from .protocol.client import PING_SILENCE_S, Client

if TYPE_CHECKING:
    from types import TracebackType

#: Most bytes of one `read` or `write` (docs/hil-protocol.md); and on a line that has damaged something, where a long
#: frame seldom comes through whole.
TRANSFER_MAX, TRANSFER_NOISY = 3072, 512
#: `unbind`'s `how` (docs/hil-protocol.md).
UNBIND_CLOSE, UNBIND_REVOKE, UNBIND_DROP = 0, 1, 2
#: An agent need not know every operation.
_UNKNOWN_OPERATION = 100
#: After so long without the exit event, and then after twice as long each time, the agent is asked.
QUIET_S = 2.0


@dataclass(frozen=True)
class Counts:
    """What must be the same after a test as at boot."""

    processes: int
    channels: int
    pages_free: int

    def difference(self, now: Counts) -> str:
        """In words what `now` has more or less than this; "" if nothing."""
        parts = []
        for name in ("processes", "channels", "pages_free"):
            change = getattr(now, name) - getattr(self, name)
            if change:
                parts.append(f"{abs(change)} {'more' if change > 0 else 'fewer'} {name.replace('_', ' ')}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Exit:
    """How a process ended. `reason` is an enum keuos_exit_reason, `name` its enumerator without the prefix."""

    pid: int
    reason: int
    name: str
    detail: int
    address: int
    program: str = ""

    @property
    def ok(self) -> bool:
        """Whether it left with code 0."""
        return self.name == "code" and self.detail == 0

    def __str__(self) -> str:
        where = f" at {self.address:#x}" if self.address else ""
        return f"{self.program or 'process'} [{self.pid}] ended: {self.name} {self.detail:#x}{where}"


class Process:
    """A process that the agent spawned. Its memory can be read until it is dropped, also when it is dead.

    A context manager: leaving it kills and drops the process.
    """

    def __init__(self, agent: Agent, pid: int, name: str) -> None:
        self.agent = agent
        self.pid = pid
        self.name = name
        self._exit: Exit | None = None
        self._dropped = False

    def __repr__(self) -> str:
        return f"<process {self.pid} {self.name}>"

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def elf(self) -> Elf:
        """Its file, with symbols and layouts."""
        return self.agent.image.program(self.name)

    @property
    def variables(self) -> Variables:
        """Its variables by name."""
        return Variables(self.elf, self.read, self.write, self.read_words)

    def start(self) -> None:
        """Start a process that was spawned suspended."""
        self.agent.request("start", pid=self.pid)

    def kill(self) -> None:
        """End it from outside."""
        self.agent.request("kill", pid=self.pid)

    def info(self) -> Record:
        """Its struct keuos_process_info."""
        data = self.agent.request("process", pid=self.pid)["process"]
        return Record.of(self.agent.image.struct("keuos_process_info"), data)

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes of its memory, in as many requests as it takes."""
        out = bytearray()
        while len(out) < size:
            part = min(self.agent.transfer, size - len(out))
            out += self.agent.request("read", pid=self.pid, address=address + len(out), bytes=part)["data"]
        return bytes(out)

    def read_words(self, address: int, count: int) -> NDArray[np.uint32]:
        """`count` words of 32 bits, which take fewer bytes on the line if they vary little."""
        parts = []
        while count and self.agent.reads_words:
            try:
                answer = self.agent.request(
                    "read_words", pid=self.pid, address=address, words=count, bytes=self.agent.transfer
                )
            except Refused as error:
                if error.code != _UNKNOWN_OPERATION:
                    raise
                self.agent.reads_words = False
                break
            if not 0 < answer["words"] <= count:
                raise ProtocolViolation(f"read_words: {count} were asked for, {answer['words']} came")
            parts.append(words.decode(answer["data"], answer["words"]))
            address += 4 * answer["words"]
            count -= answer["words"]
        if count:
            parts.append(np.frombuffer(self.read(address, 4 * count), "<u4"))
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def write(self, address: int, data: bytes) -> None:
        """Change its memory, in as many requests as it takes."""
        at = 0
        while at < len(data):
            part = data[at : at + self.agent.transfer]
            self.agent.request("write", pid=self.pid, address=address + at, data=part)
            at += len(part)

    def read_struct(self, symbol: str) -> Any:
        """The value of a global variable: a Record for a structure, an int for a number, an array for an array."""
        return self.variables.read(symbol)

    def write_struct(self, symbol: str, value: Any = None, /, **fields: Any) -> None:
        """Set a global variable as a whole, or some of its fields: `write_struct("params", count=1000, size=56)`."""
        self.variables.write(symbol, value, **fields)

    def read_array(self, symbol: str, count: int | None = None, start: int = 0) -> NDArray[Any]:
        """The first `count` elements of a global array."""
        return self.variables.read_array(symbol, count, start)

    def wait_exit(self, timeout: float = 60.0, *, quiet: float = QUIET_S) -> Exit:
        """Wait until it has ended.

        Args:
            timeout: seconds, in the target's pace.
            quiet: for how long the line is left alone before the agent is asked. A byte on the line is an interrupt
                on the target, so somebody who measures gives the time that it should take.

        Raises:
            WaitTimeout: it still runs.
            Ended: the target ended.
        """
        clock = self.agent.console.clock
        deadline = clock() + timeout
        while self._exit is None:
            try:
                event = self.agent.client.event(self._is_my_exit, max(min(quiet, deadline - clock()), 0.0))
                self._exit = self.agent.exit_of(self, event["reason"], event["detail"], event["address"])
            except WaitTimeout:
                info = self.info()
                if info.exit_reason:
                    self._exit = self.agent.exit_of(self, info.exit_reason, info.exit_detail, info.exit_address)
                elif clock() >= deadline:
                    raise WaitTimeout(
                        f"expected {self.name} [{self.pid}] to end within {timeout:g} s; it is "
                        f"{self.agent.name_of('keuos_process_state', 'KEUOS_PROCESS_', info.state)} after "
                        f"{info.syscalls} system calls.\n{self.agent.console.describe()}"
                    ) from None
                quiet *= 2
        return self._exit

    def _is_my_exit(self, event: dict[str, Any]) -> bool:
        return event.get("event") == "exit" and event.get("pid") == self.pid

    def drop(self) -> None:
        """Give up the agent's capability to it; a dead process is freed by that."""
        self.agent.request("drop", pid=self.pid)
        self._dropped = True
        self.agent.forget(self)

    def close(self) -> None:
        """Kill it if it runs, and drop it. Safe to repeat."""
        if self._dropped:
            return
        if self._exit is None:
            with suppress(Refused):  # already dead
                self.kill()
        self.drop()


class ChannelHandle:
    """A channel that the agent bound between two processes."""

    def __init__(self, agent: Agent, number: int, producer: Process, consumer: Process) -> None:
        self.agent = agent
        self.number = number
        self.producer = producer
        self.consumer = consumer

    def close(self) -> None:
        """Close it in good order: both sides learn it, mappings stay."""
        self._unbind(UNBIND_CLOSE)

    def revoke(self) -> None:
        """Take it away from both sides, mappings included; one that keeps it (Agent.bind) learns that it is closed."""
        self._unbind(UNBIND_REVOKE)

    def drop(self) -> None:
        """Give up the agent's capability to it and nothing else."""
        self._unbind(UNBIND_DROP)
        self.agent.forget(self)

    def _unbind(self, how: int) -> None:
        self.agent.request("unbind", channel=self.number, how=how)


class Agent:
    """The agent of one session, after its hello.

    Args:
        console: the session's line.
        image: what was booted; decodes the agent's answers.
        hello_s: seconds, in the target's pace, that it may take to boot and answer.
    """

    def __init__(self, console: Console, image: Image, *, hello_s: float | None = None) -> None:
        self.console = console
        self.image = image
        self.client = Client(console, self._error_name)
        answer = self.client.hello() if hello_s is None else self.client.hello(hello_s)
        self.name = str(answer.get("agent", ""))
        #: Whether it is not known that it lacks `read_words`.
        self.reads_words = True
        self._processes: list[Process] = []
        self._channels: list[ChannelHandle] = []

    @property
    def transfer(self) -> int:
        """How many bytes of memory one request carries on this line."""
        return TRANSFER_NOISY if self.client.repeats or self.console.damaged_frames else TRANSFER_MAX

    def _error_name(self, code: int) -> str:
        own = {_UNKNOWN_OPERATION: "unknown operation", 101: "malformed arguments", 102: "reply too large"}
        return own.get(code) or self.name_of("keuos_error", "KEUOS_", code)

    def name_of(self, enumeration: str, prefix: str, value: int) -> str:
        """The enumerator of `value`, in lower case without `prefix`; the number if the image doesn't say."""
        return self.image.enumerators(enumeration, prefix).get(value, str(value))

    def exit_of(self, process: Process, reason: int, detail: int, address: int) -> Exit:
        """An Exit with its reason in words."""
        name = self.name_of("keuos_exit_reason", "KEUOS_EXIT_", reason)
        return Exit(process.pid, reason, name, detail, address, process.name)

    def request(self, op: str, timeout: float | None = None, /, **arguments: Any) -> dict[str, Any]:
        """One operation of docs/hil-protocol.md as it is; arguments that are None are left out."""
        __tracebackhide__ = True
        return self.client.request(op, timeout, **arguments)

    def ping(self) -> None:
        """Ask whether it is alive. Raises Silent if it is not."""
        self.request("ping", PING_SILENCE_S)

    def info(self) -> Record:
        """struct keuos_system_info."""
        return Record.of(self.image.struct("keuos_system_info"), self.request("info")["info"])

    def counts(self) -> Counts:
        """What must be the same after a test as at boot."""
        info = self.info()
        return Counts(info.processes, info.channels, info.pages_free)

    def files(self) -> list[str]:
        """The names of the files in the initrd."""
        return [str(name) for name in self.request("files")["files"]]

    def processes(self) -> list[Record]:
        """struct keuos_process_info of every process."""
        return records(self.image.struct("keuos_process_info"), self.request("processes")["processes"])

    def channels(self) -> list[Record]:
        """struct keuos_channel_info of every channel."""
        return records(self.image.struct("keuos_channel_info"), self.request("channels")["channels"])

    def events(self, start: int = 0) -> list[Record]:
        """struct keuos_event of everything recorded from sequence number `start` on, oldest first."""
        dtype = self.image.struct("keuos_event")
        found: list[Record] = []
        while True:
            answer = self.request("events", **{"from": start})
            part = records(dtype, answer["events"])
            found += part
            if not part or answer["next"] <= start:
                return found
            start = answer["next"]

    def next_event(self) -> int:
        """The sequence number that the next event record will have."""
        return int(self.info().events)

    def spawn(
        self,
        name: str,
        args: str | None = None,
        *,
        core: int | None = None,
        priority: int | None = None,
        suspended: bool = False,
        pages: int | None = None,
        channels: int | None = None,
        processes: int | None = None,
    ) -> Process:
        """Make a process of a file in the initrd. With `suspended` it waits for :meth:`Process.start`."""
        answer = self.request(
            "spawn",
            name=name,
            args=args,
            core=core,
            priority=priority,
            suspended=suspended or None,
            pages=pages,
            channels=channels,
            processes=processes,
        )
        process = Process(self, answer["pid"], name)
        self._processes.append(process)
        return process

    def bind(
        self,
        producer: Process,
        consumer: Process,
        mode: str | int,
        *,
        order: int | None = None,
        label: int | None = None,
        kept: str | None = None,
    ) -> ChannelHandle:
        """Bind a channel from `producer` to `consumer`.

        Args:
            mode: an enum keuos_channel_mode, or its name: "polled", "polled_proof", "verified".
            order: the data ring has 2^order pages; None for no data ring.
            label: handed to both sides as it is.
            kept: the side that a revocation leaves its mapping until it lets go by itself: "producer" or "consumer";
                None: it is taken from both.
        """
        keeper = None if kept is None else self.image.constant("KEUOS_KEPT_BY_" + kept.upper())
        if isinstance(mode, str):
            mode = self.image.constant("KEUOS_" + mode.removeprefix("KEUOS_").upper())
        sides = {"producer": producer.pid, "consumer": consumer.pid}
        answer = self.request("bind", **sides, mode=mode, order=order, label=label, kept=keeper)
        channel = ChannelHandle(self, answer["channel"], producer, consumer)
        self._channels.append(channel)
        return channel

    def grant(self, to: Process, what: Process, rights: int) -> int:
        """Hand `to` a capability to `what` with `rights` (enum keuos_right, or-ed); its index there."""
        return int(self.request("grant", to=to.pid, what=what.pid, rights=rights)["capability"])

    def devices(self) -> list[Record]:
        """struct keuos_device_info of every PCI function that a driver can have."""
        return records(self.image.struct("keuos_device_info"), self.request("devices")["devices"])

    def grant_device(self, to: Process, device: int, rights: int) -> int:
        """Hand `to` a capability to device number `device` with `rights` (enum keuos_right, or-ed); its index there."""
        return int(self.request("grant_device", to=to.pid, device=device, rights=rights)["capability"])

    def revoke_device(self, device: int) -> None:
        """Take back every copy of the capability to device number `device`: its driver has lost it by then."""
        self.request("revoke_device", device=device)

    def reboot(self, kind: int = 0) -> None:
        """Have the kernel reboot or switch off (enum keuos_reboot). No answer comes: see Console.wait_end."""
        self._last_words("reboot", kind=kind)

    def hil(self, code: str | int) -> None:
        """An operation of a HIL build: an enum keuos_hil_op or its name without prefix, such as "panic".

        Returns when the agent has answered, or when the target has ended over it.
        """
        if isinstance(code, str):
            code = self.image.constant("KEUOS_HIL_" + code.upper())
        self._last_words("hil", code=code)

    def _last_words(self, op: str, **arguments: Any) -> None:
        """A request that the target may not survive: its end is the test's to look at, a refusal is an error."""
        try:
            self.request(op, PING_SILENCE_S, **arguments)
        except Ended:
            self.console.told = False  # the test has not seen it yet

    def forget(self, thing: Process | ChannelHandle) -> None:
        """Take out of the list of what :meth:`clean_up` takes back."""
        if isinstance(thing, Process) and thing in self._processes:
            self._processes.remove(thing)
        elif isinstance(thing, ChannelHandle) and thing in self._channels:
            self._channels.remove(thing)

    def clean_up(self) -> None:
        """Kill and drop everything that was spawned and bound here, so that what is left is the target's own doing."""
        actions: list[Callable[[], None]] = [p.close for p in reversed(self._processes)]
        actions += [c.drop for c in reversed(self._channels)]
        for action in actions:
            with suppress(Refused):
                action()
        self._processes.clear()
        self._channels.clear()
        self.client.pending_events()
