"""Senders by the thousand, killed for what they notify: verdict, punishment, record, and what the peer learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from keuos_hil.agent import Agent
from keuos_hil.fuzz import FIELDS, MUTATIONS, Corpus, Difference, Fuzzing, Generator, Matrix, difference_of, shrink
from keuos_hil.image import Image
from keuos_hil.oracle import Channel, Descriptor, GateAbi, Shadow, Template
from keuos_hil.progress import Progress
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .full import ORDER, SENDER, SUPERVISOR, Case, FullGate
from .pair import after_good

pytestmark = pytest.mark.needs("agent", "channels", "debug", "hil")

#: Senders of a default run, and under an emulator that counts instructions.
CASES, COUNTED_CASES = 10_000, 320
SOAK_CASES = 500_000
#: Bulk cases that --fuzz-count means for each full one.
PER_FULL = 2_000
#: The figure asked for, kills per second of the host. It is shown, and judges nothing.
KILL_RATE = 1_000
#: What a sender has done before: valid messages each in a notification of its own, their payload, and valid ones ahead
#: of the case's own in its notification.
HISTORIES = [(good, length, before) for good in (0, 1, 3) for length in (0, 64, 200) for before in (0, 2)]
#: Of 16 senders, one has a head or a count that is wrong rather than a descriptor.
NOTIFICATIONS = 16


def _shadow(history: tuple[int, int, int]) -> Shadow:
    good, length, before = history
    return after_good(good + before, length)


#: The first history that leads to an index.
BY_SHADOW = {(_shadow(h).head, _shadow(h).data): h for h in reversed(HISTORIES)}


def _made_up(abi: GateAbi, image: Image, number: int) -> Channel:
    """A channel between the same programs that nobody has bound: cases are made on it, and carried over."""
    proofs = [Template.of(t) for t in image.templates(SENDER)]
    interface = [Template.of(t) for t in image.templates(SUPERVISOR, ".keuos.interface")]
    data_bytes = image.constant("KEUOS_PAGE_BYTES") << ORDER
    return Channel.bound(abi, number, 1, bytes([number] * 16), data_bytes, proofs, interface)


def _case(channel: Channel, difference: Difference, field: int, mutation: int) -> Case:
    good, length, before = BY_SHADOW[difference.head, difference.data]
    return Case(difference, good, length, before, field=field, mutation=mutation)


def cases(abi: GateAbi, image: Image, seed: int) -> Iterator[Case]:
    """Without end."""
    channel, other = _made_up(abi, image, 1), _made_up(abi, image, 2)
    proofs = [Template.of(t) for t in image.templates(SENDER)]
    generator = Generator(channel, other, proofs, seed, list(BY_SHADOW))
    rng = np.random.default_rng(seed)
    boundary = MUTATIONS.index("boundary")
    while True:
        batch = generator.batch(1024)
        for i in range(len(batch)):
            shadow = Shadow(int(batch.heads[i]), int(batch.datas[i]))
            descriptor = Descriptor.parse(abi, batch.descriptors[i].tobytes())
            made = _case(
                channel, difference_of(channel, shadow, descriptor), int(batch.fields[i]), int(batch.mutations[i])
            )
            if i % NOTIFICATIONS == 0:
                made = replace(made, after=int(rng.integers(0, 3)))
                kind = int(rng.integers(0, 4))
                if kind == 0:
                    by = int(rng.choice([-1, 1, -2, 63, 64, 65, 1 << 30, -(1 << 31)]))
                    made = replace(made, head_slots=by, field=FIELDS.index("head"), mutation=boundary)
                elif kind == 1:
                    n = int(rng.choice([1, 2, 31, 32, 33, 1 << 31]))
                    made = replace(made, n=n, field=FIELDS.index("n"), mutation=boundary)
                elif kind == 2:
                    full = Difference(abi.slots, 0, 0, {})  # the mailbox is full
                    made = Case(full, abi.slots, 0, field=FIELDS.index("head"), mutation=MUTATIONS.index("none"))
            yield made


def _fuzz(
    target: LiveTarget, agent: Agent, image: Image, fuzzing: Fuzzing, record: Recorder, progress: Progress, count: int
) -> None:
    gate = FullGate(target, agent, image)
    _replay(gate, fuzzing)
    gate.run([_from_corpus(gate, Difference(0, 0, 0, {}))])
    quotas = gate.quotas  # after a first wave: the tables that map its windows are there to stay
    matrix = Matrix(gate.abi)
    made = cases(gate.abi, image, fuzzing.seed)
    budget = fuzzing.budget(count, 1 / PER_FULL)
    done = kills = 0
    with progress("gates by killed senders", budget.cases or 0) as advance:
        while budget.left(done):
            some = list(islice(made, gate.wave_max))
            for case, (expected, seen, outcome) in zip(some, gate.run(some), strict=True):
                if expected != seen:
                    _fail(gate, image, fuzzing, case)
                kills += outcome.culprit == "producer"
                fields, mutations, verdicts = (
                    np.array([number], np.uint8)
                    for number in (case.field, case.mutation, gate.abi.verdicts[outcome.verdict])
                )
                matrix.add(fields, mutations, verdicts)
            done += len(some)
            advance(len(some))
            assert _without_clocks(gate.quotas) == _without_clocks(quotas), "quotas did not come back after a wave"
    rate = kills / budget.elapsed
    gate.stop()
    assert gate.supervisor.wait_exit().ok
    assert kills >= done / 2, f"{kills} of {done} senders were killed: too many of the cases are harmless"
    assert kills < done, "no case was harmless: a gate that kills whoever notifies would pass"
    record.fuzz("full", fuzzing.seed, done, matrix)
    record.add("fuzz.kill_rate", {}, "1/s", value=rate, timebase="host", at_least=KILL_RATE)
    record.gate("fuzzed by killed senders", "passed", done)


def _without_clocks(quotas: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in quotas.items() if name != "syscalls"}


def _replay(gate: FullGate, fuzzing: Fuzzing) -> None:
    """What the corpus keeps, as far as a history leads there; from a fresh ring otherwise."""
    for kept in Corpus(fuzzing.corpus).cases():
        if not _wrong(gate, kept.case):
            continue
        expected, seen, _ = gate.run([_from_corpus(gate, kept.case)])[0]
        pytest.fail(f"a case of the corpus is judged wrongly: {kept.path}\nexpected: {expected}\nkernel's: {seen}")


def _from_corpus(gate: FullGate, case: Difference) -> Case:
    if (case.head, case.data) not in BY_SHADOW:
        case = replace(case, head=0, data=0)
    return _case(gate.channels[0], case, 0, 0)


def _wrong(gate: FullGate, case: Difference) -> bool:
    if case.template not in gate.channels[0].granted:
        return False
    expected, seen, _ = gate.run([_from_corpus(gate, case)])[0]
    return expected != seen


def _fail(gate: FullGate, image: Image, fuzzing: Fuzzing, case: Case) -> None:
    """With the descriptor made small if the rest of the notification was all right."""
    small = shrink(case.difference, lambda one: _wrong(gate, one), seed=fuzzing.seed)
    again = _from_corpus(gate, small) if _wrong(gate, small) else case
    expected, seen, _ = gate.run([again])[0]
    path = Corpus(fuzzing.corpus).save(
        again.difference, expected=str(expected), found=str(seen), seed=fuzzing.seed, build=image.kernel.build_id
    )
    pytest.fail(
        f"a sender ended otherwise than predicted (--fuzz-seed={fuzzing.seed}): {again}\n"
        f"{again.difference.describe(gate.channels[0])}\nexpected: {expected}\nkernel's: {seen}\nsaved as {path}"
    )


def test_every_sender_ends_as_predicted(
    fresh_target: LiveTarget, agent: Agent, image: Image, fuzzing: Fuzzing, record: Recorder, progress: Progress
) -> None:
    counts = fresh_target.timebase.name == "instructions"
    _fuzz(fresh_target, agent, image, fuzzing, record, progress, COUNTED_CASES if counts else CASES)


@pytest.mark.soak
@pytest.mark.needs("emulated")
def test_half_a_million_senders_end_as_predicted(
    fresh_target: LiveTarget, agent: Agent, image: Image, fuzzing: Fuzzing, record: Recorder, progress: Progress
) -> None:
    _fuzz(fresh_target, agent, image, fuzzing, record, progress, SOAK_CASES)
