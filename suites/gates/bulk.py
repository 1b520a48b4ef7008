"""The bulk gate check of a HIL build (kernel/hil/gate.c), driven from outside: batches in, verdicts out.

Batches are written into the kernel's memory and answers read out of it through Debug, while one process on the target,
gate_bulk, has the kernel judge them. Nothing goes over the serial line meanwhile. Layouts come from the kernel's DWARF.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.agent import Agent, Process
from keuos_hil.errors import WaitTimeout
from keuos_hil.fuzz import Batch
from keuos_hil.image import Image
from keuos_hil.oracle import Channel
from keuos_hil.rig import LiveTarget

from ..waiting import look
from .pair import Pair, make_pair

#: Seconds, in the target's pace, after which a batch that was not judged is a hang; it takes milliseconds.
HANG_S = 60.0
#: What is added to a shadow's counters, head and data, in one round.
Move = tuple[int, int]
STILL: Move = (0, 0)


@dataclass
class Answer:
    """What the kernel said of one batch.

    Attributes:
        counts: cases by round and verdict; in the last column whatever is no verdict.
        verdicts, heads, datas, ticks: of each case in the last round: what gate_pass returned, the shadow's counters
            behind it and, if it was timed, its ticks less those of reading the clock.
        delivered: the mailbox slot of each case, zero if nothing was put there in any round.
        refused: the kernel's copy of the descriptor that was refused last.
        seconds: from asking to having been answered, by the host's clock.
    """

    counts: NDArray[np.uint32]
    verdicts: NDArray[np.uint32]
    heads: NDArray[np.uint32]
    datas: NDArray[np.uint32]
    ticks: NDArray[np.int64]
    delivered: NDArray[Any]
    refused: bytes
    seconds: float


@dataclass
class _Asked:
    number: int
    asked: int
    cases: int
    rounds: int
    start: float


class BulkGate:
    """The kernel's batches, in turn: one can be filled while the other is judged.

    Args:
        target: runs a HIL build, and on it gate_bulk with a channel bound.
    """

    def __init__(self, target: LiveTarget) -> None:
        self._target = target
        self._kernel = target.kernel
        whole = self._kernel.elf.layouts.variable("hil_gate_batches")
        self._layout: Any = whole.base
        self._address = self._kernel.address("hil_gate_batches")
        self._batches: int = whole.shape[0]
        self.cases_max: int = self._layout["descriptors"].shape[0]
        self.rounds_max: int = self._layout["moved"].shape[0]
        self._waiting: deque[_Asked] = deque()
        self._turn = int(self._kernel.read("hil_gate_progress").batch)
        for number in range(self._batches):  # what an earlier user left undone is not asked for any more
            self._write(number, "asked", self._read(number, "done", 1).tobytes())

    def _field(self, number: int, name: str) -> int:
        return self._address + number * int(self._layout.itemsize) + int(self._layout.fields[name][1])

    def _write(self, number: int, name: str, data: bytes) -> None:
        self._kernel.write_bytes(self._field(number, name), data)

    def _read(self, number: int, name: str, count: int) -> NDArray[Any]:
        dtype = self._layout[name]
        element = dtype.base if dtype.shape[:1] else dtype
        inner = dtype.shape[1:]
        size = count * int(np.prod(inner, dtype=int)) * element.itemsize
        data = self._kernel.read_bytes(self._field(number, name), size)
        return np.frombuffer(data, element).reshape(count, *inner)

    @property
    def waiting(self) -> int:
        """Batches that were asked for and not yet taken."""
        return len(self._waiting)

    @property
    def room(self) -> bool:
        """Whether another batch can be asked for now."""
        return len(self._waiting) < self._batches

    def ask(self, batch: Batch, moves: Sequence[Move] = (STILL,), *, timed: bool = False) -> None:
        """Have a batch judged, once for each move; :meth:`take` gives the answers in the order of asking."""
        if not self.room or not 0 < len(batch) <= self.cases_max or not 0 < len(moves) <= self.rounds_max:
            raise ValueError(f"no room, or {len(batch)} cases in {len(moves)} rounds can't be asked for")
        number, count = self._turn, len(batch)
        self._turn = (self._turn + 1) % self._batches
        shadows = np.empty((count, 2), "<u4")
        shadows[:, 0], shadows[:, 1] = batch.heads, batch.datas
        self._write(number, "shadows", shadows.tobytes())
        self._write(number, "moved", (np.array(moves, np.int64) & 0xFFFF_FFFF).astype("<u4").tobytes())
        self._write(number, "descriptors", batch.descriptors.tobytes())
        self._write(number, "delivered", bytes(count * batch.descriptors.itemsize))
        for name, value in (("cases", count), ("rounds", len(moves)), ("timed", int(timed))):
            self._write(number, name, value.to_bytes(4, "little"))
        asked = (int(self._read(number, "done", 1)[0]) + 1) & 0xFFFF_FFFF
        self._write(number, "asked", asked.to_bytes(4, "little"))
        self._waiting.append(_Asked(number, asked, count, len(moves), time.perf_counter()))

    def take(self) -> Answer:
        """The answer to the batch that was asked for first.

        Raises:
            WaitTimeout: it is not judged.
            Ended: the target ended over it.
        """
        order = self._waiting.popleft()
        number, cases = order.number, order.cases
        self._wait(order)
        seconds = time.perf_counter() - order.start
        results = self._read(number, "results", cases)
        nothing = int(self._read(number, "ticks_of_nothing", 1)[0])
        return Answer(
            counts=self._read(number, "counts", order.rounds),
            verdicts=results["verdict"],
            heads=results["after"]["head"],
            datas=results["after"]["data"],
            ticks=results["ticks"].astype(np.int64) - nothing,
            delivered=self._read(number, "delivered", cases),
            refused=self._read(number, "refused", 1)[0].tobytes(),
            seconds=seconds,
        )

    def _wait(self, order: _Asked) -> None:
        clock = self._target.console.clock
        deadline = clock() + HANG_S
        next_look = time.monotonic() + 0.1
        while not look(lambda: int(self._read(order.number, "done", 1)[0]) == order.asked):
            if time.monotonic() < next_look:
                continue
            next_look = time.monotonic() + 0.1
            self._target.console.wait_for(lambda: None, 0)  # a panic is raised
            if clock() >= deadline:
                raise WaitTimeout(f"{order.cases} cases were not judged within {HANG_S:g} s: gate_bulk asks for none")

    def scratch(self) -> dict[str, Any]:
        """The record that was judged by, without what is each case's own."""
        record = self._kernel.read("hil_gate_channel").as_dict()
        return {name: value for name, value in record.items() if name not in OWN}


#: What gate_pass may change in a channel's record, and what kernel/hil/gate.c sets for each case.
OWN = ("slots", "mailbox", "shadow_head", "shadow_data")


@dataclass
class Bench:
    """A bulk gate with the channel that it judges by, and a second channel between the same programs.

    Attributes:
        channel: the oracle's view of it.
        other: that of the second.
    """

    gate: BulkGate
    judge: Process
    channel: Channel
    other: Channel
    pair: Pair


def make_bench(target: LiveTarget, agent: Agent, image: Image, *, hashes: int = 0, hash_bytes: int = 0) -> Bench:
    """Start gate_bulk on a channel of its own; it judges until it is killed behind the test."""
    pair = make_pair(target, agent, image, sender="gate_bulk")
    other = make_pair(target, agent, image, sender="gate_bulk")
    pair.sender.write_struct("params", hashes=hashes, hash_bytes=hash_bytes)
    gate = BulkGate(target)
    pair.sender.start()
    return Bench(gate, pair.sender, pair.facts, other.facts, pair)
