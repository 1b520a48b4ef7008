"""The target board on stand-ins: suites through firmware, boot loader and a tty, whatever is done to line and power."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from keuos_hil.plugins.arm64_image import flat_image

from keuos_hil import bundled

from .bench import Bench
from .conftest import Run
from .damage import Noise

Make = Callable[..., Bench]
Runs = Callable[..., Run]

#: One bit in every ten thousand bytes turned over, and now and then a byte lost or made up.
LOSSY = Noise(flip=1e-4, drop=2e-5, insert=2e-5)
#: What a boot ROM says in another baud rate before anything else.
GARBAGE = 300
SHORT = (
    "suites/boot/test_processes.py",
    "suites/boot/test_cpu_state.py",
    "-k",
    "exception or hostile or quota or executed",
)

#: What a PC boots and what its NIC (an 82574) does, in short.
PC_SHORT = "not recorded and not hundred and not keeps_every and not killed and not three_times and not interrupts"

FOUR_TESTS = """
import time

def test_before(agent):
    agent.ping()

def test_in_the_middle_of_which_it_happens(agent):
    (HERE / "middle").write_text("")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        agent.ping()

def test_after(agent):
    agent.ping()
    (HERE / "after").write_text("")

def test_at_the_end(agent):
    with agent.spawn("hello") as process:
        assert process.wait_exit().ok
"""

PING = "def test_ping(agent):\n    agent.ping()\n\n"

ROUGH_TESTS = """
import time

def until(agent, what):
    deadline = time.monotonic() + 60
    while not what() and time.monotonic() < deadline:
        agent.ping()

def test_before(agent):
    agent.ping()

def test_while_the_adapter_is_away(agent):
    (HERE / "pulled").write_text("")
    until(agent, (HERE / "back").exists)
    assert (HERE / "back").exists()
    assert "console" in agent.files()

def test_while_the_power_goes_and_comes(agent):
    (HERE / "cut").write_text("")
    until(agent, lambda: False)

def test_after(agent):
    agent.ping()
    (HERE / "after").write_text("")

def test_while_the_power_goes(agent):
    (HERE / "switched-off").write_text("")
    until(agent, lambda: False)

def test_after_that(agent):
    agent.ping()

def test_at_the_end(agent):
    with agent.spawn("hello") as process:
        assert process.wait_exit().ok
"""


def suite(place: Path, name: str, source: str) -> Path:
    """A folder below `place` with one file of tests, `source`; they see the folder as HERE."""
    folder = place / name
    folder.mkdir()
    (folder / f"test_{name}.py").write_text("from pathlib import Path\n\nHERE = Path(__file__).parent\n" + source)
    return folder


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """Four tests; a file says when the second is under way."""
    return suite(tmp_path, "four", FOUR_TESTS)


def reset_behind(bench: Bench, carried: int) -> None:
    """Press the button when so many bytes have gone to the board."""
    deadline = time.monotonic() + 1000
    while bench.to_board.carried < carried and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bench.do("reset") == "ok"


def when(path: Path, do: Callable[[], object]) -> Callable[[], None]:
    """Does something once `path` is there."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        do()

    return wait


def test_a_suite_passes_on_an_arm_board_whose_line_damages_bytes(make_bench: Make, run: Runs) -> None:
    bench = make_bench("arm64", noise=LOSSY, garbage=GARBAGE)
    done = run(bench.configuration("arm", noisy=True), "--target=board", *SHORT)
    assert done.status == 0, done.output[-4000:]
    assert set(done.verdicts.values()) <= {"passed", "skipped"}
    assert "passed" in done.verdicts.values()
    assert bench.to_host.damaged, "the line did damage something"


