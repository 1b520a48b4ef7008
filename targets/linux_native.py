"""The measuring program of target linux (linux_rows/): compiled from the kernel's own ring source, run, and read.

See :class:`keuos_hil.parts.RowMeter`.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from keuos_hil.errors import InfraError
from keuos_hil.rows import Launch, Missing
from keuos_hil.rows_program import run

_SOURCES = Path(__file__).with_name("linux_rows")
_C_FILES = ("main.c", "floors.c", "rings.c", "kernel.c")
_BOOST = "boost.cc"
_MACHINES = ("x86_64", "aarch64")
#: Optimised and warned about as the kernel's programs are.
_FLAGS = ("-O2", "-g", "-Wall", "-Wextra", "-Werror")
_COMPILE_S = 300.0


def ring_headers() -> Path | None:
    """The folder with keuos/ring.h, in a checkout."""
    folder = Path(__file__).resolve().parent.parent / "kernel" / "include"
    return folder if (folder / "keuos" / "ring.h").is_file() else None


def can_measure() -> bool:
    """Whether this machine and this installation can: a checkout, an architecture that the clock is known of."""
    return ring_headers() is not None and platform.machine() in _MACHINES


class NativeRows:
    """See :class:`keuos_hil.parts.RowMeter`.

    Args:
        directory: gets the program and what it writes.
        compiler: for C. The one for C++ is sought by itself: only boost's rows need it.
        launches, rounds: how much is measured by default.
        defines: of the preprocessor, such as "ROWS_SLOWDOWN=9" for rings that are slower on purpose.
    """

    def __init__(self, directory: Path, compiler: str, launches: int, rounds: int, defines: Sequence[str] = ()) -> None:
        self._directory = directory
        self._compiler = compiler
        self.launches = launches
        self.rounds = rounds
        self._defines = [f"-D{define}" for define in defines]
        self._program: Path | None = None
        self._without: list[Missing] = []

    @property
    def options(self) -> str:
        """The compiler and what it is told. Raises InfraError if it does not run."""
        try:
            done = subprocess.run([self._compiler, "--version"], capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise InfraError(f"the compiler {self._compiler} does not say what it is: {error}") from None
        return " ".join([done.stdout.splitlines()[0], *_FLAGS, *self._defines])

    @property
    def program(self) -> Path:
        """The program, built when first asked for. Raises InfraError if that fails."""
        if self._program is None:
            self._program = self._build()
        return self._program

    def _build(self) -> Path:
        headers = ring_headers()
        if headers is None:
            raise InfraError("the ring's source is not here: rows are measured in a checkout of keuos-hil")
        objects = []
        boost = self._directory / "boost.o"
        plus = next(filter(None, map(shutil.which, ("clang++", "c++", "g++"))), None)
        why = "no C++ compiler; Debian: clang, or g++"
        if plus is not None:
            why = _compile([plus, "-std=gnu++17", *_FLAGS, "-c", str(_SOURCES / _BOOST), "-o", str(boost)])
        if why:
            reason = why if plus is None else f"boost.cc does not compile (Debian: libboost-dev, libstdc++-dev): {why}"
            self._without = [Missing("boost", "", "cross", reason)]
        for name in _C_FILES:
            made = self._directory / f"{name}.o"
            command = [
                self._compiler,
                "-std=gnu17",
                *_FLAGS,
                f"-I{headers}",
                *self._defines,
                *([] if why else ["-DWITH_BOOST"]),
            ]
            if error := _compile([*command, "-c", str(_SOURCES / name), "-o", str(made)]):
                raise InfraError(f"{name} could not be compiled: {error}")
            objects.append(str(made))
        program = self._directory / "linux_rows"
        linker = [self._compiler] if plus is None or why else [plus]
        if error := _compile([*linker, "-o", str(program), *objects, *([] if why else [str(boost)]), "-lrt"]):
            raise InfraError(f"the program that measures rows could not be linked: {error}")
        return program

    def launch(self, seed: int, *, rounds: int | None = None, rows: tuple[str, ...] = ()) -> Launch:
        """One run of the program, on the first two cores that this process may use.

        Args:
            seed: of the order and of the delays.
            rounds: instead of the default.
            rows: only these, each NAME:HOW; all by default.

        Raises:
            InfraError: it does not come to its end.
        """
        made = run(self.program, self._directory, seed=seed, rounds=rounds or self.rounds, rows=rows)
        return Launch(made.hz, made.measured, [*made.missing, *self._without])


def _compile(command: list[str]) -> str:
    """Why it failed, in one line; "" if it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return next((line for line in done.stderr.splitlines() if "error" in line), "it failed") if done.returncode else ""


def main(arguments: Sequence[str]) -> int:
    """Build the program into a folder, for `keuos-hil compare`; DEFINE ... are of the preprocessor."""
    if not arguments:
        print("usage: python -m keuos_hil.targets.linux_native DIRECTORY [DEFINE ...]", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    try:
        directory.mkdir(parents=True, exist_ok=True)
        compiler = shutil.which("clang") or shutil.which("cc") or "cc"
        print(NativeRows(directory, compiler, 1, 1, arguments[1:]).program)
    except (OSError, InfraError) as error:
        print(f"linux_native: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
