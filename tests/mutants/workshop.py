"""A copy of the sources with a fault in it, built. Building again after another fault costs what the fault touches."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keuos_hil import bundled
from keuos_hil.errors import InfraError

from .bounded import Bounded
from .catalogue import Fault

ROOT = Path(__file__).resolve().parents[2]
#: What the images are built from.
SOURCES = ("kernel", "netd", "tests/host_ring")
ARCHITECTURE = "x86_64"
#: Where the programs of the initrd come from: a fault elsewhere does without building them again.
PROGRAMS = ("kernel/user/", "kernel/include/keuos/", "netd/")
_BUILD_S = 900.0


@dataclass(frozen=True)
class Images:
    """What was built, and from what. The HIL kernel: it holds every object of the release build."""

    kernel: Path
    initrd: Path
    tree: Path


class Workshop:
    """One copy and its build.

    Args:
        place: a folder that is this workshop's alone, kept from one run to the next.
        bounded: runs the tools.
    """

    def __init__(self, place: Path, bounded: Bounded) -> None:
        self._tree = place / "tree"
        build = place / "images"
        self._build = build
        self._kernel = build / "hil" / "keuos.elf"
        self._initrd = build / "initrd.cpio"
        self._sound_programs = place / "sound"
        self._bounded = bounded
        self._log = place / "build.log"

    @contextmanager
    def fault(self, fault: Fault | None) -> Iterator[Images]:
        """The images with `fault` in them, or without any; afterwards the sources are whole again.

        Raises:
            InfraError: it doesn't build.
            UsageError: the fault does not fit the sources.
        """
        self._copy()
        changed = fault.apply(lambda name: (self._tree / name).read_text()) if fault else {}
        try:
            for name, text in changed.items():
                (self._tree / name).write_text(text)
            programs = any(name.startswith(PROGRAMS) for name in changed)
            self._make(fault.name if fault else "no fault", [self._kernel] + [self._initrd] * programs)
            yield Images(self._kernel, self._initrd if programs else self._sound_initrd(), self._tree)
        finally:
            self._copy()

    def _copy(self) -> None:
        """Only what differs is written, so that make builds only that."""
        for folder in SOURCES:
            source, copy = ROOT / folder, self._tree / folder
            files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
            for old in [path for path in copy.rglob("*") if path.is_file() and path.relative_to(copy) not in files]:
                old.unlink()
            for name in files:
                content = (source / name).read_bytes()
                to = copy / name
                if not to.is_file() or to.read_bytes() != content:
                    to.parent.mkdir(parents=True, exist_ok=True)
                    to.write_bytes(content)
                    shutil.copymode(source / name, to)

    def _sound_initrd(self) -> Path:
        bundled.ensure(ARCHITECTURE)
        return bundled.snapshot_initrd(ARCHITECTURE, self._sound_programs)

    def _make(self, what: str, wanted: list[Path]) -> None:
        argv = ["make", "-C", str(self._tree / "kernel"), "-j2", f"ARCH={ARCHITECTURE}", f"BUILD={self._build}"]
        argv += map(str, wanted)
        if self._bounded.run(argv, self._log, _BUILD_S) != 0:
            last = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
            raise InfraError(f"{what} does not build; see {self._log}:\n{last}")