def test_a_suite_passes_on_a_pc_that_grub_starts_from_a_stick(make_bench: Make, run: Runs) -> None:
    bench = make_bench("pc")
    suites = ["suites/boot/test_boot.py", "suites/boot/test_cpu_state.py", "suites/net/test_nic.py", "-k", PC_SHORT]
    done = run(bench.configuration("pc"), "--target=board", *suites)
    assert done.status == 0, done.output[-4000:]
    assert sum(verdict == "passed" for verdict in done.verdicts.values()) > 10
    frames = ["test_a_frame_from_the_wire_arrives_as_it_was_sent", "test_a_reset_function_starts_over"]
    assert {done.verdicts[f"{name}[pc]"] for name in frames} == {"passed"}, "Intel's NIC was driven"


def test_a_board_that_runs_the_build_already_is_not_loaded_again(
    lasting_bench: Bench, run: Runs, tmp_path: Path
) -> None:
    ping = suite(tmp_path, "ping", PING)
    fresh = suite(tmp_path, "fresh", PING + "def test_fresh(fresh_target, agent):\n    agent.ping()\n")
    bench = lasting_bench
    bench.off()
    configuration = bench.configuration("arm", debug=False)

    def starts(place: Path) -> int:
        before = len(bench.log)
        done = run(configuration, "--target=board", str(place))
        assert done.status == 0, done.output[-4000:]
        assert set(done.verdicts.values()) == {"passed"}
        return len(bench.log) - before

    assert starts(ping) == 1
    assert starts(fresh) == 1, "the same build runs, and nothing else; but a test that asks for a fresh boot gets one"
    bench.type(b"spawn sleeper\r")
    assert starts(ping) == 1, "somebody left a process"


def test_a_cut_marks_the_test_that_it_hit_and_no_other_and_a_pulled_adapter_none(
    lasting_bench: Bench, run: Runs, tmp_path: Path
) -> None:
    bench = lasting_bench
    place = suite(tmp_path, "rough", ROUGH_TESTS)
    cut_at: list[float] = []

    def pull() -> None:
        bench.vanish(1.0)
        time.sleep(1.5)
        (place / "back").write_text("")

    def cut() -> None:
        cut_at.append(time.time())
        bench.off()
        time.sleep(0.1)
        bench.on()

    def treat_it_roughly() -> None:
        for name, deed in (("pulled", pull), ("cut", cut), ("switched-off", bench.off)):
            when(place / name, deed)()

    done = run(bench.configuration("arm", debug=False), "--target=board", str(place), meanwhile=treat_it_roughly)
    verdicts = ["passed", "passed", "failed", "passed", "failed", "passed", "passed"]
    assert list(done.verdicts.values()) == verdicts, done.output[-4000:]
    assert done.status == 1
    assert "the machine started over" in done.output
    assert "the target fell silent" in done.output
    assert done.results["environment"]["lines"]["arm"]["port_returns"] == 1
    assert "the port vanished 1 time, for" in done.output
    print(f"the session went on {(place / 'after').stat().st_mtime - cut_at[0]:.1f} s after the cut")


def test_a_board_that_no_step_revives_is_the_benchs_fault_and_says_what_was_tried(
    lasting_bench: Bench, run: Runs, four: Path
) -> None:
    bench = lasting_bench

    def break_it() -> None:
        bench.jammed = True
        bench.off()

    done = run(
        bench.configuration("arm", debug=False), "--target=board", str(four), meanwhile=when(four / "middle", break_it)
    )
    bench.jammed = False
    assert list(done.verdicts.values()) == ["passed", "error", "error", "error"], done.output[-4000:]
    assert done.status == 10, "nothing but the bench went wrong"
    assert "board arm did not come up; tried: reset: " in done.output
    assert "; power cycle, power cycle and reload: " in done.output, "those failed alike"
    assert "the relay is stuck" in done.output


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["arm64", "pc"])
def test_every_suite_passes_on_a_stand_in(make_bench: Make, run: Runs, kind: str) -> None:
    bench = make_bench(kind)
    suites = [f"suites/{name}" for name in ("boot", "gates", "net", "printed", "ring", "tcp")]
    done = run(bench.configuration(kind), "--target=board", *suites, timeout=3000)
    assert done.status == 0, done.output[-6000:]


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["arm64", "pc"])
def test_every_suite_passes_on_a_line_that_damages_bytes(make_bench: Make, run: Runs, kind: str) -> None:
    bench = make_bench(kind, noise=LOSSY, garbage=GARBAGE)
    suites = [f"suites/{name}" for name in ("boot", "gates", "printed", "ring")]
    done = run(bench.configuration(kind, noisy=True), "--target=board", *suites, timeout=3000)
    assert done.status == 0, done.output[-6000:]
    assert bench.to_host.damaged, "the line did damage something"
    assert bench.to_board.damaged, "and the other way"
    assert done.results["environment"]["lines"][kind], "what it cost is counted"
    print(done.output[-3000:])


