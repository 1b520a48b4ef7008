"""Cases judged by the kernel and by the oracle, and what is done when they disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from keuos_hil.errors import InfraError
from keuos_hil.fuzz import Batch, Corpus, Difference, Fuzzing, Sender, carried, shrink
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


@dataclass(frozen=True)
class Compared:
    """A case with what should come of it and what came of it: two of a kind, for a person by str()."""

    expected: object
    found: object

    @property
    def right(self) -> bool:
        """Whether they are the same."""
        return self.expected == self.found


#: Has the kernel judge cases: one answer each, in their order.
Judge = Callable[[Sequence[Difference]], list[Compared]]
SenderJudge = Callable[[Sequence[Sender]], list[Compared]]
#: Folder of the corpus with what failed by more than its descriptor.
SENDERS = "senders"


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
    """By the kernel's gate_pass, in batches of their own."""

    def judge(cases: Sequence[Difference]) -> list[Compared]:
        return [one for at in range(0, len(cases), gate.cases_max) for one in batch(cases[at : at + gate.cases_max])]

    def batch(cases: Sequence[Difference]) -> list[Compared]:
        made = [case.descriptor(channel) for case in cases]
        rows = np.frombuffer(b"".join(descriptor.packed(channel.abi) for _, descriptor in made), channel.abi.descriptor)
        heads, datas = (np.array([getattr(s, name) for s, _ in made], np.uint32) for name in ("head", "data"))
        labels = np.zeros(len(cases), np.uint8)
        gate.ask(Batch(rows, heads, datas, labels, labels))
        answer = gate.take()
        found = [
            Judgement(
                channel.abi.names.get(int(verdict), f"{int(verdict):#x}, which is no verdict"),
                int(head),
                int(data),
                delivered.tobytes(),
            )
            for verdict, head, data, delivered in zip(
                answer.verdicts, answer.heads, answer.datas, answer.delivered, strict=True
            )
        ]
        return [Compared(predicted(channel, case), one) for case, one in zip(cases, found, strict=True)]

    return judge


def replay(judge: Judge, channel: Channel, fuzzing: Fuzzing) -> None:
    """Try the descriptors that the corpus keeps. Fails at the first that is judged wrongly still."""
    kept = Corpus(fuzzing.corpus, Difference).cases()
    usable = [one for one in kept if one.case.template in channel.granted]  # the sender may no longer have others
    for one, compared in zip(usable, judge([one.case for one in usable]), strict=True):
        _expect_right(one.path, _told(channel, one.case, compared), compared, fuzzing)


def replay_senders(judge: SenderJudge, channel: Channel, fuzzing: Fuzzing) -> None:
    """Try the senders that the corpus keeps; like :func:`replay`."""
    kept = Corpus(fuzzing.corpus / SENDERS, Sender).cases()
    usable = [one for one in kept if one.case.difference.template in channel.granted]
    for one, compared in zip(usable, judge([one.case for one in usable]), strict=True):
        told = f"{_told(channel, one.case.difference, compared)}\nsender: {one.case.describe()}"
        _expect_right(one.path, told, compared, fuzzing)


def _expect_right(path: Path, told: str, compared: Compared, fuzzing: Fuzzing) -> None:
    if not compared.right:
        pytest.fail(
            f"a case of the corpus is judged wrongly: {path}\n{told}\nto repeat: --fuzz-corpus={fuzzing.corpus}"
        )


def fail(
    judge: Judge,
    channel: Channel,
    image: Image,
    fuzzing: Fuzzing,
    case: Difference,
    speed: str,
    sender: Sender | None = None,
) -> NoReturn:
    """Shrink a case that was judged wrongly, save it, and fail with it.

    Args:
        sender: what was done, if it was done by one; kept with the case where it is more than writing the descriptor.
    """

    def wrong(one: Difference) -> bool:
        return not judge([one])[0].right

    smaller = shrink(case, wrong, seed=fuzzing.seed)
    [compared] = judge([smaller])
    if sender is not None:
        sender = carried(smaller, sender)
    beside = "" if sender is None else sender.describe()
    about = {
        "expected": str(compared.expected),
        "found": str(compared.found),
        "seed": fuzzing.seed,
        "build": image.kernel.build_id,
        "speed": speed,
        "sender": beside,
    }
    try:
        if sender is None or sender.is_ordinary:
            path = Corpus(fuzzing.corpus, Difference).save(smaller, **about)
        else:
            path = Corpus(fuzzing.corpus / SENDERS, Sender).save(sender, **about)
        kept = f"saved as {path}: every later run tries it first"
    except InfraError as error:  # the kernel failed, not the bench
        kept = f"not saved: {error}"
    done = f"\nsender: {beside}" if beside else ""
    once = "\nit was judged wrongly once, and rightly when it was tried again" if compared.right else ""
    pytest.fail(
        f"the kernel judges a descriptor otherwise than predicted (--fuzz-seed={fuzzing.seed}):\n"
        f"{_told(channel, smaller, compared)}{once}{done}\n{kept}"
    )


def _told(channel: Channel, case: Difference, compared: Compared) -> str:
    return f"{case.describe(channel)}\nexpected: {compared.expected}\nkernel's: {compared.found}"
