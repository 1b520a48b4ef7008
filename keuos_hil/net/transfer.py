"""The program `transfer` (docs/sockets.md): bound to a NetD, it moves bulk data with whoever connects to it."""

from __future__ import annotations

from typing import Any

from .netd import Netd, until


class Transfer:
    """The program `transfer`, bound to NetD and listening: moves bulk data by itself, checked against the pattern."""

    def __init__(self, netd: Netd, *, alone: bool = False) -> None:
        self.process = netd.agent.spawn("transfer")
        netd.bind(self.process, alone=alone)
        until("transfer to listen", lambda: self.results, lambda r: r.listening)
        constant = self.process.elf.layouts.constant
        self.sink, self.source = constant("TRANSFER_SINK"), constant("TRANSFER_SOURCE")

    @property
    def results(self) -> Any:
        """What it counts."""
        return self.process.read_struct("results")
