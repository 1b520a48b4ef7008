"""What the gates must say, from first principles: the verdict on any descriptor, for any state and history of its ring.

Pure: no target is touched here and nothing is asked of the kernel. What goes in are the layouts and enumerators of the
image's debug information (:mod:`.abi`), the templates of a sender's `.keuos.proofs` and of a receiver's
`.keuos.interface`, and a channel's key. The rules are those of docs/security-model.md, written a second time and
independently of the kernel's C; tags come from the `siphash24` package.

:mod:`.gates` judges one notification, :mod:`.bulk` arrays of descriptors with numpy; tests/test_oracle.py holds each to
the other. What must not live here: which descriptors are worth trying (:mod:`keuos_hil.fuzz`).
"""

from .abi import Described, GateAbi
from .bulk import BulkOracle
from .gates import Channel, Descriptor, Outcome, Sealed, Shadow, Template, after_good, check, notify, seal, tag
from .siphash import siphash_2_4

__all__ = [
    "BulkOracle",
    "Channel",
    "Described",
    "Descriptor",
    "GateAbi",
    "Outcome",
    "Sealed",
    "Shadow",
    "Template",
    "after_good",
    "check",
    "notify",
    "seal",
    "siphash_2_4",
    "tag",
]
