"""Keeps at most one session of each worker running, hands it to one test after another, and checks its state between.

What lives here: when a target is started, kept, checked and restarted. What must not: pytest, so that the rules can be
tested without it.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from . import executed
from .agent import Agent, Counts
from .code_map import Function
from .console import Console
from .errors import (
    CannotStart,
    Ended,
    HilError,
    ImageError,
    InfraError,
    NotRevived,
    Silent,
    StateLeak,
    TargetFailure,
    UsageError,
)
from .image import NETD_TEST_PROGRAM, Grade, Image
from .line import LineCounts
from .memory import KernelMemory
from .net.clock import Clock
from .net.netd import TEST_LIMITS, Netd, NetdClock, NetdLine, NetdSockets
from .net.transcript import TranscribedLink, Transcript
from .parts import (
    AnyTarget,
    Asked,
    Asking,
    ChoosesMtu,
    Counting,
    CountsExecuted,
    Debug,
    Deviating,
    Link,
    Metered,
    Network,
    Networked,
    Relocated,
    Resuming,
    Reviving,
    RowMeter,
    RunControl,
    Session,
    Sockets,
    Timebase,
    Unpluggable,
    Watch,
    Watching,
    booting,
    resident,
)

_log = logging.getLogger(__name__)

#: Teardown on the target may run behind the agent's answer; counts that still differ after so long are a leak.
SETTLE_S = 2.0
#: How long an unknown kernel is asked for an agent before it counts as one that only prints.
GUESS_S = 5.0


class LiveTarget:
    """A target that runs an image: what the fixtures `target` and `fresh_target` give.

    Attributes:
        directory: this session's own.
        closed: whether the rig has ended the session.
    """

    def __init__(self, target: AnyTarget, image: Image | None, session: Session, directory: Path) -> None:
        self.definition = target
        self.booted = image
        self.session = session
        self.directory = directory
        self.closed = False
        self._agent: Agent | None = None
        self._repeats_before = 0
        self._agent_error: HilError | None = None
        self._at_boot: Counts | None = None
        self._application: NetdSockets | None = None
        self._line: NetdLine | None = None
        self._transcript: Transcript | None = None
        self._clock: NetdClock | None = None
        self._resets = self._first_boot = session.console.resets
        self._mark = 0

    def __repr__(self) -> str:
        return f"<target {self.name} running {self.booted.kernel_path if self.booted else 'what is there'}>"

    @property
    def image(self) -> Image:
        """What was booted. Raises UsageError on a target that boots nothing; a test with the fixture `image` skips."""
        if self.booted is None:
            raise UsageError(f"target {self.name} boots no image; have the test use the fixture image")
        return self.booted

    @property
    def grade(self) -> Grade:
        """How much the kernel offers; what is there already offers no agent."""
        return Grade.PRINTS if self.booted is None else self.booted.grade

    @property
    def name(self) -> str:
        """The target's name."""
        return self.definition.name

    def asked(self, quantity: str, at_most: float) -> Asked:
        """What this target asks of a quantity (see Asking), or else what every one does: `at_most` ticks."""
        own = self.definition.asked.get(quantity) if isinstance(self.definition, Asking) else None
        if own is None or own.at_most is None:
            return Asked(at_most, own.beside if own else {})
        return own

    @property
    def deviations(self) -> Mapping[str, str]:
        """See Deviating; empty where a machine does as its manual says."""
        return self.definition.deviations if isinstance(self.definition, Deviating) else {}

    @property
    def console(self) -> Console:
        """The session's console."""
        return self.session.console

    @property
    def debug(self) -> Debug:
        """Memory and registers from outside. Raises UsageError if the target has no such part."""
        if self.session.debug is None:
            raise UsageError(f"target {self.name} has no Debug part; mark the test with needs('debug')")
        return self.session.debug

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The target stands still while the block runs. Raises UsageError if it has no such part."""
        debug = self.debug
        if not isinstance(debug, RunControl):
            raise UsageError(f"target {self.name} can't be paused; mark the test with needs('pause')")
        debug.pause()
        try:
            yield
        finally:
            debug.resume()

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """The cable is out of the NIC while the block runs. Raises UsageError if nobody can pull it."""
        if not isinstance(self.session, Unpluggable):
            raise UsageError(f"nobody can pull the cable of target {self.name}; mark the test with needs('unplug')")
        self.session.plug(into=False)
        try:
            yield
        finally:
            self.session.plug(into=True)

    def watch_reads(self, addresses: Sequence[int], size: int) -> Watch:
        """See Watching.watch_reads. Raises UsageError if the target has no such part."""
        debug = self.debug
        if not isinstance(debug, Watching):
            raise UsageError(f"target {self.name} can't watch reads; mark the test with needs('watch')")
        return debug.watch_reads(addresses, size)

    def executed(self) -> dict[str, Counter[Function]]:
        """Instructions executed since the start, by program and function (:func:`keuos_hil.executed.read`).

        Raises:
            UsageError: the target has no such part.
        """
        debug = self.debug
        if not isinstance(debug, CountsExecuted):
            raise UsageError(
                f"target {self.name} does not count what is executed; mark the test with needs('executed')"
            )
        with self.paused():
            return executed.read(self.kernel, self.image, debug)

    @property
    def link(self) -> Link:
        """The wire to the target's NIC. Raises UsageError if there is none."""
        if self.session.link is None:
            raise UsageError(f"target {self.name} has no NIC; mark the test with needs('link')")
        link: Link = self._line or self.session.link
        return link if self._transcript is None else TranscribedLink(link, self._transcript)

    @contextmanager
    def transcribed(self, transcript: Transcript) -> Iterator[None]:
        """While the block runs, whatever passes a :attr:`link` that is asked for in it is noted."""
        self._transcript = transcript
        try:
            yield
        finally:
            self._transcript = None

    @property
    def sockets(self) -> Sockets:
        """The program that makes socket calls on the target. Raises UsageError if there is none."""
        return self.session.sockets if isinstance(self.session, Networked) else self._bring_up_netd()

    @property
    def network(self) -> Network:
        """The addresses on the wire. Raises UsageError where nobody gave the target any."""
        return self.session.network if isinstance(self.session, Networked) else self._bring_up_netd().netd.network

    @property
    def rows(self) -> RowMeter:
        """What measures messages between this machine's own processes. Raises UsageError if there is none."""
        if not isinstance(self.session, Metered):
            raise UsageError(f"target {self.name} measures no rows; mark the test with needs('native-rows')")
        return self.session.rows

    @property
    def clock(self) -> Clock | None:
        """The time of the stack, where a test can wind it; None where it is real."""
        if isinstance(self.session, Networked):
            return getattr(self.session, "clock", None)
        self._bring_up_netd()
        return self._clock

    def _bring_up_netd(self) -> NetdSockets:
        """NetD and its application: started by the first test that asks, they stay, and count as there at boot.

        It is the program whose clock can be wound, if the image has that.
        """
        self._forget_before_reset()
        if self._application is None:
            if self.booted is None or "netd" not in self.booted.capabilities:
                raise UsageError(f"target {self.name} has no socket calls; mark the test with needs('sockets')")
            winds = "netd-clock" in self.booted.capabilities
            netd = Netd(self.agent, TEST_LIMITS, program=NETD_TEST_PROGRAM) if winds else Netd(self.agent)
            self._line = NetdLine(netd, self.link) if winds else None
            self._application = netd.application(self._line)
            self._clock = NetdClock(self._line) if self._line is not None else None
            self._application.disown()
            self._at_boot = self.agent.counts()
        return self._application

    def end_netd(self) -> None:
        """End the NetD that :attr:`sockets` started, so that a test can have the NIC for itself."""
        if self._application is not None:
            self._application.close()
            self._application.netd.close()
            self._application = self._line = self._clock = None
            self._at_boot = self.agent.counts()

    @property
    def timebase(self) -> Timebase:
        """What ticks count here."""
        return self.session.timebase

    def start_another(self, directory: Path) -> Session:
        """A second session of the same target with the same image; the caller closes it."""
        return _start(self.definition, self.booted, directory)

    @contextmanager
    def another(self, directory: Path, mtu: int | None = None) -> Iterator[LiveTarget]:
        """The same target with the same image a second time, beside this session, while the block runs.

        Args:
            mtu: of its interface; None for this session's.

        Raises:
            UsageError: nobody can choose this target's MTU.
        """
        definition = self.definition
        if mtu is not None:
            if not isinstance(definition, ChoosesMtu):
                raise UsageError(f"the MTU of target {self.name} can't be chosen; mark the test with needs('mtu')")
            definition = definition.with_mtu(mtu)
        session = _start(definition, self.booted, directory)
        try:
            yield LiveTarget(definition, self.booted, session, directory)
        finally:
            session.close()

    @property
    def key(self) -> str | None:
        """Of the image; None where none was booted."""
        return None if self.booted is None else self.booted.key

    @cached_property
    def kernel(self) -> KernelMemory:
        """The kernel's variables by name, seen from outside."""
        start = self.session.kernel_start if isinstance(self.session, Relocated) else None
        return KernelMemory(self.image.kernel, self.debug, start)

    @property
    def agent(self) -> Agent:
        """The agent; the first use waits for the boot. After a reset it is another one, which knows no processes.

        Raises:
            Ended: the target ended instead; Silent if nobody answers.
        """
        self._forget_before_reset()
        if self._agent_error is not None:
            raise self._agent_error
        if self.booted is None:
            raise UsageError(
                f"target {self.name} boots no image, so it has no agent; mark the test with needs('agent')"
            )
        if self._agent is None:
            known = self.grade >= Grade.CHANNELS
            try:
                self._agent = Agent(self.console, self.image, hello_s=None if known else GUESS_S)
                self._at_boot = self._agent.counts() if known else None
            except HilError as error:
                self._agent_error = error
                raise
        return self._agent

    def _forget_before_reset(self) -> None:
        """What was spawned before a reset is gone, and its pids may be somebody else's."""
        if self._resets != self.console.resets:
            self._resets = self.console.resets
            self._repeats_before += self._agent.client.repeats if self._agent is not None else 0
            self._agent = self._agent_error = self._at_boot = self._application = self._line = self._clock = None

    def line_counts(self) -> LineCounts:
        """What this session's line did."""
        counts = self.session.line_counts() if isinstance(self.session, Counting) else LineCounts()
        counts.repeated_requests += self._repeats_before + (self._agent.client.repeats if self._agent else 0)
        counts.damaged_frames += self.console.damaged_frames
        return counts

    @property
    def has_agent(self) -> bool:
        """Whether the agent answers; a kernel that only prints is no failure. Waits for the boot."""
        if self.booted is None:
            return False
        try:
            return self.agent is not None
        except Silent:
            if self.grade >= Grade.CHANNELS:
                raise
            return False

    @cached_property
    def live_capabilities(self) -> frozenset[str]:
        """The capabilities of the third kind. Waits for the boot."""
        if not self.has_agent:
            return frozenset()
        found = {"agent"}
        if self.grade >= Grade.CHANNELS:
            info = self.agent.info()
            names = self.image.enumerators("keuos_feature", "KEUOS_FEATURE_")
            found |= {name for bit, name in names.items() if info.features & bit}
            if info.cores > 1:
                found.add("smp")
        return frozenset(found)

    def wait_end(self, timeout: float = 30.0) -> Ended:
        """Wait until the target ends by itself, and say how: for tests that make it panic, reset or hang.

        With an agent, a hang is found by silence to pings and not by waiting out `timeout`.
        """
        self._forget_before_reset()
        if self._agent is not None:
            self._ping_until_end(self._agent, timeout)
        return self.console.wait_end(timeout)

    def _ping_until_end(self, agent: Agent, timeout: float) -> None:
        deadline = self.console.clock() + timeout
        with suppress(Ended):
            while self.console.clock() < deadline:
                agent.ping()
                self.console.wait_for(lambda: None, 0.2)

    # Between tests ---------------------------------------------------------------------------------------------

    def begin_test(self) -> None:
        """What the console says from here on belongs to the next test, and so does every change on the target.

        The counts at boot are taken before the first test: one that goes without the agent is held to them as well. A
        kernel that doesn't come up is for the test to notice; if it doesn't look, :meth:`end_test` tells.
        """
        self._mark = self.console.mark()
        if self.grade >= Grade.CHANNELS and self._agent is None:
            try:
                _ = self.agent
            except TargetFailure:
                self.console.told = False

    def console_slice(self) -> bytes:
        """What the console said since :meth:`begin_test`."""
        return self.console.since(self._mark)

    @property
    def unusable(self) -> bool:
        """Whether the next test needs a new session: one that was reset is not as from power-on.

        A kernel that only prints is not asked for an agent again.
        """
        if self.console.resets != self._first_boot:
            return True
        mute = isinstance(self._agent_error, Silent) and self.grade < Grade.CHANNELS
        return self.console.interrupted is not None or (self._agent_error is not None and not mute)

    def end_test(self) -> None:
        """Take back what the test left on the target, then compare with the state at boot.

        Does nothing if the session is closed: after a Ctrl-C the rig is, before the fixtures are torn down.

        Raises:
            StateLeak: something is missing or left over.
            Ended: the target ended during the test and nobody looked.
        """
        if self.closed:
            return
        failure = self.console.interrupted
        if failure is not None:
            if self.console.told:
                return
            raise failure
        self.console.wait_for(lambda: None, 0)  # a panic that is being printed is waited for, and raised
        self._forget_before_reset()
        if self._agent is None:
            return
        self._agent.clean_up()
        if self._application is not None:
            self._application.require_alive()
        if self._at_boot is None:
            return
        deadline = time.monotonic() + SETTLE_S
        while difference := self._at_boot.difference(self._agent.counts()):
            if time.monotonic() >= deadline:
                raise StateLeak(
                    f"after the test the target has {difference} than at boot, though all that the test spawned and "
                    "bound was killed and dropped; the target is restarted"
                )
            self.console.wait_for(lambda: None, 0.05)


