"""What faults are put into: how each product is built from a copy of the sources, and how pytest tests that."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keuos_hil import bundled


@dataclass(frozen=True)
class Built:
    """What was built, and from what.

    Attributes:
        tree: the sources that it was built from.
        arguments: those of pytest that run tests on it.
        everything: all that it is tested by; where a fault is looked for that its own tests have missed.
    """

    tree: Path
    arguments: tuple[str, ...]
    everything: tuple[str, ...]


class Product(Protocol):
    """One of :data:`PRODUCTS`, in one workshop: made from the sources in `tree`, into the folder `to`."""

    def __init__(self, tree: Path, to: Path) -> None: ...

    def make(self, changed: Collection[str]) -> list[str]:
        """The arguments of make. `changed`: the files with a fault in them."""

    def built(self, changed: Collection[str]) -> Built:
        """What that has made."""


class Kernel:
    """The HIL kernel, which holds every object of the release build, and the programs of the initrd."""

    architecture, target = "x86_64", "qemu-x86"
    #: Where those come from: a fault elsewhere does without building them again.
    _PROGRAMS = ("kernel/user/", "kernel/include/keuos/", "netd/")

    def __init__(self, tree: Path, to: Path) -> None:
        self._tree, self._to = tree, to
        self._kernel, self._initrd = to / "hil" / "keuos.elf", to / "initrd.cpio"

    def _has_programs(self, changed: Collection[str]) -> bool:
        return any(name.startswith(self._PROGRAMS) for name in changed)

    def make(self, changed: Collection[str]) -> list[str]:
        """See Product.make."""
        wanted = [self._kernel] + [self._initrd] * self._has_programs(changed)
        return ["-C", str(self._tree / "kernel"), f"ARCH={self.architecture}", f"BUILD={self._to}", *map(str, wanted)]

    def built(self, changed: Collection[str]) -> Built:
        """See Product.built."""
        initrd = self._initrd if self._has_programs(changed) else self._sound_initrd()
        return Built(
            self._tree,
            (f"--target={self.target}", f"--kernel={self._kernel}", f"--initrd={initrd}"),
            (
                "suites/gates",
                "suites/boot",
                "suites/ring",
                "suites/net/test_dma_gate.py",
                "suites/net/test_dma_audit.py",
            ),
        )

    def _sound_initrd(self) -> Path:
        bundled.ensure(self.architecture)
        return bundled.snapshot_initrd(self.architecture, self._to / "sound")


class KernelArm64(Kernel):
    """The same for arm64."""

    architecture, target = "arm64", "qemu-arm64"


class Netd:
    """NetD's stack, built for this host."""

    def __init__(self, tree: Path, to: Path) -> None:
        self._tree, self._to = tree, to
        self._program = to / "host" / "netd-host"

    def make(self, changed: Collection[str]) -> list[str]:
        """See Product.make."""
        del changed
        return ["-C", str(self._tree / "netd"), f"BUILD={self._to}", str(self._program)]

    def built(self, changed: Collection[str]) -> Built:
        """See Product.built."""
        del changed
        return Built(self._tree, ("--target=netd", f"--netd-program={self._program}"), ("suites/tcp",))


#: By the names that the files of faults use.
PRODUCTS: dict[str, type[Product]] = {"kernel": Kernel, "kernel-arm64": KernelArm64, "netd": Netd}
