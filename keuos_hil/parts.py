"""The parts that a target is put together from: small protocols, no hierarchy.

A target implements the few that it has; one object may be several. Parts don't start themselves: ``Target.open``
prepares everything, starts the machine stopped, attaches, lets it run and returns a :class:`Session`, whose ``close``
tears down in reverse order, always. docs/writing-a-target.md leads through it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .console import Console
    from .errors import Ended
    from .image import Image
    from .line import LineCounts
    from .rows import Launch


class ByteStream(Protocol):
    """A serial line as the console sees it: raw bytes, no decoding, no echo."""

    def read(self, timeout: float) -> bytes | None:
        """Wait at most `timeout` seconds; the bytes that are there, b"" if none came, None at the end of the line.

        Raises:
            InfraError: the port is gone though the target is not.
        """
        ...

    def write(self, data: bytes, timeout: float) -> None:
        """Send all of `data` within `timeout` seconds, or raise InfraError."""
        ...

    def wake(self) -> None:
        """Make a `read` that another thread is in, or enters next, return at once."""
        ...

    def close(self) -> None:
        """Give the line back, after the last `read` has returned. Safe to repeat."""
        ...


@runtime_checkable
class Power(Protocol):
    """A power switch."""

    min_off_s: float

    def on(self) -> None:
        """Switch on; returns when the supply is said to be on."""
        ...

    def off(self) -> None:
        """Switch off; returns when the supply is said to be off."""
        ...


@runtime_checkable
class Loader(Protocol):
    """Brings an image into the target's memory."""

    def load(self, image: Image) -> None:
        """Hand over kernel, initrd and command line; the target runs them afterwards."""
        ...


@runtime_checkable
class Debug(Protocol):
    """Memory and registers, seen from outside and without the kernel's help."""

    def read_physical(self, address: int, size: int) -> bytes:
        """`size` bytes of RAM at physical `address`. Raises InfraError outside RAM."""
        ...

    def write_physical(self, address: int, data: bytes) -> None:
        """Change RAM. Code that has already run may be cached by the target: don't patch code with this."""
        ...

    def registers(self, core: int) -> dict[str, int]:
        """The registers of one core by the architecture's names. Stops the target while it reads."""
        ...


@runtime_checkable
class RunControl(Protocol):
    """Stops the target between two instructions, so that what Debug reads belongs to one moment.

    A Debug part that can do this has these methods beside its own, and the target the capability `pause`. Who is
    stopped does not notice: its clocks stand still, too.
    """

    def pause(self) -> None:
        """Stop every core, and return when all stand. Safe to repeat."""
        ...

    def resume(self) -> None:
        """Let every core run on. Safe to repeat."""
        ...


@runtime_checkable
class CountsExecuted(Protocol):
    """Counts how often each instruction was executed, whoever executed it.

    A Debug part that can do this has this method beside its own, and the target the capability `executed`.
    """

    def executed(self, address: int, size: int) -> NDArray[np.uint64]:
        """For each of `size` bytes of RAM from physical `address` on: executions of the instruction that begins there.

        Since the machine was started. Raises InfraError outside RAM.
        """
        ...


class Watch(Protocol):
    """Reads that are watched. A context manager: leaving it watches them no more, and lets the target run."""

    def __enter__(self) -> Watch: ...

    def __exit__(self, *exc: object) -> None: ...

    def next_read(self, timeout: float) -> int | None:
        """Let the target run on, if it stands, until it has read one of the pieces.

        Returns:
            Where that piece begins: every core stands behind that instruction, until the next call. None if nothing
            was read for `timeout` seconds: the target runs.
        """
        ...


@runtime_checkable
class Watching(Protocol):
    """Stops the target behind reads of memory, however short it lies between two of them.

    A Debug part that can do this has this method beside its own, and the target the capability `watch`.
    """

    def watch_reads(self, addresses: Sequence[int], size: int) -> Watch:
        """Watch pieces of `size` bytes; the target runs on until one of them is read.

        Args:
            addresses: where they begin, virtual: reads through another mapping are not seen.
        """
        ...


@runtime_checkable
class Link(Protocol):
    """An Ethernet wire to the target: whole frames without their checksum."""

    def send(self, frame: bytes) -> None:
        """Put one frame on the wire."""
        ...

    def receive(self, timeout: float) -> bytes | None:
        """The next frame from the target, or None after `timeout` seconds."""
        ...


