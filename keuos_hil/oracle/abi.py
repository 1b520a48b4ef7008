"""The layouts, bounds and verdicts that the gates' rules are written in, as the booted image declares them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

_VERDICT = "KEUOS_VERDICT_"
#: Of unsigned numbers, by bytes.
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Described(Protocol):
    """Whoever knows an image's types and enumerators; :class:`keuos_hil.image.Image` does."""

    def struct(self, name: str) -> np.dtype[Any]:
        """The layout of a structure. Raises ImageError if there is none of that name."""
        ...

    def constant(self, name: str) -> int:
        """The value of an enumerator. Raises ImageError if there is none of that name."""
        ...

    def enumerators(self, name: str, prefix: str) -> dict[int, str]:
        """Value to name, `prefix` taken off and in lower case."""
        ...


def _packer(dtype: np.dtype[Any]) -> tuple[struct.Struct, tuple[str, ...]]:
    """Standard library's struct is ten times as fast as numpy where one structure is packed at a time."""
    fields: Any = dtype.fields
    names = tuple(sorted(fields, key=lambda name: int(fields[name][1])))
    form, at = "<", 0
    for name in names:
        inner, offset = fields[name][:2]
        plain = inner.names is None and not inner.shape
        form += f"{offset - at}x" + (_CODES[inner.itemsize] if plain else f"{inner.itemsize}s")
        at = offset + inner.itemsize
    return struct.Struct(f"{form}{dtype.itemsize - at}x"), names


@dataclass(frozen=True)
class GateAbi:
    """keuos/channel.h, as far as the gates go by it.

    Attributes:
        slots: descriptors that a ring and a mailbox hold.
        line: bytes; every payload starts on a multiple of it.
        templates_max: entries of the sealed table.
        notify_max: most descriptors of one notification.
        mark: what the length field of a word holds if the slot is a descriptor.
        sequence_shift, length_shift: where the fields of a word begin; the template's index is its lowest bits.
        verdicts: name to number; names are those of enum keuos_verdict without prefix, in lower case.
    """

    descriptor: np.dtype[Any]
    sealed: np.dtype[Any]
    template: np.dtype[Any]
    slots: int
    line: int
    templates_max: int
    notify_max: int
    mark: int
    sequence_shift: int
    length_shift: int
    verdicts: dict[str, int]

    @classmethod
    def of(cls, image: Described) -> GateAbi:
        """Read off an image's debug information. Raises ImageError for one without KeuOS's channels."""
        numbers = {
            name: value for value, name in image.enumerators("keuos_verdict", _VERDICT).items() if name != "count"
        }
        return cls(
            descriptor=image.struct("keuos_descriptor"),
            sealed=image.struct("keuos_sealed"),
            template=image.struct("keuos_template"),
            slots=image.constant("KEUOS_SLOTS"),
            line=image.constant("KEUOS_DATA_ALIGNMENT"),
            templates_max=image.constant("KEUOS_TEMPLATES_MAX"),
            notify_max=image.constant("KEUOS_NOTIFY_MAX"),
            mark=image.constant("KEUOS_LENGTH_DESCRIPTOR"),
            sequence_shift=image.constant("KEUOS_WORD_SEQUENCE_SHIFT"),
            length_shift=image.constant("KEUOS_WORD_LENGTH_SHIFT"),
            verdicts=numbers,
        )

    @cached_property
    def names(self) -> dict[int, str]:
        """Verdicts by number."""
        return {number: name for name, number in self.verdicts.items()}

    @cached_property
    def sealed_bytes(self) -> int:
        """How many bytes of struct keuos_sealed the tag covers: those before it."""
        fields: Any = self.sealed.fields
        return int(fields["tag"][1])

    @cached_property
    def sealed_layout(self) -> tuple[struct.Struct, tuple[str, ...]]:
        """How struct keuos_sealed is packed, and its fields in the order of their offsets."""
        return _packer(self.sealed)

    @cached_property
    def descriptor_layout(self) -> tuple[struct.Struct, tuple[str, ...]]:
        """The same of struct keuos_descriptor; what is no number in it goes as bytes."""
        return _packer(self.descriptor)

    def word(self, sequence: int, template: int, mark: int | None = None) -> int:
        """A descriptor's first word; sequence and template are taken modulo their fields' sizes."""
        length = self.mark if mark is None else mark
        low_bits = (1 << self.length_shift) - 1
        high = (sequence & 0xFFFF_FFFF) << self.sequence_shift
        return high | length << self.length_shift | template & low_bits
