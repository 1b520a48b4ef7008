"""What NetD and Linux do by the clock when a peer falls silent, in the same random conversations.

Both send the earliest unacknowledged segment again, or ask for a window, at the same multiples of their least timeout,
and what the RFCs want answered at once both answer before the clock has moved. Both clocks are wound: NetD's stack on
this host, and Debian's Linux in an emulated machine (target linux-guest).

What may differ is left out of the comparison: the least timeout itself (RFC 6298, 2.4 asks for a second, Linux has
200 ms; both take a second for a SYN), how long the acknowledgment of a segment in order is delayed (RFC 9293, 3.8.6.3:
up to half a second, to which each is held by itself), whether the peer is asked for a window by a copy or by a probe
(3.8.6.1), how long a window smaller than a segment is left alone (3.8.6.2.1), and the tail loss probe that NetD sends
first where there is SACK (RFC 8985, 7; the target's settings switch Linux's off). Nor is anything in which they differ
by more than time: text behind a FIN, and the acknowledgment in a segment that ends right before what is expected.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

import pytest
from keuos_hil.targets.linux_guest import LinuxGuest, LinuxGuestOptions

from keuos_hil.fuzz import Budget, Fuzzing
from keuos_hil.hookspecs import RunOptions
from keuos_hil.net import wire
from keuos_hil.net.faults import segment_of
from keuos_hil.net.invariants import RULES
from keuos_hil.net.random_talk import SHARE, Generator, Player, Step, Talk, shrink
from keuos_hil.net.seq import diff
from keuos_hil.net.tcp import Conversation, Stack
from keuos_hil.net.wire import Segment
from keuos_hil.parts import Link
from tests.netd.differential import beside_netd

TALKS = 40
#: So many copies are compared; the last comes at 15 times the least timeout.
_COPIES = 4
_SILENCE_S = 20.0
#: Of a segment without SYN, by the beginning of the stack's name; with one it is a second (RFC 6298, 2.1).
_LEAST_S = {"NetD": 1.0, "Linux": 0.2}
_DELAYED_S = 0.5
_AT_ONCE_S = 0.01
#: Of the least timeout: what comes sooner is no timeout's.
_TIMEOUT_AT_LEAST = 0.9
#: In which a peer's data is taken.
_RECEIVING = ("ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2")
_MSS = 1460
#: In which its FIN has come.
_ENDED = ("CLOSE-WAIT", "CLOSING", "LAST-ACK")
STATES = ("SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK")


@dataclass(frozen=True)
class Rhythm:
    """What a stack did by the clock.

    Attributes:
        answered: for each step of the peer's, whether something came before the clock moved.
        copies: what was sent in the silence behind the conversation: bytes behind SND.UNA, and when, in least timeouts,
            counted from a tail loss probe if there was one, which is none of them.
        late: seconds by which an acknowledgment was too late, or 0.
    """

    answered: tuple[bool, ...] = ()
    copies: tuple[tuple[int, float], ...] = ()
    late: float = 0.0

    @property
    def beats(self) -> list[tuple[int, int]]:
        """The copies, each with its distance from what was before it, by powers of two.

        The first one's distance is in least timeouts, of which a slow peer may make nearly two; the others' in that of
        the copy before, which a timer that backs off doubles whatever it began with.
        """
        times = [0.0, *(when for _, when in self.copies)]
        gaps = [max(after - before, 1e-3) for before, after in pairwise(times)]
        powers = [math.floor(math.log2(gaps[0] / _TIMEOUT_AT_LEAST))] if gaps else []
        powers += [round(math.log2(after / before)) for before, after in pairwise(gaps)]
        return [(at, power) for (at, _), power in zip(self.copies, powers, strict=True)]


def _rhythm(net: Stack, talk: Talk) -> Rhythm:
    found = Rhythm()

    def each(step: Step, c: Conversation) -> None:
        nonlocal found
        if step.do == "segment":
            found = replace(found, answered=(*found.answered, bool(c.burst())))
        if step is talk.steps[-1]:
            c.burst()
            found = replace(found, **_silence(net, c, "sack" in talk.options))

    net.host.transcript.entries.clear()
    Player(net).play(talk, each, RULES)
    return found


def _silence(net: Stack, c: Conversation, sack: bool) -> dict[str, Any]:
    """The peer says nothing: what comes by the stack's own clock."""
    start, una = c.host.clock.now(), c.una_of_target
    c.host.elapse(_SILENCE_S)
    copies, late = list[tuple[int, float]](), 0.0
    for segment in c.burst():
        after, behind = segment.time - start, diff(segment.seq, una)
        if after < _AT_ONCE_S:
            continue  # it was on its way when the fence came back
        if segment.length or behind < 0:  # a probe without data has a number that was acknowledged
            least = 1.0 if segment.flags & wire.SYN else next(s for n, s in _LEAST_S.items() if n in net.app.system)
            copies.append((max(behind, 0), after / least))
        elif after > _DELAYED_S:
            late = max(late, after - _DELAYED_S)
    if sack and copies and copies[0][1] < _TIMEOUT_AT_LEAST:
        copies = [(at, when - copies[0][1]) for at, when in copies[1:]]
    return {"copies": tuple(copies[:_COPIES]), "late": late}


