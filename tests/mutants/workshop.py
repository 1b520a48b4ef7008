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
#: What the products are built from, and tests that take their own folder for the sources.
SOURCES = ("kernel", "netd", "tests/host_ring", "tests/arm64")
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

    def _build(self, name: str, what: str, changed: dict[str, str]) -> Built:
        product = self._products[name]
        if self._bounded.run(["make", "-j2", *product.make(changed)], self._log, _BUILD_S) != 0:
            last = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
            raise InfraError(f"{what} does not build; see {self._log}:\n{last}")
        return product.built(changed)
