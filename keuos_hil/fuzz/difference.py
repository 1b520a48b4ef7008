"""A case as what it differs in from the valid descriptor: short to read, and the same under another key.

The valid descriptor is the one without payload that an honest sender would write next, of the granted template that the
case is nearest to. Each field that differs is kept as the bits that differ; a tag that only a
holder of the key could have made is kept by what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from keuos_hil.oracle import Channel, Descriptor, Sealed, Shadow, tag

#: Fields of the word: the part that an int of the case's word is cut into.
WORD = ("sequence", "mark", "template")
#: What a tag may be, beside the valid one with some bits turned over.
TAG_OF_CLAIM = "of what is claimed"
TAG_OF_TEMPLATE = "of template "
TAG_ZERO = "zero"


@dataclass(frozen=True)
class Difference:
    """One case.

    Attributes:
        head, data: the shadow's counters.
        template: of the valid descriptor.
        bits: field to the bits that are turned over in it. Fields are those of struct keuos_descriptor and
            keuos_sealed, the word in its three parts, the cookies as cookie_0 and cookie_1.
        tag: "" or what the tag is: "of what is claimed", "of template N", "zero". One by another channel's key is
            known by its bits only: under another key it is any wrong tag.
    """

    SCHEMA: ClassVar[str] = "keuos-hil/gate-case/1"

    head: int
    data: int
    template: int
    bits: Mapping[str, int]
    tag: str = ""

    def descriptor(self, channel: Channel) -> tuple[Shadow, Descriptor]:
        """What it is on a channel.

        Raises:
            KeyError: the template is not granted there, or a field is not known.
        """
        shadow = Shadow(self.head, self.data)
        fields = flat(channel, channel.valid(shadow, 0, template=self.template))
        for name, bits in self.bits.items():
            fields[name] ^= bits
        if self.tag.startswith(TAG_OF_TEMPLATE):
            fields["tag"] = channel.granted[int(self.tag.removeprefix(TAG_OF_TEMPLATE))].tag
        elif self.tag == TAG_ZERO:
            fields["tag"] = 0
        made = unflat(channel, fields)
        if self.tag == TAG_OF_CLAIM:
            right = tag(channel.key, made.sealed.covered(channel.abi))
            made = replace(made, sealed=replace(made.sealed, tag=right))
        return shadow, made

    def as_json(self) -> dict[str, Any]:
        """As a corpus keeps it."""
        return asdict(self) | {"bits": {name: hex(bits) for name, bits in self.bits.items()}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Difference:
        """From :meth:`as_json`. Raises KeyError, TypeError or ValueError for anything else."""
        bits = {str(name): int(value, 16) for name, value in document["bits"].items()}
        numbers = {name: int(document[name]) for name in ("head", "data", "template")}
        return cls(**numbers, bits=bits, tag=str(document["tag"]))

    def describe(self, channel: Channel) -> str:
        """A table for a person: each field, the valid value, and the case's where it differs."""
        shadow, made = self.descriptor(channel)
        valid = flat(channel, channel.valid(shadow, 0, template=self.template))
        lines = [f"judged by head {self.head:#x} and data {self.data:#x}; template {self.template}"]
        for name, value in flat(channel, made).items():
            mark = "" if value == valid[name] else f"   <- valid: {valid[name]:#x}"
            if name == "tag" and self.tag:
                mark += f" ({self.tag})"
            lines.append(f"  {name:<16} {value:#x}{mark}")
        return "\n".join(lines)


def difference_of(channel: Channel, shadow: Shadow, descriptor: Descriptor) -> Difference:
    """The case as a difference; :meth:`Difference.descriptor` of the same channel gives it back."""
    fields = flat(channel, descriptor)

    def bits_by(template: int) -> dict[str, int]:
        valid = flat(channel, channel.valid(shadow, 0, template=template))
        return {name: value ^ valid[name] for name, value in fields.items() if value != valid[name]}

    template = min(sorted(channel.granted), key=lambda index: len(bits_by(index)))
    bits = bits_by(template)
    made_of = ""
    if "tag" in bits:
        siblings = [index for index, sealed in channel.granted.items() if sealed.tag == fields["tag"]]
        if fields["tag"] == tag(channel.key, descriptor.sealed.covered(channel.abi)):
            made_of = TAG_OF_CLAIM
        elif fields["tag"] == 0:
            made_of = TAG_ZERO
        elif siblings:
            made_of = f"{TAG_OF_TEMPLATE}{siblings[0]}"
        if made_of:
            del bits["tag"]
    return Difference(shadow.head, shadow.data, template, bits, made_of)


def flat(channel: Channel, descriptor: Descriptor) -> dict[str, int]:
    """A descriptor's fields by name, those of the word and of the sealed part among them."""
    abi = channel.abi
    word = descriptor.word
    parts = {
        "sequence": word >> abi.sequence_shift,
        "mark": word >> abi.length_shift & (1 << abi.sequence_shift - abi.length_shift) - 1,
        "template": word & (1 << abi.length_shift) - 1,
    }
    rest = {"offset": descriptor.offset, "length": descriptor.length}
    cookies = {f"cookie_{i}": value for i, value in enumerate(descriptor.cookie)}
    return parts | vars(descriptor.sealed) | rest | cookies


def unflat(channel: Channel, fields: Mapping[str, int]) -> Descriptor:
    """The inverse of :func:`flat`."""
    return Descriptor(
        word=channel.abi.word(fields["sequence"], fields["template"], fields["mark"]),
        sealed=Sealed(**{name: fields[name] for name in Sealed.__dataclass_fields__}),
        offset=fields["offset"],
        length=fields["length"],
        cookie=(fields["cookie_0"], fields["cookie_1"]),
    )