def _talks(seed: int) -> Iterator[Talk]:
    """What both stacks are known to take alike, so that nothing but time is left to differ; at the end some data."""
    generator, draw = Generator(seed, scapy=False), random.Random(seed)
    while True:
        talk = generator.talk(6)
        steps = tuple(_without_text_behind_a_fin(talk.state, filter(_is_plain, talk.steps)))
        steps += (Step("send", amount=draw.choice((1, 1000, 1460, 5000, 40_000))),) if draw.random() < 0.5 else ()
        if talk.state in STATES and steps:
            yield replace(talk, steps=steps)


def _without_text_behind_a_fin(state: str, steps: Iterable[Step]) -> Iterator[Step]:
    """Linux resets a connection for it; RFC 9293, 3.10.7.4 has such text ignored, and NetD does."""
    ended = state in _ENDED
    for step in steps:
        if step.do == "segment":
            if ended and step.seq + step.data > 0:
                continue
            ended = ended or "F" in step.flags
        yield step


def _is_plain(step: Step) -> bool:
    plain = Step("segment", flags=step.flags, data=step.data, window=step.window, seq=step.seq)
    if step.do != "segment":
        return step.do in ("send", "receive", "shutdown", "fence")
    # Linux looks at the acknowledgment in a segment that ends right before RCV.NXT; RFC 9293, 3.10.7.4 has it dropped.
    ends_before = step.data > 0 and step.seq + step.data == 0
    # How long a sender waits for more of a window than that is its own choice (3.8.6.2.1: 0.1 to 1 s).
    is_silly = 0 < step.window < _MSS
    return step == plain and step.flags in ("A", "PA", "FA") and abs(step.seq) <= _MSS and not (ends_before or is_silly)


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Stack]]:
    """NetD and Linux, each with a clock that is wound."""
    guest = LinuxGuest("linux-guest", LinuxGuestOptions(), RunOptions())
    with beside_netd(guest, tmp_path_factory.mktemp("stacks"), excused="make linux-guest") as both:
        yield both


def _differs(talk: Talk, netd: Rhythm, linux: Rhythm) -> str:
    """What the two did at other times; "" if nothing."""
    for name, one in (("NetD", netd), ("Linux", linux)):
        if one.late:
            return f"{name} acknowledged {one.late:.3f} s later than it may"
    steps = [step for step in talk.steps if step.do == "segment"]
    open_until = next((at for at, step in enumerate(steps) if "F" in step.flags), len(steps))
    for step, ours, theirs in islice(zip(steps, netd.answered, linux.answered, strict=True), open_until):
        # Only this has to be answered at once (RFC 5681, 4.2); with anything else a delayed acknowledgment may come.
        if talk.state in _RECEIVING and step.data and step.seq and ours != theirs:
            return f"{step.describe()}: answered at once by {'NetD' if ours else 'Linux'} alone"
    return "" if netd.beats == linux.beats else f"in the silence: NetD {netd.copies}, Linux {linux.copies}"


def _compare(stacks: tuple[Stack, Stack], seed: int, budget: Budget) -> int:
    """Have conversations with both, and fail for one in which they differ; how many copies were compared."""

    told = ""

    def differs(talk: Talk) -> bool:
        nonlocal told
        said = _differs(talk, *(_rhythm(net, talk) for net in stacks))
        told = said or told
        return bool(said)

    talks = _talks(seed)
    done = copies = 0
    while budget.left(done):
        talk = next(talks)
        netd, linux = (_rhythm(net, talk) for net in stacks)
        if told := _differs(talk, netd, linux):
            talk = shrink(talk, differs)
            pytest.fail(f"other times (seed {seed}), {talk.describe()}\n{told}")
        copies += len(netd.copies)
        done += 1
    return copies


def test_netd_and_linux_keep_the_same_time(stacks: tuple[Stack, Stack]) -> None:
    assert _compare(stacks, 1, Budget(TALKS, None)) > TALKS


@pytest.mark.soak
def test_netd_and_linux_keep_the_same_time_in_any_talks(stacks: tuple[Stack, Stack], fuzzing: Fuzzing) -> None:
    _compare(stacks, fuzzing.seed, fuzzing.budget(20 * TALKS, SHARE))


