"""The images that a look at the code is about."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from keuos_hil import bundled
from keuos_hil.image import Elf


def images(config: pytest.Config, architecture: str, programs: Iterable[str]) -> list[Path]:
    """ELFs with their debug information, the kernel's first: those that the run's options name, or the checkout's.

    Options that name another architecture's are not about these.
    """
    kernel, initrd = config.getoption("keuos_kernel"), config.getoption("keuos_initrd")
    if kernel is not None and Elf.load(Path(kernel)).machine != architecture:
        kernel = initrd = None
    if kernel is None or initrd is None:
        bundled.ensure(architecture)
        paths = bundled.paths(architecture, "release")
        kernel, initrd = kernel or paths.kernel, initrd or paths.initrd
    return [Path(kernel), *(Path(initrd).parent / "user" / f"{name}.elf" for name in programs)]
