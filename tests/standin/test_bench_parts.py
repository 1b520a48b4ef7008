"""Parts of a bench on stand-ins that no suite needs: consoles over the network, boards that start by themselves."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from keuos_hil.plugins.arm64_image import flat_image
from keuos_hil.plugins.bench_command import run_command
from keuos_hil.plugins.gdb_remote import GdbRemote
from keuos_hil.plugins.serial_line import SerialLine

from keuos_hil import bundled
from keuos_hil.errors import InfraError
from tests.starving import starved_process

from .bench import ROOT, Bench
from .conftest import Run
from .port_server import PortServer
from .starved import Starvation
from .test_boards import reset_behind, suite

#: Memory of an arm64 stand-in that U-Boot leaves alone.
UNUSED = 0x4400_0000

LOOKS = """
def test_looks(target, agent):
    with agent.spawn("hello") as process:
        assert process.wait_exit().ok
"""
LOOKS_FROM_OUTSIDE = """
def test_looks_from_outside(target, agent):
    assert target.kernel.read("cpu_count") == agent.info().cores
"""

TALKS_WHILE_IT_LISTENS = """
import random
import time

def test_talks_while_it_listens(agent):
    some = random.Random(8)
    deadline = time.monotonic() + 100
    with agent.spawn("puppet", suspended=True) as process:
        symbol = process.elf.symbol("scratch")
        scratch, size = symbol.address, symbol.size
        (HERE / "begun").write_text("")
        while (agent.client.repeats < 3 or b"this list" not in agent.console.since(0)) and time.monotonic() < deadline:
            data = some.randbytes(size)
            process.write(scratch, data)
            assert process.read(scratch, size) == data
        (HERE / "done").write_text("")
"""


@pytest.mark.parametrize("protocol", ["rfc2217", "socket"])
def test_a_console_may_be_on_a_port_server(
    lasting_bench: Bench, run: Callable[..., Run], tmp_path: Path, protocol: str
) -> None:
    bench = lasting_bench
    looks_inside = protocol == "rfc2217"
    place = suite(tmp_path, "looks", LOOKS + LOOKS_FROM_OUTSIDE * looks_inside)
    with PortServer(bench.tty, rfc2217=looks_inside) as server:
        configuration = bench.configuration("arm", console=server.url, debug=looks_inside)
        done = run(configuration, "--target=board", *(["--require=debug"] if looks_inside else []), str(place))
        assert server.clients, "the board was spoken to through it"
    assert done.status == 0, done.output[-4000:]
    assert list(done.verdicts.values()) == ["passed"] * (1 + looks_inside)


def test_a_board_that_talks_while_a_frame_comes_has_it_repeated_and_nothing_mistaken(
    make_bench: Callable[..., Bench], run: Callable[..., Run], tmp_path: Path
) -> None:
    bench = make_bench("arm64", baud=115200)
    place = suite(tmp_path, "talks", TALKS_WHILE_IT_LISTENS)

    def type_at_it() -> None:
        """Words in the middle of the host's frames; the board says what they mean while the rest of a frame comes."""
        deadline = time.monotonic() + 120
        while not (place / "done").exists() and time.monotonic() < deadline:
            if (place / "begun").exists():
                bench.type(b"help\r")
            time.sleep(0.3)

    done = run(bench.configuration("arm", debug=False), "--target=board", str(place), meanwhile=type_at_it)
    assert list(done.verdicts.values()) == ["passed"], done.output[-4000:]
    assert done.results["environment"]["lines"]["arm"]["repeated_requests"] >= 3, "words hit frames"
    (log,) = (tmp_path / "results" / "latest" / "sessions").glob("*/console.log")
    assert b"this list" in log.read_bytes(), "and others were answered"


def test_a_board_may_start_by_itself_what_lies_on_it_and_what_its_bench_lacks_is_skipped_with_the_reason(
    make_bench: Callable[..., Bench], run: Callable[..., Run], tmp_path: Path
) -> None:
    found = bundled.snapshot("arm64", "release", tmp_path / "lies-there")
    assert found.initrd is not None
    bench = make_bench("preloaded", files={"kernel": flat_image(found.kernel, tmp_path), "initrd": found.initrd})
    configuration = bench.configuration("arm", load="preloaded", debug=False, link={"part": "none"})
    suites = [
        f"suites/{name}.py" for name in ("gates/test_hostile_tags", "gates/test_page_tables", "tcp/test_handshake")
    ]
    few = ["-k", "ring_is_worth or an_idle_machine or a_syn_is_answered"]
    done = run(configuration, "--target=board", "-rs", *suites, *few)
    assert done.status == 0, done.output[-4000:]
    assert done.verdicts == {
        "test_a_tag_of_one_ring_is_worth_nothing_on_another[arm-0-ownership]": "passed",
        "test_a_tag_of_one_ring_is_worth_nothing_on_another[arm-1-tag]": "passed",
        "test_an_idle_machine_is_as_it_should_be[arm]": "skipped",
        "test_a_syn_is_answered_with_the_number_behind_it[arm]": "skipped",
    }, "the gates inside the kernel need neither probe nor wire"
    for lacking in ("debug", "link"):
        assert f"needs '{lacking}': target arm lacks it; to get it: " in done.output