def test_text_behind_a_fin_ends_linux_s_connection_alone(stacks: tuple[Stack, Stack]) -> None:
    """Why no talk of these has any: there the two differ in more than time."""
    past = Step("segment", flags="A", seq=-100, data=1000)
    netd, linux = (_rhythm(net, Talk("CLOSE-WAIT", "", (past, Step("send", amount=1)))) for net in stacks)
    assert len(netd.copies) == _COPIES
    assert not linux.copies
    assert list(_without_text_behind_a_fin("CLOSE-WAIT", [past])) == []


# That a difference is noticed ------------------------------------------------------------------------------------

_ONE = Talk("ESTABLISHED", "", (Step("send", amount=100),))
_BEHIND_A_HOLE = Talk("ESTABLISHED", "", (Step("segment", flags="A", seq=100, data=10), Step("fence")))
_DOUBLING = ((0, 1.0), (0, 3.0), (0, 7.0), (0, 15.0))


@pytest.mark.parametrize(
    "copies",
    [
        ((0, 1.0), (0, 2.0), (0, 3.0), (0, 4.0)),
        ((0, 2.0), (0, 6.0), (0, 14.0)),
        ((0, 0.3), (0, 0.9), (0, 2.1), (0, 4.5)),
        ((0, 1.0), (1460, 3.0), (0, 7.0), (0, 15.0)),
        ((0, 1.0), (0, 3.0), (0, 7.0)),
        (),
    ],
    ids=["constant", "late", "early", "other-segment", "given-up", "never"],
)
def test_another_rhythm_is_noticed(copies: tuple[tuple[int, float], ...]) -> None:
    for slower in (1.6, 1.06):
        linux = Rhythm(copies=tuple((at, when * slower) for at, when in _DOUBLING))
        assert not _differs(_ONE, Rhythm(copies=_DOUBLING), linux)
    assert "in the silence" in _differs(_ONE, Rhythm(copies=copies), linux)


def test_an_acknowledgment_that_is_too_late_is_noticed_whoever_sends_it() -> None:
    for pair in ((Rhythm(late=0.1), Rhythm()), (Rhythm(), Rhythm(late=0.1))):
        assert "0.100 s later than it may" in _differs(_ONE, *pair)


class _Tampered:
    """NetD's wire, on which some segments of NetD get lost or come behind all that is there."""

    def __init__(self, link: Link, lost: Callable[[Segment], bool], held: Callable[[Segment], bool]) -> None:
        self._link, self._lost, self._held = link, lost, held
        self._later = deque[bytes]()

    def send(self, frame: bytes) -> None:
        """See Link.send."""
        self._link.send(frame)

    def receive(self, timeout: float) -> bytes | None:
        """See Link.receive."""
        frame = self._link.receive(timeout)
        if frame is None:
            return self._later.popleft() if self._later else None
        segment = segment_of(frame)
        if segment is not None and self._held(segment):
            self._later.append(frame)
            return None
        return None if segment is not None and self._lost(segment) else frame


def _with_netd_tampered(
    stacks: tuple[Stack, Stack],
    monkeypatch: pytest.MonkeyPatch,
    talk: Talk,
    lost: Callable[[Segment], bool] = lambda segment: False,
    held: Callable[[Segment], bool] = lambda segment: False,
) -> str:
    netd, linux = stacks
    assert not _differs(talk, _rhythm(netd, talk), _rhythm(linux, talk))
    monkeypatch.setattr(netd.host, "link", _Tampered(netd.host.link, lost, held))
    return _differs(talk, _rhythm(netd, talk), _rhythm(linux, talk))


def test_a_copy_that_is_left_out_is_noticed(stacks: tuple[Stack, Stack], monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    def second_copy(segment: Segment) -> bool:
        nonlocal sent
        sent += bool(segment.payload)
        return bool(segment.payload) and sent == 3

    assert "in the silence" in _with_netd_tampered(stacks, monkeypatch, _ONE, lost=second_copy)


def test_an_answer_that_waits_is_noticed(stacks: tuple[Stack, Stack], monkeypatch: pytest.MonkeyPatch) -> None:
    told = _with_netd_tampered(stacks, monkeypatch, _BEHIND_A_HOLE, held=_is_bare)
    assert "later than it may" in told


def test_an_answer_that_does_not_come_is_noticed(stacks: tuple[Stack, Stack], monkeypatch: pytest.MonkeyPatch) -> None:
    told = _with_netd_tampered(stacks, monkeypatch, _BEHIND_A_HOLE, lost=_is_bare)
    assert "answered at once by Linux alone" in told


def _is_bare(segment: Segment) -> bool:
    return segment.flags == wire.ACK and not segment.payload
