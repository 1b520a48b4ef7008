"""Batches of descriptors by structured mutation, made with numpy.

Each case is a descriptor and the shadow indices that it is judged by. It starts as the valid one for those indices and
a granted template, and is then changed in one way; labels say which field and how. Shares are chosen so that every gate
is met often, the last one by at least a fifth of the cases (a random descriptor never gets past the first).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.oracle import BulkOracle, Channel, GateAbi, Template, siphash_2_4
from keuos_hil.oracle.bulk import rows_of

from .matrix import FIELDS, MUTATIONS

U32, U64 = np.uint32, np.uint64
Rows = NDArray[Any]

#: The fields of the word: how far up, and how many bits; their shifts are checked against the abi when one is made.
_SEALED = ("channel", "generation", "template_index", "opcode", "flags", "max_length", "alignment", "tag")


@dataclass
class Batch:
    """Cases in arrays of one length.

    Attributes:
        descriptors: as they lie in the slots; of the abi's dtype.
        heads, datas: the shadow's counters that each is judged by.
        fields, mutations: what was changed, and how: indices into FIELDS and MUTATIONS.
    """

    descriptors: Rows
    heads: NDArray[np.uint32]
    datas: NDArray[np.uint32]
    fields: NDArray[np.uint8]
    mutations: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.descriptors)

    def taken(self, order: NDArray[np.intp]) -> Batch:
        """The cases of these indices, in that order."""
        return Batch(
            rows_of(self.descriptors, order),
            self.heads[order],
            self.datas[order],
            self.fields[order],
            self.mutations[order],
        )


@dataclass(frozen=True)
class _Field:
    """Where a field lies: as numbers are got out of rows and put back in."""

    name: str
    bits: int
    get: Callable[[Rows], NDArray[np.uint64]]
    put: Callable[[Rows, NDArray[np.uint64]], None]


def _plain(name: str, path: tuple[str, ...], dtype: np.dtype[Any]) -> _Field:
    for step in path:
        dtype = dtype[step]

    def get(rows: Rows) -> NDArray[np.uint64]:
        for step in path:
            rows = rows[step]
        return rows.astype(U64)

    def put(rows: Rows, values: NDArray[np.uint64]) -> None:
        for step in path:
            rows = rows[step]
        rows[:] = values.astype(rows.dtype)

    return _Field(name, dtype.itemsize * 8, get, put)


def _in_word(name: str, shift: int, bits: int) -> _Field:
    low, at = U64((1 << bits) - 1), U64(shift)

    def get(rows: Rows) -> NDArray[np.uint64]:
        found: NDArray[np.uint64] = rows["word"] >> at & low
        return found

    def put(rows: Rows, values: NDArray[np.uint64]) -> None:
        rows["word"] = rows["word"] & ~(low << at) | (values & low) << at

    return _Field(name, bits, get, put)


def fields_of(abi: GateAbi) -> dict[str, _Field]:
    """The single fields of a descriptor by name, cookies apart."""
    word_bits = abi.descriptor["word"].itemsize * 8
    found = [
        _in_word("sequence", abi.sequence_shift, word_bits - abi.sequence_shift),
        _in_word("mark", abi.length_shift, abi.sequence_shift - abi.length_shift),
        _in_word("template", 0, abi.length_shift),
        *(_plain(name, ("sealed", name), abi.descriptor) for name in _SEALED),
        *(_plain(name, (name,), abi.descriptor) for name in ("offset", "length")),
    ]
    return {field.name: field for field in found}


def field_of_each_bit(abi: GateAbi) -> NDArray[np.uint8]:
    """For each bit of a descriptor, as it lies in memory, the index of its field in FIELDS."""
    named = {name: FIELDS.index(name) for name in fields_of(abi)}
    owner = np.full(abi.descriptor.itemsize * 8, FIELDS.index("cookie"), np.uint8)
    outer: Any = abi.descriptor.fields
    inner: Any = abi.sealed.fields
    starts = {name: outer["sealed"][1] + inner[name][1] for name in _SEALED}
    starts |= {name: outer[name][1] for name in ("offset", "length")}
    sizes = {name: abi.sealed[name].itemsize for name in _SEALED}
    sizes |= {name: abi.descriptor[name].itemsize for name in ("offset", "length")}
    for name, start in starts.items():
        owner[start * 8 : (start + sizes[name]) * 8] = named[name]
    word = outer["word"][1] * 8
    for name, shift in (("template", 0), ("mark", abi.length_shift), ("sequence", abi.sequence_shift)):
        owner[word + shift : word + abi.descriptor["word"].itemsize * 8] = named[name]
    return owner


class Generator:
    """Makes batches for one channel.

    Args:
        channel: whose gates judge; at least two of its templates are granted.
        other: another channel between the same programs: its tags are tried here.
        proofs: the sender's templates, granted or not.
        seed: of everything that is drawn.
        shadows: pairs of head and data to draw the indices from; by default any are.
    """

    def __init__(
        self,
        channel: Channel,
        other: Channel,
        proofs: list[Template],
        seed: int,
        shadows: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        self._shadows = None if shadows is None else np.array(shadows, U32)
        self.channel = channel
        self.abi = channel.abi
        self._rng = np.random.default_rng(seed)
        self._table = BulkOracle(channel).table
        self._other = BulkOracle(other).table
        # A descriptor of each template but for what the shadow decides.
        self._bare = np.zeros(self.abi.templates_max, self.abi.descriptor)
        self._bare["sealed"] = self._table
        self._bare["word"] = [self.abi.word(0, index) for index in range(self.abi.templates_max)]
        self._granted = np.array(sorted(channel.granted), np.intp)
        self._proofs = proofs
        self._fields = fields_of(self.abi)
        self._bit_owner = field_of_each_bit(self.abi)
        self._next_bit = 0
        # Shares of a batch, in 1/256.
        self._recipes: list[tuple[int, Callable[[Batch], None]]] = [
            (20, self._valid), (48, self._bits), (20, self._sequences), (22, self._offsets), (16, self._lengths),
            (10, self._cookies), (26, self._boundaries), (14, self._random_fields), (14, self._steps),
            (12, self._swapped), (8, self._stale), (12, self._siblings), (12, self._tags), (12, self._forged),
            (6, self._several), (4, self._free),
        ]  # fmt: skip

    def batch(self, count: int) -> Batch:
        """The next `count` cases, of all kinds, mixed."""
        made = self._base(count)
        valid = made.descriptors.copy()
        total = sum(share for share, _ in self._recipes)
        at = share_so_far = 0
        for share, recipe in self._recipes:
            share_so_far += share
            end = count * share_so_far // total
            if end > at:
                recipe(_slice(made, at, end))
            at = end
        words, before = (rows.view("<u8").reshape(count, -1) for rows in (made.descriptors, valid))
        same = (words == before).all(axis=1)  # the double of zero, a sibling that is the template itself
        made.fields[same], made.mutations[same] = FIELDS.index("none"), MUTATIONS.index("none")
        return made.taken(self._rng.permutation(count))

    # What a case starts from -------------------------------------------------------------------------------------

    def _pick(self, values: list[int] | NDArray[Any], count: int) -> NDArray[np.uint64]:
        return np.asarray(values, U64)[self._rng.integers(0, len(values), count)]

    def _counters(self, count: int) -> NDArray[np.uint64]:
        """Free-running counters: anywhere, or around where they wrap."""
        anywhere = self._rng.integers(0, 1 << 32, count, U32)
        edge = self._pick([0, 1, 63, 64, 1 << 31, 0xFFFF_FFFF, 0xFFFF_FFC0, 0xFFFF_FF00], count)
        return np.where(self._rng.integers(0, 2, count, np.uint8) == 0, anywhere, edge)

    def _base(self, count: int) -> Batch:
        """Valid descriptors. Offsets skip some of the ring now and then, lengths go up to what is left."""
        abi, rng = self.abi, self._rng
        line = abi.line
        if self._shadows is None:
            heads = self._counters(count).astype(U32)
            datas = self._counters(count).astype(U32) & ~U32(line - 1)
        else:
            heads, datas = self._shadows[rng.integers(0, len(self._shadows), count)].T.copy()
        template = self._granted[rng.integers(0, len(self._granted), count)]
        rows = rows_of(self._bare, template)
        alignment: NDArray[np.uint32] = rows["sealed"]["alignment"]
        start = (datas + (alignment - U32(1))) & ~(alignment - U32(1))
        skip = rng.integers(0, 4, count, U32) * (rng.integers(0, 4, count, np.uint8) == 0)
        rows["offset"] = start + skip * alignment
        room = U64(self.channel.data_bytes) - (rows["offset"] - datas).astype(U64)
        most = np.minimum(room, rows["sealed"]["max_length"])
        rows["length"] = most * np.square(rng.random(count, np.float32))
        rows["cookie"] = np.frombuffer(rng.bytes(count * 16), U64).reshape(count, 2)
        rows["word"] |= (heads + U32(1)).astype(U64) << U64(abi.sequence_shift)
        return Batch(rows, heads, datas, np.zeros(count, np.uint8), np.zeros(count, np.uint8))

    # The recipes -------------------------------------------------------------------------------------------------

    def _valid(self, part: Batch) -> None:
        _label(part, "none", "none")

    def _bits(self, part: Batch) -> None:
        """Every bit in turn, through all batches."""
        count = len(part)
        bits = (self._next_bit + np.arange(count)) % len(self._bit_owner)
        self._next_bit = int(bits[-1]) + 1
        octets = part.descriptors.view(np.uint8).reshape(count, -1)
        octets[np.arange(count), bits // 8] ^= np.left_shift(np.uint8(1), (bits % 8).astype(np.uint8))
        part.fields[:] = self._bit_owner[bits]
        part.mutations[:] = MUTATIONS.index("bit")

    def _sequences(self, part: Batch) -> None:
        """Replayed, skipped, of another round."""
        field = self._fields["sequence"]
        by = self._pick([1, 2, 63, 64, 65, 128, 1 << 16, 1 << 31, 2**32 - 1, 2**32 - 64, 2**32 - 65], len(part))
        field.put(part.descriptors, field.get(part.descriptors) + by)
        _label(part, "sequence", "stale")

    def _offsets(self, part: Batch) -> None:
        """Behind the shadow, at and past the window's end; off the line."""
        ring = self.channel.data_bytes
        length = part.descriptors["length"].astype(U64)
        rounded = length + U64(self.abi.line - 1) & ~U64(self.abi.line - 1)
        by = self._pick([0, 64, 128, 256, 2**32 - 64, 2**32 - 256, 1, 8, 63, 1 << 31, 2**32 - ring], len(part))
        at_end = U64(ring) - rounded + self._pick([0, 64, 2**32 - 64, 256], len(part))
        choose = self._rng.integers(0, 2, len(part), np.uint8) == 0
        part.descriptors["offset"] = (part.datas + np.where(choose, by, at_end)).astype(U32)
        _label(part, "offset", "boundary")

    def _lengths(self, part: Batch) -> None:
        """About the template's maximum and the window's end."""
        ring, rows = self.channel.data_bytes, part.descriptors
        most = rows["sealed"]["max_length"].astype(U64)
        room = U64(ring) - (rows["offset"] - part.datas).astype(U64)
        start = np.where(self._rng.integers(0, 2, len(part), np.uint8) == 0, most, room)
        rows["length"] = (start + self._pick([0, 1, 2**32 - 1, 64, 2**32 - 64, 2**32 - ring], len(part))).astype(U32)
        _label(part, "length", "boundary")

    def _cookies(self, part: Batch) -> None:
        part.descriptors["cookie"] = self._pick([0, 1, 2**64 - 1, 1 << 63], len(part))[:, np.newaxis]
        _label(part, "cookie", "boundary")

    def _by_field(self, part: Batch, mutation: str, change: Callable[[_Field, Batch], NDArray[np.uint64]]) -> None:
        """The part divided among all fields."""
        count = len(self._fields)
        for i, field in enumerate(self._fields.values()):
            some = _slice(part, len(part) * i // count, len(part) * (i + 1) // count)
            if len(some):
                field.put(some.descriptors, change(field, some))
                _label(some, field.name, mutation)

    def _boundaries(self, part: Batch) -> None:
        tables = self.abi.templates_max

        def change(field: _Field, some: Batch) -> NDArray[np.uint64]:
            top = (1 << field.bits) - 1
            values = [0, 1, 2, top, top - 1, top >> 1, (top >> 1) + 1]
            values += [v & top for v in (63, 64, 65, tables - 1, tables, len(self._proofs), self.channel.data_bytes)]
            return self._pick(values, len(some))

        self._by_field(part, "boundary", change)

    def _random_fields(self, part: Batch) -> None:
        self._by_field(part, "random", lambda field, some: self._rng.integers(0, 2**63, len(some), U64) << U64(1))

    def _steps(self, part: Batch) -> None:
        """One more, one less, a line more, twice, half."""

        def change(field: _Field, some: Batch) -> NDArray[np.uint64]:
            value = field.get(some.descriptors)
            by = self._pick([1, 2**64 - 1, 2, 64, 2**64 - 64, 256], len(some))
            return np.where(self._rng.integers(0, 4, len(some)) == 0, value << U64(1), value + by)

        self._by_field(part, "step", change)

    def _swapped(self, part: Batch) -> None:
        """Sealed for the other channel: all of it, all but the numbers, or the tag alone."""
        rows = part.descriptors
        theirs = self._other[self._fields["template"].get(rows).astype(np.intp)]
        third = len(part) // 3
        rows["sealed"][:third] = theirs[:third]
        _label(_slice(part, 0, third), "sealed", "swapped")
        for name in ("template_index", "opcode", "flags", "max_length", "alignment", "tag"):
            rows["sealed"][name][third:] = theirs[name][third:]
        _label(_slice(part, third, len(part)), "tag", "swapped")

    def _stale(self, part: Batch) -> None:
        """As an older generation of this channel sealed it, and with that tag under today's number."""
        rows = part.descriptors
        rows["sealed"]["generation"] -= self._rng.integers(1, 3, len(part), U32)
        self._seal(part)
        half = len(part) // 2
        rows["sealed"]["generation"][half:] = self.channel.generation
        _label(_slice(part, 0, half), "generation", "stale")
        _label(_slice(part, half, len(part)), "tag", "stale")

    def _siblings(self, part: Batch) -> None:
        """Tags, sealed fields and numbers of another template that is granted here, too."""
        rows = part.descriptors
        sibling = self._table[self._granted[self._rng.integers(0, len(self._granted), len(part))]]
        third = len(part) // 3
        rows["sealed"]["tag"][:third] = sibling["tag"][:third]
        _label(_slice(part, 0, third), "tag", "sibling")
        rows["sealed"][third : 2 * third] = sibling[third : 2 * third]
        _label(_slice(part, third, 2 * third), "sealed", "sibling")
        rest = _slice(part, 2 * third, len(part))
        for name in ("template", "template_index"):
            self._fields[name].put(rest.descriptors, sibling["template_index"][2 * third :].astype(U64))
        _label(rest, "template_index", "sibling")

    def _tags(self, part: Batch) -> None:
        """Right in one half only, zero, and all ones."""
        count = len(part)
        tags = part.descriptors["sealed"]["tag"]
        quarter = count // 4
        noise = self._rng.integers(1, 1 << 32, count, U64)
        tags[:quarter] ^= noise[:quarter] << U64(32)
        tags[quarter : 2 * quarter] ^= noise[quarter : 2 * quarter]
        _label(_slice(part, 0, 2 * quarter), "tag", "truncated")
        tags[2 * quarter :] = 0
        _label(_slice(part, 2 * quarter, count), "tag", "zero")

    def _forged(self, part: Batch) -> None:
        """With the tag that is right for what it claims, as if the sender held the key: nothing but the table helps."""
        rows, rng, count = part.descriptors, self._rng, len(part)
        sealed = rows["sealed"]
        half = count // 2
        known = np.zeros(len(self._proofs), self.abi.sealed)
        for name in ("opcode", "flags", "max_length", "alignment"):
            known[name] = [getattr(template, name) for template in self._proofs]
        which = rng.integers(0, len(self._proofs), half)
        for name in ("opcode", "flags", "max_length", "alignment"):
            sealed[name][:half] = known[name][which]
        index = np.where(rng.integers(0, 2, half) == 0, which, rng.integers(0, 2 * self.abi.templates_max, half))
        sealed["template_index"][:half] = index
        self._fields["template"].put(rows[:half], index.astype(U64))
        _label(_slice(part, 0, half), "template_index", "forged")
        sealed["max_length"][half:] = rng.integers(0, 1 << 32, count - half, U32)
        sealed["flags"][half:] = self._pick([0, 1, 0xFF, 0x100, 0xFFFF_FFFF], count - half)
        _label(_slice(part, half, count), "sealed", "forged")
        self._seal(part)

    def _several(self, part: Batch) -> None:
        """Two to four fields at once."""
        names = list(self._fields)
        for _ in range(4):
            field = self._fields[names[int(self._rng.integers(len(names)))]]
            some = part.descriptors[self._rng.integers(0, 2) :: 2]
            field.put(some, self._pick([0, 1, 64, 255, 0xFFFF, 2**32 - 1], len(some)))
        _label(part, "several", "random")

    def _free(self, part: Batch) -> None:
        """Random bytes; half of them under the right channel and generation, so that they get past the first gates."""
        count = len(part)
        part.descriptors.view(np.uint8)[:] = self._rng.integers(0, 256, count * self.abi.descriptor.itemsize, np.uint8)
        part.descriptors["sealed"]["channel"][: count // 2] = self.channel.channel
        part.descriptors["sealed"]["generation"][: count // 2] = self.channel.generation
        _label(part, "all", "random")

    def _seal(self, part: Batch) -> None:
        sealed = np.ascontiguousarray(part.descriptors["sealed"])
        covered = sealed.view(np.uint8).reshape(len(part), -1)[:, : self.abi.sealed_bytes]
        part.descriptors["sealed"]["tag"] = siphash_2_4(self.channel.key, covered)


def _slice(batch: Batch, start: int, end: int) -> Batch:
    at = slice(start, end)
    return Batch(batch.descriptors[at], batch.heads[at], batch.datas[at], batch.fields[at], batch.mutations[at])


def _label(part: Batch, field: str, mutation: str) -> None:
    part.fields[:] = FIELDS.index(field)
    part.mutations[:] = MUTATIONS.index(mutation)
