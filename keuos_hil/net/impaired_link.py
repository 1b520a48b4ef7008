"""A wire that loses, reorders, duplicates, corrupts and delays frames, the same way every time.

It wraps any Link. What happens to a frame depends on the seed and on how many frames went that way before it, so a run
can be repeated. The kernel's own means (netem) need privileges and are not everywhere.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from keuos_hil.errors import UsageError
from keuos_hil.parts import Link


@dataclass(frozen=True)
class Impairments:
    """How often what happens to a frame, each between 0 and 1, and by how much it is late.

    Attributes:
        reorder: this frame lets `reorder_by` others pass.
        corrupt: one bit behind the Ethernet header is turned over.
        delay_s: every frame is so late, and up to `jitter_s` more; jitter doesn't reorder.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    reorder_by: int = 3
    delay_s: float = 0.0
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "corrupt", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"impairments: {name} = {getattr(self, name)}; expected 0 to 1")
        if self.delay_s < 0 or self.jitter_s < 0 or self.reorder_by < 1:
            raise UsageError("impairments: expected delays of 0 s or more and reorder_by of 1 or more")


@dataclass
class Direction:
    """One way along the wire. Pure: it is given frames with their times and says which leave when."""

    impairments: Impairments
    seed: int
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("lost", "doubled", "corrupted", "late"), 0))

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._waiting: list[tuple[float, int, bytes]] = []
        self._held: list[tuple[int, bytes]] = []
        self._order = itertools.count()
        self._last = 0.0

    def put(self, frame: bytes, now: float) -> None:
        """A frame enters at `now`, in seconds."""
        chances = [self._random.random() for _ in range(4)]
        position, jitter = self._random.random(), self._random.random()
        with_us = self.impairments
        if chances[0] < with_us.loss:
            self.counts["lost"] += 1
            self._age(now)
            return
        if chances[1] < with_us.corrupt and len(frame) > 14:
            bit = 14 * 8 + int(position * (len(frame) - 14) * 8)
            changed = bytearray(frame)
            changed[bit // 8] ^= 1 << bit % 8
            frame = bytes(changed)
            self.counts["corrupted"] += 1
        leave = self._last = max(self._last, now + with_us.delay_s + jitter * with_us.jitter_s)
        if chances[3] < with_us.reorder:
            self.counts["late"] += 1
            self._held.append((with_us.reorder_by, frame))
            return
        for _ in range(2 if chances[2] < with_us.duplicate else 1):
            heapq.heappush(self._waiting, (leave, next(self._order), frame))
        self.counts["doubled"] += chances[2] < with_us.duplicate
        self._age(leave)

    def _age(self, leave: float) -> None:
        """A frame has passed those that are held back."""
        kept = []
        for left, frame in self._held:
            if left <= 1:
                heapq.heappush(self._waiting, (leave, next(self._order), frame))
            else:
                kept.append((left - 1, frame))
        self._held = kept

    def flush(self, now: float) -> None:
        """Nothing follows: what is held back goes, too."""
        for _, frame in self._held:
            heapq.heappush(self._waiting, (now, next(self._order), frame))
        self._held = []

    def due(self, now: float) -> list[bytes]:
        """The frames that leave until `now`, in order."""
        out = []
        while self._waiting and self._waiting[0][0] <= now:
            out.append(heapq.heappop(self._waiting)[2])
        return out

    @property
    def next_at(self) -> float | None:
        """When the next one leaves; None if nothing waits."""
        return self._waiting[0][0] if self._waiting else None


#: For so long a frame that is held back waits for others to pass it.
HOLD_S = 0.05


class ImpairedLink:
    """See :class:`keuos_hil.parts.Link`. Frames move when it is used: call `send` or `receive` often enough for delays.

    Args:
        link: the wire below.
        to_target, from_target: what happens each way.
        seed: of both ways.
    """

    def __init__(
        self,
        link: Link,
        to_target: Impairments,
        from_target: Impairments,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._clock = clock
        self.to_target = Direction(to_target, seed)
        self.from_target = Direction(from_target, seed + 1)
        self._ready: list[bytes] = []
        self._used_at = clock()

    def send(self, frame: bytes) -> None:
        """Put one frame on the wire, or what becomes of it."""
        self.to_target.put(frame, self._clock())
        self._used_at = self._clock()
        self._move()

    def receive(self, timeout: float) -> bytes | None:
        """The next frame from the target that survives, or None after `timeout` seconds."""
        deadline = self._clock() + timeout
        while True:
            self._move()
            if self._ready:
                return self._ready.pop(0)
            now = self._clock()
            if now >= deadline:
                return None
            soon = [at for at in (self.from_target.next_at, self.to_target.next_at) if at is not None]
            frame = self._link.receive(max(0.0, min([deadline, now + HOLD_S, *soon]) - now))
            if frame is not None:
                self.from_target.put(frame, self._clock())
                self._used_at = self._clock()

    def _move(self) -> None:
        now = self._clock()
        if now - self._used_at >= HOLD_S:
            self.to_target.flush(now)
            self.from_target.flush(now)
        for frame in self.to_target.due(now):
            self._link.send(frame)
        self._ready += self.from_target.due(now)
