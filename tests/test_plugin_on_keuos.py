"""The pytest plugin with the bundled kernel: verdicts by who did wrong, state between tests, results, clean ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from keuos_hil.report import render

LONG = 600.0


@pytest.fixture(scope="module", autouse=True)
def kernel():
    from keuos_hil import bundled

    bundled.ensure("x86_64")


def children_of(directory):
    """The emulators whose command line names a folder below `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(directory).encode() in (entry / "cmdline").read_bytes():
                if b"qemu-system" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


def run(pytester, source, *arguments):
    pytester.makepyfile(source)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rA", *arguments, timeout=LONG)
    assert children_of(pytester.path) == []
    return result


def results_of(pytester):
    document = json.loads((pytester.path / "build/results/qemu-x86/latest/results.json").read_text())
    jsonschema.validate(document, json.loads(files("keuos_hil").joinpath("schema/results.schema.json").read_text()))
    return document


VERDICTS = """
import pytest
from keuos_hil.errors import InfraError, Panic, Silent, TripleFault, Reset, PoweredOff

def test_passes(agent):
    with agent.spawn("hello") as process:
        assert process.wait_exit().ok

@pytest.mark.needs("hil", "reset-reason")
@pytest.mark.parametrize(("how", "kind"), [
    ("panic", Panic), ("triple_fault", TripleFault), ("hang", Silent), ("fault", Panic), ("stack", Panic)])
def test_passes_when_it_ends_as_expected(agent, target, how, kind):
    agent.hil(how)
    assert type(target.wait_end()) is kind

@pytest.mark.parametrize(("how", "kind"), [(0, Reset), (1, PoweredOff)])
def test_passes_when_it_reboots_as_expected(agent, target, how, kind):
    agent.reboot(how)
    assert type(target.wait_end()) is kind

@pytest.fixture
def panicking(agent, console):
    agent.hil("panic")
    console.expect("something that never comes", 60)

@pytest.mark.needs("hil")
def test_fails_in_setup(panicking):
    pass

@pytest.mark.needs("hil")
def test_fails_in_call(agent, console):
    agent.hil("panic")
    console.expect("something that never comes", 60)

@pytest.mark.needs("hil")
def test_fails_behind_its_back(agent):
    agent.hil("panic")

def test_fails_by_leaking(agent):
    agent.request("spawn", name="sleeper")  # behind the back of agent.spawn, which would take it back

def test_passes_after_a_leak(agent):
    assert [p.name for p in agent.processes()] == ["console"]

def test_passes_though_untidy(agent):
    agent.spawn("sleeper")
    agent.spawn("spin", core=1)

@pytest.fixture
def bench_breaks(agent):
    raise InfraError("a cable fell out")

def test_errors_in_setup(bench_breaks):
    pass

def test_errors_in_call(agent):
    raise InfraError("a cable fell out")

def test_fails_by_itself(agent, seed):
    assert 1 == 2

@pytest.mark.needs("iommu")
def test_skips_live(agent):
    pass

@pytest.mark.needs("link")
def test_skips_by_target(agent):
    raise AssertionError("not reached")
"""


def test_each_end_is_sorted_by_who_did_wrong_in_whatever_phase(pytester):
    result = run(pytester, VERDICTS, "--qemu-iommu=no", "--qemu-nic=none")
    document = results_of(pytester)
    verdicts = {test["id"].partition("::")[2]: test["verdict"] for test in document["tests"]}
    assert len(verdicts) == 19
    for name, verdict in verdicts.items():
        wanted = {"passes": "passed", "fails": "failed", "errors": "error", "skips": "skipped"}[
            re.split(r"[_\[]", name)[1]
        ]
        assert verdict == wanted, name
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines_random([
        "*kernel panic: asked for by the host*",
        "*console of qemu-x86 during this test*",
        "*KEUOS PANIC END*",
        "*the target has 1 more processes*",
        "*to get it: a NIC: --qemu-nic=virtio-net-pci*",
        "*to get it: a machine with an IOMMU*",
        "ERROR *test_errors_in_call*",
        "pytest *test_fails_by_itself?qemu-x86?' *--seed=*",
        "machine: qemu-system-x86_64 *",
    ])  # fmt: skip
    assert document["build_id"].keys() == {"qemu-x86/release", "qemu-x86/hil"}


def test_a_test_without_the_agent_is_held_to_the_counts_at_boot(pytester):
    source = """
def test_leaks(target, console):
    console.expect(b"keuos> ", 60)
    console.write("spawn sleeper\\r")
    console.expect(rb"\\[\\d+\\] sleeper on core", 60)

def test_is_clean(agent):
    assert [p.name for p in agent.processes()] == ["console"]
"""
    result = run(pytester, source)
    result.assert_outcomes(passed=2, failed=1)  # the leak is told behind the test that made it
    result.stdout.fnmatch_lines(["*after the test the target has 1 more processes*"])
    verdicts = {test["id"].partition("::")[2]: test["verdict"] for test in results_of(pytester)["tests"]}
    assert verdicts == {"test_leaks[qemu-x86]": "failed", "test_is_clean[qemu-x86]": "passed"}


def test_a_reset_forgets_the_processes_from_before_it(pytester):
    source = """
def test_resets(target, agent):
    old = [agent.spawn("sleeper").pid for _ in range(3)]
    target.session.reset()
    target.console.expect(b"keuos> ", 60)
    again = target.agent
    assert again is not agent
    assert [p.name for p in again.processes()] == ["console"]
    assert again.spawn("sleeper").pid in old
    target.session.reset()
    target.console.expect(b"keuos> ", 60)

def test_next(target, agent):
    assert target.console.resets == 0
    assert [p.name for p in agent.processes()] == ["console"]
"""
    run(pytester, source).assert_outcomes(passed=2)


def test_a_keuos_of_one_s_own_gets_the_bundled_initrd_and_what_was_booted_is_kept(pytester):
    from keuos_hil import bundled

    pytester.path.joinpath("mine.elf").write_bytes(bundled.paths("x86_64", "release").kernel.read_bytes())
    source = """
def test_x(agent, image):
    with agent.spawn("hello") as process:
        assert process.wait_exit().ok
        assert process.elf.layouts.present
    assert image.kernel_path.name == "mine.elf"
"""
    result = run(pytester, source, "--kernel=mine.elf")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["keuos-hil: *mine.elf with the bundled initrd, because *"])
    images = pytester.path / "build/results/qemu-x86/latest/images"
    kept = sorted(str(path.relative_to(images)) for path in images.rglob("*") if path.is_file())
    assert "x86_64-given/kernel/mine.elf" in kept
    assert "x86_64-given/initrd.cpio" in kept


def test_an_initrd_of_one_s_own_is_kept_with_what_describes_its_programs(pytester):
    from keuos_hil import bundled

    found = bundled.paths("x86_64", "release")
    lab = pytester.mkdir("lab")
    for name in ("kernel", "initrd"):  # the same name in two folders is no clash
        lab.joinpath(name).mkdir()
        lab.joinpath(name, "image").write_bytes(vars(found)[name].read_bytes())
    lab.joinpath("initrd", "user").mkdir()
    hello = (found.initrd.parent / "user" / "hello.elf").read_bytes()
    lab.joinpath("initrd", "user", "hello.elf").write_bytes(hello)
    lab.joinpath("initrd", "user", "unrelated.elf").write_bytes(hello)
    source = "def test_x(agent): assert agent.spawn('hello').elf.layouts.present\n"
    result = run(pytester, source, "--kernel=lab/kernel/image", "--initrd=lab/initrd/image")
    result.assert_outcomes(passed=1)
    images = pytester.path / "build/results/qemu-x86/latest/images/x86_64-given"
    assert sorted(str(path.relative_to(images)) for path in images.rglob("*") if path.is_file()) == [
        "initrd/image", "initrd/user/hello.elf", "kernel/image",
    ]  # fmt: skip


def test_a_netd_of_one_s_own_is_the_one_that_runs(pytester):
    from keuos_hil import bundled

    built = bundled.paths("x86_64", "release").initrd.parent / "user" / "netd.elf"
    pytester.path.joinpath("mine.elf").write_bytes(built.read_bytes())  # with symbols, which the bundled one has not
    source = """
from pathlib import Path
import pytest
from keuos_hil.net.netd import Netd
@pytest.mark.needs("netd", "link", "iommu", "entropy")
def test_x(agent, image):
    assert image.files["netd"] == Path("mine.elf").read_bytes()
    assert "netd_hil" not in image.files and "hello" in image.files
    assert Netd(agent).counters()["serving"]
"""
    result = run(pytester, source, "--netd=mine.elf")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["keuos-hil: *kernel bundled, NetD */mine.elf;*"])


def test_a_run_with_nothing_but_bench_errors_has_a_status_of_its_own(pytester):
    source = "from keuos_hil.errors import InfraError\ndef test_x(agent):\n    raise InfraError('a cable fell out')\n"
    assert run(pytester, source).ret == 10


def test_require_makes_an_error_of_a_skip(pytester):
    source = "import pytest\n@pytest.mark.needs('link')\ndef test_x(agent): pass\n"
    result = run(pytester, source, "--qemu-nic=none", "--require=link")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*--require link: needs 'link'*"])
    assert result.ret == 10


def test_require_makes_an_error_of_an_agent_that_is_not_there_and_a_mute_kernel_is_asked_once(pytester, tiny_elf):
    source = "def test_x(agent): pass\ndef test_y(agent): pass\n"
    kernel = f"--kernel={tiny_elf('spin')}"
    result = run(pytester, source, kernel)
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*needs 'agent': the agent on qemu-x86 says it is not there*"])
    assert len(list((pytester.path / "build/results/qemu-x86/latest/sessions").iterdir())) == 1
    result = run(pytester, source, kernel, "--require=agent")
    result.assert_outcomes(errors=2)
    assert result.ret == 10


def test_the_command_to_repeat_works_from_where_pytest_was_called(pytester, tiny_elf):
    pytester.makefile(".ini", pytest="[pytest]\nmarkers = soak\naddopts = -m 'not soak'\n")
    pytester.path.joinpath("k.elf").write_bytes(tiny_elf("spin").read_bytes())
    lab = pytester.mkdir("lab")
    lab.joinpath("test_it.py").write_text(
        "import pytest\n@pytest.mark.soak\ndef test_x(keuos_target_name, seed): assert seed == 6\n"
    )

    def called(*arguments):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, cwd=lab, capture_output=True, text=True, check=False).stdout

    first = called("-m", "soak", "--seed", "5", "--kernel", "../k.elf")
    found = re.search("^pytest .*$", first, re.MULTILINE)
    assert found, first
    assert found.group() == "pytest 'test_it.py::test_x[qemu-x86]' -m=soak --kernel=../k.elf --seed=5"
    assert "assert 5 == 6" in called(*shlex.split(found.group())[1:])


def test_figures_are_shown_and_kept(pytester):
    source = """
def test_x(record, fresh_target, agent):
    record.add("ring.round_trip", {"size": 56}, "ticks", samples=range(1, 101))
    assert fresh_target.kernel.read_bytes(fresh_target.image.kernel.symbol("hil_syscall").address
        if "hil" in fresh_target.image.capabilities else fresh_target.image.kernel.entry, 4)
"""
    result = run(pytester, source)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*ring on qemu-x86, timebase emulated; shown, never judged*", "results: */results.json"]
    )
    (row,) = results_of(pytester)["measurements"]
    assert (row["p50"], row["target"], row["timebase"]) == (50, "qemu-x86", "emulated")


def test_a_listing_builds_and_boots_and_writes_nothing(pytester):
    result = run(pytester, "def test_x(agent): pass\n", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::test_x?qemu-x86?"])
    assert not (pytester.path / "build").exists()


def test_workers_share_one_run_and_its_results(pytester):
    pytest.importorskip("xdist")
    source = """
import pytest
@pytest.mark.parametrize("n", range(4))
def test_x(agent, record, n):
    record("x.y", {"n": n}, value=n)
"""
    result = run(pytester, source, "-n", "2")
    result.assert_outcomes(passed=4)
    document = results_of(pytester)
    assert sorted(row["params"]["n"] for row in document["measurements"]) == [0, 1, 2, 3]
    assert len(document["tests"]) == 4


def test_configured_targets_run_side_by_side(pytester):
    pytester.path.joinpath("keuos-hil.toml").write_text(
        '[targets.small]\ntype = "qemu-x86"\nmemory = "64M"\ncores = 1\n'
        '[targets.big]\ntype = "qemu-x86"\nmemory = "256M"\n'
    )
    source = """
import pytest
def test_memory(agent, target):
    assert (agent.info().pages_total > 40000) == (target.name == "big")
@pytest.mark.needs("smp")
def test_smp(agent): pass
"""
    result = run(pytester, source, "--target=small", "--target=big")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines(["*needs 'smp'*two cores or more: --qemu-cores=2*"])


def test_the_command_line_changes_the_machine(pytester):
    run(pytester, "def test_x(agent): assert agent.info().cores == 3\n", "--qemu-cores=3").assert_outcomes(passed=1)


def test_a_lab_s_conftest_can_bring_panic_patterns_and_targets(pytester):
    pytester.makeconftest("""
from keuos_hil.hookspecs import hookimpl
@hookimpl
def keuos_hil_panic_patterns():
    return [rb"2 cores, .* MiB"]
""")
    result = run(pytester, "def test_x(agent): pass\n")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*kernel panic: 2 cores*"])


MISTAKES = [
    (["--target=qemu-x68"], "no target named 'qemu-x68'; did you mean 'qemu-x86'? valid: "),
    (["--kernel=missing.elf"], "missing.elf"),
    (["--kernel=arm.elf"], "is an ELF for the wrong machine: target qemu-x86 runs x86_64, this is arm64"),
    (["--kernel=good.elf", "--initrd=short.cpio"], "short.cpio is truncated"),
    (["--initrd=short.cpio"], "short.cpio is truncated"),
    (
        ["--target=qemu-arm64", "--initrd=good.cpio"],
        "good.cpio is an ELF for the wrong machine: target qemu-arm64 runs arm64, this is x86_64",
    ),
    (["--target=linux", "--initrd=good.cpio"], "target linux boots no image; leave out --initrd"),
    (["--target=qemu-arm64", "--qemu-boot=grub"], "--qemu-boot: no target of this run takes it; qemu-x86 has it"),
    (["--target=netd", "--qemu-cpu=max"], "no target of this run takes it; qemu-arm64 and qemu-x86 have it"),
    (["--require=iomu"], "no capability is called 'iomu'; did you mean 'iommu'?"),
    (["--qemu-memory=lots"], "expected a number with K, M or G behind it, such as 128M; found 'lots'"),
    (["--hil-config=missing.toml"], "missing.toml can't be read"),
    (["--symbols=good.elf"], "--symbols describes a flat --kernel; name that, too"),
    (["--netd=missing.elf"], "there is no file "),
    (["--netd=arm.elf"], "is an ELF for the wrong machine: target qemu-x86 runs x86_64, this is arm64"),
    (["--netd=good.elf"], "good.elf has no symbol 'wire'"),
    (["--target=linux", "--netd=good.elf"], "target linux runs no NetD of a KeuOS; leave out --netd"),
    (["--link=tpa:tap0"], "--link=tpa:tap0: no link 'tpa'; did you mean 'tap'? valid: raw, tap, veth"),
    (["--link=veth"], "target qemu-x86: --link=veth: it can be reached by tap:INTERFACE, raw:INTERFACE"),
    (
        ["--link=tap:nosuch"],
        "target qemu-x86: --link=tap:nosuch: there is no TAP device nosuch; make one: `ip tuntap add nosuch mode tap",
    ),
    (["--target=qemu-arm64", "--link=raw:lo"], "target qemu-arm64: --link=raw:lo: there is no TAP device lo; make one"),
    (["--target=netd", "--netd-program=nosuch"], "target netd: nosuch is no program; expected a netd-host"),
    (["--expect-tests=missing"], "missing can't be read"),
    (["--timebase=instructions", "--accel=kvm"], "can't be combined with --accel=kvm"),
    (["--results=/proc/nope"], "--results: no folder for the results can be made in /proc/nope: "),
    (["--results=good.elf"], "good.elf: File exists"),
    (["--fuzz-corpus=good.elf"], "good.elf is no folder"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_one_clear_line_and_status_4(pytester, tiny_elf, arguments, message):
    from keuos_hil import bundled

    good = tiny_elf("spin").read_bytes()
    pytester.path.joinpath("good.elf").write_bytes(good)
    pytester.path.joinpath("arm.elf").write_bytes(good[:18] + b"\xb7\x00" + good[20:])
    whole = bundled.paths("x86_64", "release").initrd.read_bytes()
    pytester.path.joinpath("good.cpio").write_bytes(whole)
    pytester.path.joinpath("short.cpio").write_bytes(whole[:5000])
    result = run(pytester, "def test_x(agent): pass\n", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert line.startswith("ERROR: keuos-hil: ")
    assert message in line
    assert not (pytester.path / "build").exists()


def test_header_tells_the_seed_of_fuzzed_cases_where_one_was_given(pytester):
    said = run(pytester, "def test_x(): pass\n", "--seed=7", "--fuzz-seed=8").stdout.str()
    assert "; seed 7; fuzz-seed 8" in said
    assert "fuzz-seed" not in run(pytester, "def test_x(): pass\n", "--seed=7").stdout.str()


@pytest.mark.parametrize("seed", ["x", "-1"])
def test_a_seed_is_a_whole_number(pytester, seed):
    result = run(pytester, "def test_x(seed): pass\n", f"--seed={seed}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--seed: expected a whole number, 0 or more, and not '{seed}'"])


def test_results_that_can_not_be_written_are_one_line_and_the_bench_s_status(pytester):
    source = (
        "import os\ndef test_x(target):\n    partial = f'.results.json.{os.getpid()}.partial'\n"
        "    (target.directory.parents[1] / partial).symlink_to('/dev/full')\n"
    )
    result = run(pytester, source)
    result.assert_outcomes(passed=1)
    assert result.ret == 10
    result.stdout.fnmatch_lines(["keuos-hil: no results could be written to *: No space left on device"])


def test_a_missing_emulator_is_one_clear_line(pytester):
    result = run(pytester, "def test_x(agent): pass\n", "--qemu-binary=qemu-of-another-planet")
    assert result.ret == 10
    text = "\n".join([*result.outlines, *result.errlines])
    assert text.count("qemu-of-another-planet is not installed; Debian: apt-get install qemu-system-x86") == 1


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--qemu-cpu=no-such-cpu"], "unable to find CPU model 'no-such-cpu'"),
        (["--qemu-extra=-device", "--qemu-extra=no-such-device"], "'no-such-device' is not a valid device model name"),
        (["--qemu-extra=-nonsense"], "-nonsense: invalid option"),
    ],
)
def test_an_emulator_that_can_not_start_is_one_clear_line_and_the_end_of_the_run(pytester, extra, said):
    result = run(pytester, "def test_x(agent): pass\ndef test_y(agent): pass\ndef test_z(target): pass\n", *extra)
    assert result.ret == 10
    lines = [line for line in [*result.outlines, *result.errlines] if said in line]
    (line,) = lines
    assert "keuos-hil: target qemu-x86 can't be started: QEMU exited with status 1" in line
    assert f"what it did is in {pytester.path}/build/results/qemu-x86/" in line
    assert "Traceback" not in result.stdout.str()
    assert len(list((pytester.path / "build/results/qemu-x86/latest/sessions").iterdir())) == 1


