"""One notification judged: the rules of docs/security-model.md, "The gates of a verified channel", in their order."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import siphash24

from .abi import GateAbi

U32 = 0xFFFF_FFFF
COOKIES = struct.Struct("<QQ")


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

    def lies_within(self, interface: Sequence[Template], line: int) -> bool:
        """Whether the receiver grants it (keuos/channel.h, struct keuos_template). line: the least alignment, bytes."""
        sound = self.reserved == 0 and self.alignment >= line and self.alignment.bit_count() == 1
        return sound and any(
            self.opcode == accepted.opcode
            and self.flags & ~accepted.flags == 0
            and self.max_length <= accepted.max_length
            and self.alignment >= accepted.alignment
            for accepted in interface
        )


@dataclass(frozen=True)
class Sealed:
    """struct keuos_sealed; the fields bear their names in C."""

    channel: int
    generation: int
    template_index: int
    opcode: int
    flags: int
    max_length: int
    alignment: int
    tag: int = 0

    def packed(self, abi: GateAbi) -> bytes:
        """As it lies in memory. Raises struct.error if a field doesn't fit."""
        layout, names = abi.sealed_layout
        own = vars(self)
        return layout.pack(*(own[name] for name in names))

    def covered(self, abi: GateAbi) -> bytes:
        """The bytes that the tag is made of."""
        return self.packed(abi)[: abi.sealed_bytes]


@dataclass(frozen=True)
class Descriptor:
    """struct keuos_descriptor; the fields bear their names in C."""

    word: int
    sealed: Sealed
    offset: int
    length: int
    cookie: tuple[int, int] = (0, 0)

    def packed(self, abi: GateAbi) -> bytes:
        """As it lies in a slot. Raises struct.error if a field doesn't fit."""
        layout, names = abi.descriptor_layout
        own = vars(self) | {"sealed": self.sealed.packed(abi), "cookie": COOKIES.pack(*self.cookie)}
        return layout.pack(*(own[name] for name in names))

    @classmethod
    def parse(cls, abi: GateAbi, data: bytes) -> Descriptor:
        """From the bytes of a slot. Raises struct.error for another number of bytes."""
        layout, names = abi.descriptor_layout
        sealed_layout, sealed_names = abi.sealed_layout
        fields = dict(zip(names, layout.unpack(data), strict=True))
        sealed = Sealed(**dict(zip(sealed_names, sealed_layout.unpack(fields["sealed"]), strict=True)))
        return cls(**fields | {"sealed": sealed, "cookie": COOKIES.unpack(fields["cookie"])})


