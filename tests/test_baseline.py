"""A kept run and a later one: what is slower is told, once it was seen twice, with the functions that grew."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import jsonschema
import pytest
from keuos_hil.targets import linux_native

from keuos_hil.baseline import CONFIRMING, Baseline, Growth, Judgement, growth, save
from keuos_hil.compare import Change, Verdict
from keuos_hil.errors import InfraError, UsageError
from keuos_hil.executed import Grown
from keuos_hil.reporting import EXIT_BENCH

EVEN = [1.05, 1.06, 1.05, 1.07, 1.06]
SLOW = [1.16, 1.15, 1.17, 1.16, 1.15]
SCHEMA = json.loads(files("keuos_hil").joinpath("schema/results.schema.json").read_text())
FUNCTIONS = {"q/release/kernel": {"gate_pass": 100, "trap": 40}, "q/release/ring_ping": {"main": 900}}


def counted(value):
    return {"name": "ring.round_trip", "params": {"size": 56}, "target": "q", "timebase": "instructions",
            "unit": "ticks", "value": value, "ci95": None, "samples": None}  # fmt: skip


def timed(medians, row="ring-56", how="bare", again=None):
    ratio = {"value": 1.0, "medians": medians} | ({CONFIRMING: again} if again else {})
    return {"name": "linux.round_trip", "params": {"row": row, "how": how}, "target": "linux", "timebase": "silicon",
            "unit": "ticks", "p50": 1, "ci95": None, "samples": None, "ratio": ratio}  # fmt: skip


def results(*rows, cpu="A", compiler="clang 19", timebase="instructions"):
    environment = {"machine": {"cpu": cpu}, "time": "2026-01-01", "timebases": {"q": timebase},
                   "build_options": {"q/release": compiler}}  # fmt: skip
    return {"measurements": list(rows), "environment": environment, "build_id": {}}


@pytest.fixture
def kept(tmp_path):
    def keep(*rows):
        save(tmp_path / "base.json", results(*rows), FUNCTIONS)
        return Baseline.load(tmp_path / "base.json")

    return keep


def slower(baseline, *rows, functions=FUNCTIONS, **more):
    return [verdict.row for verdict in baseline.judge(results(*rows, **more), functions).slower]


def test_one_instruction_more_is_told_with_the_functions_that_grew(kept):
    baseline = kept(counted(100))
    now = {**FUNCTIONS, "q/release/kernel": {"gate_pass": 108, "trap": 40, "helper": 12}}
    judgement = baseline.judge(results(counted(101)), now)
    assert [v.row for v in judgement.slower] == ["ring.round_trip size=56 q instructions"]
    assert [(g.function, g.old, g.new) for g in judgement.grown] == [("helper", 0, 12), ("gate_pass", 100, 108)]
    assert not slower(baseline, counted(100))
    assert not slower(baseline, counted(99))


def test_functions_of_what_only_one_run_booted_are_no_growth():
    assert growth({"a": {"f": 1}}, {"b": {"f": 2}}) == []


def test_a_timing_is_slower_only_if_two_sets_of_launches_say_so(kept):
    baseline = kept(timed(EVEN))
    assert slower(baseline, timed(SLOW, again=SLOW)) == ["linux.round_trip how=bare row=ring-56"]
    assert not slower(baseline, timed(SLOW, again=EVEN))
    judgement = baseline.judge(results(timed(SLOW)), FUNCTIONS)
    assert not judgement.slower
    assert any("in one set of launches only" in note for note in judgement.notes)


def test_what_looks_slower_is_to_be_measured_again(kept):
    baseline = kept(timed(EVEN))
    assert baseline.suspects([timed(SLOW)], results()["environment"])
    assert not baseline.suspects([timed(EVEN)], results()["environment"])


@pytest.mark.parametrize(("row", "how"), [("ring-56", "pause"), ("pipe", "sleep"), ("boost-56", "bare")])
def test_rows_that_hide_slowdowns_or_are_not_ours_are_not_judged(kept, row, how):
    assert not slower(kept(timed(EVEN), timed(EVEN, row, how)), timed(EVEN), timed(SLOW, row, how, again=SLOW))


OTHER = counted(100) | {"target": "another"}


@pytest.mark.parametrize(
    ("old", "new", "more", "why"),
    [
        ([timed(EVEN)], [counted(1)], {}, "the target is linux in the baseline and q in this run; compare runs of one"),
        ([counted(1)], [OTHER], {}, "the target is q in the baseline and another in this run"),
        ([counted(1)], [counted(1) | {"name": "x"}], {}, "the baseline has ring.round_trip size=56 q instructions and "
         "this run has x size=56"),
        ([counted(1)], [], {}, "this run has no figures"),
        ([counted(1)], [timed(EVEN, how="pause")], {}, "this run has no figures"),
        ([timed(EVEN[:1])], [timed(EVEN)], {}, "the baseline has no timing of two .*--linux-launches"),
        ([timed(EVEN)], [timed(EVEN[:1])], {}, "this run has no timing of two"),
        ([timed(EVEN[:1])], [timed(EVEN)], {"cpu": "B"}, r"unlike machines can't be compared: cpu: A \(old\)"),
    ],
)  # fmt: skip
def test_a_run_of_which_no_row_can_be_judged_does_not_pass(kept, old, new, more, why):
    baseline = kept(*old)
    with pytest.raises(UsageError, match=f"base.json: no row could be judged: .*{why}") as raised:
        baseline.judge(results(*new, **more), FUNCTIONS)
    assert "\n" not in str(raised.value)


def test_timings_of_another_machine_are_no_suspects_and_are_refused_once(kept):
    assert not kept(timed(EVEN)).suspects([timed(SLOW)], results(cpu="B")["environment"])


def test_saving_timings_of_one_launch_warns(tmp_path):
    def warning(*rows):
        return save(tmp_path / "base.json", results(*rows), FUNCTIONS)

    said = warning(timed(EVEN[:1]), timed(EVEN, "ring-64"), counted(1))
    assert said.startswith("1 of the 2 timings in the baseline ")
    assert "--linux-launches" in said
    assert warning(timed(EVEN), counted(1)) == ""


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"cpu": "B"}, "unlike machines"),
        ({"compiler": "clang 20"}, "the build of q/release was clang 19, now it is clang 20"),
        ({"timebase": "emulated"}, "the timebase of q was instructions, now it is emulated"),
    ],
)
def test_only_like_is_compared_with_like(kept, more, wanted):
    with pytest.raises(UsageError, match=wanted):
        slower(kept(timed(EVEN)), timed(EVEN), **more)


def test_a_judgement_is_the_same_behind_results_json():
    verdicts = [Verdict("a", 1.01, None, None, 1.01, 1, True), Verdict("b", 1.1, 1.05, 1.15, 1.04, 5, True),
                Verdict("c", math.inf, None, None, math.inf, 1, True)]  # fmt: skip
    changes = [Change("a", 100, 101, [Grown("kernel", "trap", 8.0, 9.0)]), Change("c", 0, 1, None),
               Change("d", 9, 8, [])]  # fmt: skip
    judgement = Judgement(verdicts, changes, [Growth("q/release/kernel", "f", 0, 12)], ["a note"])
    text = json.dumps(judgement.to_document("base.json"), allow_nan=False)
    assert Judgement.of_document(json.loads(text)) == judgement


def test_what_is_no_baseline_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--save-baseline FILE makes one"):
        Baseline.load(tmp_path / "missing.json")
    (tmp_path / "results.json").write_text(json.dumps({"schema": "keuos-hil/results/1"}))
    with pytest.raises(UsageError, match=r"is not a baseline, .*: its schema is not keuos-hil/baseline"):
        Baseline.load(tmp_path / "results.json")
    with pytest.raises(InfraError, match="nothing was measured that one can judge"):
        save(tmp_path / "empty.json", results(), {})


def test_an_option_that_names_no_baseline_ends_the_run_before_it_begins(pytester):
    run = pytester.runpytest_subprocess("--baseline=nowhere.json")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*nowhere.json is not a baseline*"])


COUNTING = """
import os

