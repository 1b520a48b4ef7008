"""board: real hardware on a serial line, put together from parts (docs/board.md): how it is switched, loaded and wired.

What lives here: in which order the parts are used to get a kernel running, and what is tried when a board does not
answer. What must not: how a part does its work; each is a plugin, the built-in ones registered like a stranger's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from keuos_hil.plugins.serial_line import SerialLine, fault_of

from keuos_hil import options as option_tables
from keuos_hil import running
from keuos_hil.board_parts import ROLES, BoardDebug, BoardLease, BoardLink, BoardLoader, BoardPower
from keuos_hil.console import Console
from keuos_hil.errors import Ended, HilError, InfraError, NotRevived, UsageError
from keuos_hil.guarded_part import guarded
from keuos_hil.hookspecs import PartContext, RunOptions, TargetType, hookimpl
from keuos_hil.image import Image
from keuos_hil.line import LineCounts
from keuos_hil.page_tables import ARCHITECTURES
from keuos_hil.parts import Session, Target, Timebase
from keuos_hil.protocol.client import Client

_log = logging.getLogger(__name__)

#: A kernel that is told to reboot is gone so soon.
_REBOOT_S = 3.0
#: Start and two stop bits' worth of rounding left out: a byte is ten bits on the line.
_BITS_PER_BYTE = 10


@dataclass(frozen=True)
class BoardOptions:
    """Keys of a `[targets.NAME]` table with `type = "board"`."""

    arch: str = field(metadata={"help": "architecture of its kernels: arm64 or x86_64"})
    console: str = field(
        default="", metadata={"help": "its serial line: a tty, rfc2217://HOST:PORT or socket://HOST:PORT"}
    )
    baud: int = field(default=115200, metadata={"help": "bit rate of the line; 8N1"})
    boot_timeout: float = field(
        default=120.0, metadata={"help": "seconds from power-on to the kernel's first instruction"}
    )
    noisy: bool = field(
        default=False,
        metadata={"help": "the line is known to damage bytes: tests that judge text meant for a person are skipped"},
    )
    processor: str = field(
        default="",
        metadata={
            "help": "what its processor is, for the report; of one that QEMU emulates it says qemu, and tests allow "
            "for what its devices do not check"
        },
    )
    deviations: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": "attempts of the program probe that end otherwise than the architecture's manual demands: name, or "
            "pattern, and how it ends there, such as fault_read or survives"
        },
    )
    power: dict[str, Any] = field(default_factory=dict, metadata={"help": "how it is switched"})
    load: dict[str, Any] = field(default_factory=dict, metadata={"help": "how it gets its image"})
    link: dict[str, Any] = field(default_factory=dict, metadata={"help": "the wire to its NIC"})
    debug: dict[str, Any] = field(default_factory=dict, metadata={"help": "a debug probe"})
    lease: dict[str, Any] = field(default_factory=dict, metadata={"help": "who may use it now"})


class BoardSession:
    """See :class:`keuos_hil.parts.Session`. Made by :class:`Board`, which holds what outlives a session."""

    timebase = Timebase("silicon")
    power = None

    def __init__(self, board: Board, image: Image, directory: Path, *, hung: bool, resume: bool) -> None:
        self._board = board
        self._directory = directory
        self._closed = False
        self._taken = False
        self._starts = 0
        self._failed_steps = 0
        self._stack = ExitStack()
        self.started = time.monotonic()
        said = f", {board.options.processor}" if board.options.processor else ""
        self.command = f"{board.name}: {board.console_url}, {board.options.baud} baud{said}"
        try:
            board.loader.prepare(image, directory, board.values)
            self._line = line = SerialLine(board.console_url, board.options.baud)
            self.console = Console(
                line,
                log=directory / "console.log",
                clock=line.clock,
                panic_patterns=board.panic_patterns,
                byte_seconds=_BITS_PER_BYTE / board.options.baud,
            )
            self._stack.callback(self.console.close)
            self.link, wire = board.link.open(board.values)
            self._stack.enter_context(wire)
            self.debug, probe = board.debug.open(board.values)
            self._stack.enter_context(probe)
            self._taken = resume and self._runs(image)
            if not self._taken:
                self._bring_up(hung=hung)
        except BaseException:
            self._stack.close()
            raise

    # Up --------------------------------------------------------------------------------------------------------

    def _runs(self, image: Image) -> bool:
        """Whether the board runs `image` already, just as after its boot, and can be taken as it is."""
        self.console.expect_no_boot()
        why = running.ask(self.console, image, self._board.loader.command_line)
        if why:
            self._note(f"not taken as it is: {why}")
            return False
        self._note(f"runs the build {image.kernel.build_id} already: nothing is loaded")
        self.console.expect_no(self._board.loader.banners)
        return True

    def _bring_up(self, *, hung: bool) -> None:
        """The steps of recovery, one after another, until the kernel has been entered.

        A board that was never heard of starts with the second: what state it is in nobody knows.
        """
        tried: dict[str, list[str]] = {}
        for name, step, whole in self._steps(hung=hung):
            self._note(f"{name} ...")
            self.started = started = time.monotonic()
            self.console.expect_boot()
            try:
                step()
                self._boot(whole=whole)
            except InfraError as error:
                seconds = time.monotonic() - started
                self._failed_steps += 1
                tried.setdefault(str(error).splitlines()[0], []).append(name)
                self._note(f"{name}: failed after {seconds:.1f} s: {error}")
            else:
                self._note(f"{name}: the kernel was entered after {time.monotonic() - started:.1f} s")
                self.console.expect_no(self._board.loader.banners)
                return
        raise NotRevived(
            f"board {self._board.name} did not come up; tried: "
            + "; ".join(f"{', '.join(names)}: {why}" for why, names in tried.items())
            + f"\n{self.console.describe()}"
        )

    def _steps(self, *, hung: bool) -> Iterator[tuple[str, Callable[[], None], bool]]:
        """Name, what is done to the board, and whether everything is loaded anew behind it."""
        board = self._board
        if board.power.resets:
            if hung or not board.power.switches:
                yield "reset", lambda: board.power.reset(board.values), False
        elif not board.power.switches:
            yield "reset by its own software", self._reset_by_software, False
        if board.power.switches:
            yield "power cycle", lambda: board.power.cycle(board.values), False
        if board.loader.loads:
            last = board.power.cycle if board.power.switches else board.power.reset
            if board.power.switches or board.power.resets:
                yield "power cycle and reload", lambda: last(board.values), True
            else:
                yield "reload", self._reset_by_software, True

    def _reset_by_software(self) -> None:
        """Have whatever answers on the line start over; at a boot loader's prompt the loader finds it by itself."""
        client = Client(self.console)
        with suppress(HilError):
            client.hello(running.ASK_S)
            client.request("reboot", running.ASK_S, kind=0)
        self.console.expect_boot()

    def _boot(self, *, whole: bool) -> None:
        board = self._board
        try:
            board.loader.boot(self.console, self.link, board.options.boot_timeout, whole=whole)
        except Ended as end:  # text of before that reads like a panic, on a line that is still being drained
            raise InfraError(f"while it started: {end}") from None
        self._starts += 1

    def _note(self, text: str) -> None:
        _log.info("board %s: %s", self._board.name, text)
        with suppress(OSError), (self._directory / "recovery.log").open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    # Session ---------------------------------------------------------------------------------------------------

    @property
    def kernel_start(self) -> int | None:
        """See keuos_hil.parts.Relocated."""
        return self._board.loader.kernel_start

    def line_counts(self) -> LineCounts:
        """See keuos_hil.parts.Counting."""
        return LineCounts(
            starts=self._starts,
            taken=int(self._taken),
            failed_starts=self._failed_steps,
            repeated_loads=self._board.loader.repeats,
            port_returns=self._line.vanished,
            port_gone_s=self._line.gone_s,
        )

    def ended(self) -> Ended | None:
        """See Session.ended."""
        return self.console.ended()

    def reset(self) -> None:
        """See Session.reset: the button, or the switch; then the loader starts the kernel as before."""
        board = self._board
        self.console.expect_boot()
        if board.power.resets:
            board.power.reset(board.values)
        elif board.power.switches:
            board.power.cycle(board.values)
        else:
            raise UsageError(f"board {board.name} can't be reset from here")
        self._boot(whole=False)
        self.console.expect_no(board.loader.banners)

    def post_mortem(self, directory: Path) -> list[str]:
        """See Session.post_mortem."""
        log = self._directory / "recovery.log"
        try:
            return [f"how it was started: {line}" for line in log.read_text().splitlines()]
        except OSError:
            return []

    def attach_command(self) -> str:
        """See Session.attach_command."""
        door = self._board.debug.attach_command(self._board.values)
        if not door:
            raise InfraError(f"board {self._board.name} has no debug probe")
        return door

    def close(self) -> None:
        """See Session.close. The board stays on, running what it runs."""
        if not self._closed:
            self._closed = True
            self._board.session_ended(self.console.interrupted)
            self._stack.close()


