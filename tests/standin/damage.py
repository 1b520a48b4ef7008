"""What a serial line does to bytes: flips, drops, inserts, and takes its time. Pure but for the clock it is given."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Noise:
    """Chances per byte: that one bit of it flips, that it is lost, that a random byte comes before it."""

    flip: float = 0.0
    drop: float = 0.0
    insert: float = 0.0
    seed: int = 1


class Line:
    """One direction of a line.

    Args:
        baud: bits per second, ten for a byte; 0 for no limit.
        clock: seconds, monotonic.
    """

    def __init__(self, noise: Noise, baud: int, clock: Callable[[], float]) -> None:
        self.noise = noise
        self._random = random.Random(noise.seed)
        self._byte_s = 10 / baud if baud else 0.0
        self._clock = clock
        self._free_at = 0.0
        self.damaged = 0
        self.carried = 0

    def room(self) -> int:
        """How many bytes may be put on it now without waiting; a UART's FIFO runs ahead of the line."""
        if not self._byte_s:
            return 1 << 16
        ahead = self._free_at - self._clock()
        return max(0, int((0.02 - ahead) / self._byte_s))

    def carry(self, data: bytes) -> bytes:
        """What arrives of `data`."""
        now = self._clock()
        self._free_at = max(self._free_at, now) + len(data) * self._byte_s
        self.carried += len(data)
        noise = self.noise
        if not (noise.flip or noise.drop or noise.insert):
            return data
        out = bytearray()
        for byte in data:
            if noise.insert and self._random.random() < noise.insert:
                self.damaged += 1
                out.append(self._random.randrange(256))
            if noise.drop and self._random.random() < noise.drop:
                self.damaged += 1
                continue
            if noise.flip and self._random.random() < noise.flip:
                self.damaged += 1
                out.append(byte ^ 1 << self._random.randrange(8))
            else:
                out.append(byte)
        return bytes(out)

    def garbage(self, count: int) -> bytes:
        """What a boot ROM's words look like that are said in another baud rate."""
        return bytes(self._random.choice((0x00, 0x80, 0xFF, 0xF8, 0xE0, 0x1C, 0x7E, 0xC0)) for _ in range(count))
