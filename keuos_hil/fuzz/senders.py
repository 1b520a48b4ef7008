"""What senders that are really killed try: descriptors of the generator, and notifications that are wrong as a whole.

A sender can't be put at any place of the ring: it gets there by what it has sent before, a history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..oracle import Channel, Descriptor, GateAbi, Shadow, Template, after_good
from .cases import Generator
from .difference import Difference, difference_of
from .matrix import FIELDS, MUTATIONS

#: What a sender has done before: valid messages each in a notification of its own, their payload, and valid ones ahead
#: of the case's own in its notification.
HISTORIES = [(good, length, before) for good in (0, 1, 3) for length in (0, 64, 200) for before in (0, 2)]
#: Of so many senders, one has a head or a count that is wrong rather than a descriptor, or finds no room.
NOTIFICATIONS = 16


def _shadow(history: tuple[int, int, int]) -> tuple[int, int]:
    good, length, before = history
    shadow = after_good(good + before, length)
    return shadow.head, shadow.data


#: The first history that leads to an index.
BY_SHADOW = {_shadow(h): h for h in reversed(HISTORIES)}


@dataclass(frozen=True)
class Sender:
    """What one sender does.

    Attributes:
        difference: the descriptor, by what it differs in from the valid one for `head` and `data`, which follow from:
        good: valid messages of `length` bytes sent before, a notification each;
        before, after: valid ones in the same notification.
        n: what notify is told; 0 for as many as were written.
        head_slots, head_data: added to the counters of the head that is published.
    """

    SCHEMA: ClassVar[str] = "keuos-hil/gate-sender/1"

    difference: Difference
    good: int
    length: int
    before: int = 0
    after: int = 0
    n: int = 0
    head_slots: int = 0
    head_data: int = 0
    field: int = 0
    mutation: int = 0

    @property
    def is_ordinary(self) -> bool:
        """Whether the descriptor says all of it: everything else is as :func:`carried` makes it."""
        return replace(self, field=0, mutation=0) == carried(self.difference)

    def as_json(self) -> dict[str, Any]:
        """As a corpus keeps it: without the labels of what it was made by."""
        numbers = {name: value for name, value in asdict(self).items() if name not in ("field", "mutation")}
        return numbers | {"difference": self.difference.as_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Sender:
        """From :meth:`as_json`. Raises KeyError, TypeError or ValueError for anything else."""
        names = ("good", "length", "before", "after", "n", "head_slots", "head_data")
        numbers = {name: int(document[name]) for name in names}
        return cls(Difference.from_json(document["difference"]), **numbers)

    def describe(self) -> str:
        """What it does beside the descriptor, for a person."""
        told = f"notify({self.n})" if self.n else "notify of all"
        text = f"after {self.good} messages of {self.length} bytes: {told}, {self.before} before, {self.after} behind"
        if self.head_slots or self.head_data:
            text += f"; the head is off by {self.head_slots} slots, {self.head_data} bytes"
        return text


def _case(difference: Difference, field: int = 0, mutation: int = 0) -> Sender:
    good, length, before = BY_SHADOW[difference.head, difference.data]
    return Sender(difference, good, length, before, field=field, mutation=mutation)


def carried(difference: Difference, rest: Sender | None = None) -> Sender:
    """A sender that tries it: as `rest` does in everything else, and from a fresh ring if no history leads there."""
    if rest is not None and (difference.head, difference.data) == (rest.difference.head, rest.difference.data):
        return replace(rest, difference=difference)
    if (difference.head, difference.data) not in BY_SHADOW:
        difference = replace(difference, head=0, data=0)
    made = _case(difference)
    if rest is None:
        return made
    return replace(made, after=rest.after, n=rest.n, head_slots=rest.head_slots, head_data=rest.head_data)


def senders(channel: Channel, other: Channel, proofs: list[Template], seed: int) -> Iterator[Sender]:
    """Without end; see :class:`keuos_hil.fuzz.Generator` for what they are made of."""
    abi = channel.abi
    generator = Generator(channel, other, proofs, seed, list(BY_SHADOW))
    rng = np.random.default_rng(seed)
    while True:
        batch = generator.batch(1024)
        of_notifications = rng.integers(0, NOTIFICATIONS, len(batch)) == 0
        for i in range(len(batch)):
            shadow = Shadow(int(batch.heads[i]), int(batch.datas[i]))
            descriptor = Descriptor.parse(abi, batch.descriptors[i].tobytes())
            difference = difference_of(channel, shadow, descriptor)
            made = _case(difference, int(batch.fields[i]), int(batch.mutations[i]))
            yield _of_a_notification(made, abi, rng) if of_notifications[i] else made


def _of_a_notification(made: Sender, abi: GateAbi, rng: np.random.Generator) -> Sender:
    """The same with others behind it, and now and then with another head or count than the true one."""
    made = replace(made, after=int(rng.integers(0, 3)))
    boundary = MUTATIONS.index("boundary")
    kind = int(rng.integers(0, 5))
    if kind == 0:
        by = int(rng.choice([-1, 1, -2, 63, 64, 65, 1 << 30, -(1 << 31)]))
        made = replace(made, head_slots=by, field=FIELDS.index("head"), mutation=boundary)
    elif kind == 1:
        n = int(rng.choice([1, 2, 31, 32, 33, 1 << 31]))
        made = replace(made, n=n, field=FIELDS.index("n"), mutation=boundary)
    elif kind == 2:
        full = Difference(abi.slots, 0, 0, {})  # the mailbox is full
        made = Sender(full, abi.slots, 0, field=FIELDS.index("head"), mutation=MUTATIONS.index("none"))
    elif kind == 3:  # no gate looks at it: a verified consumer goes by the mailbox
        by = int(rng.choice([-1, 1, -64, 64, 4096, 1 << 30, -(1 << 31)]))
        made = replace(made, head_data=by, field=FIELDS.index("head_data"), mutation=boundary)
    return made
