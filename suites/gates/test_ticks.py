"""What a gate takes, in instructions: above all, that it doesn't tell where two tags differ.

On the HIL build: gate_pass and SipHash are the very objects of the release image, and are timed one call at a time.
"""

from __future__ import annotations

import numpy as np
import pytest

from keuos_hil.agent import Agent
from keuos_hil.fuzz import FIELDS, Batch, Generator
from keuos_hil.fuzz.cases import field_of_each_bit
from keuos_hil.image import Image
from keuos_hil.oracle import BulkOracle, Shadow, Template
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .bulk import STILL, make_bench

pytestmark = pytest.mark.needs("agent", "channels", "debug", "hil", "instructions")

HASHES, SEALED_BYTES = 200, 24
CASES = 2_000


def test_where_a_tag_differs_does_not_show_in_the_count(fresh_target: LiveTarget, agent: Agent, image: Image) -> None:
    """Each bit of the sealed part turned over by itself, and several at once: the count follows from the verdict."""
    bench = make_bench(fresh_target, agent, image)
    channel, abi = bench.channel, bench.channel.abi
    valid = np.frombuffer(channel.valid(Shadow(), 0).packed(abi), np.uint8)
    sealed = abi.descriptor.fields["sealed"]  # type: ignore[index]
    start, bits = sealed[1] * 8, sealed[0].itemsize * 8
    assert bits == 256
    rng = np.random.default_rng(1)
    rows = np.tile(valid, (2 * bits, 1))
    for i in range(bits):
        rows[i, (start + i) // 8] ^= 1 << (start + i) % 8
    tag = slice(sealed[1] + abi.sealed_bytes, sealed[1] + sealed[0].itemsize)
    rows[bits:, tag] ^= rng.integers(1, 256, (bits, tag.stop - tag.start), np.uint8)
    descriptors = rows.reshape(-1).view(abi.descriptor)
    zeros = np.zeros(len(rows), np.uint32)
    labels = np.zeros(len(rows), np.uint8)
    bench.gate.ask(Batch(descriptors, zeros, zeros, labels, labels), [STILL], timed=True)
    answer = bench.gate.take()
    expected = BulkOracle(channel).verdicts(descriptors, zeros, zeros)
    assert np.array_equal(answer.verdicts, expected)
    owners = np.concatenate([field_of_each_bit(abi)[start : start + bits], np.full(bits, FIELDS.index("tag"))])
    counts = {
        abi.names[int(v)]: {FIELDS[f]: np.unique(answer.ticks[(owners == f) & (expected == v)]).tolist()
                            for f in np.unique(owners[expected == v])}
        for v in np.unique(expected)
    }  # fmt: skip
    assert set(counts["tag"]) == {"opcode", "flags", "max_length", "alignment", "tag"}
    # Whether a template's index lies in the table at all is a branch of its own, on a number that is no secret.
    for verdict in ("tag", "ownership", "state"):
        by_field = counts[verdict]
        assert len({tick for ticks in by_field.values() for tick in ticks}) == 1, f"{verdict}: {by_field}"


def test_what_a_gate_and_a_tag_take(fresh_target: LiveTarget, agent: Agent, image: Image, record: Recorder) -> None:
    bench = make_bench(fresh_target, agent, image, hashes=HASHES, hash_bytes=SEALED_BYTES)
    abi, proofs = bench.channel.abi, [Template.of(template) for template in image.templates("gate_bulk")]
    batch = Generator(bench.channel, bench.other, proofs, 1).batch(CASES)
    bench.gate.ask(batch, [STILL], timed=True)
    answer = bench.gate.take()
    for number in np.unique(answer.verdicts):
        ticks = answer.ticks[answer.verdicts == number]
        record.add("gate.check", {"verdict": abi.names[int(number)]}, samples=ticks)
        assert ticks.max() - ticks.min() <= 40, f"{abi.names[int(number)]}: from {ticks.min()} to {ticks.max()}"
    assert answer.ticks.min() > 20, "no gate loads a descriptor, judges it and copies it in so few instructions"
    hashes = bench.judge.read_array("hash_ticks", HASHES)
    record.add("siphash", {"bytes": SEALED_BYTES}, samples=hashes)
    assert len(np.unique(hashes)) == 1, "SipHash has no branch that depends on its key or message"