def test_a_target_that_can_not_start_costs_its_own_tests_and_no_other_s(pytester):
    pytester.path.joinpath("two.toml").write_text(
        '[targets.bad]\ntype = "qemu-x86"\nextra = ["-nonsense"]\n\n[targets.good]\ntype = "qemu-x86"\n'
    )
    arguments = ["--hil-config=two.toml", "--target=bad", "--target=good", "--results=r"]
    result = run(pytester, "def test_x(agent): pass\ndef test_y(agent): pass\ndef test_z(target): pass\n", *arguments)
    result.assert_outcomes(passed=3, errors=3)
    assert result.ret == 10
    said = result.stdout.str()
    assert said.count("-nonsense: invalid option") >= 1
    assert said.count("(it is not tried again in this run)") >= 1, "what can't be started twice is given up"
    assert "rig.py" not in said, "how we came there helps nobody"
    (latest,) = pytester.path.glob("r/latest")
    assert len(list(latest.glob("sessions/*-bad-*"))) == 2
    assert "can't be started" in json.loads((latest / "results.json").read_text())["environment"]["lost"]["bad"]


def test_a_target_that_nothing_revives_is_lost_and_said_so_in_few_lines(pytester):
    pytester.makeconftest("""
import pytest
from keuos_hil.targets.qemu_x86 import QemuX86
from keuos_hil.errors import NotRevived

really, tried = QemuX86.open, []

def opened(self, image, directory):
    tried.append(1)
    if len(tried) == 1:
        return really(self, image, directory)
    raise NotRevived("it did not come up; tried: everything")

QemuX86.open = opened

@pytest.fixture
def tries():
    return tried
""")
    source = "def test_first(agent): pass\n" + "".join(f"def test_{n}(fresh_target): pass\n" for n in range(6))
    result = run(pytester, source + "def test_how_often(tries): assert len(tries) == 2\n", "--results=r", "--report")
    result.assert_outcomes(passed=2, errors=6)
    assert result.ret == 10
    said = result.stdout.str()
    assert "second try" not in said
    assert said.count("it did not come up; tried: everything (it is not tried again in this run)") >= 5
    assert len(said.splitlines()) < 150, said
    (page,) = pytester.path.glob("r/2*/report.html")
    assert "Target qemu-x86 was lost: it did not come up; tried: everything" in page.read_text()


