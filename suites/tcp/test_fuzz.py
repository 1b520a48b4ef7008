"""Conversations at random: whatever is said in whatever state, the rules hold of all that comes back, an honest
connection beside it keeps every byte, and nothing is left of what is over.

`--fuzz-seed` repeats a run, `--fuzz-time` makes it as long as one likes. A conversation that fails is made shorter on
fresh sessions of the target and kept in the corpus (`--fuzz-corpus`, its folder `tcp`): every later run has it first.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from keuos_hil.errors import TargetFailure
from keuos_hil.fuzz import Corpus, Fuzzing
from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.invariants import RULES
from keuos_hil.net.random_talk import OVER_S, SHARE, Generator, Player, Talk, shrink
from keuos_hil.net.seq import add, diff
from keuos_hil.net.sockets import App
from keuos_hil.net.tcp import Stack
from keuos_hil.parts import Networked
from keuos_hil.rig import LiveTarget

pytestmark = pytest.mark.needs("link", "sockets")

_TALKS = 150


#: Stacks whose answers to nonsense are known to break rules of a connection: deviations.toml tells of cases that are
#: about it. The honest connection is held to all rules everywhere.
_DEVIATES = ("Linux",)


class Party:
    """Somebody who talks at random, and beside them somebody honest."""

    def __init__(self, net: Stack) -> None:
        self._net = net
        self._player = Player(net)
        self._honest = net.est(sack=True, ts=True, shift=7)

    def have(self, talk: Talk) -> None:
        """One conversation. Raises TargetFailure if it does harm."""
        self._net.host.transcript.entries.clear()
        self._player.play(talk, allowed=RULES if self._net.app.system.startswith(_DEVIATES) else ())
        self._exchange()
        audit = getattr(self._net.app.sockets, "audit", None)
        if audit and (wrong := audit()):
            raise self._net.host.failure(f"the stack's accounts: {wrong}")

    def _exchange(self) -> None:
        """Both directions of the honest connection, byte by byte."""
        c, host = self._honest, self._net.host
        c.tx("PA", data=100)
        got = c.sock.recv_exactly(100)
        if got.bad is not None or got.total != diff(c.snd, c.iss) - 1:
            raise host.failure(f"an honest connection lost or changed byte {got.bad} of {got.total}")
        start = c.rcv
        count = c.sock.send(200)
        came = b"".join(segment.payload for segment in c.rx_data(count, reply=True))
        if count != 200 or came != wire.pattern(diff(start, add(c.irs, 1)), count):
            raise host.failure(f"an honest connection sent {count} bytes, and {len(came)} came, or others")


def _harm(target: LiveTarget, directory: Path, talk: Talk) -> str:
    """What the conversation does to a fresh session; "" if nothing, or if there is no such session in a moment."""
    session = target.start_another(directory)
    try:
        if not isinstance(session, Networked):
            return ""
        host = Host(session.link, session.network, getattr(session, "clock", None))
        host.fence()
        Party(Stack(host, App(session.sockets, host), itertools.count(2000).__next__)).have(talk)
    except TargetFailure as failure:
        return str(failure)
    finally:
        session.close()
    return ""


def _fail(
    target: LiveTarget, places: pytest.TempPathFactory, fuzzing: Fuzzing, corpus: Corpus[Talk], talk: Talk, said: str
) -> None:
    """Make it shorter, keep it, and fail with it."""
    once = ""
    if target.key is None:  # it boots nothing: a session costs little
        told = ""

        def fails(smaller: Talk) -> bool:
            nonlocal told
            harm = _harm(target, places.mktemp("talk"), smaller)
            told = harm or told
            return bool(harm)

        talk = shrink(talk, fails)
        said = told or said
        once = "" if told else "\nby itself, on a fresh session, it does no harm"
    path = corpus.save(talk, seed=fuzzing.seed, system=target.sockets.system if not target.unusable else "")
    pytest.fail(
        f"a conversation does harm (--fuzz-seed={fuzzing.seed}), {talk.describe()}\n{said}{once}\n"
        f"saved as {path}: every later run has it first"
    )


def test_what_a_stack_holds_can_be_counted(net: Stack, target: LiveTarget) -> None:
    """The measure of the next test, where a target has it: a listener and its connection come, and go again."""
    connections = getattr(target.sockets, "connections", None)
    if connections is None:
        pytest.skip("this target does not tell what its stack holds")
    before = connections()
    c = net.est()
    assert connections() == before + 2
    net.app.reset()
    c.kill()
    net.host.fence()
    assert connections() == before


def test_no_conversation_does_harm(
    net: Stack, target: LiveTarget, fuzzing: Fuzzing, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corpus = Corpus(fuzzing.corpus / "tcp", Talk)
    winds = net.host.clock.winds
    net.host.elapse(OVER_S if winds else 0)  # what other cases have left is over as well
    party = Party(net)
    connections = getattr(target.sockets, "connections", None)
    held = connections() if connections else None
    generator = Generator(fuzzing.seed)
    budget = fuzzing.budget(_TALKS, SHARE)
    kept = [one.case for one in corpus.cases()]
    done = 0
    while kept or budget.left(done):
        talk = kept.pop() if kept else generator.talk()
        try:
            party.have(talk)
        except TargetFailure as failure:
            _fail(target, tmp_path_factory, fuzzing, corpus, talk, str(failure))
        done += 1
    if connections and winds:
        net.host.elapse(OVER_S)
        assert connections() == held, f"connections are still held {OVER_S:g} s after {done} conversations"
