"""The bundled kernel's files, and the locks around it, on a bench that is not as it should be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from keuos_hil.plugins import board_lease
from keuos_hil.plugins.board_lease import LockLease, LockOptions

from keuos_hil import bundled
from keuos_hil.errors import InfraError
from keuos_hil.hookspecs import PartContext
from keuos_hil.locks import file_lock, timing_lock
from keuos_hil.telling import shown


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_PACKAGE", tmp_path / "keuos_hil")
    (tmp_path / "kernel").mkdir()
    makefile = tmp_path / "kernel" / "Makefile"
    makefile.write_text("all:\n\techo made >>../made\n")
    for variant in bundled.VARIANTS:
        found = bundled.paths("x86_64", variant)
        found.kernel.parent.mkdir(parents=True, exist_ok=True)
        found.kernel.write_text("kernel")
        found.initrd.write_text("initrd")
    return tmp_path


def test_the_kernel_is_made_when_a_source_is_newer_and_an_editor_s_dangling_link_is_no_trouble(checkout):
    def made():
        bundled.ensure("x86_64")
        return len((checkout / "made").read_text().splitlines())

    assert made() == 1
    assert made() == 1
    (checkout / "kernel" / ".#main.c").symlink_to("somebody@somewhere.1234")
    assert made() == 2
    assert made() == 2
    stamp = (checkout / "build" / ".kernel-built-x86_64").stat().st_mtime_ns
    os.utime(checkout / "kernel" / "Makefile", ns=(stamp + 1, stamp + 1))
    assert made() == 3


def test_a_copy_that_failed_can_be_tried_again(checkout):
    initrd = bundled.paths("x86_64", "release").initrd
    initrd.unlink()
    for _ in range(2):
        with pytest.raises(InfraError, match="can't be copied"):
            bundled.snapshot("x86_64", "release", checkout / "copy")
    initrd.write_text("initrd")
    assert bundled.snapshot("x86_64", "release", checkout / "copy").initrd.read_text() == "initrd"


def test_a_lock_says_who_holds_it_and_one_that_can_not_be_made_is_the_bench_s_fault(tmp_path):
    path = tmp_path / "some" / "lock"
    held = pytest.raises(InfraError, match=f"locked by process {os.getpid()} for more than 0")
    with file_lock(path, 1.0), held, file_lock(path, 0.0):
        pass
    assert not path.exists(), "nothing stays"
    path.touch()
    with pytest.raises(InfraError, match="no lock can be made"), file_lock(path / "below" / "a file", 1.0):
        pass


COUNTS = """
import sys
from pathlib import Path
from keuos_hil import locks
from keuos_hil.locks import file_lock

locks._POLL_S = 0
lock, count = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(200):
    with file_lock(lock, 100):
        before = int(count.read_text())
        count.write_text(str(before + 1))
"""


def test_a_lock_whose_file_goes_with_each_holder_lets_in_one_at_a_time(tmp_path):
    count = tmp_path / "count"
    count.write_text("0")
    ours = [subprocess.Popen([sys.executable, "-c", COUNTS, tmp_path / "lock", count]) for _ in range(3)]
    assert [process.wait(120) for process in ours] == [0, 0, 0]
    assert count.read_text() == "600"
    assert not (tmp_path / "lock").exists()


def test_a_lock_of_somebody_who_was_killed_can_be_had(tmp_path):
    path = tmp_path / "lock"
    path.write_text("process 1\n")
    path.chmod(0o666)
    with file_lock(path, 0.0):
        assert path.read_text() == f"process {os.getpid()}\n"
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_lock_of_another_user_is_waited_for_and_its_file_goes_as_well():
    place = Path(tempfile.mkdtemp(prefix="lock-"))
    place.chmod(0o1777)
    try:
        with file_lock(place / "lock", 0.0):
            child = os.fork()
            if child == 0:
                os.setuid(65534)
                try:
                    with file_lock(place / "lock", 0.0):
                        os._exit(1)
                except InfraError as error:
                    os._exit(0 if "was locked by process" in str(error) else 2)
            assert os.waitpid(child, 0)[1] == 0
        assert list(place.iterdir()) == []
    finally:
        shutil.rmtree(place)


def test_whoever_waits_for_the_timing_lock_is_told_once_and_without_a_home_it_is_a_temporary_file(
    tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / f"keuos-hil-{os.getuid()}" / "timing.lock"
    holds, heard = threading.Event(), threading.Event()
    told: list[str] = []

    def hear(line: str) -> None:
        told.append(line)
        heard.set()

    def hold():
        with file_lock(path, 0.0):
            holds.set()
            heard.wait(30)  # what waits for it has to say so before it can have it

    path.parent.mkdir()
    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(10)
    with shown(hear), timing_lock():
        pass
    holder.join()
    assert told == [f"waiting for another keuos-hil run that measures (lock {path}, held by process {os.getpid()})"]


def test_whoever_waits_for_a_board_says_for_whom(tmp_path, monkeypatch):
    monkeypatch.setattr(board_lease, "_LOCKS", tmp_path)
    holds, heard = threading.Event(), threading.Event()
    told: list[str] = []
    lease = LockLease(LockOptions(wait=60), PartContext("rpi4", "arm64", "[targets.rpi4.lease]"))
    console = tmp_path / "tty"
    console.touch()

    def hear(line: str) -> None:
        told.append(line)
        heard.set()

    def hold():
        with lease.hold(str(console)):
            holds.set()
            heard.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(10)
    with shown(hear), lease.hold(str(console)):
        pass
    holder.join()
    assert told == [f"rpi4 is in use by process {os.getpid()}: waiting, at most 60 s"]
