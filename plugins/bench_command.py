"""A program of the bench's that does one thing and ends: a switch's, labgrid's client. How it failed is one line."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from keuos_hil.errors import InfraError

#: So much of what a failed program said is told, and of the line that is told first.
_SAID, _LINE = 500, 200


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
        raise InfraError(f"`{shown}` failed with status {done.returncode}; it said: {_said(done.stderr, done.stdout)}")
    return done.stdout


def _said(errors: str, output: str) -> str:
    """The last line, the one that tells what was wrong if it is a traceback's; below it all, if there are more.

    Whoever has room for one line only takes the first.
    """
    said = errors.strip() or output.strip()
    last = said[said.rfind("\n") + 1 :].strip()[-_LINE:] or "(nothing)"
    everything = f"{output}{errors}".strip()[-_SAID:]
    return f"{last}\n{everything}" if "\n" in everything else last