@pytest.mark.soak
def test_a_hundred_boots_in_a_row_succeed_with_a_flipped_bit_in_ten_thousand_bytes(
    make_bench: Make, run: Runs, tmp_path: Path
) -> None:
    place = suite(
        tmp_path,
        "boots",
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(100))\n"
        "def test_boot(fresh_target, agent, number):\n"
        "    assert 'console' in agent.files()\n",
    )
    bench = make_bench("arm64", noise=Noise(flip=1e-4), garbage=GARBAGE)
    done = run(bench.configuration("arm", noisy=True), "--target=board", str(place), timeout=3600)
    assert done.status == 0, done.output[-4000:]
    assert list(done.verdicts.values()) == ["passed"] * 100
    assert bench.powered >= 100
    print(done.output[-500:], f"{bench.to_host.damaged + bench.to_board.damaged} bytes were damaged")


@pytest.mark.soak
def test_a_whole_image_goes_over_a_serial_line_that_damages_bytes_though_a_reset_breaks_it(
    make_bench: Make, run: Runs, tmp_path: Path
) -> None:
    found = bundled.snapshot("arm64", "release", tmp_path / "sent")
    assert found.initrd is not None
    whole = flat_image(found.kernel, tmp_path).stat().st_size + found.initrd.stat().st_size
    bench = make_bench("arm64", noise=Noise(flip=2e-5))
    done = run(
        bench.configuration("arm", load="uboot-ymodem", debug=False, noisy=True, boot_timeout=1500),
        *("--target=board", "--log-cli-level=INFO", str(suite(tmp_path, "ping", PING))),
        timeout=2000,
        meanwhile=lambda: reset_behind(bench, whole // 2),
    )
    assert done.status == 0, done.output[-4000:]
    assert "the board started over while it was loaded" in done.output
    assert bench.powered == 1, "what it had got was still there"
    assert bench.to_board.carried < 1.5 * whole, "and was not sent again"
    assert bench.to_board.damaged, "the line did damage something"
    print(f"{whole} bytes in {bench.to_board.carried}, {bench.to_board.damaged} of them damaged")


@pytest.mark.soak
def test_ten_thousand_samples_come_over_a_line_of_115200_baud(make_bench: Make, run: Runs, tmp_path: Path) -> None:
    place = suite(
        tmp_path,
        "samples",
        "import time\n"
        "from keuos_hil.suites.ring.programs import round_trips\n"
        "def test_samples(fresh_target, agent, record):\n"
        "    started = time.monotonic()\n"
        "    found = round_trips(agent, path='data', size=56, wait='poll', cores='cross', count=10_000)\n"
        "    (HERE / 'seconds').write_text(str(time.monotonic() - started))\n"
        "    record.add('ring.round_trip', {'size': 56}, samples=found.trips)\n",
    )
    bench = make_bench("arm64", baud=115200)
    done = run(bench.configuration("arm"), "--target=board", str(place), "--durations=3")
    assert done.status == 0, done.output[-4000:]
    assert done.results["measurements"][0]["n"] == 10_000
    assert done.results["measurements"][0]["timebase"] == "silicon"
    assert bench.to_host.carried < 10_000 * 2 * 4, "samples and baselines, four bytes each, would be more"
    print(done.output[-1500:], f"10,000 trips and their way here: {(place / 'seconds').read_text()} s")
