"""Runs the program that measures rows, once, on the first two cores that this process may use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .errors import InfraError
from .rows import Launch, parse

#: Of one launch; a loaded machine takes seconds for a round.
_LAUNCH_S = 120.0
_ROUND_S = 20.0


def run(program: Path, directory: Path, *, seed: int, rounds: int, rows: Sequence[str] = ()) -> Launch:
    """One launch of `program`; what it writes into `directory` is read and removed.

    Args:
        seed: of the order and of the delays.
        rows: only these, each NAME:HOW; all by default.

    Raises:
        InfraError: it does not come to its end.
    """
    output = directory / "visits.bin"
    cores = [*sorted(os.sched_getaffinity(0)), -1][:2]
    command = [str(program), str(output), str(rounds), str(seed % 2**62), *map(str, cores), *rows]
    try:
        limit = _LAUNCH_S + rounds * _ROUND_S
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        if done.returncode:
            why = done.stderr.strip() or f"it ended with status {done.returncode}"
            raise InfraError(f"the program that measures rows: {why}")
        data = output.read_bytes()
        output.unlink()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfraError(f"the program that measures rows: {error}") from None
    return parse(done.stdout, data)
