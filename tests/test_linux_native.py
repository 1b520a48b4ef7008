"""The measuring program of target linux as it is built and run: right answers, right page rights, and clear ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from keuos_hil.targets import linux_native
from keuos_hil.targets.linux_native import NativeRows

from keuos_hil.errors import InfraError
from keuos_hil.rows import FLOOR

pytestmark = pytest.mark.skipif(not linux_native.can_measure(), reason="rows are measured on x86-64 and arm64")

PAGE = 4096
#: Of keuos/channel.h: by page from the channel's start, the producer's rights and the consumer's.
RIGHTS = {
    -1: ("---", "---"),
    0: ("rw-", "r--"),
    1: ("rw-", "r--"),
    2: ("r--", "rw-"),
    3: ("r--", "r--"),
    4: ("r--", "r--"),
    5: ("---", "r--"),
    6: ("rw-", "r--"),
    21: ("rw-", "r--"),
    22: ("---", "---"),
}


@pytest.fixture(scope="module")
def meter(tmp_path_factory):
    return NativeRows(tmp_path_factory.mktemp("native"), "clang", 1, 1)


@pytest.fixture
def running(meter, tmp_path) -> Iterator[subprocess.Popen[str]]:
    """The program, measuring for longer than any test takes."""
    command = [str(meter.program), str(tmp_path / "out"), "100000", "1", *(["0", "1"] if _cores() > 1 else ["0", "-1"])]
    with subprocess.Popen([*command, "ring-56:yield"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        yield it
        it.kill()


def _cores():
    return len(os.sched_getaffinity(0))


def view(program):
    """Addresses of the channels to pong and back, and pong's process."""
    assert program.stdout is not None
    line = next(line for line in program.stdout if line.startswith("view"))
    out, back, pong = line.split()[1:]
    return int(out, 16), int(back, 16), int(pong)


def test_every_row_that_this_machine_has_brings_every_message_back(meter):
    launch = meter.launch(1, rounds=1)
    assert not launch.missing or _cores() == 1 or {missing.row for missing in launch.missing} == {"boost"}
    assert {m.name.row for m in launch.measured} >= {"ring-56", "ring-proof-48", "pipe", "mq", "futex", "unix-dgram"}
    assert not [m.name for m in launch.measured if m.wrong]
    assert launch.hz > 1e6


def test_rows_can_be_chosen_and_bring_their_floors(meter):
    launch = meter.launch(1, rounds=2, rows=("ring-56:yield",))
    assert [m.name.row for m in launch.measured] == ["nothing", FLOOR, "ring-56", FLOOR] * 2
    assert [m.round for m in launch.measured] == [0] * 4 + [1] * 4


def test_each_side_has_its_rights_to_a_channel_s_pages_and_no_others(running):
    out, back, pong = view(running)
    for producer, consumer, base in ((running.pid, pong, out), (pong, running.pid, back)):
        for page, (producers, consumers) in RIGHTS.items():
            assert _page_rights(producer, base, page) == producers, f"producer, page {page}"
            assert _page_rights(consumer, base, page) == consumers, f"consumer, page {page}"


def _page_rights(pid, base, page):
    address = base + page * PAGE
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (...)", line)
        if found and int(found[1], 16) <= address < int(found[2], 16):
            return found[3]
    return "unmapped"


def test_the_measuring_side_says_so_if_the_other_dies(running):
    _, _, pong = view(running)
    os.kill(pong, signal.SIGKILL)
    assert running.wait(30) == 1
    assert running.stderr is not None
    assert "the answering process ended" in running.stderr.read()


def test_the_answering_side_does_not_outlive_the_measuring_one(running):
    _, _, pong = view(running)
    running.kill()
    running.wait()
    deadline = time.monotonic() + 10
    while _runs(pong) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(pong)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_on_one_core_rows_across_cores_are_missing_with_the_reason(meter, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    launch = meter.launch(1, rounds=1, rows=("ring-56:pause", "ring-56:yield"))
    assert {m.name.cores for m in launch.measured} == {"same"}
    told = next(missing for missing in launch.missing if missing.row == "ring-56")
    assert (told.cores, told.reason) == ("cross", "only one core may be used, and its floor takes two")


def test_without_boost_only_its_rows_are_missing(tmp_path, monkeypatch):
    real = linux_native._compile
    monkeypatch.setattr(
        linux_native, "_compile", lambda command: "no boost" if "boost.cc" in str(command[-3]) else real(command)
    )
    meter = NativeRows(tmp_path, "clang", 1, 1)
    launch = meter.launch(1, rounds=1, rows=("ring-56:yield", "boost-56:yield"))
    assert {m.name.row for m in launch.measured} == {"nothing", FLOOR, "ring-56"}
    assert launch.missing[-1].reason.endswith("no boost")


def test_bad_arguments_get_one_line(meter, tmp_path):
    for arguments, said in (
        ([], "usage: linux_rows FILE ROUNDS SEED PING-CORE PONG-CORE"),
        ([str(tmp_path / "x"), "0", "1", "0", "1"], "ROUNDS: expected a number from 1 to 100000, found 0"),
        ([str(tmp_path / "x"), "1", "seed", "0", "1"], "SEED: expected a number"),
    ):
        done = subprocess.run([str(meter.program), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_file_that_can_not_be_written_is_the_bench_s_fault(meter):
    meter_elsewhere = NativeRows(Path("/nonexistent"), "clang", 1, 1)
    meter_elsewhere._program = meter.program
    with pytest.raises(InfraError, match="No such file or directory"):
        meter_elsewhere.launch(1)
