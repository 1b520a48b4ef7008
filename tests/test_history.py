"""The history of figures: appended by runs, even several at once, and shown apart for what must not be mixed."""

from __future__ import annotations

import threading

import pytest

from keuos_hil import cli, history
from keuos_hil.errors import InfraError


def run_of(value, *, time="2026-01-01T00:00:00+00:00", cpu="A", size=56, ci95=None):
    row = {"name": "ring.round_trip", "params": {"size": size, "path": "data"}, "target": "t", "timebase": "silicon"}
    row |= {"unit": "ticks", "p50": value, "ci95": ci95}
    single = {"name": "syscall.null", "params": {}, "target": "u", "timebase": "instructions", "unit": "ticks"}
    environment = {"time": time, "machine": {"cpu": cpu}}
    build = {"t/release": "abc", "u/hil": "def"}
    return {"environment": environment, "build_id": build, "measurements": [row, single | {"value": 58, "ci95": None}]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / history.FILE


def test_a_quantity_is_shown_in_the_order_of_time_with_its_build_and_interval(path, capsys):
    history.append(path, run_of(100, time="2026-01-02T00:00:00+00:00", ci95=[99, 101]))
    history.append(path, run_of(200, time="2026-01-01T00:00:00+00:00"))
    assert cli.main(["history", "ring.round_trip", "--file", str(path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "ring.round_trip path=data size=56, ticks, on t, timebase silicon"
    assert [line.split()[:3] for line in said[2:]] == [
        ["2026-01-01T00:00:00+00:00", "abc", "200"],
        ["2026-01-02T00:00:00+00:00", "abc", "100"],
    ]
    assert "[99..101]" in said[3]
    assert said[2].count("█") == 2 * said[3].count("█") == 40


def test_machines_and_params_are_apart_and_can_be_chosen(path):
    for run in (run_of(1), run_of(2, cpu="B"), run_of(3, size=64)):
        history.append(path, run)
    assert len(history.series(path, "ring.round_trip", {})) == 3
    [points] = history.series(path, "ring.round_trip", {"size": "64"}).values()
    assert [point.value for point in points] == [3]
    assert history.series(path, "ring.round_trip", {"size": "8"}) == {}
    assert [point.build for point in next(iter(history.series(path, "syscall.null", {}).values()))] == ["def"] * 2


def test_runs_that_end_at_once_all_leave_their_figures(path):
    threads = [threading.Thread(target=history.append, args=(path, run_of(i))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [points] = history.series(path, "ring.round_trip", {}).values()
    assert sorted(point.value for point in points) == list(range(8))


def test_mistakes_get_one_line(path, capsys):
    for arguments, said in (
        (["history", "x"], "there is no history"),
        (["history", "x", "--with", "size"], "expected NAME=VALUE"),
    ):
        assert cli.main([*arguments, "--file", str(path)]) == cli.EXIT_USAGE
        assert said in capsys.readouterr().err
    history.append(path, run_of(1))
    assert cli.main(["history", "x", "--file", str(path)]) == cli.EXIT_USAGE
    assert "no such figures of x; it has ring.round_trip, syscall.null" in capsys.readouterr().err
    for param, said in (
        ("size=nope", "--with size=nope: no row of ring.round_trip has that; size is 56\n"),
        ("row=x", "--with row=x: no row of ring.round_trip has a row; they have path, size\n"),
    ):
        assert cli.main(["history", "ring.round_trip", "--with", param, "--file", str(path)]) == cli.EXIT_USAGE
        assert said in capsys.readouterr().err
    path.write_text("not a database, and longer than a header of one" * 9)
    with pytest.raises(InfraError, match="can't be read"):
        history.series(path, "x", {})
    with pytest.raises(InfraError, match="can't be written"):
        history.append(path, run_of(1))
