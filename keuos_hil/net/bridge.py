"""Carries frames between a target's wire and a TAP device, and does to them on the way what a bad wire does.

What lives here: the thread that moves frames. What becomes of a frame is :mod:`.impaired_link`'s, who is behind the
device :mod:`.linux_peer`'s.
"""

from __future__ import annotations

import math
import os
import select
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

from keuos_hil.parts import Link

from .impaired_link import HOLD_S, Direction, Impairments
from .transcript import Entry, Transcript

_FRAME_MAX = 1 << 16
#: Frames of one end at a time, so that the other has its turn.
_TURN = 64
#: Frames that can still be seen when a test has failed.
_KEPT = 1000


@runtime_checkable
class PollableLink(Link, Protocol):
    """A wire that can be waited for along with others."""

    def fileno(self) -> int:
        """Readable when a frame is there."""
        ...


class Bridge:
    """A thread of its own, from the constructor to :meth:`close`; nobody else may receive from the link meanwhile.

    Args:
        link: to the target.
        device: descriptor of a TAP device without packet information; stays the caller's.
        to_target, from_target: what happens to frames each way; what was lost or changed is counted in the directions
            of the same names.
        seed: of both ways.
    """

    def __init__(
        self, link: PollableLink, device: int, to_target: Impairments, from_target: Impairments, seed: int
    ) -> None:
        self._link = link
        self._device = device
        os.set_blocking(device, False)
        self.to_target, self.from_target = Direction(to_target, seed), Direction(from_target, seed + 1)
        self._clean = to_target == from_target == Impairments()
        self._wake, self._woken = os.pipe()
        self._moved_at = time.monotonic()
        #: Frames that were carried, each way.
        self.frames_to_target = self.frames_from_target = 0
        self._recent: deque[Entry] = deque(maxlen=_KEPT)
        self._stop = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keuos-hil bridge")
        self._done = self._thread.submit(self._run)

    def _run(self) -> None:
        poller = select.poll()
        for descriptor in (self._link.fileno(), self._device, self._wake):
            poller.register(descriptor, select.POLLIN)
        while not self._stop:
            ready = {descriptor for descriptor, _ in poller.poll(self._patience())}
            if self._device in ready:
                self._from_device()
            if self._link.fileno() in ready:
                self._from_link()
            if not self._clean:
                self._move()

    def _patience(self) -> float | None:
        """Milliseconds that nothing has to be done in by itself."""
        if self._clean:
            return None
        due = [at for at in (self.to_target.next_at, self.from_target.next_at) if at is not None]
        return max(0.0, math.ceil((min([*due, time.monotonic() + HOLD_S]) - time.monotonic()) * 1000))

    def _from_device(self) -> None:
        for _ in range(_TURN):
            try:
                frame = os.read(self._device, _FRAME_MAX)
            except BlockingIOError:
                return
            self.frames_to_target += 1
            if self._clean:
                self._to_link(frame)
            else:
                self._moved_at = time.monotonic()
                self.to_target.put(frame, self._moved_at)

    def _from_link(self) -> None:
        for _ in range(_TURN):
            frame = self._link.receive(0.0)
            if frame is None:
                return
            self.frames_from_target += 1
            self._recent.append(Entry(time.monotonic(), "<", frame))
            if self._clean:
                self._to_device(frame)
            else:
                self._moved_at = time.monotonic()
                self.from_target.put(frame, self._moved_at)

    def _to_link(self, frame: bytes) -> None:
        self._recent.append(Entry(time.monotonic(), ">", frame))
        self._link.send(frame)

    def _to_device(self, frame: bytes) -> None:
        try:
            os.write(self._device, frame)
        except OSError:
            pass  # lost, as by an interface that is down or whose queue is full

    def _move(self) -> None:
        now = time.monotonic()
        if now - self._moved_at >= HOLD_S:
            self.to_target.flush(now)
            self.from_target.flush(now)
        for frame in self.to_target.due(now):
            self._to_link(frame)
        for frame in self.from_target.due(now):
            self._to_device(frame)

    def transcript(self) -> Transcript:
        """The last frames at the target's end, those that the wire lost on the way there left out."""
        told = Transcript()
        told.entries = list(self._recent)
        return told

    def close(self) -> None:
        """Stop. Safe to repeat. Raises what stopped the thread before, if something did."""
        if self._wake < 0:
            return
        self._stop = True
        os.write(self._woken, b"x")
        self._thread.shutdown()
        os.close(self._wake)
        os.close(self._woken)
        self._wake = -1
        self._done.result()
