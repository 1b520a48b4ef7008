"""Files that a user names: a bad one gets one line, and no output file is lost to a disk that is full."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest

from keuos_hil import cli, saved
from keuos_hil.baseline import Baseline, save
from keuos_hil.environment import host_environment
from keuos_hil.errors import InfraError, UsageError
from tests.row_results import recorded

FUNCTIONS = {"q/release/kernel": {"trap": 40}}


@pytest.fixture
def run(tmp_path):
    results = recorded()
    results.add_test("ring/test_native.py::test_rows", "linux", "passed", 2.0)
    environment = host_environment() | {"seed": 1, "timebases": {"linux": "silicon"}, "commands": {}}
    results.write(tmp_path, environment)
    return tmp_path


def damaged(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


DAMAGES = [
    (lambda d: d.pop("measurements"), "the file: 'measurements' is a required property"),
    (lambda d: d.pop("environment"), "the file: 'environment' is a required property"),
    (lambda d: d["measurements"][0].pop("params"), "measurements[0]: 'params' is a required property"),
    (lambda d: d["measurements"][0]["params"].pop("cores"), "measurements[0].params: 'cores' is a required property"),
    (lambda d: d["measurements"][1].update(p50="abc"), "measurements[1].p50: 'abc' is not of type 'number'"),
    (lambda d: d["measurements"][1]["ratio"].update(medians=[1, 0]), "measurements[1].ratio.medians[1]: 0 is "),
    (lambda d: d.update(measurements=5), "measurements: 5 is not of type 'array'"),
    (lambda d: d.update(tests={"a": "b" * 999}), "tests: ...bbb"),
    (lambda d: d["environment"].update(timebases=[]), "environment.timebases: [] is not of type 'object'"),
    (lambda d: d.update(schema="keuos-hil/results/99"), "has the schema 'keuos-hil/results/99'; this keuos-hil reads "),
    (lambda d: d.update(schema=["keuos-hil/results/1"]), "its schema is not keuos-hil/results"),
]


@pytest.mark.parametrize(("change", "said"), DAMAGES)
@pytest.mark.parametrize("command", ["compare", "merge", "report"])
def test_results_that_are_not_as_their_schema_says_get_one_line(run, capsys, command, change, said):
    damaged(run / "results.json", change)
    arguments = {"compare": [run, run], "merge": [run, "--output", run / "whole"], "report": [run]}[command]
    assert cli.main([command, *map(str, arguments)]) == cli.EXIT_USAGE
    error = capsys.readouterr().err
    assert error.startswith(f"keuos-hil: {run / 'results.json'} ")
    assert said in error
    assert error.count("\n") == 1
    assert len(error) < 600
    assert not (run / "whole").exists()
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("text", [b"", b"\xff", b"[" * 100_000, b"9" * 5_000, b'{"a": NaN}', b"1e999"])
def test_what_is_no_document_gets_one_line(run, capsys, text):
    (run / "results.json").write_bytes(text)
    assert cli.main(["compare", str(run), str(run)]) == cli.EXIT_USAGE
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("text", [b"", b"PK\x03\x04", b"no such thing"])
def test_damaged_samples_get_one_line(run, text):
    (run / "samples.npz").write_bytes(text)
    with pytest.raises(UsageError, match=r"the samples .*samples.npz can't be read"):
        saved.read_samples(run)


def test_samples_are_numbers_in_a_row(run):
    np.savez_compressed(run / "samples.npz", s0=np.array(["text"]))
    with pytest.raises(UsageError, match="s0 is no row of numbers"):
        saved.read_samples(run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(measurements=5), "measurements: 5 is not of type 'array'"),
        (lambda d: d.pop("functions"), "'functions' is a required property"),
        (lambda d: d["measurements"][0].pop("params"), r"measurements\[0\]: 'params' is a required property"),
        (lambda d: d["measurements"][0].update(value="x"), r"measurements\[0\].value: 'x' is not of type 'number'"),
        (lambda d: d.update(schema="keuos-hil/baseline/7"), "has the schema 'keuos-hil/baseline/7'"),
    ],
)
def test_a_baseline_that_is_not_as_its_schema_says_is_refused_when_it_is_read(tmp_path, change, said):
    row = {"name": "x", "params": {}, "target": "q", "timebase": "instructions", "unit": "ticks", "value": 3}
    path = tmp_path / "base.json"
    save(path, {"measurements": [row], "environment": {}, "build_id": {}}, FUNCTIONS)
    assert Baseline.load(path).document["measurements"] == [row]
    damaged(path, change)
    with pytest.raises(UsageError, match=said):
        Baseline.load(path)


def full(sink, text=b"half of it"):
    sink.write(text)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "kept"
    path.write_text("old")
    path.chmod(0o640)
    with pytest.raises(OSError, match="No space left"):
        saved.replace(path, full)
    assert path.read_text() == "old"
    (tmp_path / "link").symlink_to("kept")
    saved.replace_text(tmp_path / "link", "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["kept", "link"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        saved.replace_text(tmp_path / "pipe", "a page")
        assert os.read(reader, 100) == b"a page"
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_costs_no_file_that_was_there(tmp_path, monkeypatch, capsys):
    results = recorded()
    folder = tmp_path / "run"
    folder.mkdir()
    environment = host_environment() | {"seed": 1, "timebases": {}, "commands": {}}
    results.write(folder, environment)
    report, base = tmp_path / "report.html", tmp_path / "base.json"
    for path in (report, base):
        path.write_text("old")
    real = saved.replace
    for module in ("saved", "results"):
        monkeypatch.setattr(f"keuos_hil.{module}.replace", lambda path, _: real(path, full))
    assert cli.main(["report", str(folder), "--output", str(report)]) == cli.EXIT_USAGE
    assert cli.main(["merge", str(folder), "--output", str(tmp_path / "whole")]) == cli.EXIT_USAGE
    assert capsys.readouterr().err.count("No space left on device") == 2
    row = {"name": "x", "params": {}, "target": "q", "timebase": "instructions", "unit": "ticks", "value": 3}
    with pytest.raises(InfraError, match="No space left"):
        save(base, {"measurements": [row], "environment": {}, "build_id": {}}, FUNCTIONS)
    assert report.read_text() == base.read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["base.json", "report.html", "run"]