def test_counting_what_is_executed_is_refused_where_nobody_can(pytester):
    result = run(pytester, "def test_x(agent): pass\n", "--executed", "--target=netd")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--executed: nobody can count what netd executes" in result.stderr.str()


def test_a_busy_port_ends_a_run_that_only_prints_as_well(pytester, tiny_elf):
    suite = Path(__file__).parent.parent / "suites" / "printed"
    with socket.create_server(("127.0.0.1", 0)) as busy:
        extra = ["--qemu-extra=-gdb", f"--qemu-extra=tcp:127.0.0.1:{busy.getsockname()[1]}"]
        result = run(pytester, "", str(suite), f"--kernel={tiny_elf('lines')}", f"--results={pytester.path}/r", *extra)
    assert result.ret == 10
    assert result.stdout.str().count("Address already in use") == 1


def test_workers_of_a_run_that_can_not_start_report_errors_and_the_bench_s_status(pytester):
    pytest.importorskip("xdist")
    source = "def test_x(agent): pass\ndef test_y(agent): pass\n"
    result = run(pytester, source, "-n", "1", "--qemu-cpu=no-such-cpu", "--results=r")
    result.assert_outcomes(errors=2)
    assert result.ret == 10
    results = json.loads(next(pytester.path.glob("r/latest/results.json")).read_text())
    assert "unable to find CPU model" in results["environment"]["lost"]["qemu-x86"]


