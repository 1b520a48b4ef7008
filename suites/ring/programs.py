"""The ring programs as Python functions: set the parameters, bind, start, wait, read the results.

Parameters and results are the structures of kernel/user/ring_*, decoded from their ELF files: no layout is known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil import measure
from keuos_hil.agent import Agent, Process

#: Seconds, in the target's pace, after which a program that neither left nor slept for ever counts as hung.
HANG_S = 120.0
#: How long a program is left alone: a byte on the line is an interrupt on the target, and disturbs what it measures.
SILENCE_S = 30.0

#: A channel's mode by the path that the results table names.
MODES = {"data": "polled", "receiver-proof": "polled_proof", "notify": "verified", "notify_and_wait": "verified"}
#: The cores of a pair of processes. The agent sits on core 0 and sleeps while somebody measures.
CORES = {"same": (1, 1), "cross": (1, 0)}


def spawn_pair(agent: Agent, first: str, second: str, cores: str) -> tuple[Process, Process]:
    """Two suspended processes on the "same" core or "cross" cores."""
    one, other = CORES[cores]
    return agent.spawn(first, core=one, suspended=True), agent.spawn(second, core=other, suspended=True)


def finish(*processes: Process, timeout: float = HANG_S, quiet: float = SILENCE_S) -> None:
    """Wait until all have left, and fail with what each reports if one did not leave with code 0."""
    ends = [(process, process.wait_exit(timeout, quiet=quiet)) for process in processes]
    if not all(end.ok for _, end in ends):
        lines = [f"{end}\n  results: {process.read_struct('results')}" for process, end in ends]
        raise AssertionError("expected every program to leave with code 0:\n" + "\n".join(lines))


@dataclass(frozen=True)
class RoundTrips:
    """What ring_ping and ring_pong found. Ticks are the target's.

    Attributes:
        samples: ticks of each sampled trip, clock reading and loop included.
        baseline: the same with a nop in place of the trip.
        ping: struct ring_ping_results.
        pong: struct ring_pong_results.
        count: trips in the batch, and sampled.
        calibrations: empty polls behind each side's poll_ticks.
    """

    samples: NDArray[np.uint32]
    baseline: NDArray[np.uint32]
    ping: Any
    pong: Any
    count: int
    calibrations: int

    @property
    def trips(self) -> NDArray[np.float64]:
        """Ticks of each sampled trip, the median cost of the loop and of reading the clock subtracted."""
        return measure.subtract(self.samples, self.baseline)

    @property
    def batch(self) -> float:
        """Ticks per trip over the whole batch, the nop loop subtracted; empty polls are in it."""
        return float(int(self.ping.batch_ticks) - int(self.ping.batch_baseline)) / self.count

    @property
    def polls(self) -> float:
        """Empty polls per trip of the batch, both sides together."""
        return float(int(self.ping.batch_polls) + int(self.pong.batch_polls)) / self.count

    @property
    def batch_without_polls(self) -> float:
        """Ticks per trip of the batch less its empty polls.

        What an empty poll costs was calibrated on each side while the other slept, by a loop of the same source but not
        the same instructions: to some instructions a poll. ring_self has no empty polls and needs no subtraction.
        """
        polled = int(self.ping.batch_polls) * int(self.ping.poll_ticks)
        polled += int(self.pong.batch_polls) * int(self.pong.poll_ticks)
        return self.batch - polled / self.calibrations / self.count


def round_trip_pair(
    agent: Agent, *, path: str, size: int, wait: str, cores: str, count: int = 1000, warm_up: int = 200
) -> tuple[Process, Process]:
    """ring_ping and ring_pong, ready to start; see :func:`round_trips`."""
    ping, pong = spawn_pair(agent, "ring_ping", "ring_pong", cores)
    constant = ping.elf.layouts.constant
    parameters = {
        "size": size,
        "wait": constant("ROUND_TRIP_" + wait.upper()),
        "call": constant("ROUND_TRIP_NOTIFY_AND_WAIT" if path == "notify_and_wait" else "ROUND_TRIP_NOTIFY"),
        "same_core": int(cores == "same"),
        "warm_up": warm_up,
        "count": count,
    }
    for process in (ping, pong):
        process.write_struct("params", **parameters)
    for producer, consumer in ((ping, pong), (pong, ping)):
        agent.bind(producer, consumer, MODES[path], order=4)
    return ping, pong


def round_trips(
    agent: Agent, *, path: str, size: int, wait: str, cores: str, count: int = 1000, warm_up: int = 200
) -> RoundTrips:
    """Run ring_ping against ring_pong.

    Args:
        path: a key of MODES.
        size: bytes of a message, each way.
        wait: "poll" or "wake": what a side does until the message comes.
        cores: "same" or "cross".
    """
    ping, pong = round_trip_pair(agent, path=path, size=size, wait=wait, cores=cores, count=count, warm_up=warm_up)
    ping.start()
    pong.start()
    finish(ping, pong)
    results = ping.read_struct("results")
    assert results.samples == count, f"ring_ping sampled {results.samples} of {count} trips"
    return RoundTrips(
        samples=ping.read_array("samples", count),
        baseline=ping.read_array("baseline", count),
        ping=results,
        pong=pong.read_struct("results"),
        count=count,
        calibrations=ping.elf.layouts.constant("RING_CALIBRATIONS"),
    )
