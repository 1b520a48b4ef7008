"""One case judged by the kernel and by the oracle, and what is done when they disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pytest

from keuos_hil.fuzz import Batch, Corpus, Difference, Fuzzing, shrink
from keuos_hil.image import Image
from keuos_hil.oracle import Channel, check

from .bulk import BulkGate


@dataclass(frozen=True)
class Judgement:
    """What came of a descriptor.

    Attributes:
        verdict: of enum keuos_verdict, without prefix and in lower case, or a number that is none.
        head, data: the kernel's indices behind it.
        delivered: what lies in the mailbox slot.
    """

    verdict: str
    head: int
    data: int
    delivered: bytes

    def __str__(self) -> str:
        there = "nothing" if not any(self.delivered) else self.delivered.hex()
        return f"{self.verdict}; head {self.head:#x}, data {self.data:#x}; delivered {there}"


Judge = Callable[[Difference], Judgement]


def predicted(channel: Channel, case: Difference) -> Judgement:
    """By the oracle."""
    shadow, descriptor = case.descriptor(channel)
    verdict = check(channel, shadow, descriptor)
    after = shadow.after(descriptor, channel.abi.line) if verdict == "ok" else shadow
    size = channel.abi.descriptor.itemsize
    return Judgement(
        verdict, after.head, after.data, descriptor.packed(channel.abi) if verdict == "ok" else bytes(size)
    )


def by_bulk(gate: BulkGate, channel: Channel) -> Judge:
    """By the kernel's gate_pass, in a batch of its own."""

    def judge(case: Difference) -> Judgement:
        shadow, descriptor = case.descriptor(channel)
        label = np.zeros(1, np.uint8)
        row = np.frombuffer(descriptor.packed(channel.abi), channel.abi.descriptor)
        gate.ask(Batch(row, np.full(1, shadow.head, np.uint32), np.full(1, shadow.data, np.uint32), label, label))
        answer = gate.take()
        number = int(answer.verdicts[0])
        return Judgement(
            channel.abi.names.get(number, f"{number:#x}, which is no verdict"),
            int(answer.heads[0]),
            int(answer.datas[0]),
            answer.delivered[0].tobytes(),
        )

    return judge


def replay(judge: Judge, channel: Channel, fuzzing: Fuzzing) -> int:
    """Try what the corpus keeps; how many cases. Fails at the first that is judged wrongly still."""
    kept = Corpus(fuzzing.corpus).cases()
    for one in kept:
        try:
            expected = predicted(channel, one.case)
        except KeyError:
            continue  # of a template that this sender no longer has
        found = judge(one.case)
        if found != expected:
            pytest.fail(
                f"a case of the corpus is judged wrongly: {one.path}\n"
                f"{_told(channel, one.case, expected, found)}\nto repeat: --fuzz-corpus={fuzzing.corpus}"
            )
    return len(kept)


def fail(judge: Judge, channel: Channel, image: Image, fuzzing: Fuzzing, case: Difference, speed: str) -> NoReturn:
    """Shrink a case that was judged wrongly, save it, and fail with it."""
    smaller = shrink(case, lambda one: judge(one) != predicted(channel, one), seed=fuzzing.seed)
    expected, found = predicted(channel, smaller), judge(smaller)
    path = Corpus(fuzzing.corpus).save(
        smaller,
        expected=expected.verdict,
        found=found.verdict,
        seed=fuzzing.seed,
        build=image.kernel.build_id,
        speed=speed,
    )
    once = "" if found != expected else "\nit was judged wrongly once, and rightly when it was tried again"
    pytest.fail(
        f"the kernel judges a descriptor otherwise than predicted (--fuzz-seed={fuzzing.seed}):\n"
        f"{_told(channel, smaller, expected, found)}{once}\nsaved as {path}: every later run tries it first"
    )


def _told(channel: Channel, case: Difference, expected: Judgement, found: Judgement) -> str:
    return f"{case.describe(channel)}\nexpected: {expected}\nkernel's: {found}"
