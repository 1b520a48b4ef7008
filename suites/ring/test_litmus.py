"""The order that the ring relies on, looked at where two cores' accesses meet: see kernel/user/ring_litmus.

On a machine that orders little this is where a missing barrier shows. An emulator on x86 reorders what x86 does, a
store and the load behind it, and the window for that is nanoseconds: there the instructions tell more
(tests/arm64/test_barriers.py).
"""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent, Process
from keuos_hil.rig import LiveTarget

from .programs import HANG_S, finish, spawn_pair

pytestmark = pytest.mark.needs("agent", "channels", "smp")

#: A moment's, where each core of the target has one of the host's; seconds, where they wait for each other.
TURNS = 400
SOAK_TURNS = 1_000_000


def _meet(agent: Agent, mode: str, seed: int, turns: int, timeout: float) -> tuple[Process, Process]:
    pair = spawn_pair(agent, "ring_litmus", "ring_litmus", "cross")
    for process in pair:
        # A ring has 64 slots: some bursts don't fit. Messages take one, two, or one and the data ring.
        process.write_struct(
            "params", seed=seed | 1, turns=turns, first=int(process is pair[0]), burst=80, length_max=200, jitter=40
        )
    for producer, consumer in (pair, pair[::-1]):
        agent.bind(producer, consumer, mode, order=1)
    for process in pair:
        process.start()
    finish(*pair, timeout=timeout)
    return pair


def _judge(one: Process, other: Process, turns: int) -> None:
    constant = one.elf.layouts.constant
    for sender, receiver in ((one, other), (other, one)):
        sent, got = sender.read_struct("results"), receiver.read_struct("results")
        assert got.wrong == 0, f"{got.wrong} of {got.received} messages arrived changed"
        assert (got.received, got.received_checksum) == (sent.sent, sent.sent_checksum)
        looks = {
            kind: [[int(got.looks[constant(f"LITMUS_{kind}")][missed][saw]) for saw in (0, 1)] for missed in (0, 1)]
            for kind in ("RECEIVER_LATE", "SENDER_LATE", "RACE", "OTHER_RACE")
        }
        told = "[message missed][flag seen] by the kind of turn: " + str(looks)
        assert sum(sum(map(sum, of)) for of in looks.values()) == turns // 2, told
        assert all(of[1][0] == 0 for of in looks.values()), f"a wake-up would have been lost; {told}"
        assert looks["RECEIVER_LATE"][1] == [0, 0], f"a message that was there was not found; {told}"
        assert looks["SENDER_LATE"][0][0] == looks["SENDER_LATE"][1][0] == 0, f"a flag that was set was missed; {told}"
        assert min(sum(map(sum, of)) for of in looks.values()) >= turns // 8, told


@pytest.mark.parametrize("mode", ["polled", "polled_proof"])
def test_no_message_is_seen_before_its_bytes_and_no_wake_up_is_lost(
    target: LiveTarget, agent: Agent, seed: int, mode: str
) -> None:
    _judge(*_meet(agent, mode, seed, TURNS, HANG_S), TURNS)


@pytest.mark.soak
@pytest.mark.parametrize("mode", ["polled", "polled_proof"])
def test_neither_in_a_million_turns(target: LiveTarget, agent: Agent, seed: int, mode: str) -> None:
    _judge(*_meet(agent, mode, seed, SOAK_TURNS, 3600.0), SOAK_TURNS)
