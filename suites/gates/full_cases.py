"""What senders that are really killed try: descriptors of the generator, and notifications that are wrong as a whole.

A sender can't be put at any place of the ring: it gets there by what it has sent before, a history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from keuos_hil.fuzz import FIELDS, MUTATIONS, Difference, Generator, difference_of
from keuos_hil.image import Image
from keuos_hil.oracle import Channel, Descriptor, GateAbi, Shadow, Template

from .full import ORDER, SENDER, SUPERVISOR, Case, FullGate
from .judgement import Compared, Judge
from .pair import after_good

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


def proofs_of(image: Image) -> list[Template]:
    """The sender's templates."""
    return [Template.of(t) for t in image.templates(SENDER)]


def made_up(abi: GateAbi, image: Image, number: int) -> Channel:
    """A channel between the same programs that nobody has bound: cases are made on it, and carried over."""
    interface = [Template.of(t) for t in image.templates(SUPERVISOR, ".keuos.interface")]
    data_bytes = image.constant("KEUOS_PAGE_BYTES") << ORDER
    return Channel.bound(abi, number, 1, bytes([number] * 16), data_bytes, proofs_of(image), interface)


def _case(difference: Difference, field: int = 0, mutation: int = 0) -> Case:
    good, length, before = BY_SHADOW[difference.head, difference.data]
    return Case(difference, good, length, before, field=field, mutation=mutation)


def carried(difference: Difference, rest: Case | None = None) -> Case:
    """A sender that tries it: as `rest` does in everything else, and from a fresh ring if no history leads there."""
    if rest is not None and (difference.head, difference.data) == (rest.difference.head, rest.difference.data):
        return replace(rest, difference=difference)
    if (difference.head, difference.data) not in BY_SHADOW:
        difference = replace(difference, head=0, data=0)
    made = _case(difference)
    if rest is None:
        return made
    return replace(made, after=rest.after, n=rest.n, head_slots=rest.head_slots, head_data=rest.head_data)


def cases(channel: Channel, other: Channel, proofs: list[Template], seed: int) -> Iterator[Case]:
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


def _of_a_notification(made: Case, abi: GateAbi, rng: np.random.Generator) -> Case:
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
        made = Case(full, abi.slots, 0, field=FIELDS.index("head"), mutation=MUTATIONS.index("none"))
    elif kind == 3:  # no gate looks at it: a verified consumer goes by the mailbox
        by = int(rng.choice([-1, 1, -64, 64, 4096, 1 << 30, -(1 << 31)]))
        made = replace(made, head_data=by, field=FIELDS.index("head_data"), mutation=boundary)
    return made


def by_full(gate: FullGate, rest: Case | None = None) -> Judge:
    """By senders, in waves of their own; of a case that several of them try, the worst that came of it."""

    def judge(differences: Sequence[Difference]) -> list[Compared]:
        gate.take_all()
        made = [carried(difference, rest) for difference in differences]
        return [one for at in range(0, len(made), gate.wave_max) for one in wave(made[at : at + gate.wave_max])]

    def wave(some: Sequence[Case]) -> list[Compared]:
        gate.ask(some)
        compared = [one.compared for one in gate.take()]
        return [min(compared[i :: len(some)], key=lambda one: one.right) for i in range(len(some))]

    return judge
