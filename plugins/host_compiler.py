"""The compiler of programs that run on this machine beside the tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from keuos_hil.errors import InfraError

_COMPILERS = ("cc", "clang", "gcc")
_BUILD_S = 120


def compiler() -> str:
    """A C compiler. Raises InfraError if there is none."""
    for name in _COMPILERS:
        if (found := shutil.which(name)) is not None:
            return found
    raise InfraError("a C compiler is needed, and there is neither cc, clang nor gcc; Debian: clang")


def compile_c(sources: Sequence[Path], output: Path, *flags: str, libraries: Sequence[str] = ()) -> Path:
    """Compile `sources` into `output`, and return that.

    Raises:
        InfraError: there is no compiler, or it refuses.
    """
    command = [compiler(), "-std=gnu17", "-O1", *flags, *map(str, sources), "-o", str(output), *libraries]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfraError(f"{sources[0].name} could not be compiled: {error}") from None
    if done.returncode:
        raise InfraError(f"{sources[0].name} could not be compiled: {done.stderr.strip()}")
    return output
