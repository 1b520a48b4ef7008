"""Programs spawned, bound, killed, granted and dropped in random order on every core: nothing breaks, nothing stays."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from keuos_hil.agent import Agent, ChannelHandle, Process
from keuos_hil.errors import Refused
from keuos_hil.progress import Progress
from keuos_hil.rig import LiveTarget

pytestmark = pytest.mark.needs("agent", "channels")

PROGRAMS = ("hello", "sleeper", "spin", "ring_ping", "ring_pong", "gate_sender", "gate_receiver", "probe", "hog")
MODES = ("polled", "polled_proof", "verified")
AT_ONCE = 20


class Storm:
    """What is alive, and one random deed after another."""

    def __init__(self, agent: Agent, seed: int) -> None:
        self.agent = agent
        self.random = random.Random(seed)
        self.cores = agent.info().cores
        self.processes: list[Process] = []
        self.channels: list[ChannelHandle] = []

    def step(self) -> None:
        """One deed. The agent may refuse it (a dead process, a full quota): that is an answer, too."""
        deeds = [
            self.spawn,
            self.spawn,
            self.start,
            self.kill,
            self.bind,
            self.bind,
            self.unbind,
            self.drop,
            self.grant,
        ]
        with suppress(Refused):
            self.random.choice(deeds)()

    def spawn(self) -> None:
        """A program, suspended or not, on some core."""
        if len(self.processes) < AT_ONCE:
            name, core = self.random.choice(PROGRAMS), self.random.randrange(self.cores)
            self.processes.append(self.agent.spawn(name, core=core, suspended=self.random.random() < 0.5))

    def start(self) -> None:
        """Start one that is suspended, or is not."""
        if self.processes:
            self.random.choice(self.processes).start()

    def kill(self) -> None:
        """Kill one, running, waiting, suspended or dead."""
        if self.processes:
            self.random.choice(self.processes).kill()

    def bind(self) -> None:
        """A channel between any two, or one and itself."""
        if self.processes:
            one, other = (self.random.choice(self.processes) for _ in range(2))
            order = self.random.choice([None, 0, 1, 2, 3])
            self.channels.append(self.agent.bind(one, other, self.random.choice(MODES), order=order))

    def unbind(self) -> None:
        """Close, revoke or let go of a channel."""
        if self.channels:
            channel = self.random.choice(self.channels)
            deed = self.random.choice([channel.close, channel.revoke, channel.drop])
            if deed == channel.drop:
                self.channels.remove(channel)
            deed()

    def drop(self) -> None:
        """Kill one and let go of it."""
        if self.processes:
            self.processes.pop(self.random.randrange(len(self.processes))).close()

    def grant(self) -> None:
        """Give one a capability to another, or to itself."""
        if self.processes:
            self.agent.grant(self.random.choice(self.processes), self.random.choice(self.processes), 31)


def _storm(agent: Agent, seed: int, steps: int, progress: Progress) -> None:
    storm = Storm(agent, seed)
    with progress("storm", steps) as advance:
        for _ in range(steps):
            storm.step()
            advance(1)
    agent.ping()


def test_a_storm_of_processes_and_channels_leaves_nothing(
    target: LiveTarget, agent: Agent, seed: int, progress: Progress
) -> None:
    """What is left over is taken back by the agent behind the test, and then the counts must be those of the boot."""
    _storm(agent, seed, 250, progress)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(60))
def test_many_storms_leave_nothing(
    target: LiveTarget, agent: Agent, seed: int, number: int, progress: Progress
) -> None:
    _storm(agent, seed + number, 400, progress)


@pytest.mark.soak
@pytest.mark.needs("another")
def test_two_hundred_boots_come_up(
    target: LiveTarget, tmp_path_factory: pytest.TempPathFactory, progress: Progress
) -> None:
    with progress("boots", 200) as advance:
        for number in range(200):
            session = target.start_another(tmp_path_factory.mktemp(f"boot-{number}"))
            try:
                session.console.expect(b"keuos> ", 60)
            finally:
                session.close()
            advance(1)