def test_a_board_may_fetch_its_image_from_a_server_that_is_there_already(
    make_bench: Callable[..., Bench], run: Callable[..., Run], tmp_path: Path
) -> None:
    folder = tmp_path / "srv-tftp"
    folder.mkdir()
    bench = make_bench("served", files={"served": folder})
    server = {"directory": str(folder), "server": "10.0.2.2", "address": "10.0.2.15"}
    place = suite(tmp_path, "looks", LOOKS)
    configuration = bench.configuration("arm", fetch=server, debug=False, link={"part": "none"})
    done = run(configuration, "--target=board", str(place))
    assert list(done.verdicts.values()) == ["passed"], done.output[-4000:]
    assert not list(folder.iterdir()), "nothing of ours stays there"


@pytest.mark.soak
def test_a_flat_kernel_is_told_by_its_elf_which_is_matched_by_build_id(
    lasting_bench: Bench, run: Callable[..., Run], tmp_path: Path
) -> None:
    found, other = (bundled.snapshot("arm64", build, tmp_path / build) for build in ("release", "hil"))
    flat = flat_image(found.kernel, tmp_path)
    place = suite(tmp_path, "looks", LOOKS + LOOKS_FROM_OUTSIDE)
    image = ["--target=board", f"--kernel={flat}", f"--initrd={found.initrd}", str(place)]
    configuration = lasting_bench.configuration("arm")
    done = run(configuration, f"--symbols={other.kernel}", *image)
    assert done.status != 0
    assert f"{flat} was not built together with {other.kernel}" in done.output
    assert "pass the ELF of the same build to --symbols" in done.output
    done = run(configuration, f"--symbols={found.kernel}", "--require=debug", *image)
    assert list(done.verdicts.values()) == ["passed"] * 2, done.output[-4000:]


def test_a_board_that_a_probe_has_stopped_can_be_looked_at_and_switched(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench("arm64")
    pattern = random.Random(7).randbytes(200_001)
    with closing(SerialLine(str(bench.tty), 115200)) as line, GdbRemote(str(bench.gdb)) as probe:
        bench.on()
        assert line.read(30), "it runs"
        probe.pause()
        probe.write_physical(UNUSED + 5, pattern)
        assert probe.read_physical(UNUSED + 5, len(pattern)) == pattern
        assert probe.read_physical(UNUSED, 10)[5:] == pattern[:5], "an answer to each question, and no other"
        with pytest.raises(InfraError, match="took no byte"):
            line.write(bytes(1 << 20), 0.5)
        run_command([*bench.switch, "cycle"], 30)
    assert bench.powered == 2


def test_a_cut_does_not_turn_back_the_clock_of_a_stand_in(tmp_path: Path) -> None:
    host = Starvation(tmp_path / "pid")
    assert host.stood() == 0, "its power is off"
    with starved_process() as pid:
        (tmp_path / "pid").write_text(f"{pid}\n")
        began = time.monotonic()
        assert host.stood() <= time.monotonic() - began, "what it waited before anybody looked does not count"
        while not (stood := host.stood()):
            assert time.monotonic() - began < 30, "a wait is never counted"
            time.sleep(0.02)
    (tmp_path / "pid").unlink()
    assert host.stood() >= stood
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    assert host.stood() >= stood


@pytest.mark.soak
@pytest.mark.parametrize("part", ["raw", "tap"])
def test_a_board_may_hang_on_an_interface_of_this_host(make_place: Callable[[], Path], part: str) -> None:
    namespace = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    tests = ["suites/net/test_nic.py", "-k", "arrives_as_it_was_sent or leaves_as_it_was_given"]
    done = subprocess.run(
        [*namespace, sys.executable, "-m", "tests.standin.wired", part, str(make_place()), *tests],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "2 passed" in done.stdout, "the image came over it, and frames both ways"


@pytest.mark.soak
def test_a_transfer_over_the_line_that_a_reset_breaks_goes_on_where_it_was(
    make_bench: Callable[..., Bench], run: Callable[..., Run], tmp_path: Path
) -> None:
    kernel = bundled.snapshot("arm64", "release", tmp_path / "sent").kernel
    initrd, programs = tmp_path / "initrd.cpio", ROOT / "build/kernel/arm64/user/initrd"
    make = [sys.executable, str(ROOT / "kernel/tools/mkinitrd.py"), "--output", str(initrd)]
    run_command([*make, *(str(programs / name) for name in ("console", "hello"))], 30)  # the whole one takes minutes
    whole = flat_image(kernel, tmp_path).stat().st_size + initrd.stat().st_size
    bench = make_bench("arm64")

    place = suite(tmp_path, "looks", LOOKS)
    configuration = bench.configuration("arm", load="uboot-ymodem", debug=False, boot_timeout=280)
    image = [f"--kernel={kernel}", f"--initrd={initrd}"]
    arguments = ["--target=board", "--log-cli-level=INFO", *image, str(place)]
    done = run(configuration, *arguments, timeout=400, meanwhile=lambda: reset_behind(bench, 3 * whole // 4))
    assert list(done.verdicts.values()) == ["passed"], done.output[-4000:]
    assert "the board started over while it was loaded" in done.output
    assert bench.powered == 1, "what it had got was still there"
    assert bench.to_board.carried < 1.5 * whole, "and was not sent again"