class Rig:
    """Hands out sessions, one at a time.

    Args:
        directory: gets a folder for each session; asked for when the first one starts.
        make_target: builds a target by name; it starts nothing.
    """

    def __init__(self, directory: Callable[[], Path], make_target: Callable[[str], AnyTarget]) -> None:
        self._directory = directory
        self._make_target = make_target
        self._targets: dict[str, AnyTarget] = {}
        self._numbers = itertools.count(1)
        self._live: LiveTarget | None = None
        self._stack = ExitStack()
        self._leases = ExitStack()
        self._leased: set[str] = set()
        self._opened: set[str] = set()
        #: What each target's line did, over all sessions that are closed.
        self.lines: dict[str, LineCounts] = {}
        #: Why a session was opened at the second try, one line each.
        self.retries: list[str] = []
        #: Of targets that could not be started, or got up again, when that was tried last: why.
        self.lost: dict[str, InfraError] = {}
        #: Those of them that are not tried any more.
        self._given_up: set[str] = set()

    def target(self, name: str) -> AnyTarget:
        """The target `name`; the same object every time."""
        if name not in self._targets:
            self._targets[name] = self._make_target(name)
        return self._targets[name]

    def get(self, name: str, image: Image | None, *, fresh: bool = False) -> LiveTarget:
        """The target `name` running `image`: the session that runs, if it is that and fit, or else a new one. A target
        that boots no image gets None.

        A target that was started before and can't be now is tried once more, in the open: see :attr:`retries`. What
        the system under test did is never a reason to try again.

        Raises:
            CannotStart: the bench can't open this target's very first session.
            NotRevived: it can't open a later one, and all that helps was tried.
            InfraError: it can't open a later one, twice.
        """
        if name in self._given_up:
            raise type(self.lost[name])(f"{str(self.lost[name]).splitlines()[0]} (it is not tried again in this run)")
        live = self._live
        key = None if image is None else image.key
        if live is not None and not fresh and not live.unusable and live.name == name and live.key == key:
            return live
        target = self.target(name)
        boots = booting(target)
        if image is not None and boots is not None:
            image.kernel.require_machine(boots.architecture, name)
        try:
            self._live = self._open(target, image, resume=not fresh and name not in self._opened)
        except InfraError as error:
            if name not in self._opened:
                self._lose(name, CannotStart(f"target {name} can't be started: {error}"), error)
            if isinstance(error, UsageError | ImageError | NotRevived):  # a second try would say the same
                self._lose(name, error)
            _log.warning("target %s could not be started and is tried once more: %s", name, error)
            try:
                self._live = self._open(target, image)
            except InfraError as again:
                self._lose(name, again)
            self.retries.append(f"{name}: {str(error).splitlines()[0]}")
        self._opened.add(name)
        self.lost.pop(name, None)
        return self._live

    def _lose(self, name: str, why: InfraError, cause: InfraError | None = None) -> NoReturn:
        """Raise `why`. What everything was tried for is given up at once, what never starts at the second failure."""
        hopeless = isinstance(why, NotRevived) or (isinstance(why, CannotStart) and name in self.lost)
        if hopeless and not isinstance(cause, UsageError | ImageError):
            self._given_up.add(name)
        self.lost[name] = why
        raise why from cause

    def revive(self, live: LiveTarget) -> InfraError | None:
        """After the target of `live` fell silent: get it up again now, if it is of a kind that tries; else do nothing.

        What it gives is why nothing helped: then it was the bench.
        """
        if self._live is not live or not isinstance(live.definition, Reviving) or not live.definition.revives:
            return None
        try:
            self._live = self._open(live.definition, live.booted)
        except InfraError as error:
            self.lost[live.name] = error
            if isinstance(error, NotRevived):
                self._given_up.add(live.name)
            return error
        return None

    def _open(self, target: AnyTarget, image: Image | None, *, resume: bool = False) -> LiveTarget:
        self.close()
        variant = "" if image is None else f"-{image.variant}"
        directory = self._directory() / f"{next(self._numbers):03}-{target.name}{variant}"
        directory.mkdir(parents=True)
        try:
            if target.name not in self._leased:
                self._leases.enter_context(target.lease())
                self._leased.add(target.name)
            session = _start(target, image, directory, resume=resume)
        except BaseException:
            self.close()
            raise
        self._stack.callback(session.close)
        return LiveTarget(target, image, session, directory)

    @property
    def live(self) -> LiveTarget | None:
        """The session that runs now, if any."""
        return self._live

    def finish(self) -> None:
        """End the session that runs, if any, and give all leases back: the run is over. Safe to repeat."""
        try:
            self.close()
        finally:
            leases, self._leases = self._leases, ExitStack()
            self._leased.clear()
            leases.close()

    def close(self) -> None:
        """End the session that runs, if any."""
        if self._live is not None:
            self._live.closed = True
            self.lines.setdefault(self._live.name, LineCounts()).add(self._live.line_counts())
        self._live = None
        stack, self._stack = self._stack, ExitStack()
        stack.close()


def _start(target: AnyTarget, image: Image | None, directory: Path, *, resume: bool = False) -> Session:
    there, boots = resident(target), booting(target)
    if there is not None:
        return there.attach(directory)
    if image is None or boots is None:
        raise UsageError(f"target {target.name} needs an image to boot")
    if resume and isinstance(target, Resuming):
        return target.resume(image, directory)
    return boots.open(image, directory)


def kind_of(failure: BaseException) -> str:
    """Which of the two kinds an exception is: "target", "bench", or "" for neither. Groups count as their worst."""
    if isinstance(failure, BaseExceptionGroup):
        kinds = {kind_of(inner) for inner in failure.exceptions}
        return "target" if "target" in kinds else "bench" if kinds == {"bench"} else ""
    if isinstance(failure, TargetFailure):
        return "target"
    return "bench" if isinstance(failure, InfraError) else ""
