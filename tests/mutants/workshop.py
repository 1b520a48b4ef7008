"""A copy of the sources with a fault in it, built. Building again after another fault costs what the fault touches."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keuos_hil.errors import InfraError

from .bounded import Bounded
from .catalogue import Fault
from .products import PRODUCTS, Built

ROOT = Path(__file__).resolve().parents[2]
#: What the products are built from, and tests that take their own folder for the sources. Folders and files.
SOURCES = (
    "kernel",
    "netd",
    "tests/built.py",
    "tests/host_cases.h",
    "tests/host_ring",
    "tests/arm64",
    "tests/test_speculation.py",
    "tests/uart",
)
_BUILD_S = 900.0


class Workshop:
    """One copy and its builds.

    Args:
        place: a folder that is this workshop's alone, kept from one run to the next.
        bounded: runs the tools.
    """

    def __init__(self, place: Path, bounded: Bounded) -> None:
        self._tree = place / "tree"
        self._products = {name: product(self._tree, place / name) for name, product in PRODUCTS.items()}
        self._bounded = bounded
        self._log = place / "build.log"

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[Built]:
        """Its product with `fault` in it; afterwards the sources are whole again.

        Raises:
            InfraError: it doesn't build.
            UsageError: the fault does not fit the sources.
        """
        self._copy()
        changed = fault.apply(lambda name: (self._tree / name).read_text())
        try:
            for name, text in changed.items():
                (self._tree / name).write_text(text)
            yield self._build(fault.product, fault.name, changed)
        finally:
            self._copy()

    def sound(self, product: str) -> Built:
        """`product` without any fault. Raises InfraError if it doesn't build."""
        self._copy()
        return self._build(product, f"{product} without a fault", {})

    def _copy(self) -> None:
        """Only what differs is written, so that make builds only that."""
        for place in SOURCES:
            files = {path.relative_to(ROOT) for path in _files(ROOT / place)}
            for old in [path for path in _files(self._tree / place) if path.relative_to(self._tree) not in files]:
                old.unlink()
            for name in files:
                source, to = ROOT / name, self._tree / name
                content = source.read_bytes()
                if not to.is_file() or to.read_bytes() != content:
                    to.parent.mkdir(parents=True, exist_ok=True)
                    to.write_bytes(content)
                    shutil.copymode(source, to)

    def _build(self, name: str, what: str, changed: dict[str, str]) -> Built:
        product = self._products[name]
        if self._bounded.run(["make", "-j2", *product.make(changed)], self._log, _BUILD_S) != 0:
            last = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
            raise InfraError(f"{what} does not build; see {self._log}:\n{last}")
        return product.built(changed)


def _files(place: Path) -> list[Path]:
    """`place` itself, or what is below it."""
    return [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