@dataclass(frozen=True)
class Channel:
    """What the kernel knows of a channel: made when it was bound.

    Attributes:
        key: 16 bytes, in the order in which SipHash takes them.
        granted: the sealed templates by index.
        data_bytes: of the data ring.
    """

    abi: GateAbi
    channel: int
    generation: int
    key: bytes
    data_bytes: int
    granted: dict[int, Sealed]

    @classmethod
    def bound(
        cls,
        abi: GateAbi,
        channel: int,
        generation: int,
        key: bytes,
        data_bytes: int,
        proofs: Sequence[Template],
        interface: Sequence[Template],
    ) -> Channel:
        """Seal what lies within the interface."""
        granted = {
            index: seal(abi, key, channel, generation, index, template)
            for index, template in enumerate(proofs)
            if template.lies_within(interface, abi.line)
        }
        return cls(abi, channel, generation, key, data_bytes, granted)

    def valid(
        self,
        shadow: Shadow,
        length: int,
        *,
        template: int = 0,
        offset: int | None = None,
        cookie: tuple[int, int] = (0, 0),
    ) -> Descriptor:
        """The descriptor that an honest sender would write next.

        Args:
            length: bytes of payload.
            offset: of the payload; by default where the shadow stands, moved up to the template's alignment.
        """
        sealed = self.granted[template]
        aligned = -(-shadow.data // sealed.alignment) * sealed.alignment & U32
        return Descriptor(
            word=self.abi.word(shadow.head + 1, template),
            sealed=sealed,
            offset=aligned if offset is None else offset,
            length=length,
            cookie=cookie,
        )


def seal(abi: GateAbi, key: bytes, channel: int, generation: int, index: int, template: Template) -> Sealed:
    """A template bound to one generation of a channel."""
    bare = Sealed(channel, generation, index, template.opcode, template.flags, template.max_length, template.alignment)
    return replace(bare, tag=tag(key, bare.covered(abi)))


@dataclass(frozen=True)
class Shadow:
    """The kernel's own indices: what it has accepted (slots, data bytes), and what was last seen to be taken."""

    head: int = 0
    data: int = 0
    tail: int = 0
    data_tail: int = 0

    def after(self, descriptor: Descriptor, line: int) -> Shadow:
        """The indices once this one was accepted."""
        payload = -(-descriptor.length // line) * line
        return replace(self, head=(self.head + 1) & U32, data=(descriptor.offset + payload) & U32)


def after_good(good: int, length: int) -> Shadow:
    """The kernel's indices after so many descriptors of that payload."""
    return Shadow(good, good * (-(-length // 64) * 64))


def check(channel: Channel, shadow: Shadow, d: Descriptor) -> str:
    """The verdict on one descriptor: the name of an enum keuos_verdict without its prefix, in lower case."""
    abi, claimed = channel.abi, d.sealed
    if claimed.channel != channel.channel:
        return "ownership"
    if claimed.generation != channel.generation:
        return "state"
    # An alignment that is no power of two is judged by its bits: the gate stands before the tag that would refuse it.
    if d.offset % abi.line or d.offset & ((claimed.alignment - 1) & U32):
        return "alignment"
    marked = d.word & U32 == abi.word(0, claimed.template_index)
    if not marked or claimed.template_index not in channel.granted:
        return "template"
    if claimed != channel.granted[claimed.template_index]:
        return "tag"
    skipped = (d.offset - shadow.data) & U32
    if d.length > channel.granted[claimed.template_index].max_length or skipped + d.length > channel.data_bytes:
        return "length"
    if d.word >> abi.sequence_shift != (shadow.head + 1) & U32:
        return "sequence"
    return "ok"


@dataclass(frozen=True)
class Outcome:
    """What comes of a notification.

    Attributes:
        verdict: of the gate that objected, or "ok".
        accepted: descriptors that were delivered.
        error: what the call returns instead of a number, as an enum keuos_error without prefix; "" if it returns a
            number, or not at all.
        culprit: who dies of it: "producer", "consumer" or "".
        shadow: the kernel's indices afterwards.
    """

    verdict: str
    accepted: int
    error: str
    culprit: str
    shadow: Shadow


def notify(
    channel: Channel,
    shadow: Shadow,
    slot: Callable[[int], Descriptor],
    *,
    n: int,
    head: int,
    tail: tuple[int, int] | None = None,
    is_open: bool = True,
) -> Outcome:
    """A notification by the producer of a verified channel, from its arguments to its last descriptor.

    Args:
        slot: the descriptor at a head counter; asked only for those that the gates look at.
        n: what the producer tells the kernel.
        head: the counter of slots as the producer published it.
        tail: the counters of slots and data bytes as the consumer published them; by default what the shadow has.
        is_open: whether the channel is open.
    """
    abi = channel.abi
    if not 1 <= n <= abi.notify_max:
        return Outcome("ok", 0, "einval", "", shadow)
    if not is_open:
        return Outcome("state", 0, "eclosed", "", shadow)
    slots, data = (shadow.tail, shadow.data_tail) if tail is None else tail
    taken, taken_data = (slots - shadow.tail) & U32, (data - shadow.data_tail) & U32
    if taken > (shadow.head - shadow.tail) & U32 or taken_data > (shadow.data - shadow.data_tail) & U32:
        return Outcome("tail", 0, "eclosed", "consumer", shadow)
    shadow = replace(shadow, tail=slots, data_tail=data)
    published = (head - shadow.head) & U32
    if published > abi.slots or published < n:
        return Outcome("index", 0, "", "producer", shadow)
    room = abi.slots - ((shadow.head - shadow.tail) & U32)
    if room == 0:
        return Outcome("again", 0, "eagain", "", shadow)
    for accepted in range(min(n, room)):
        descriptor = slot(shadow.head)
        verdict = check(channel, shadow, descriptor)
        if verdict != "ok":
            return Outcome(verdict, accepted, "", "producer", shadow)
        shadow = shadow.after(descriptor, abi.line)
    return Outcome("ok", min(n, room), "", "", shadow)