@runtime_checkable
class Unpluggable(Protocol):
    """What a session offers whose target has the capability `unplug`: somebody who pulls the cable out of the NIC."""

    def plug(self, *, into: bool) -> None:
        """Put the cable in, or pull it out: the NIC sees no carrier, and frames are lost both ways. Safe to repeat."""
        ...


@runtime_checkable
class Sockets(Protocol):
    """A program on the target that makes socket calls as it is told; none of them blocks (docs/socket-calls.md)."""

    @property
    def system(self) -> str:
        """Whose stack it is, with its version, such as "Linux 6.1.0 x86_64"."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether a call is made behind all frames that were sent before it, so that nobody need fence them."""
        ...

    @property
    def longest_datagram(self) -> int:
        """Bytes of the longest UDP datagram that an application can receive; a longer one is EMSGSIZE."""
        ...

    def call(self, name: str, *arguments: int | str) -> list[str]:
        """Make one call; the values of its answer.

        Raises:
            SocketError: the stack refused, with its error's name.
            TargetFailure: the program is gone.
        """
        ...


@dataclass(frozen=True)
class Network:
    """The wire's addresses: what the target was given, and what the test is expected to be.

    Attributes:
        address: the target's IPv4 address, dotted.
        mac: the target's hardware address.
        prefix: length of the subnet's prefix.
        gateway: the address, within the subnet, that the target sends everything else to; a test's peer has it.
        mtu: of the target's interface, in bytes.
    """

    address: str
    mac: bytes
    prefix: int
    gateway: str
    mtu: int = 1500


@runtime_checkable
class RowMeter(Protocol):
    """Measures messages between two processes of the machine that the tests run on (docs/measuring.md)."""

    launches: int  #: how many are asked for
    rounds: int  #: of each launch

    @property
    def options(self) -> str:
        """How the program is built: only what is built alike is compared."""
        ...

    def launch(self, seed: int, *, rounds: int | None = None, rows: tuple[str, ...] = ()) -> Launch:
        """Run the measuring program once. Raises InfraError if it does not come to its end."""
        ...


@runtime_checkable
class Metered(Protocol):
    """What a session offers whose target has the capability `native-rows`."""

    rows: RowMeter


@runtime_checkable
class Networked(Protocol):
    """What a session offers whose target has the capabilities `link` and `sockets`."""

    link: Link
    sockets: Sockets
    network: Network


@dataclass(frozen=True)
class Timebase:
    """What the target's tick counter counts. Figures of different timebases are never mixed in one table.

    `name` is "silicon" (a counter of real hardware), "instructions" (exact, an instruction is a tick) or "emulated"
    (a counter that an emulator derives from the host's clock: shown, never judged).
    """

    name: str
    hz: float | None = None


class Lease(Protocol):
    """The right to use a board now. A context manager: entered before the first `open`, left when the run ends."""

    def __enter__(self) -> Lease: ...

    def __exit__(self, *exc: object) -> None: ...


class Session(Protocol):
    """One power-on of a target, from before its first instruction until it is torn down."""

    @property
    def console(self) -> Console:
        """Its console; the session made it and closes it."""
        ...

    @property
    def debug(self) -> Debug | None:
        """Memory and registers, if the target has such a part."""
        ...

    @property
    def power(self) -> Power | None:
        """The power switch, if there is one."""
        ...

    @property
    def link(self) -> Link | None:
        """The wire to the target's NIC, if there is one."""
        ...

    @property
    def timebase(self) -> Timebase:
        """What ticks count."""
        ...

    @property
    def command(self) -> str:
        """What a person can type to get the same machine on a terminal; "" if there is nothing."""
        ...

    @property
    def started(self) -> float:
        """time.monotonic() just before the machine was started."""
        ...

    def ended(self) -> Ended | None:
        """How the target stopped running, or None while it runs."""
        ...

    def reset(self) -> None:
        """Press the reset button; the console's cursor then stands before the new boot's first byte.

        Raises:
            UsageError: this target has none (open it again instead).
        """
        ...

    def post_mortem(self, directory: Path) -> list[str]:
        """Save what helps to understand a failure; lines that tell a person what was saved and seen."""
        ...

    def attach_command(self) -> str:
        """Open a door for gdb and return the command to type; the target stops when gdb comes in. Raises InfraError."""
        ...

    def close(self) -> None:
        """End the session, however it stands. Never raises, safe to repeat, nothing stays behind."""
        ...


