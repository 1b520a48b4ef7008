"""Honest channels beside whatever else goes on: every message must arrive, once, in order and unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from keuos_hil.agent import Agent, ChannelHandle, Process
from keuos_hil.errors import WaitTimeout

#: Seconds, in the target's pace, in which a stream that is alive must have moved, or have come to its end.
PROGRESS_S = 120.0
#: The sender's rest behind each batch, ns: the honest channel is there to be disturbed, not to fill the machine.
REST_NS = 1_000_000


@dataclass
class Honest:
    """A stream that goes on until it is told to stop; both its sides know every byte that must come."""

    producer: Process
    consumer: Process
    channel: ChannelHandle

    @classmethod
    def start(
        cls,
        agent: Agent,
        mode: str = "verified",
        *,
        cores: tuple[int, int] = (1, 0),
        seed: int = 1,
        rest_ns: int = REST_NS,
        sleep: bool = True,
    ) -> Honest:
        """Spawn, bind and start both sides. `cores`: the producer's and the consumer's."""
        last = agent.info().cores - 1
        sides = [agent.spawn("ring_stream", core=min(core, last), suspended=True) for core in cores]
        for process in sides:
            process.write_struct(
                "params",
                seed=seed | 1,
                count=0xFFFF_FFFF,
                length_min=0,
                length_max=300,
                batch=4,
                sleep=int(sleep),
                same_core=int(cores[0] == cores[1] or last == 0),
                endless=1,
                rest_ns=rest_ns,
            )
        producer, consumer = sides
        honest = cls(producer, consumer, agent.bind(producer, consumer, mode, order=2))
        for process in reversed(sides):
            process.start()
        return honest

    @property
    def received(self) -> int:
        """Messages that have arrived so far."""
        return int(self.consumer.read_struct("results").messages)

    def wait_progress(self, more: int = 8) -> int:
        """Wait until `more` messages have come from now on; how many have come in all.

        Raises:
            WaitTimeout: they did not.
        """
        console, target = self.consumer.agent.console, self.received + more
        deadline = console.clock() + PROGRESS_S
        while (now := self.received) < target:
            if console.clock() >= deadline:
                raise WaitTimeout(
                    f"expected the honest channel to carry {more} more messages within {PROGRESS_S:g} s; it stands at "
                    f"{now} of {target}.\n{console.describe()}"
                )
            console.wait_for(lambda: None, 0.002)
        return now

    def finish(self) -> int:
        """Have it come to its end and judge it; how many messages it carried."""
        self.producer.write_struct("params", stop=1)
        ends = [process.wait_exit(PROGRESS_S) for process in (self.producer, self.consumer)]
        sent, got = (process.read_struct("results") for process in (self.producer, self.consumer))
        told = f"{ends[0]}; {ends[1]}\nsent: {sent}\nreceived: {got}"
        assert all(end.ok for end in ends), f"the honest channel was harmed: {told}"
        assert got.wrong == 0, f"messages of the honest channel arrived changed or out of order: {told}"
        assert (got.messages, got.bytes, got.checksum) == (sent.messages, sent.bytes, sent.checksum), (
            f"the honest channel did not deliver what was sent: {told}"
        )
        for process in (self.producer, self.consumer):
            process.drop()
        self.channel.drop()
        return int(got.messages)


@contextmanager
def honest_beside(
    agent: Agent, modes: Sequence[str] = ("verified",), *, cores: tuple[int, int] = (1, 0), seed: int = 1
) -> Iterator[list[Honest]]:
    """Honest channels while the block runs. They must carry messages before and behind it, and lose none.

    What harms only for as long as it lasts, a block has to look for itself, by :meth:`Honest.wait_progress`.
    """
    streams = [Honest.start(agent, mode, cores=cores, seed=seed) for mode in modes]
    for stream in streams:
        stream.wait_progress()
    yield streams
    for stream in streams:
        stream.wait_progress()
    for stream in streams:
        stream.finish()
