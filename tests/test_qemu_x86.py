"""The qemu-x86 target on tiny kernels: every way to end is told as what it is, at once, and nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from keuos_hil.plugins import child_process
from keuos_hil.targets.qemu_x86 import QemuX86, QemuX86Options

from keuos_hil.console import Console
from keuos_hil.errors import (
    Exited,
    Flood,
    ImageError,
    InfraError,
    Panic,
    Reset,
    TripleFault,
    WaitTimeout,
)  # fmt: skip
from keuos_hil.hookspecs import RunOptions
from keuos_hil.image import Elf, Image
from keuos_hil.link_choice import LinkChoice

LONG = 30.0


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_the_first_byte_is_not_lost(boot):
    session = boot("silent")
    assert session.console.expect(rb"\AKeuOS 0\.0\.tiny\r\n", LONG)


def test_what_is_written_to_the_console_arrives_and_what_follows_a_match_is_kept(boot):
    console = boot("echo").console
    console.expect("tiny\r\n", LONG)
    console.write(b"one two three")
    assert console.expect(rb"on(e)", LONG).group(1) == b"e"
    assert console.expect("two three", LONG)


@pytest.mark.parametrize(
    ("mode", "kind"), [("panic", Panic), ("triple", TripleFault), ("reset", Reset), ("panic_reset", Panic)]
)
def test_an_end_interrupts_a_wait_and_is_told_as_what_it_is(boot, mode, kind):
    session = boot(mode)
    with pytest.raises(kind) as caught:
        session.console.expect("something that never comes", LONG)
    assert "KeuOS 0.0.tiny" in str(caught.value)
    assert "something that never comes" in "".join(caught.value.__notes__)
    assert type(session.ended()) is kind


def test_a_panic_carries_its_message_and_its_whole_report(boot):
    end = boot("panic").console.wait_end(LONG)
    assert isinstance(end, Panic)
    assert end.message == "tiny broke"
    assert "rip=0x1234" in end.report
    assert end.report.endswith("KEUOS PANIC END")


def test_a_guest_that_ends_the_emulator_is_told_from_an_emulator_that_breaks(boot):
    session = boot("exit", extra=["-device", "isa-debug-exit,iobase=0xf4,iosize=1"])
    end = session.console.wait_end(LONG)
    assert isinstance(end, Exited)
    assert end.status == 3


def test_an_emulator_killed_from_outside_is_the_bench_s_fault(boot):
    session = boot("spin")
    session.console.expect("tiny", LONG)
    os.kill(session.pid, signal.SIGKILL)
    with pytest.raises(InfraError, match="SIGKILL"):
        session.console.expect("never", LONG)


def test_a_flood_is_capped_and_told(boot, monkeypatch):
    monkeypatch.setitem(Console.__init__.__kwdefaults__, "cap", 10_000)
    session = boot("flood")
    end = session.console.wait_end(LONG)
    assert isinstance(end, Flood)
    assert (session.directory / "console.log").stat().st_size < 11_000


def test_a_wait_that_times_out_shows_the_console(boot):
    session = boot("silent")
    session.console.expect("KeuOS", LONG)
    with pytest.raises(WaitTimeout, match=r"tiny"):
        session.console.expect("never", 0.3)


def test_closing_leaves_no_process_and_no_descriptor(boot):
    before = len(os.listdir("/proc/self/fd"))
    session = boot("spin")
    assert alive(session.pid)
    session.close()
    session.close()
    assert not alive(session.pid)
    # The event loop of the control sockets is one for the process and keeps three descriptors of its own.
    assert len(os.listdir("/proc/self/fd")) <= before + 3


def emulators_below(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [entry.parent.name] if str(directory).encode() in entry.read_bytes() else []
        except OSError:
            continue
    return found


def test_a_session_of_which_a_part_can_not_be_made_leaves_no_emulator(boot, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(re.error):
        boot("spin", RunOptions(panic_patterns=(b"(",)))
    assert emulators_below(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) <= before + 3


def test_an_interrupt_while_a_child_is_being_started_leaves_none(tmp_path, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    start: Future[subprocess.Popen[bytes]] = Future()
    monkeypatch.setattr(child_process, "_forker", SimpleNamespace(submit=lambda *argv, **how: start))
    monkeypatch.setattr(start, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        child_process.ChildProcess(["sleep"], inherit=(), output=tmp_path / "log", on_exit=lambda status: None)
    monkeypatch.undo()
    with subprocess.Popen(["sleep", "600"]) as process:
        start.set_result(process)
        assert process.returncode == -signal.SIGKILL


def test_a_killed_python_leaves_no_emulator(tiny_elf, tmp_path):
    script = f"""
