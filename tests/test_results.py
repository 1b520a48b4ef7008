"""results.json: valid by its schema, complete, the same through a worker's hands, and never overwritten."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from typing import ClassVar, cast

import jsonschema
import numpy as np
import pytest

from keuos_hil.environment import host_environment
from keuos_hil.errors import InfraError
from keuos_hil.fuzz import Matrix
from keuos_hil.record import Recorder
from keuos_hil.results import Results, add_judgement, make_run_directory, point_latest
from keuos_hil.terminal import comparison, fuzz_matrix, number, published, spoiler_lines, tables

SCHEMA = json.loads(files("keuos_hil").joinpath("schema/results.schema.json").read_text())
ENVIRONMENT = {"seed": 1, "timebases": {"qemu-x86": "emulated"}, "commands": {}}


@pytest.fixture
def filled():
    results = Results()
    record = Recorder(results, "qemu-x86", "emulated")
    record.add("ring.round_trip", {"size": 56, "path": "data"}, "ticks", samples=np.arange(1, 101, dtype=np.uint32))
    record("ring.throughput", {"size": 64}, "messages/s", value=1.5e6, ci95=(1.4e6, 1.6e6), ci_of="mean")
    record("boot.to_prompt", {}, "ms", value=75, timebase="host")
    record.gate("tag", 10)
    record.close("passed")
    record.gate("tag")
    record.close("failed")
    record.requirement("RFC9293-1", "passed", 2)
    results.add_test("ring/test_x.py::test_a[qemu-x86]", "qemu-x86", "passed", 0.25)
    results.add_test("ring/test_x.py::test_a[qemu-x86]", "qemu-x86", "failed", 0.5)
    results.build_ids["qemu-x86/release"] = "abc"
    return results


def load(path):
    document = json.loads(path.read_text())
    jsonschema.validate(document, SCHEMA)
    return document


def test_the_schema_is_itself_valid():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_what_is_recorded_is_what_is_written(filled, tmp_path):
    document = load(filled.write(tmp_path, host_environment() | ENVIRONMENT))
    first, second, third = document["measurements"]
    assert (first["n"], first["min"], first["p50"], first["p999"], first["max"]) == (100, 1, 50, 100, 100)
    assert first["ci_of"] == "p50"
    with np.load(tmp_path / first["samples"]["file"]) as arrays:
        assert list(arrays[first["samples"]["key"]]) == list(range(1, 101))
    assert second["value"] == 1.5e6
    assert second["ci95"] == [1.4e6, 1.6e6]
    assert third["timebase"] == "host"
    assert document["gates"] == {"tag": {"qemu-x86": {"verdict": "failed", "cases": 11}}}
    assert document["tests"] == [
        {"id": "ring/test_x.py::test_a[qemu-x86]", "target": "qemu-x86", "verdict": "failed", "seconds": 0.75}
    ]


def test_a_worker_s_results_arrive_whole_and_two_workers_do_not_collide(filled, tmp_path):
    together = Results()
    together.merge(filled.to_text())
    together.merge(filled.to_text())
    document = load(together.write(tmp_path, host_environment() | ENVIRONMENT))
    keys = [row["samples"]["key"] for row in document["measurements"] if row["samples"]]
    assert len(set(keys)) == 2
    with np.load(tmp_path / "samples.npz") as arrays:
        assert all(list(arrays[key]) == list(range(1, 101)) for key in keys)
    assert document["gates"]["tag"]["qemu-x86"]["cases"] == 22


def test_a_quantity_is_samples_or_a_value():
    with pytest.raises(ValueError, match="one of the two"):
        Recorder(Results(), "t", "emulated").add("x", {}, "ticks")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("schema"),
        lambda d: d["measurements"][0].pop("p50"),
        lambda d: d["measurements"][1].update(p50=1),
        lambda d: d["measurements"][0].update(timebase="guessed"),
        lambda d: d["tests"][0].update(verdict="fine"),
    ],
)
def test_the_schema_refuses_what_is_not_as_promised(filled, tmp_path, change):
    document = load(filled.write(tmp_path, host_environment() | ENVIRONMENT))
    change(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_each_run_has_a_folder_of_its_own_and_latest_is_the_last(tmp_path):
    first, second = make_run_directory(tmp_path / "r"), make_run_directory(tmp_path / "r")
    assert first != second
    point_latest(first)
    point_latest(second)
    assert (tmp_path / "r" / "latest").resolve() == second.resolve()


def test_figures_of_different_timebases_never_share_a_table(filled):
    filled.add_measurement("ring.round_trip", {}, "ticks", target="qemu-x86", timebase="instructions", value=97)
    titles = [str(table.title) for table in tables(filled.measurements)]
    assert len([title for title in titles if title.startswith("ring on")]) == 2
    assert any("shown, never judged" in title for title in titles)


def test_a_quantity_of_several_sizes_is_one_line_by_size(filled):
    for size in (8, 56, 64):
        for cores in ("same", "cross"):
            filled.add_measurement(
                "ring.traps",
                {"size": size, "cores": cores},
                "per trip",
                target="t",
                timebase="emulated",
                value=size + 1,
            )
    (table,) = [made for made in tables(filled.measurements) if str(made.title).startswith("ring.traps")]
    assert [str(column.header) for column in table.columns] == ["cores", "8", "56", "64"]
    assert [list(column.cells) for column in table.columns] == [
        ["same", "cross"],
        ["9", "9"],
        ["57", "57"],
        ["65", "65"],
    ]


def test_figures_asked_for_and_of_others_stand_beside_ours(filled):
    assert comparison(filled.measurements) is None
    filled.add_measurement(
        "syscall.null", {}, "ticks", target="t", timebase="instructions", value=55, at_most=60, beside={"seL4": 96}
    )
    table = comparison(filled.measurements)
    assert table is not None
    assert [next(iter(column.cells)) for column in table.columns] == ["syscall.null", "", "55 ticks", "60", "96  seL4"]


def test_a_figure_asked_for_at_least_has_a_column_where_there_is_one(filled):
    filled.add_measurement("a.b", {}, "1/s", target="t", timebase="host", value=5, at_least=4)
    assert filled.measurements[-1]["at_least"] == 4
    table = comparison(filled.measurements)
    assert table is not None
    assert [column.header for column in table.columns][2:4] == ["ours", "at least"]
    filled.add_measurement("a.c", {}, "ticks", target="t", timebase="host", value=5, at_most=6)
    table = comparison(filled.measurements)
    assert table is not None
    assert [list(column.cells) for column in table.columns if str(column.header).startswith("at ")] == [
        ["", "6"],
        ["4", ""],
    ]


def test_a_figure_that_was_missed_is_marked_whichever_way_it_was_asked_for(filled):
    wanted = [(5, {"at_least": 6}), (5, {"at_least": 5}), (5, {"at_most": 4}), (5, {"at_most": 5})]
    for place, (value, asked) in enumerate(wanted):
        filled.add_measurement("a.b", {"n": place}, "1/s", target="t", timebase="host", value=value, **asked)
    table = comparison(filled.measurements)
    assert table is not None
    [ours] = [column for column in table.columns if column.header == "ours"]
    assert list(ours.cells) == ["5 1/s, missed", "5 1/s", "5 1/s, missed", "5 1/s"]


class _Matrix:
    """As keuos_hil.fuzz.Matrix counts."""

    cases = 30
    verdicts: ClassVar = ["ok", "tag"]

    def __init__(self, more):
        self._more = more

    def rows(self):
        return [{"field": "tag", "mutation": "bit", "verdicts": {"tag": 10}},
                {"field": "none", "mutation": "none", "verdicts": {"ok": 20, **self._more}}]  # fmt: skip


def test_what_came_of_fuzzing_is_written_merged_and_shown(filled, tmp_path):
    record = Recorder(filled, "qemu-x86", "emulated")
    record.fuzz("bulk", 7, 100, cast(Matrix, _Matrix({})))
    other = Results()
    Recorder(other, "qemu-x86", "emulated").fuzz("full", 8, 30, cast(Matrix, _Matrix({"tag": 1})))
    filled.merge(other.to_text())
    document = load(filled.write(tmp_path, host_environment() | ENVIRONMENT))
    assert [(run["speed"], run["seed"], run["cases"], run["compared"]) for run in document["fuzz"]] == [
        ("bulk", 7, 100, 30),
        ("full", 8, 30, 30),
    ]
    [table] = fuzz_matrix(document["fuzz"])
    assert [column.header for column in table.columns] == ["field", "mutation", "ok", "tag"]
    assert [list(column.cells) for column in table.columns[2:]] == [["", "40"], ["20", "1"]]
    assert "100 cases, 30 compared one by one, seed 7" in str(table.title)


def test_what_spoils_timings_is_told_beside_timings_of_silicon_only():
    spoiler = {"found": "boost on", "why": "the pace changes", "fix": "echo 0 > boost"}
    line = "spoils timings: boost on (the pace changes); echo 0 > boost"
    assert spoiler_lines([{"timebase": "instructions"}, {"timebase": "silicon"}], [spoiler]) == [line]
    assert spoiler_lines([{"timebase": "instructions"}], [spoiler]) == []


def test_what_others_published_is_a_table_of_its_own():
    results = Results()
    Recorder(results, "t", "silicon").reference("Mach IPC, there and back", 2_000, "cycles, about", "published")
    (table,) = published(results.references)
    assert [list(column.cells) for column in table.columns] == [
        ["Mach IPC, there and back"],
        ["2,000"],
        ["cycles, about"],
    ]
    assert published([]) == []


def test_figures_of_several_targets_and_timebases_can_be_told_apart_in_the_comparison():
    results = Results()

    def headings():
        table = comparison(results.measurements)
        assert table is not None
        return [str(column.header) for column in table.columns], [list(column.cells) for column in table.columns]

    results.add_measurement("a.b", {}, "ticks", target="one", timebase="emulated", value=1, at_most=2)
    assert headings()[0] == ["quantity", "with", "ours", "at most", "others"]
    results.add_measurement("a.b", {}, "ticks", target="two", timebase="emulated", value=1, at_most=2)
    assert headings()[0] == ["quantity", "with", "target", "ours", "at most", "others"]
    results.add_measurement("a.b", {}, "ticks", target="two", timebase="instructions", value=1, at_most=2)
    names, cells = headings()
    assert names == ["quantity", "with", "target", "timebase", "ours", "at most", "others"]
    assert cells[2:4] == [["one", "two", "two"], ["emulated", "emulated", "instructions"]]


def test_a_full_disk_is_the_bench_s_fault_and_leaves_nothing_partial(filled, tmp_path):
    (tmp_path / f".results.json.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(InfraError, match=f"no results could be written to {tmp_path}: No space left on device"):
        filled.write(tmp_path, host_environment() | ENVIRONMENT)
    assert [path.name for path in tmp_path.iterdir()] == ["samples.npz"]


def test_a_judgement_that_can_t_be_written_leaves_the_results_as_they_were(filled, tmp_path):
    path = filled.write(tmp_path, host_environment() | ENVIRONMENT)
    before = path.read_text()
    (tmp_path / f".results.json.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(InfraError, match=f"no results could be written to {tmp_path}: No space left on device"):
        add_judgement(path, {"file": "base.json"})
    assert path.read_text() == before


def test_numbers_are_shown_with_the_digits_that_matter():
    assert [number(x) for x in (5, 1234567.0, 1234.56, 0.123456)] == ["5", "1,234,567", "1,234.6", "0.123"]
