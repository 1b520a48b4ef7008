"""What serial lines did to a run: how often something was said again, and why. Counts, shown and kept in results."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


def counted(number: int, thing: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


@dataclass
class LineCounts:
    """Of one target's line, over a run.

    Attributes:
        starts: how often the machine was started, and whatever it does not keep was loaded.
        taken: how often it was taken as it ran, since it ran the build already.
        failed_starts: attempts to start it that failed, before one that did not.
        repeated_requests: requests that were sent again, because no answer came.
        damaged_frames: what stood between two zeros and was no frame: a damaged one, or noise.
        repeated_loads: commands to a boot loader that were typed again, because their echo or answer was damaged.
        port_returns: how often the port vanished and came back.
        port_gone_s: for how many seconds altogether.
    """

    starts: int = 0
    taken: int = 0
    failed_starts: int = 0
    repeated_requests: int = 0
    damaged_frames: int = 0
    repeated_loads: int = 0
    port_returns: int = 0
    port_gone_s: float = 0.0

    def add(self, other: LineCounts) -> None:
        """Add what another session counted."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def to_dict(self) -> dict[str, float]:
        """By name."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [
            f"started {counted(self.starts, 'time')}" if self.starts else "",
            f"taken as it ran {counted(self.taken, 'time')}" if self.taken else "",
            f"{counted(self.failed_starts, 'attempt')} to start it failed" if self.failed_starts else "",
            f"{counted(self.repeated_requests, 'request')} repeated" if self.repeated_requests else "",
            counted(self.damaged_frames, "damaged frame") if self.damaged_frames else "",
            f"{counted(self.repeated_loads, 'boot loader command')} repeated" if self.repeated_loads else "",
            f"the port vanished {counted(self.port_returns, 'time')}, for {self.port_gone_s:.1f} s"
            if self.port_returns
            else "",
        ]
        return ", ".join(part for part in parts if part)
