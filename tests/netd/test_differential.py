"""The same random conversation with NetD and with this machine's Linux: both applications get the same, and both peers
are told the same. What differs is explained below, or a fault of one of the two.

Sequence numbers count from each connection's first, and time by each stack's own clock. How much is sent before an
acknowledgment comes is each stack's congestion control, and when an acknowledgment comes its own choice: neither is
compared, only what is acknowledged in the end. What the two do by the clock is test_differential_timing.py's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from keuos_hil.targets.linux import Linux, LinuxOptions

from keuos_hil.errors import SocketError
from keuos_hil.fuzz import Budget, Fuzzing
from keuos_hil.hookspecs import RunOptions
from keuos_hil.net import wire
from keuos_hil.net.invariants import RULES
from keuos_hil.net.random_talk import SHARE, Generator, Player, Step, Talk, shrink
from keuos_hil.net.seq import diff
from keuos_hil.net.tcp import Conversation, Stack
from tests.netd.differential import beside_netd

TALKS = 60
#: Where data comes in; in the others the matrix of suites/tcp compares each answer.
STATES = ("ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT")
#: An acknowledgment may be delayed by so much (RFC 9293, 3.8.6.3: by half a second; both stacks' delays are shorter).
_DELAYED_S = 0.1


@dataclass(frozen=True)
class Outcome:
    """What a conversation came to.

    Attributes:
        total, bad, end: what the application received: bytes, the first wrong one, whether the peer's FIN.
        error: what receiving failed with, or "".
        reset, fin: whether the peer was told so.
        acknowledged: up to which of its bytes the peer knows; -1 after a reset, before which it may not be told.
    """

    total: int = 0
    bad: int | None = None
    end: bool = False
    error: str = ""
    reset: bool = False
    fin: bool = False
    acknowledged: int = -1


def _outcome(net: Stack, talk: Talk) -> Outcome:
    found = Outcome()

    def look(c: Conversation) -> None:
        nonlocal found
        for segment in c.burst():
            reset, fin = bool(segment.flags & wire.RST), bool(segment.flags & wire.FIN)
            found = replace(found, reset=found.reset or reset, fin=found.fin or fin)

    def each(step: Step, c: Conversation) -> None:
        nonlocal found
        look(c)
        if step is not talk.steps[-1]:
            return
        if c.app is not None:
            try:
                got = c.app.recv(1 << 20, 0)
                found = replace(found, total=got.total, bad=got.bad, end=got.end)
            except SocketError as error:
                found = replace(found, error=error.name)
        c.host.elapse(_DELAYED_S)
        look(c)
        if not found.reset and found.error in ("", "EAGAIN") and c.rules.last_ack is not None:
            found = replace(found, acknowledged=diff(c.rules.last_ack, c.iss))

    net.host.transcript.entries.clear()
    # Urgent data stays in the stream (RFC 6093); rules are what suites/tcp/test_fuzz.py is about.
    Player(net).play(talk, each, RULES, {"oobinline": 1})
    return found


def _lies(step: Step) -> bool:
    return step.options not in ("right", "") and bool(wire.parse_options(bytes.fromhex(step.options)).problem)


def _closes(talk: Talk) -> bool:
    return any("F" in step.flags for step in talk.steps)


#: Differences that are no fault: when, and why.
EXPLAINED: dict[str, Callable[[Talk, Outcome, Outcome], bool]] = {
    "RFC 5961, 5.2, takes an acknowledgment of up to MAX.SND.WND ago; newer Linux none of before the first byte": (
        lambda talk, netd, linux: any(-65536 <= step.ack < 0 for step in talk.steps)
    ),
    "RFC 7323, 3.2: a segment without the negotiated timestamps SHOULD be dropped; Linux takes it (deviations.toml)": (
        lambda talk, netd, linux: "timestamps" in talk.options and any(step.options != "right" for step in talk.steps)
    ),
    "RFC 9293, 3.10.7.4: a reset flushes what was received; Linux lets the application have it first": (
        lambda talk, netd, linux: any("R" in step.flags for step in talk.steps)
    ),
    "MUST-7: an option of impossible length does no harm; Linux drops the segment (TCP-AO), NetD the options": (
        lambda talk, netd, linux: any(_lies(step) for step in talk.steps)
    ),
    "RFC 9293, 3.10.7.4: text behind the peer's FIN is ignored; Linux resets": (
        lambda talk, netd, linux: linux.reset and not netd.reset and (talk.state == "CLOSE-WAIT" or _closes(talk))
    ),
    "a reset behind the peer's FIN: NetD tells it when the end is read, Linux when something is sent": (
        lambda talk, netd, linux: (netd.error, linux.error, linux.end) == ("ECONNRESET", "", True)
    ),
}


def _explanation(talk: Talk, netd: Outcome, linux: Outcome) -> str:
    """Why the two differ, or ""; nothing explains a wrong byte."""
    if netd.bad is not None or linux.bad is not None:
        return ""
    return next((why for why, holds in EXPLAINED.items() if holds(talk, netd, linux)), "")


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[tuple[Stack, Stack]]:
    """NetD and Linux."""
    with beside_netd(Linux("linux", LinuxOptions(), RunOptions()), tmp_path) as both:
        yield both


def _talks(seed: int) -> Iterator[Talk]:
    """Without time, which is not the same for both, and without SYNs, which begin other connections."""
    generator = Generator(seed, scapy=False)
    while True:
        talk = generator.talk(6)
        steps = tuple(step for step in talk.steps if step.do != "wait" and not step.has_syn())
        if talk.state in STATES and steps:
            yield replace(talk, steps=steps)


def _compare(stacks: tuple[Stack, Stack], seed: int, budget: Budget) -> None:
    def differs(talk: Talk) -> bool:
        netd, linux = (_outcome(net, talk) for net in stacks)
        return netd != linux and not _explanation(talk, netd, linux)

    talks = _talks(seed)
    done = 0
    while budget.left(done):
        talk = next(talks)
        if differs(talk):
            talk = shrink(talk, differs)
            told = "\n".join(f"{net.app.system}: {_outcome(net, talk)}" for net in stacks)
            pytest.fail(f"unexplained (--fuzz-seed={seed}), {talk.describe()}\n{told}")
        done += 1


def test_netd_and_linux_come_to_the_same(stacks: tuple[Stack, Stack]) -> None:
    _compare(stacks, 1, Budget(TALKS, None))


@pytest.mark.soak
def test_netd_and_linux_come_to_the_same_whatever_the_seed(stacks: tuple[Stack, Stack], fuzzing: Fuzzing) -> None:
    _compare(stacks, fuzzing.seed, fuzzing.budget(20 * TALKS, SHARE))


def test_a_difference_is_noticed(stacks: tuple[Stack, Stack]) -> None:
    talk = Talk("ESTABLISHED", "", (Step("segment", flags="PA", data=100),))
    other = replace(talk, steps=(replace(talk.steps[0], data=99),))
    netd, linux = _outcome(stacks[0], talk), _outcome(stacks[1], other)
    assert netd == _outcome(stacks[1], talk)
    assert netd != linux
    assert not _explanation(talk, netd, linux)
