"""Page tables as the processor walks them, read from outside: from their root and physical memory alone.

What lives here: the formats of architectures (:mod:`.x86_64`, :mod:`.arm64`), the walker and what it finds. Everything
is pure: memory comes through a callable ``read(physical, size)``, as a target's Debug part has one, or a test's
dictionary. What must not live here: what a kernel keeps where, or which mappings are right (:mod:`keuos_hil.auditor`).

An IOMMU's tables are a :class:`Format`, too (:mod:`.vtd`, :mod:`.smmu`). A new architecture adds a module with a
:class:`CpuFormat` and a line in :func:`format_for`.
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
    "format_for",
    "path",
    "translate",
]

_FORMATS: dict[str, CpuFormat] = {"x86_64": X86_64(), "arm64": Arm64()}


def format_for(architecture: str) -> CpuFormat:
    """The format of an architecture, named as targets name it. Raises UsageError if there is none yet."""
    if architecture not in _FORMATS:
        raise UsageError(f"no page-table format for {architecture!r}; there are: {', '.join(_FORMATS)}")
    return _FORMATS[architecture]