def test_a_later_session_that_can_not_be_opened_is_tried_once_more_and_told(pytester):
    pytester.makeconftest("""
import pytest
from keuos_hil.targets.qemu_x86 import QemuX86
from keuos_hil.errors import InfraError

really, breaks = QemuX86.open, []

def opened(self, image, directory):
    if breaks:
        raise InfraError(breaks.pop())
    return really(self, image, directory)

QemuX86.open = opened

@pytest.fixture
def break_next():
    return breaks.extend
""")
    source = """
def test_first(agent, break_next):
    break_next(["a cable fell out"])

def test_once(fresh_target, agent, break_next):
    break_next(["it came in again", "a cable fell out"])

def test_twice(fresh_target, agent):
    raise AssertionError("not reached")

def test_after(fresh_target, agent): pass
"""
    result = run(pytester, source)
    result.assert_outcomes(passed=3, errors=1)
    assert result.ret == 10
    result.stdout.fnmatch_lines([
        "it came in again",
        "started at the second try: qemu-x86: a cable fell out",
    ])  # fmt: skip
    assert result.stdout.str().count("started at the second try") == 1, "of the other, the second try failed, too"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_an_interrupted_run_leaves_no_emulator(pytester, number):
    pytester.makepyfile("""
def test_x(agent, console):
    print("READY", flush=True)
    console.expect("something that never comes", 600)
""")
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider"]
    with subprocess.Popen(
        command, cwd=pytester.path, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stdout is not None
        try:
            while "READY" not in (line := child.stdout.readline()):
                assert line, "pytest ended before the target was up"
            assert children_of(pytester.path)
            # As a terminal does it: to the whole process group.
            os.killpg(child.pid, number)
            said = child.stdout.read()
            status = child.wait(LONG)
            if number != signal.SIGKILL:
                assert status == pytest.ExitCode.INTERRUPTED
                assert "results.json" in said
                results = json.loads(next(pytester.path.rglob("latest/results.json")).read_text())
                assert results["tests"] == [], "what a test came to that was interrupted is not known"
                assert results["environment"]["interrupted"] is True
                page = render(results, {})
                assert "The run was interrupted" in page
                assert "keuos-hil on qemu-x86" in page
        finally:
            child.kill()
    deadline = time.monotonic() + LONG
    while children_of(pytester.path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert children_of(pytester.path) == []


def test_a_kernel_that_only_prints_is_run_and_its_lines_are_tests(pytester, tiny_elf):
    pytester.path.joinpath("expected").write_text("spsc:init\nspsc:wrap\nspsc:gone\n")
    suite = Path(__file__).parent.parent / "suites" / "printed"
    arguments = [str(suite), f"--kernel={tiny_elf('lines')}", "--expect-tests=expected", "--run-for=3"]
    result = run(pytester, "", *arguments, f"--results={pytester.path}/r")
    result.assert_outcomes(passed=2, failed=5)
    result.stdout.fnmatch_lines_random([
        "SUBFAILED*spsc:wrap*", "*console of qemu-x86 during this test*", "image: *lines.elf*", "machine: qemu-system*",
        "pytest *test_printed_lines.py*--expect-tests=expected*", "*the kernel printed no line TEST:spsc:gone*",
    ])  # fmt: skip
    latest = pytester.path / "r" / "latest"
    assert "expected 1, got 2" in (latest / "lines-qemu-x86.xml").read_text()
    rows = json.loads((latest / "results.json").read_text())["measurements"]
    assert [(row["name"], row["params"], row["value"]) for row in rows] == [
        ("printed.ipc", {"key": "avg"}, 174),
        ("printed.ipc", {"key": "min"}, 150),
        ("printed.b[/ig]", {"key": "n"}, 3),
    ]
    result.stdout.fnmatch_lines(["*printed.b[[]/ig] *"])


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("triple", "triple fault"),
        ("panic", "kernel panic: tiny broke"),
        ("flood", "flood of console output: console output passed 4194304 bytes; what came later was thrown away"),
    ],
)
def test_how_a_printing_kernel_dies_is_told(pytester, tiny_elf, mode, message):
    suite = Path(__file__).parent.parent / "suites" / "printed"
    result = run(pytester, "", str(suite), f"--kernel={tiny_elf(mode)}", "--run-for=60", f"--results={pytester.path}/r")
    result.stdout.fnmatch_lines([f"*{message}*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_lines_that_a_kernel_repeats_for_ever_are_one_result_each(pytester, tiny_elf):
    suite = Path(__file__).parent.parent / "suites" / "printed"
    arguments = [str(suite), f"--kernel={tiny_elf('repeat')}", "--run-for=60", f"--results={pytester.path}/r"]
    result = run(pytester, "", *arguments)
    result.assert_outcomes(passed=0, failed=3, skipped=1)  # the line, its test, and the flood
    result.stdout.fnmatch_lines_random(["SUBFAILED*s:b (printed * times)*", "*lines before these are in *console.log)"])


def test_a_kernel_that_panics_behind_its_passes_is_not_green_in_the_junit_document(pytester, tiny_elf):
    suite = Path(__file__).parent.parent / "suites" / "printed"
    arguments = [str(suite), f"--kernel={tiny_elf('passes_then_panics')}", f"--results={pytester.path}/r"]
    assert run(pytester, "", *arguments).ret == pytest.ExitCode.TESTS_FAILED
    document = ElementTree.fromstring((pytester.path / "r/latest/lines-qemu-x86.xml").read_text())
    (failure,) = document.iter("failure")
    assert failure.get("message") == "kernel panic: tiny broke"
    assert len(list(document.iter("testcase"))) == 4


def test_a_printing_kernel_that_never_stops_is_ended(pytester, tiny_elf):
    suite = Path(__file__).parent.parent / "suites" / "printed"
    arguments = [
        str(suite),
        f"--kernel={tiny_elf('spin')}",
        "--run-for=0.5",
        "-k",
        "orderly",
        f"--results={pytester.path}/r",
    ]
    run(pytester, "", *arguments).assert_outcomes(passed=1, deselected=2)
