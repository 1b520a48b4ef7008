"""What the gates must say, from first principles. Pure: no target is touched here.

The rules are those of keuos/channel.h (what a verdict means, and the order of the gates) and docs/security-model.md;
tags come from the `siphash24` package.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import siphash24

#: The kernel's bounds that the rules name: keuos/channel.h. test_oracle.py compares them with the image.
SLOTS = 64
LINE = 64
TEMPLATES_MAX = 128
MARK_DESCRIPTOR = 0xFFFF
U32 = 0xFFFF_FFFF


def tag(key: bytes, sealed_fields: bytes) -> int:
    """SipHash-2-4 of a sealed template's fields before its tag, under the channel's 128-bit key."""
    return int.from_bytes(siphash24.siphash24(sealed_fields, key=key).digest(), "little")


@dataclass(frozen=True)
class Template:
    """struct keuos_template, as sender and receiver declare it in their ELF files."""

    opcode: int
    reserved: int
    flags: int
    max_length: int
    alignment: int

    @classmethod
    def of(cls, record: Any) -> Template:
        """From a decoded structure."""
        return cls(record.opcode, record.reserved, record.flags, record.max_length, record.alignment)

    def lies_within(self, interface: Sequence[Template]) -> bool:
        """Whether the receiver grants it: keuos/channel.h at struct keuos_template."""
        sound = self.reserved == 0 and self.alignment >= LINE and self.alignment.bit_count() == 1
        return sound and any(
            self.opcode == accepted.opcode
            and self.flags & ~accepted.flags == 0
            and self.max_length <= accepted.max_length
            and self.alignment >= accepted.alignment
            for accepted in interface
        )


@dataclass(frozen=True)
class Sealed:
    """struct keuos_sealed."""

    channel: int
    generation: int
    template_index: int
    opcode: int
    flags: int
    max_length: int
    alignment: int
    tag: int = 0

    _LAYOUT = struct.Struct("<IIHHIII")

    def fields(self) -> bytes:
        """The 24 bytes that the tag covers."""
        return self._LAYOUT.pack(
            self.channel, self.generation, self.template_index, self.opcode, self.flags, self.max_length, self.alignment
        )


@dataclass(frozen=True)
class Descriptor:
    """struct keuos_descriptor."""

    word: int
    sealed: Sealed
    offset: int
    length: int
    cookie: tuple[int, int] = (0, 0)

    def __bytes__(self) -> bytes:
        tail = struct.pack("<QIIQQ", self.sealed.tag, self.offset, self.length, *self.cookie)
        return struct.pack("<Q", self.word) + self.sealed.fields() + tail

    @classmethod
    def parse(cls, data: bytes) -> Descriptor:
        """From the 64 bytes of a slot. Raises struct.error for another number of bytes."""
        word, *sealed, offset, length, first, second = struct.unpack("<QIIHHIIIQIIQQ", data)
        return cls(word, Sealed(*sealed), offset, length, (first, second))


@dataclass(frozen=True)
class Channel:
    """What the kernel knows of a channel: made when it was bound.

    Attributes:
        key: 16 bytes, in the order in which SipHash takes them.
        granted: the sealed templates by index.
        data_bytes: of the data ring.
    """

    channel: int
    generation: int
    key: bytes
    data_bytes: int
    granted: dict[int, Sealed]

    @classmethod
    def bound(
        cls,
        channel: int,
        generation: int,
        key: bytes,
        data_bytes: int,
        proofs: Sequence[Template],
        interface: Sequence[Template],
    ) -> Channel:
        """Seal what lies within the interface."""
        granted = {
            index: seal(key, channel, generation, index, template)
            for index, template in enumerate(proofs)
            if template.lies_within(interface)
        }
        return cls(channel, generation, key, data_bytes, granted)


def seal(key: bytes, channel: int, generation: int, index: int, template: Template) -> Sealed:
    """A template bound to one generation of a channel."""
    bare = Sealed(channel, generation, index, template.opcode, template.flags, template.max_length, template.alignment)
    return Sealed(**{**vars(bare), "tag": tag(key, bare.fields())})


@dataclass(frozen=True)
class Shadow:
    """The kernel's own indices: what it has accepted so far."""

    head: int = 0
    data: int = 0

    def after(self, descriptor: Descriptor) -> Shadow:
        """The indices once this one was accepted."""
        return Shadow((self.head + 1) & U32, (descriptor.offset + _rounded(descriptor.length)) & U32)


def _rounded(length: int) -> int:
    return -(-length // LINE) * LINE


def check(channel: Channel, shadow: Shadow, d: Descriptor) -> str:
    """The verdict on one descriptor: the name of an enum keuos_verdict without its prefix, in lower case."""
    claimed = d.sealed
    if claimed.channel != channel.channel:
        return "ownership"
    if claimed.generation != channel.generation:
        return "state"
    # An alignment that is no power of two is judged by its bits: the gate stands before the tag that would refuse it.
    if d.offset % LINE or d.offset & ((claimed.alignment - 1) & U32):
        return "alignment"
    marked = d.word & U32 == MARK_DESCRIPTOR << 16 | claimed.template_index
    if not marked or claimed.template_index not in channel.granted:
        return "template"
    if claimed != channel.granted[claimed.template_index]:
        return "tag"
    skipped = (d.offset - shadow.data) & U32
    if d.length > channel.granted[claimed.template_index].max_length or skipped + d.length > channel.data_bytes:
        return "length"
    if d.word >> 32 != (shadow.head + 1) & U32:
        return "sequence"
    return "ok"


def notify(channel: Channel, shadow: Shadow, head: int, n: int, ring: Sequence[Descriptor]) -> tuple[int, str]:
    """How many descriptors a notification has accepted before the verdict, and the verdict.

    Args:
        head: as the producer published it.
        n: what the producer told the kernel; 1 to 32.
        ring: the descriptors from the shadow's head on. The mailbox is taken to have room.
    """
    published = (head - shadow.head) & U32
    if published > SLOTS or published < n:
        return 0, "index"
    for accepted, descriptor in enumerate(ring[:n]):
        verdict = check(channel, shadow, descriptor)
        if verdict != "ok":
            return accepted, verdict
        shadow = shadow.after(descriptor)
    return n, "ok"