import sys, pathlib
from keuos_hil.hookspecs import RunOptions
from keuos_hil.image import Image
from keuos_hil.targets.qemu_x86 import QemuX86, QemuX86Options
target = QemuX86("qemu-x86", QemuX86Options(), RunOptions())
session = target.open(Image.load(pathlib.Path({str(tiny_elf("spin"))!r})), pathlib.Path({str(tmp_path)!r}))
session.console.expect("tiny", 30)
print(session.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        assert alive(pid)
        child.kill()
        child.wait()
        deadline = time.monotonic() + LONG
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not alive(pid)


def test_debug_reads_and_writes_the_memory_of_a_running_guest(boot, tiny_elf):
    session = boot("count")
    session.console.expect("tiny", LONG)
    address = Elf.load(tiny_elf("count")).symbol("counter").address

    def counter() -> int:
        return int.from_bytes(session.debug.read_physical(address, 4), "little")

    first = counter()
    deadline = time.monotonic() + LONG
    while counter() == first and time.monotonic() < deadline:
        pass
    assert counter() != first
    session.pause()
    session.debug.write_physical(address, struct.pack("<I", 7))
    assert counter() == 7
    with pytest.raises(InfraError, match="not in the guest's RAM"):
        session.debug.read_physical(64 << 20, 1)


def test_a_read_that_is_watched_stops_the_machine_behind_it_each_time(boot, tiny_elf):
    session = boot("count")
    session.console.expect("tiny", LONG)
    address = Elf.load(tiny_elf("count")).symbol("counter").address

    def counter() -> int:
        return int.from_bytes(session.debug.read_physical(address, 4), "little")

    with session.watch_reads([address + 4, address], 4) as watch:
        assert watch.next_read(LONG) == address
        first = counter()
        assert counter() == first
        assert watch.next_read(LONG) == address
        assert counter() == first + 1
    deadline = time.monotonic() + LONG
    while counter() < first + 1000 and time.monotonic() < deadline:
        pass
    assert counter() >= first + 1000, "it runs on, unwatched"


def test_what_is_not_read_stops_nothing(boot, tiny_elf):
    session = boot("spin")
    session.console.expect("tiny", LONG)
    with session.watch_reads([Elf.load(tiny_elf("spin")).symbol("counter").address], 4) as watch:
        assert watch.next_read(0.2) is None
        assert watch.next_read(0.2) is None


def test_registers_of_each_core_are_read_by_name_and_the_guest_runs_on(boot):
    session = boot("count")
    session.console.expect("tiny", LONG)
    registers = session.registers(0)
    assert {"eip", "cr0", "cr3", "efer", "esp"} <= set(registers)
    assert registers["cr0"] & 1
    assert session._monitor.execute("query-status")["status"] == "running"
    with pytest.raises(InfraError, match="no core 9"):
        session.registers(9)


def test_a_reset_by_the_bench_boots_again_and_is_no_failure(boot):
    session = boot("silent")
    session.console.expect("tiny", LONG)
    session.reset()
    session.console.expect("tiny", LONG)
    assert session.ended() is None


def test_a_reset_behind_an_earlier_triple_fault_is_a_reset(boot):
    session = boot("triple_then_reset")
    assert type(session.console.wait_end(LONG)) is TripleFault
    session.reset()
    assert type(session.console.wait_end(LONG)) is Reset


def test_after_a_triple_fault_the_registers_can_still_be_read(boot, tmp_path):
    session = boot("triple")
    session.console.wait_end(LONG)
    lines = session.post_mortem(tmp_path)
    assert (tmp_path / "registers.txt").read_text().count("CPU#") == 2
    assert any("a core is at" in line for line in lines)


def test_gdb_can_be_let_in(boot):
    session = boot("spin")
    session.console.expect("tiny", LONG)
    command = session.attach_command()
    path = command.split("target remote ")[1].rstrip("'")
    assert Path(path).is_socket()
    session.close()
    assert not Path(path).exists()


def test_bad_arguments_are_the_bench_s_fault_and_show_what_qemu_said(boot):
    with pytest.raises(InfraError, match=r"(?s)before the guest's first instruction.*nonsense"):
        boot("spin", extra=["-nonsense"])
    with pytest.raises(InfraError, match="not installed"):
        boot("spin", binary="qemu-of-another-planet")


def test_an_elf_for_the_wrong_machine_is_one_clear_line(tiny_elf, tmp_path):
    data = bytearray(tiny_elf("spin").read_bytes())
    data[18:20] = struct.pack("<H", 183)
    kernel = tmp_path / "arm.elf"
    kernel.write_bytes(data)
    target = QemuX86("qemu-x86", QemuX86Options(), RunOptions())
    with pytest.raises(ImageError, match=r"wrong machine: target qemu-x86 runs x86_64, this is arm64") as caught:
        target.open(Image.load(kernel), tmp_path)
    assert "\n" not in str(caught.value)


def test_the_instructions_timebase_counts_instructions(boot):
    session = boot("spin", RunOptions(timebase="instructions"))
    session.console.expect("tiny", LONG)
    assert session.timebase.name == "instructions"
    assert "-icount" in session.command


@pytest.mark.parametrize(
    ("options", "link", "has"),
    [
        ({}, None, True),
        ({"nic": "none"}, None, False),
        ({"nic": ""}, None, False),
        ({}, LinkChoice("tap", "tap0"), False),
        ({}, LinkChoice("raw", "tap0"), True),
        ({"nic": "none"}, LinkChoice("raw", "tap0"), False),
        ({"iommu": False}, None, True),
    ],
)
def test_a_link_is_there_unless_the_nic_is_left_out_or_plugged_in_elsewhere(monkeypatch, options, link, has):
    monkeypatch.setattr("keuos_hil.plugins.qemu_machine.is_tap", lambda interface: True)
    assert ("link" in QemuX86("t", QemuX86Options(**options), RunOptions(link=link)).capabilities) is has
