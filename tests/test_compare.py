"""Whether something became slower: how often that is said of what did not, and of what did, on simulated machines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from keuos_hil.targets import linux_native

from keuos_hil import cli
from keuos_hil.compare import Verdict, judge_pairs, judge_results
from keuos_hil.errors import UsageError
from keuos_hil.judged_table import verdicts_sheet
from tests.row_results import whole

#: Spread of a pair's log ratio: what launches of one program differ by.
SPREAD = 0.02


def pairs_of(generator, slowdown=1.0, rows=3, pairs=12):
    return {f"row {i}": slowdown * np.exp(generator.normal(0, SPREAD, pairs)) for i in range(rows)}


def slower_twice(generator, slowdown):
    """The rows that are told: slower in one set of launches and again in another."""
    first, second = (
        {v.row for v in judge_pairs(pairs_of(generator, slowdown)) if v.slower} for _ in range(2)
    )  # fmt: skip
    return first & second


def test_a_program_compared_with_itself_is_told_slower_in_less_than_one_of_a_hundred_rows():
    generator = np.random.default_rng(1)
    once = sum(v.slower for _ in range(200) for v in judge_pairs(pairs_of(generator)))
    assert once / 600 <= 0.01, "even without the second set of launches"
    assert sum(len(slower_twice(generator, 1.0)) for _ in range(200)) == 0


def test_a_slowdown_of_five_percent_is_seen():
    generator = np.random.default_rng(2)
    assert sum(len(slower_twice(generator, 1.05)) for _ in range(200)) / 600 >= 0.9
    assert sum(len(slower_twice(generator, 1.08)) for _ in range(200)) / 600 >= 0.99


def test_a_slowdown_below_the_threshold_is_not_told():
    generator = np.random.default_rng(3)
    assert sum(len(slower_twice(generator, 1.02)) for _ in range(200)) / 600 <= 0.005


def test_rows_with_too_few_pairs_are_not_judged():
    assert judge_pairs({"few": [1.5, 1.5, 1.5], "none": []}) == []


def results(rows, cpu="A", medians=None):
    made = []
    for name, timebase, value in rows:
        row = {"name": name, "params": {"b": 1, "a": 2}, "target": "t", "timebase": timebase, "unit": "ticks"}
        ratio = {"value": 1, "ci95": None, "rounds": 6, "launches": len(medians or []), "medians": medians}
        made.append(row | {"value": value} | ({"ratio": ratio} if medians and timebase == "silicon" else {}))
    return {"measurements": made, "environment": {"machine": {"cpu": cpu}}, "schema": "keuos-hil/results/1"}


def test_instructions_are_compared_exactly():
    verdicts, _ = judge_results(results([("x", "instructions", 100)]), results([("x", "instructions", 101)]))
    assert [(v.row, v.ratio, v.slower) for v in verdicts] == [("x a=2 b=1 t instructions", 1.01, True)]
    verdicts, _ = judge_results(results([("x", "instructions", 100)]), results([("x", "instructions", 100)]))
    assert not verdicts[0].slower
    verdicts, _ = judge_results(results([("x", "instructions", 0)]), results([("x", "instructions", 0)]))
    assert not verdicts[0].slower


def test_timings_of_two_runs_are_judged_by_their_launches():
    old = results([("x", "silicon", 1)], medians=[1.05, 1.06, 1.05, 1.07, 1.06])
    same, _ = judge_results(old, results([("x", "silicon", 1)], medians=[1.06, 1.05, 1.07, 1.06, 1.05]))
    slow, _ = judge_results(old, results([("x", "silicon", 1)], medians=[1.16, 1.15, 1.17, 1.16, 1.15]))
    assert [v.slower for v in same + slow] == [False, True]
    assert slow[0].bound < slow[0].ratio == pytest.approx(1.095, abs=0.005)


def test_what_is_not_alike_is_not_compared():
    old = results([("x", "silicon", 1)], medians=[1, 1.01])
    with pytest.raises(UsageError, match=r"unlike machines can't be compared: cpu: A \(old\), cpu: B \(new\)"):
        judge_results(old, results([("x", "silicon", 1)], cpu="B", medians=[1, 1.01]))
    verdicts, notes = judge_results(results([("x", "silicon", 1), ("y", "host", 1)]), results([("x", "silicon", 1)]))
    assert verdicts == []
    assert notes == [
        "1 rows carry no medians of several launches and are not judged",
        "only in the old results: y a=2 b=1 t host",
    ]


def test_the_command_s_status_says_whether_something_is_slower(tmp_path, capsys):
    for name, value in (("old", 100), ("new", 101)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(whole(results([("x", "instructions", value)]))))
    old, new = str(tmp_path / "old"), str(tmp_path / "new" / "results.json")
    assert cli.main(["compare", old, old]) == 0
    assert cli.main(["compare", old, new]) == cli.EXIT_SLOWER
    assert "1 rows compared: 1 slower: x a=2 b=1 t instructions" in capsys.readouterr().out


ROWS = b"\x7fELFnot really either: usage: linux_rows FILE ROUNDS "


@pytest.mark.parametrize(("wanted", "unknown"), [("nonsense:bare", "nonsense:bare"), ("ring-56", "ring-56")])
@pytest.mark.skipif(not linux_native.can_measure(), reason="target linux needs a checkout")
def test_a_row_that_does_not_exist_is_told_with_those_that_do(tmp_path, capsys, wanted, unknown):
    program = str(linux_native.NativeRows(tmp_path, shutil.which("clang") or "cc", 1, 1).program)
    arguments = ["compare", program, program, f"--row={wanted}", "--row=ring-64:bare"]
    assert cli.main(arguments) == cli.EXIT_USAGE
    said = capsys.readouterr()
    assert f"--row {unknown}: {program} has no such row; there are " in said.err
    assert {"ring-56:bare", "ring-64:bare"} <= set(said.err.split())
    assert "comparison 1" not in said.out


def test_a_comparison_that_finds_nothing_says_so(tmp_path, capsys, monkeypatch):
    (tmp_path / "rows").write_bytes(ROWS)
    monkeypatch.setattr(cli, "_pairs", lambda *_: {"row": [1.0, 1.01, 0.99, 1.0]})
    assert cli.main(["compare", str(tmp_path / "rows"), str(tmp_path / "rows")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no row is slower"


def test_an_interrupt_is_one_line(capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "read_results", interrupted)
    for arguments in (["compare", __file__, __file__], ["report", __file__]):
        assert cli.main(arguments) == cli.EXIT_INTERRUPTED
        assert capsys.readouterr().err == "keuos-hil: interrupted\n"


def test_a_reader_that_wants_no_more_ends_it_without_a_word(tmp_path):
    (tmp_path / "run").write_text(json.dumps(whole(results([("x", "instructions", 100)]))))
    command = [sys.executable, "-m", "keuos_hil", "compare", str(tmp_path / "run"), str(tmp_path / "run")]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (cli.EXIT_UNREAD, "")


@pytest.mark.soak
@pytest.mark.skipif(not linux_native.can_measure(), reason="target linux needs a checkout")
def test_on_this_machine_a_slowed_ring_is_told_and_the_same_one_is_not(tmp_path, capsys):
    """Some minutes. The slowdown is of some 5 % (ROWS_SLOWDOWN); docs/measuring.md has the rates of long runs."""
    programs = {}
    for name, defines in (("even", []), ("slow", ["ROWS_SLOWDOWN=1"])):
        (tmp_path / name).mkdir()
        meter = linux_native.NativeRows(tmp_path / name, shutil.which("clang") or "cc", 1, 1, defines)
        programs[name] = str(meter.program)

    def rate(other, repeat):
        status = cli.main(["compare", programs["even"], programs[other], f"--repeat={repeat}"])
        found = re.search(r"(\d+) rows judged in \d+ comparisons: (\d+) slower", capsys.readouterr().out)
        if status == cli.EXIT_USAGE or found is None or int(found[1]) < 2 * repeat:
            pytest.skip(
                "too much else runs here to judge anything; a quieter machine, or `chrt -f 1` in front of pytest"
            )
        return int(found[2]) / int(found[1])

    assert rate("slow", 4) >= 0.75
    assert rate("even", 8) <= 0.05


def test_the_last_column_names_the_limit_that_its_rows_have():
    exact = Verdict("a", 1.006, None, None, 1.006, 1, True)
    timed = Verdict("b", 1.1, 1.05, 1.15, 1.04, 5, True)
    heads = [verdicts_sheet(rows, 1.02).headings[-1][0] for rows in ([exact], [timed], [exact, timed])]
    assert heads == ["over 1", "over 1.02", "over 1.02 (exact: 1)"]


def test_two_runs_of_which_nothing_can_be_judged_are_no_pass(tmp_path, capsys):
    runs = {
        "two": results([("x", "silicon", 1)], medians=[1, 1.01]),
        "one": results([("x", "silicon", 1)], medians=[1]),
        "merged": results([("x", "silicon", 1)], medians=[1, 1.01]),
    }
    runs["merged"]["measurements"][0]["target"] = "t@desk"
    for name, document in runs.items():
        (tmp_path / name).write_text(json.dumps(whole(document)))
    for old, new, why in (
        ("two", "one", "the new run has no timing of two launches or more"),
        ("merged", "two", "the target is t@desk in the old run and t in the new run"),
    ):
        assert cli.main(["compare", str(tmp_path / old), str(tmp_path / new)]) == cli.EXIT_USAGE
        error = capsys.readouterr().err
        assert f"no row could be judged: {why}" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare", "{}/none", "{}/none"], "/none: no such file"),
        (["compare", "{}/elf", "{}/none"], "/none: no such file"),
        (["compare", "{}/text", "{}/text"], "is not the results.json of a run: "),
        (["compare", "{}/list", "{}/list"], "its schema is not keuos-hil/results"),
        (["compare", "{}/elf", "{}/text"], "give two kernels, two programs linux_rows, or two runs' results"),
        (["compare", "{}/elf", "{}/elf", "--pairs=3"], "at least 4 --pairs"),
        (["compare", "{}/elf", "{}/elf"], "/elf is neither a KeuOS kernel nor a program linux_rows"),
        (["compare", "{}/rows", "{}/rows"], "the program that measures rows: "),
    ],
)
def test_a_mistake_is_one_line_and_a_status_of_its_own(tmp_path, capsys, arguments, said):
    for name, text in (("text", b"no"), ("list", b"[]"), ("elf", b"\x7fELFnot really"), ("rows", ROWS)):
        (tmp_path / name).write_bytes(text)
    assert cli.main([argument.format(tmp_path) for argument in arguments]) == cli.EXIT_USAGE
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("keuos-hil: ")
    assert error.count("\n") == 1
