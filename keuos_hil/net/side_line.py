"""Frames by which a test talks to the target's own end of the wire, beside those under test.

They have ethertypes that no stack takes up, and keep their order among the others: so an answer is a fence, too. What
the target had to say to whatever was sent before is there already.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Mapping

from ..errors import TargetFailure
from ..parts import Link, Network
from .host import OWN_MAC

_PAYLOAD = 14  # behind destination, source, ethertype


class SideLine:
    """The wire, without those frames; see :class:`keuos_hil.parts.Link`.

    Args:
        link: to the target's NIC.
        network: the target's addresses.
        types: the ethertypes, by what the frames are about.
        who: hears and answers them, for messages.
        patience: seconds of this machine within which an answer comes, or never.
    """

    def __init__(self, link: Link, network: Network, types: Mapping[str, int], who: str, patience: float) -> None:
        self._link = link
        self._types = {kind: struct.pack("!H", number) for kind, number in types.items()}
        self._ends = network.mac + OWN_MAC
        self._who = who
        self._patience = patience
        self._queue: deque[bytes] = deque()
        #: How many frames of the target's stack have come.
        self.seen = 0

    def send(self, frame: bytes) -> None:
        """See Link.send."""
        self._link.send(frame)

    def receive(self, timeout: float) -> bytes | None:
        """See Link.receive."""
        if self._queue:
            return self._queue.popleft()
        deadline = time.monotonic() + timeout
        while True:
            frame = self._link.receive(max(0.0, deadline - time.monotonic()) if timeout else 0.0)
            if frame is None:
                return None
            if frame[12:14] not in self._types.values():
                self.seen += 1
                return frame

    def tell(self, kind: str, payload: bytes) -> None:
        """Send a frame of that kind."""
        self._link.send(self._ends + self._types[kind] + payload)

    def hear(self, kind: str, within: float | None = None) -> bytes:
        """What stands in the next frame of that kind; the stack's are kept for :meth:`receive`.

        Raises:
            TargetFailure: none comes.
        """
        within = self._patience if within is None else within
        deadline = time.monotonic() + within
        while (left := deadline - time.monotonic()) > 0:
            frame = self._link.receive(left)
            if frame is None:
                continue
            if frame[12:14] == self._types[kind]:
                return frame[_PAYLOAD:]
            if frame[12:14] not in self._types.values():
                self.seen += 1
                self._queue.append(frame)
        raise TargetFailure(f"{self._who} has not answered by a frame ({kind.lower()}) for {within:g} s")