class Board:
    """See :class:`keuos_hil.parts.Target`."""

    timebase = Timebase("silicon")
    revives = True
    apart = True

    def __init__(self, name: str, options: BoardOptions, run: RunOptions) -> None:
        if run.timebase not in ("default", "silicon"):
            raise UsageError(f"target {name}: no timebase {run.timebase!r}; a board's counter is its own: silicon")
        self.name = name
        self.options = options
        self._run = run
        table = self._table()
        if options.arch not in ARCHITECTURES:
            raise UsageError(
                f"{table}: no architecture {options.arch!r}" + option_tables.nearest(options.arch, ARCHITECTURES)
            )
        if options.baud <= 0:
            raise UsageError(f"{table}: baud = {options.baud}; expected a bit rate, such as 115200")
        if fault := fault_of(options.console):
            raise UsageError(f"{table}: console = {options.console!r}: {fault}")
        for attempt, ending in options.deviations.items():
            if not isinstance(ending, str):
                raise UsageError(
                    f"{self._table('deviations')}: {attempt}: expected how it ends, as a string, found {ending!r}"
                )
        #: See keuos_hil.parts.Deviating.
        self.deviations: Mapping[str, str] = options.deviations
        self.architecture = options.arch
        self.panic_patterns = run.panic_patterns
        self.power: BoardPower = self._part("power")
        self.loader: BoardLoader = self._part("load")
        self.link: BoardLink = self._part("link")
        self.debug: BoardDebug = self._part("debug")
        self._lease: BoardLease = self._part("lease")
        self.capabilities = self._capabilities()
        if self.loader.needs_link and "link" not in self.capabilities:
            raise UsageError(
                f"{self._table('load')}: this part sends the image through the link, and there is none; add "
                f"[targets.{name}.link], or name the folder of a TFTP server that runs already"
            )
        if not options.console and self._chosen("lease") == "lock":
            raise UsageError(f"{table}: the key 'console' is missing: {_help('console')}")
        #: What the lease says, by name: stands in braces in other parts' options.
        self.values: Mapping[str, str] = {}
        self.console_url = options.console
        self._hung = False

    def _chosen(self, role: str) -> str:
        table = getattr(self.options, role)
        return str(table.get("part", ROLES[role]))

    def _table(self, role: str = "") -> str:
        """What error messages call the target's table, or that of a part."""
        table = f"[targets.{self.name}{role and '.'}{role}]"
        return f"{self._run.configuration}: {table}" if self._run.configuration else table

    def _part(self, role: str) -> Any:
        run, where = self._run, self._table(role)
        kinds = {kind.name: kind for kind in run.part_types if kind.role == role}
        table = dict(getattr(self.options, role))
        if role == "link" and run.link is not None:
            other = table if table.get("part") == run.link.kind else {}
            table = {**other, "part": run.link.kind, "interface": run.link.interface}
        if table and "part" not in table:
            raise UsageError(f"{where}: the key 'part' is missing; valid: {', '.join(sorted(kinds))}")
        name = table.pop("part", ROLES[role])
        if name not in kinds:
            raise UsageError(f"{where}: no {role} part {name!r}{option_tables.nearest(str(name), kinds)}")
        kind = kinds[name]
        given = () if self._chosen("lease") == "lock" else None
        context = PartContext(self.name, self.options.arch, where, given)
        chosen = option_tables.build(kind.options, table, where)
        return guarded(role, name, lambda: kind.make(chosen, context), where)

    def _capabilities(self) -> frozenset[str]:
        found = {*self.loader.capabilities, *self.debug.capabilities}
        if self.power.switches:
            found |= {"power"}
        if self.power.resets or self.power.switches:
            found |= {"reset"}
        if self._run.link is not None or self._chosen("link") != "none":
            found |= {"link"}
        if not self.options.noisy:
            found |= {"clean-line"}
        return frozenset(found)

    def check(self) -> None:
        """See Target.check."""
        self.loader.check()

    def lease(self) -> AbstractContextManager[object]:
        """See AnyTarget.lease."""
        return self._holding()

    @contextmanager
    def _holding(self) -> Iterator[None]:
        with self._lease.hold(self.options.console) as values:
            self.values = values
            self.console_url = self.options.console or values.get("console", "")
            if not self.console_url:
                raise InfraError(f"target {self.name}: neither its table nor its lease says where its console is")
            if "place" in values:
                _log.info("target %s is the place %s", self.name, values["place"])
            yield

    @property
    def place(self) -> str:
        """Which board this is, where the lease chose one; "" where there is but one."""
        return self.values.get("place", "")

    def session_ended(self, failure: HilError | None) -> None:
        """A session is closed; `failure` is what ended the kernel, if something did."""
        self._hung = isinstance(failure, Ended)

    def open(self, image: Image, directory: Path) -> Session:
        """See Target.open. Raises NotRevived if no step helped."""
        return self._open(image, directory, resume=False)

    def resume(self, image: Image, directory: Path) -> Session:
        """See Resuming.resume. Where a probe has to know at what address a boot loader put the kernel, it is `open`."""
        knows = not (self.loader.moves and "debug" in self.capabilities)
        return self._open(image, directory, resume=knows)

    def _open(self, image: Image, directory: Path, *, resume: bool) -> Session:
        hung, self._hung = self._hung, False
        return cast(Session, BoardSession(self, image, directory, hung=hung, resume=resume))


def _help(key: str) -> str:
    return str(BoardOptions.__dataclass_fields__[key].metadata["help"])


def _make(name: str, options: BoardOptions, run: RunOptions) -> Target:
    return Board(name, options, run)


@hookimpl
def keuos_hil_target_types() -> list[TargetType]:
    """This module's one kind of target."""
    return [
        TargetType(
            name="board",
            summary="hardware on a serial line, put together from parts",
            architecture="",
            options=BoardOptions,
            option_prefix="",
            make=_make,
            named_only=True,
            links=("raw", "tap"),
        )
    ]