def test_x(target, record):
    value = float(os.environ["COUNT"])
    shares = {"executed": {"kernel": {"trap": 40.0, "gate_pass": value - 40}}} if "SHARES" in os.environ else {}
    record.add("x", {"a": 1}, value=value, timebase="instructions", more=shares)
    assert "FAIL" not in os.environ

def test_ctrl_c():
    if "INTERRUPT" in os.environ:
        raise KeyboardInterrupt
"""
RESULTS_LINE = "results: */results.json"


@pytest.mark.skipif(not linux_native.can_measure(), reason="target linux needs a checkout")
def test_a_run_is_kept_and_a_later_one_fails_by_what_it_takes_more(pytester, monkeypatch):
    pytester.makepyfile(COUNTING)

    def run(count, *options):
        monkeypatch.setenv("COUNT", str(count))
        return pytester.runpytest_subprocess("--target=linux", f"--results={pytester.path}/r", *options, timeout=120)

    monkeypatch.setenv("FAIL", "1")
    refused = run(100, "--save-baseline=base.json")
    refused.stdout.fnmatch_lines([RESULTS_LINE, "*no baseline *base.json was saved: the run failed"])
    monkeypatch.delenv("FAIL")
    monkeypatch.setenv("INTERRUPT", "1")
    interrupted = run(100, "--save-baseline=base.json")
    assert interrupted.ret == pytest.ExitCode.INTERRUPTED
    interrupted.stdout.fnmatch_lines([RESULTS_LINE])
    assert not (pytester.path / "base.json").exists()
    monkeypatch.delenv("INTERRUPT")
    assert run(100, "--save-baseline=base.json").ret == pytest.ExitCode.OK
    same = run(100, "--baseline=base.json")
    assert same.ret == pytest.ExitCode.OK
    same.stdout.fnmatch_lines(["baseline *base.json: 1 rows compared, 0 slower"])
    more = run(101, "--baseline=base.json")
    assert more.ret == pytest.ExitCode.TESTS_FAILED
    more.stdout.fnmatch_lines(["baseline *base.json: 1 rows compared, 1 slower", "*x a=1 linux instructions*1.010*"])
    more.stdout.fnmatch_lines(["*no function has another size*"])
    assert more.outlines[-1] == "keuos-hil: status 1: slower than the baseline: x a=1 linux instructions"
    for_other = json.loads((pytester.path / "base.json").read_text())
    for_other["measurements"][0]["target"] = "another"
    (pytester.path / "other.json").write_text(json.dumps(for_other))
    nothing = run(100, "--baseline=other.json")
    assert nothing.ret == EXIT_BENCH
    nothing.stdout.fnmatch_lines(
        [RESULTS_LINE, "keuos-hil: *other.json: no row could be judged: the target is another in the base*"]
    )
    assert nothing.outlines[-1].startswith("keuos-hil: status 10: ")
    pytester.makepyfile("def test_y(): pass")
    unmeasured = run(100, "--baseline=base.json")
    assert unmeasured.ret == EXIT_BENCH
    assert "no row could be judged: nothing was measured" in unmeasured.outlines[-1]


@pytest.mark.skipif(not linux_native.can_measure(), reason="target linux needs a checkout")
def test_a_judged_run_s_results_and_report_tell_the_function_that_grew_as_the_terminal_does(pytester, monkeypatch):
    pytester.makepyfile(COUNTING)
    monkeypatch.setenv("SHARES", "1")

    def run(count, *options):
        monkeypatch.setenv("COUNT", str(count))
        options = ("--target=linux", f"--results={pytester.path}/r", "--report", *options)
        made = pytester.runpytest_subprocess(*options, timeout=120)
        folder = pytester.path / "r" / "latest"
        document = json.loads((folder / "results.json").read_text())
        jsonschema.validate(document, SCHEMA)
        return made, document, (folder / "report.html").read_text()

    _, document, report = run(100, "--save-baseline=base.json")
    assert "baseline" not in document
    assert 'id="baseline"' not in report
    made, document, report = run(103, "--baseline=base.json")
    assert made.ret == pytest.ExitCode.TESTS_FAILED
    judged = document["baseline"]
    assert judged["file"].endswith("base.json")
    assert [(row["row"], row["ratio"], row["ci95"], row["slower"]) for row in judged["rows"]] == [
        ("x a=1 linux instructions", 1.03, None, True)
    ]
    (change,) = judged["changes"]
    assert change["functions"] == [{"file": "kernel", "function": "gate_pass", "old": 60, "new": 63}]
    words = (f"baseline {judged['file']}: 1 rows compared, 1 slower",
             "x a=1 linux instructions: 100, now 103; executed for each operation")  # fmt: skip
    for said in words:
        assert said in " ".join(made.stdout.str().split())
        assert said in report
    assert ["kernel", "gate_pass", "60", "63", "+3.0"] in [line.split() for line in made.outlines]
    assert '<td>gate_pass</td><td class="n">60</td><td class="n">63</td><td class="n">+3.0</td>' in report
    unlike = json.loads((pytester.path / "base.json").read_text())
    unlike["environment"]["timebases"]["linux"] = "another"
    (pytester.path / "base.json").write_text(json.dumps(unlike))
    made, document, report = run(100, "--baseline=base.json")
    made.stdout.fnmatch_lines([RESULTS_LINE, "report: */report.html", "*the timebase of linux was another*"])
    assert "baseline" not in document
    assert "<h2>Tests</h2>" in report, "a run that is not alike has a report all the same"
