"""Senders that are really killed, as the judge of differences (:mod:`keuos_hil.fuzz.senders` says what they try)."""

from __future__ import annotations

from collections.abc import Sequence

from keuos_hil.fuzz import Sender, carried
from keuos_hil.image import Image
from keuos_hil.oracle import Channel, GateAbi, Template

from .full import ORDER, SENDER, SUPERVISOR, FullGate
from .judgement import Compared, Judge, SenderJudge


def proofs_of(image: Image) -> list[Template]:
    """The sender's templates."""
    return [Template.of(t) for t in image.templates(SENDER)]


def made_up(abi: GateAbi, image: Image, number: int) -> Channel:
    """A channel between the same programs that nobody has bound: cases are made on it, and carried over."""
    interface = [Template.of(t) for t in image.templates(SUPERVISOR, ".keuos.interface")]
    data_bytes = image.constant("KEUOS_PAGE_BYTES") << ORDER
    return Channel.bound(abi, number, 1, bytes([number] * 16), data_bytes, proofs_of(image), interface)


def by_senders(gate: FullGate) -> SenderJudge:
    """In waves of their own; of a case that several of a wave try, the worst that came of it."""

    def judge(made: Sequence[Sender]) -> list[Compared]:
        gate.take_all()
        return [one for at in range(0, len(made), gate.wave_max) for one in wave(made[at : at + gate.wave_max])]

    def wave(some: Sequence[Sender]) -> list[Compared]:
        gate.ask(some)
        compared = [one.compared for one in gate.take()]
        return [min(compared[i :: len(some)], key=lambda one: one.right) for i in range(len(some))]

    return judge


def by_full(gate: FullGate, rest: Sender | None = None) -> Judge:
    """By senders, that do everything but the descriptor as `rest` does."""
    judge = by_senders(gate)
    return lambda differences: judge([carried(difference, rest) for difference in differences])
