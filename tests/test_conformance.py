"""Requirements: the table, the marker and option, verdicts in results, and the page that is made of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from keuos_hil import conformance, requirements
from keuos_hil.environment import host_environment
from keuos_hil.errors import UsageError
from keuos_hil.results import Results

ENVIRONMENT = host_environment() | {"seed": 1, "timebases": {}, "commands": {}}
TABLE = Path(requirements.__file__).parent / "net" / "requirements.csv"


def test_every_row_is_whole_and_its_id_its_own():
    rows = list(csv.reader(TABLE.read_text().splitlines()))[1:]
    assert all(len(row) == 8 and all(row) for row in rows)
    assert len(requirements.table()) == len(rows)


def test_every_row_was_held_against_its_text():
    assert {row.source.partition("(")[0] for row in requirements.table().values()} == {"text", "reviewed"}


def test_every_numbered_requirement_of_rfc_9293_is_in_the_table():
    for kind, last in (("MUST", 69), ("SHLD", 31), ("MAY", 18), ("REC", 1)):
        for number in range(1, last + 1):
            assert f"9293:{kind}-{number}" in requirements.table()


def test_waivers_name_rows_and_say_why():
    found = conformance.waivers()
    assert set(found) <= set(requirements.table())
    assert all(waiver.reason for waiver in found.values())
    assert {waiver.kind for waiver in found.values()} <= {"unobservable", "refused", "not offered"}


def test_an_unknown_id_names_the_nearest():
    with pytest.raises(UsageError, match=r"no requirement is called '9293:MUST-350'; did you mean .*9293:MUST-35\b"):
        requirements.require(["9293:MUST-350"], "here")


TESTS = """
import pytest

@pytest.mark.requirement("9293:MUST-35", "9293:MUST-36")
def test_probe(target): pass

@pytest.mark.requirement("9293:MUST-36")
@pytest.mark.parametrize("good", [True, False])
def test_more(target, good): assert good

@pytest.mark.requirement("9293:MUST-1")
@pytest.mark.xfail(reason="it is known (RFC 9293)", strict=True)
def test_known(target): raise AssertionError("as ever")