class AnyTarget(Protocol):
    """What every target says of itself. Making one starts nothing and costs nothing."""

    @property
    def name(self) -> str:
        """What --target calls it."""
        ...

    @property
    def timebase(self) -> Timebase:
        """What its ticks will count, with the choices of this run."""
        ...

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do, known without booting: see keuos_hil.capabilities."""
        ...

    def check(self) -> None:
        """Raise InfraError, before the first test, if a tool or a file is missing that every run needs."""
        ...

    def lease(self) -> AbstractContextManager[object]:
        """The right to use it now; `contextlib.nullcontext()` for what can be had any number of times."""
        ...


class Resident(AnyTarget, Protocol):
    """A target whose system is there already and not ours to boot: it takes no kernel image.

    Whatever needs one (an image's capability, an agent, the fixture `image`) is skipped on it.
    """

    def attach(self, directory: Path) -> Session:
        """Get hold of the system. `directory` is this session's own. Raises InfraError if that can't be had."""
        ...


@runtime_checkable
class Reviving(Protocol):
    """A target whose `open` does what it can to get a hung machine to answer again; if nothing helps: NotRevived.

    Which of the two a hang was, the kernel's or the bench's, is then known only after the attempt.
    """

    revives: bool


@runtime_checkable
class Resuming(Protocol):
    """A target whose machine may run the right image already when a run begins."""

    def resume(self, image: Image, directory: Path) -> Session:
        """As Target.open, but a machine that runs `image` just as after its boot is taken as it is.

        What it said while it booted is then not in the console's log.
        """
        ...


@runtime_checkable
class ChoosesMtu(Protocol):
    """A target whose interface's MTU can be chosen: capability `mtu`."""

    def with_mtu(self, mtu: int) -> AnyTarget:
        """The same target, but for the MTU. Raises UsageError for one that the interface can't have."""
        ...


@runtime_checkable
class Apart(Protocol):
    """A target with processors of its own: what else this machine does changes none of its figures."""

    apart: bool


@runtime_checkable
class Relocated(Protocol):
    """A session whose boot loader chose where the kernel lies."""

    @property
    def kernel_start(self) -> int | None:
        """Physical address of its first byte; None where that is what its ELF says."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A session that counts what its line did."""

    def line_counts(self) -> LineCounts:
        """Since the session was opened."""
        ...


@runtime_checkable
class Lacking(Protocol):
    """A target that knows why it lacks something that others of its kind have."""

    @property
    def lacks(self) -> Mapping[str, str]:
        """By the capability's name: why it is not there, and what to do."""
        ...


@runtime_checkable
class Placed(Protocol):
    """A target that stands for one of several boards: which, is known while its lease is held."""

    @property
    def place(self) -> str:
        """The board's own name; "" if there is but one."""
        ...


@dataclass(frozen=True)
class Asked:
    """What is asked of a quantity on one kind of machine, counting instructions, and what others take on the same.

    Attributes:
        at_most: in ticks; None where it is what every machine is asked for.
        beside: others' published figures, by source. They are cited, never measured.
    """

    at_most: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Asking(Protocol):
    """A target on whose machine other figures are asked for than on every one, or others' are known."""

    @property
    def asked(self) -> Mapping[str, Asked]:
        """By quantity: round_trip, round_trip_with_proof, null_system_call, verified_round_trip."""
        ...


@runtime_checkable
class Deviating(Protocol):
    """A target whose machine does not raise every exception that its architecture's manual demands."""

    @property
    def deviations(self) -> Mapping[str, str]:
        """How attempts of the program `probe` end there instead, by patterns of their names (fnmatch).

        An end is the name of an exit reason, or `survives`. With fault_read it must be of the attempt's stack.
        """
        ...


class Target(AnyTarget, Protocol):
    """A machine that can be asked to run an image: every target that has no `attach`."""

    @property
    def architecture(self) -> str:
        """Of the kernels it runs, as in "x86_64" or "arm64"."""
        ...

    def open(self, image: Image, directory: Path) -> Session:
        """Start `image`. `directory` is this session's own, for logs and whatever the target leaves behind.

        Raises:
            InfraError: the bench could not get it to its first instruction.
        """
        ...


def resident(target: AnyTarget) -> Resident | None:
    """`target` if it boots nothing, else None."""
    return cast(Resident, target) if hasattr(target, "attach") else None


def booting(target: AnyTarget) -> Target | None:
    """`target` if it boots images, else None."""
    return None if hasattr(target, "attach") else cast(Target, target)


Pattern = bytes | str | re.Pattern[bytes]
