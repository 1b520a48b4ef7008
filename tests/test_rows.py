"""What the measuring program leaves, made up for machines whose truth is known: nothing is used that is not paired."""

from __future__ import annotations

import numpy as np
import pytest

from keuos_hil import rows
from keuos_hil.errors import InfraError
from keuos_hil.rows import Missing, Name, Session, parse

COST = 40
FLOOR = Name("floor", "pause", "cross", "pause")
NOTHING = Name("nothing", "pause", "cross", "pause")
RING = Name("ring-56", "pause", "cross", "pause")
PIPE = Name("pipe", "sleep", "cross", "pause")
STREAM = Name("stream-64", "pause", "cross", "pause")
NAMES = [FLOOR, NOTHING, RING, PIPE, STREAM]
SAID = "hz 2600000000\n" + "".join(
    f"row {i} {name.cores} {name.floor} {name.how} {name.row}\n" for i, name in enumerate(NAMES)
)


class Machine:
    """Writes visits as the program does."""

    def __init__(self, seed=1):
        self.generator = np.random.default_rng(seed)
        self.words = []
        self.order = 0

    def visit(self, name, round_, ticks, *, cut=False, wrong=0, each=1, count=100):
        noise = self.generator.normal(0, 2, count)
        samples = np.maximum(
            np.round((ticks + COST) * each + noise) if each == 1 else np.round(ticks * each + noise), 0
        )
        self.words += [rows._MAGIC, NAMES.index(name), round_, self.order, count, wrong, each, int(cut)]
        self.words += samples.astype(int).tolist()
        self.order += 1

    def round(self, round_, *, floor=300, ring=330, floor_after=None, cut=(), wrong=0):
        self.visit(NOTHING, round_, 0)
        self.visit(FLOOR, round_, floor, cut="floor" in cut)
        self.visit(RING, round_, ring, cut="ring" in cut, wrong=wrong)
        self.visit(FLOOR, round_, floor_after or floor)
        self.visit(PIPE, round_, 3_000)
        self.visit(FLOOR, round_, floor)
        self.visit(STREAM, round_, 50, each=1_000, count=1)
        self.visit(FLOOR, round_, floor)

    def launch(self, said=SAID + "done\n"):
        return parse(said, np.array(self.words, dtype=np.uint32).tobytes())


def launch(rounds=10, seed=1, **how):
    machine = Machine(seed)
    for i in range(rounds):
        machine.round(i, **how)
    return machine.launch()


def by_name(session):
    return {found.name: found for found in session.figures()}


def test_a_row_is_its_trips_less_the_cost_of_taking_one_beside_its_floor():
    found = by_name(Session([launch()], 1))
    assert list(found) == [RING, PIPE, STREAM]
    ring = found[RING].judged
    assert ring.ratio is not None
    assert ring.ratio.value == pytest.approx(1.1, abs=0.01)
    assert ring.centre == pytest.approx(330, abs=2)
    assert ring.floor == pytest.approx(300, abs=2)
    assert found[RING].samples.shape == (1_000,)
    assert np.median(found[RING].samples) == pytest.approx(330, abs=2)
    assert found[RING].tails["p99"].rounds == 10


def test_a_stream_s_sample_is_shared_among_its_messages_and_has_no_tails():
    stream = by_name(Session([launch()], 1))[STREAM]
    assert stream.judged.centre == pytest.approx(50, abs=1)
    assert stream.tails == {}


def test_floors_on_both_sides_must_agree_and_be_whole():
    session = Session([launch(floor_after=360)], 1)
    assert by_name(session)[RING].judged.missing == "all 10 rounds were rejected (floors around it differ: 10)"
    session = Session([launch(cut=("floor",))], 1)
    assert by_name(session)[RING].judged.missing == "all 10 rounds were rejected (no floor beside it: 10)"
    assert not by_name(session)[PIPE].judged.missing


def test_a_visit_that_was_cut_short_is_rejected_with_that_reason():
    machine = Machine()
    for i in range(10):
        machine.round(i, cut=("ring",) if i < 3 else ())
    found = by_name(Session([machine.launch()], 1))[RING]
    assert found.judged.rejected == {rows.CUT_SHORT: 3}
    assert found.samples.shape == (700,)


def test_launches_are_pooled_by_launch_and_strata_are_of_all_of_them():
    launches = [launch(seed=1), launch(seed=2, ring=360), launch(seed=3, floor=1_300, ring=1_500)]
    session = Session(launches, 1)
    near, far = (found for found in session.figures() if found.name == RING)
    assert (near.judged.stratum, far.judged.stratum) == ("near", "far")
    assert near.judged.ratio is not None
    assert near.judged.ratio.launches == 2
    assert near.judged.ratio.value == pytest.approx((1.1 * 1.2) ** 0.5, abs=0.01)
    assert len(near.samples) == 2_000
    assert len(far.samples) == 1_000


def test_samples_are_only_of_launches_that_have_a_part_in_the_figure():
    session = Session([launch(seed=1), launch(rounds=3, seed=2)], 1)
    assert by_name(session)[RING].samples.shape == (1_000,)


def test_two_rows_are_compared_round_by_round():
    session = Session([launch(seed=1), launch(seed=2)], 1)
    ratio = session.ratio(PIPE, RING)[0]["only"]
    assert ratio.value == pytest.approx(3_000 / 330, rel=0.02)
    assert session.ratio(PIPE, RING._replace(floor="bare")) == ({}, {})


def test_wrong_answers_and_missing_rows_are_told():
    said = SAID + "missing cross sleep mq Function not implemented\nmissing none - call no\ndone\n"
    machine = Machine()
    machine.round(0, wrong=2)
    session = Session([machine.launch(said)] * 2, 1)
    assert session.wrong == {RING: 4}
    assert session.missing == [
        Missing("mq", "sleep", "cross", "Function not implemented"),
        Missing("call", "", "none", "no"),
    ]


def test_what_is_not_whole_is_refused():
    machine = Machine()
    machine.round(0)
    with pytest.raises(InfraError, match="did not come to its end"):
        machine.launch(SAID)
    machine.words[-1:] = []
    with pytest.raises(InfraError, match="can't be read from word"):
        machine.launch()
    machine.words[0] = 1
    with pytest.raises(InfraError, match="can't be read from word 0 of"):
        machine.launch()


def test_a_record_that_is_cut_within_its_head_is_refused():
    machine = Machine()
    machine.round(0)
    machine.words.append(rows._MAGIC)
    with pytest.raises(InfraError, match="can't be read from word"):
        machine.launch()
    with pytest.raises(InfraError, match="no whole words"):
        parse(SAID + "done\n", b"\x01")