@pytest.mark.requirement("9293:MUST-2")
@pytest.mark.slow
def test_long(target): pass
"""


def _run(pytester, *arguments):
    pytester.makepyfile(TESTS)
    results = pytester.path / "results"
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "--target=linux", f"--results={results}", *arguments, timeout=120
    )
    return result, results / "latest" / "results.json"


def test_a_run_leaves_a_verdict_for_each_requirement_and_its_tests(pytester):
    result, path = _run(pytester)
    result.assert_outcomes(passed=2, failed=1, xfailed=1, deselected=1)
    found = json.loads(path.read_text())["requirements"]
    assert found["9293:MUST-35"]["linux"]["verdict"] == "passed"
    assert found["9293:MUST-36"]["linux"]["verdict"] == "failed"
    assert found["9293:MUST-36"]["linux"]["cases"] == 3
    assert sorted(found["9293:MUST-36"]["linux"]["tests"].values()) == ["failed", "passed", "passed"]
    assert found["9293:MUST-1"]["linux"]["waived"] == ["it is known (RFC 9293)"]
    assert "9293:MUST-2" not in found


def test_a_requirement_selects_what_shows_it(pytester):
    result, _ = _run(pytester, "--requirement=9293:MUST-35")
    result.assert_outcomes(passed=1, deselected=4)


def test_a_misspelt_requirement_is_a_usage_error(pytester):
    result, _ = _run(pytester, "--requirement=9293:MUST-350")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*did you mean *9293:MUST-35*"])


def test_the_page_has_a_row_for_each_requirement(pytester, capsys):
    _, path = _run(pytester)
    html = pytester.path / "page.html"
    assert conformance.main([str(path), "--html", str(html)]) == 1, "a case failed without a reason"
    page = capsys.readouterr().out
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert set(requirements.table()) <= set(rows)
    assert "| passed (1) |" in rows["9293:MUST-35"]
    assert "| FAILED (3) |" in rows["9293:MUST-36"]
    assert "| waived in 1 of 1 |" in rows["9293:MUST-1"]
    assert "| untested |" in rows["9293:MUST-2"]
    assert "- **9293:MUST-1** on linux: it is known (RFC 9293)." in page
    assert "9293:MUST-51** on linux: source routing" in page
    assert html.read_text().count("<tr>") == len(requirements.table()) + 1


def test_a_row_leads_to_the_text_and_to_the_cases_that_show_it(tmp_path, capsys):
    file, function = "tcp/test_send_window.py", "test_a_closed_window_is_probed"
    found = Results()
    for case in ("[1]", "[2]"):
        found.add_evidence("9293:MUST-35", "netd", f"{file}::{function}{case}", "passed")
    found.add_evidence("7323:RST", "netd", "tcp/test_gone.py::test_gone", "passed")
    found.write(tmp_path, ENVIRONMENT)
    html = tmp_path / "page.html"
    assert conformance.main([str(tmp_path / "results.json"), "--html", str(html)]) == 0
    line = (TABLE.parents[2] / "suites" / file).read_text().partition(f"def {function}(")[0].count("\n") + 1
    case, text = f"../suites/{file}#L{line}", "https://www.rfc-editor.org/rfc/rfc9293#section-3.8.6"
    page = capsys.readouterr().out
    assert page.count(f"[a closed window is probed]({case})") == 1
    assert f"[3.8.6]({text})" in page
    assert f'<a href="{case}">a closed window is probed</a>' in html.read_text()
    assert f'<a href="{text}">3.8.6</a>' in html.read_text()
    both = "[3.2](https://www.rfc-editor.org/rfc/rfc7323#section-3.2), [5.2](https://www.rfc-editor.org/rfc/rfc7323#section-5.2)"
    assert both in page
    assert "[gone](../suites/tcp/test_gone.py)" in page, "a case that is no more has no line"
    assert "[RFC 1858](https://www.rfc-editor.org/rfc/rfc1858)" in page


def test_a_file_that_is_no_result_is_one_line(tmp_path, capsys):
    path = tmp_path / "results.json"
    path.write_text("[]")
    assert conformance.main([str(path)]) == 1
    said = f"conformance: {path} is not the results.json of a run: its schema is not keuos-hil/results\n"
    assert capsys.readouterr().err == said


def test_evidence_survives_the_way_between_processes():
    one, other = Results(), Results()
    one.add_evidence("9293:MUST-1", "linux", "a", "passed")
    other.add_evidence("9293:MUST-1", "linux", "b", "xfailed", "why")
    one.merge(other.to_text())
    assert one.requirements["9293:MUST-1"]["linux"] == {
        "verdict": "xfailed", "cases": 2, "tests": {"a": "passed", "b": "xfailed"}, "waived": ["why"],
    }  # fmt: skip


def test_a_skip_is_told_and_counts_only_where_nothing_ran(tmp_path, capsys):
    one, other = Results(), Results()
    one.add_skip("9293:MUST-1", "netd", "no such option")
    one.add_skip("9293:MUST-2", "netd", "no such option")
    one.add_evidence("9293:MUST-2", "netd", "a", "passed")
    other.add_evidence("9293:MUST-3", "netd", "b", "passed")
    other.add_skip("9293:MUST-3", "netd", "no clock")
    other.merge(one.to_text())
    other.write(tmp_path, ENVIRONMENT)
    assert conformance.main([str(tmp_path / "results.json")]) == 0
    page = capsys.readouterr().out
    verdicts = {row.split(" | ")[0].removeprefix("| "): row.split(" | ")[4] for row in page.splitlines() if "|" in row}
    assert verdicts["9293:MUST-1"] == "untested"
    assert verdicts["9293:MUST-2"] == verdicts["9293:MUST-3"] == "passed (1)"
    assert "- **9293:MUST-1** on netd: no such option." in page
    assert "**9293:MUST-3**" not in page


def _run_of(verdicts, path, target="netd"):
    """results.json of a run with a case for each requirement, all passed but for `verdicts`; None: untested."""
    found = Results()
    for name in requirements.table():
        verdict = verdicts.get(name, None if name in conformance.waivers() else "passed")
        if verdict is not None:
            found.add_evidence(name, target, "case", verdict, "why" if verdict == "xfailed" else "")
    found.write(path, ENVIRONMENT)
    return str(path / "results.json")


def test_a_stack_that_meets_everything_is_told_so(tmp_path, capsys):
    assert conformance.main([_run_of({}, tmp_path), "--hold=netd"]) == 0
    told = capsys.readouterr().err
    assert "3 are on the waiver list, 0 deviate or are untested" in told
    assert "not: 9293:SHLD-9, 9293:SHLD-24" in told


@pytest.mark.parametrize("verdict", [None, "xfailed", "failed"])
def test_a_binding_row_that_is_untested_waived_or_failed_is_lacking(tmp_path, capsys, verdict):
    path = _run_of({"9293:MUST-35": verdict}, tmp_path)
    assert conformance.main([path, "--hold=netd"]) == 1
    assert "1 deviate or are untested: 9293:MUST-35;" in capsys.readouterr().err
    assert conformance.main([path]) == (verdict == "failed"), "a reference may deviate, with a reason"


def test_one_should_row_in_twenty_may_be_missed(tmp_path, capsys):
    names = [name for name, row in requirements.table().items() if row.level == "SHOULD"]
    names = [name for name in names if name not in conformance.waivers()]
    assert conformance.main([_run_of({}, tmp_path), "--hold=netd"]) == 0
    assert conformance.main([_run_of(dict.fromkeys(names[:1], None), tmp_path), "--hold=netd"]) == 1
    assert names[0] in capsys.readouterr().err


def test_a_target_of_which_there_is_no_run_can_not_be_held(tmp_path, capsys):
    assert conformance.main([_run_of({}, tmp_path), "--hold=linux"]) == 1
    assert "--hold linux: none of these runs was of it; they are of netd" in capsys.readouterr().err
