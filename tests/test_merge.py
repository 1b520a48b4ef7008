"""Several machines' results as one: nothing lost, nothing taken for another machine's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keuos_hil import cli
from keuos_hil.environment import host_environment
from tests.row_results import recorded


def a_run(folder, cpu="one", target="linux"):
    folder.mkdir()
    results = recorded()
    for row in results.measurements + results.missing:
        row["target"] = target
    results.add_test("ring/test_native.py::test_rows", target, "passed", 2.0)
    results.add_verdict("gates", "tag", target, "passed", 3)
    results.build_ids[f"{target}/release"] = f"build of {cpu}"
    environment = host_environment() | {
        "seed": 1,
        "timebases": {target: "silicon"},
        "commands": {f"{target}/release": "qemu"},
    }
    environment["machine"]["cpu"] = cpu
    results.write(folder, environment)
    return folder


def merged(capsys, output, *runs):
    status = cli.main(["merge", *map(str, runs), "--output", str(output)])
    said = capsys.readouterr()
    return status, said.err


def test_runs_of_two_machines_become_one_with_their_rows_apart(tmp_path, capsys):
    one, two = a_run(tmp_path / "one"), a_run(tmp_path / "two", cpu="another")
    status, said = merged(capsys, tmp_path / "whole", f"desk={one}", f"rack={two / 'results.json'}")
    assert (status, said) == (0, "")
    whole = json.loads((tmp_path / "whole" / "results.json").read_text())
    rows = [(row["target"], row["params"]["row"]) for row in whole["measurements"]]
    assert rows == [(f"linux@{name}", row) for name in ("desk", "rack") for row in ("pipe", "ring-56")]
    assert {test["target"] for test in whole["tests"]} == set(whole["gates"]["tag"]) == {"linux@desk", "linux@rack"}
    assert len(whole["missing"]) == 4
    assert whole["build_id"] == {"linux@desk/release": "build of one", "linux@rack/release": "build of another"}
    assert "machine" not in whole["environment"], "there is no machine whose figures all of these are"
    assert [run["environment"]["machine"]["cpu"] for run in whole["environment"]["merged"]] == ["one", "another"]


def test_samples_stay_with_their_rows(tmp_path, capsys):
    one, two = a_run(tmp_path / "one"), a_run(tmp_path / "two", target="linux-guest")
    assert merged(capsys, tmp_path / "whole", one, two)[0] == 0
    whole = json.loads((tmp_path / "whole" / "results.json").read_text())
    with np.load(tmp_path / "whole" / "samples.npz") as samples:
        medians = [float(np.median(samples[row["samples"]["key"]])) for row in whole["measurements"]]
    assert medians == pytest.approx([row["p50"] for row in whole["measurements"]], rel=0.01)
    assert "machine" in whole["environment"]


def test_a_row_whose_samples_are_gone_is_kept_without_them(tmp_path, capsys):
    one = a_run(tmp_path / "one")
    (one / "samples.npz").unlink()
    assert merged(capsys, tmp_path / "whole", one)[0] == 0
    whole = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert [row["samples"] for row in whole["measurements"]] == [None, None]


def test_targets_of_one_name_need_names(tmp_path, capsys):
    one, two = a_run(tmp_path / "one"), a_run(tmp_path / "two")
    status, said = merged(capsys, tmp_path / "whole", one, two)
    assert status == cli.EXIT_USAGE
    assert "runs 1 and 2 both have a target linux; give each a name: NAME=RUN" in said
    assert not (tmp_path / "whole").exists()


@pytest.mark.parametrize(
    ("spoil", "wanted"), [("samples.npz", "can't be read"), ("results.json", "is not the results.json")]
)
def test_what_is_damaged_is_named(tmp_path, capsys, spoil, wanted):
    one = a_run(tmp_path / "one")
    (one / spoil).write_text("no such thing")
    status, said = merged(capsys, tmp_path / "whole", one)
    assert status == cli.EXIT_USAGE
    assert wanted in said
    assert str(one / spoil) in said


def test_joined_results_never_overwrite(tmp_path, capsys):
    one = a_run(tmp_path / "one")
    status, said = merged(capsys, one, one)
    assert status == cli.EXIT_USAGE
    assert "is there already" in said


def test_a_report_and_a_comparison_of_joined_results(tmp_path, capsys):
    one, two = a_run(tmp_path / "one"), a_run(tmp_path / "two", cpu="another")
    assert merged(capsys, tmp_path / "whole", f"desk={one}", f"rack={two}")[0] == 0
    assert cli.main(["report", str(tmp_path / "whole")]) == 0
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "linux@desk" in page
    assert ">another<" in page
