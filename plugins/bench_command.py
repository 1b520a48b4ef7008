"""A program of the bench's that does one thing and ends: a switch's, labgrid's client. How it failed is one line."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from keuos_hil.errors import InfraError

#: So much of what a failed program said is told.
_SAID = 500


def run_command(
    argv: Sequence[str], timeout: float, *, own_session: bool = False, environment: Mapping[str, str] | None = None
) -> str:
    """Run it; what it said on its standard output.

    Args:
        timeout: seconds that it may take.
        own_session: keep the terminal's Ctrl-C from it.
        environment: instead of this process's.

    Raises:
        InfraError: it can't be run, takes too long, or fails; the text tells what it said.
    """
    shown = " ".join(argv)
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            start_new_session=own_session,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise InfraError(f"`{shown}` did not end within {timeout:g} s") from None
    except OSError as error:
        raise InfraError(f"`{shown}` can't be run: {error.strerror}") from None
    if done.returncode:
        said = (done.stderr + done.stdout).strip()[-_SAID:] or "(nothing)"
        raise InfraError(f"`{shown}` failed with status {done.returncode}; it said: {said}")
    return done.stdout
