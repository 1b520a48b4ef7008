"""Moments of the machine, audited: snapshots taken while it is paused, and what to audit them with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from keuos_hil.agent import Agent
from keuos_hil.auditor import Snapshot, Violation, audit, take
from keuos_hil.errors import WaitTimeout
from keuos_hil.page_tables import PageMap
from keuos_hil.rig import LiveTarget

#: How often a moment at which nobody holds the kernel lock is waited for.
_TRIES = 200


@dataclass
class Auditor:
    """Takes snapshots of one target.

    Attributes:
        protections: what the CPU has, as a program on it found.
    """

    target: LiveTarget
    protections: frozenset[str] = frozenset()

    def take(self) -> Snapshot:
        """Read everything now; the target is paused already."""
        image = self.target.image
        return take(self.target.kernel, self.target.image.kernel.machine, lambda name: image.program(name).segments)

    def any_moment(self) -> Snapshot:
        """Whatever the cores are in."""
        with self.target.paused():
            return self.take()

    def quiet_moment(self, then: Callable[[Snapshot], None] | None = None) -> Snapshot:
        """A moment at which nobody holds the kernel lock; `then` is called while the target is still paused.

        Raises:
            WaitTimeout: the lock was held at every look.
        """
        for attempt in range(_TRIES):
            with self.target.paused():
                lock = self.target.kernel.read("kernel_lock")
                if lock.next == lock.owner:
                    snapshot = self.take()
                    if then is not None:
                        then(snapshot)
                    return snapshot
            time.sleep(0.0002 * attempt)
        raise WaitTimeout(f"somebody holds the kernel lock at each of {_TRIES} looks")

    def audit(self, snapshot: Snapshot, only: Iterable[str] = ()) -> list[Violation]:
        """What is wrong at that moment."""
        return audit(snapshot, only=only, protections=self.protections)

    def check(self) -> Snapshot:
        """Take a quiet moment, and fail unless all is well."""
        snapshot = self.quiet_moment()
        found = self.audit(snapshot)
        assert not found, "\n".join(str(violation) for violation in found)
        return snapshot


def space_of(snapshot: Snapshot, pid: int) -> PageMap:
    """The page map of a process. Raises KeyError if it has none."""
    for index, space in snapshot.spaces.items():
        if int(snapshot.processes.records[index]["pid"]) == pid:
            return space
    raise KeyError(f"process {pid} has no address space")


def protections_of(agent: Agent) -> frozenset[str]:
    """What the CPU has, without the kernel's word for it; write protection of the kernel itself is every CPU's."""
    from .puppet import Puppet

    with Puppet(agent) as puppet:
        return puppet.protections() | {"wp"}
