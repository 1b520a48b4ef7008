"""Page tables as the processor walks them, read from outside: from their root and physical memory alone.

What lives here: the formats of architectures (:mod:`.x86_64`, :mod:`.arm64`), the walker and what it finds. Everything
is pure: memory comes through a callable ``read(physical, size)``, as a target's Debug part has one, or a test's
dictionary. What must not live here: what a kernel keeps where, or which mappings are right (:mod:`keuos_hil.auditor`).

An IOMMU's tables are a :class:`Format`, too (:mod:`.vtd`, :mod:`.smmu`). A new architecture adds a module with a
:class:`CpuFormat`, and the class to those behind :func:`format_for`.
"""

from __future__ import annotations

from keuos_hil.errors import UsageError

from .arm64 import Arm64
from .format import Caching, CpuFormat, Decoded, Format, Rights
from .smmu import SmmuStage1
from .vtd import VtdSecondLevel
from .walk import Mapping, PageMap, Read, Step, Walker, path, translate
from .x86_64 import X86_64

__all__ = [
    "ARCHITECTURES",
    "X86_64",
    "Arm64",
    "Caching",
    "CpuFormat",
    "Decoded",
    "Format",
    "Mapping",
    "PageMap",
    "Read",
    "Rights",
    "SmmuStage1",
    "Step",
    "VtdSecondLevel",
    "Walker",
    "architecture_of",
    "format_for",
    "path",
    "translate",
]

_FORMATS: dict[str, CpuFormat] = {known.name: known for known in (X86_64(), Arm64())}
#: Those whose format is known, named as targets name them.
ARCHITECTURES = tuple(_FORMATS)


def architecture_of(machine: str) -> str:
    """How targets name what ELF calls `machine`: as its format does, else as ELF does, such as "riscv" for EM_RISCV."""
    known = next((known.name for known in _FORMATS.values() if known.machine == machine), None)
    return known or machine.removeprefix("EM_").lower()


def format_for(architecture: str) -> CpuFormat:
    """The format of an architecture, named as targets name it. Raises UsageError if there is none yet."""
    if architecture not in _FORMATS:
        raise UsageError(f"no page-table format for {architecture!r}; there are: {', '.join(_FORMATS)}")
    return _FORMATS[architecture]
