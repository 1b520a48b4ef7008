"""The faults fit the sources as they are now, and a run over them tells what it should."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from keuos_hil.errors import InfraError, UsageError

from .__main__ import _table
from .bounded import Bounded
from .catalogue import Edit, Fault, by_product, choose, handful, load, shared, together
from .products import PRODUCTS, Built
from .trial import Outcome, Verdict, confirmed, first_failure, require_sound, run, try_fault
from .workshop import ROOT, Workshop

FAULTS = load()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_changes_the_sources(fault: Fault) -> None:
    changed = fault.apply(lambda name: (ROOT / name).read_text())
    assert changed
    for name, text in changed.items():
        assert text != (ROOT / name).read_text(), f"{fault.name} leaves {name} as it is"


@pytest.mark.parametrize("product", sorted(PRODUCTS))
def test_there_are_enough_faults_and_each_names_its_tests(product: str) -> None:
    faults = by_product([*FAULTS, *shared(FAULTS)])[product]
    assert len(faults) >= 60
    assert all(fault.tests and fault.harm for fault in faults)


def test_arm64_gets_what_it_shares_or_has_itself() -> None:
    def fault(*files: str) -> Fault:
        return Fault(files[-1], "", tuple(Edit(file, "a", "b") for file in files), ("test",), "kernel")

    both = ("kernel/arch/x86_64/mmu.c", "kernel/arch/arm64/mmu.c")
    apart = [fault(both[0]), replace(fault("kernel/b.c"), harmless_on_arm64="it refuses by itself")]
    found = shared([*apart, fault("kernel/a.c"), fault(*both)])
    assert [(one.name, one.product) for one in found] == [("kernel/a.c", "kernel-arm64"), (both[1], "kernel-arm64")]


def test_each_fault_of_netd_names_the_requirements_that_it_violates() -> None:
    assert all(fault.requirements for fault in by_product(FAULTS)["netd"])


def test_file_of_faults_for_no_product_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nedt.toml").write_text("fault = []\n")
    with pytest.raises(UsageError, match="did you mean 'netd'"):
        load([tmp_path / "nedt.toml"])


def test_edit_that_fits_twice_or_nowhere_is_refused() -> None:
    for text in ("a = b; a = b;", "c"):
        with pytest.raises(UsageError, match="and not once"):
            Edit("file", "a = b", "a = c").apply(text)


def test_unknown_fault_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean gate-tag-skipped "):
        choose(FAULTS, ["gate-tag-skiped"])


def test_every_fault_has_its_turn() -> None:
    seen = {fault.name for turn in range(len(FAULTS)) for fault in handful(FAULTS, 3, turn)}
    assert seen == {fault.name for fault in FAULTS}


def test_runs_that_differ_by_their_words_become_one() -> None:
    faults = [
        Fault("a", "", (), ("suites/gates -k 'x or y'", "suites/ring"), "kernel"),
        Fault("b", "", (), ("suites/gates -k z", "suites/ring -k w"), "kernel"),
    ]
    assert together(faults) == [["suites/gates", "-k", "(x or y) or (z)"], ["suites/ring"]]


def test_fault_is_killed_only_if_every_run_noticed_it() -> None:
    noticed, missed = Outcome(noticed="test"), Outcome()
    assert Verdict("f", [noticed]).word == "killed"
    assert Verdict("f", [noticed, missed], elsewhere=noticed).word == "killed elsewhere"
    assert Verdict("f", [missed]).word == "SURVIVED"
    assert Verdict("f", [noticed], trouble="no build").word == "trouble"


def test_run_in_which_nothing_is_tested_is_trouble(tmp_path: Path) -> None:
    built = Built(tmp_path, ("--target=netd",), ())
    (tmp_path / "test_none.py").write_text("")
    outcome = run(built, [str(tmp_path / "test_none.py")], tmp_path / "place", Bounded())
    assert outcome.trouble
    assert not outcome.noticed


def test_tests_that_do_not_run_without_a_fault_hold_up_no_other_fault(tmp_path: Path) -> None:
    built = Built(tmp_path, ("--target=netd",), ())
    for name, body in (("skipped", "pytest.skip()"), ("passes", "pass"), ("fails", "assert not 'sound'")):
        (tmp_path / f"test_{name}.py").write_text(f"import pytest\n\ndef test_{name}():\n    {body}\n")
    skipped, none, passes, fails = (
        [str(tmp_path / f"test_{name}.py"), *words]
        for name, words in (("skipped", []), ("passes", ["-k", "nothing"]), ("passes", []), ("fails", []))
    )
    bounded = Bounded()
    require_sound(built, [skipped, none, passes], tmp_path / "sound", bounded)
    with pytest.raises(InfraError, match=r"without a fault.*::test_fails"):
        require_sound(built, [skipped, fails], tmp_path / "sound", bounded)
    for selection in (skipped, none):
        verdict = try_fault("f", built, [passes, selection], tmp_path / "trial", bounded)
        assert (verdict.word, verdict.elsewhere) == ("trouble", Outcome())
        assert verdict.trouble == f"no test of {' '.join(selection)} ran"


def test_wait_that_runs_out_without_the_fault_too_shows_nothing(tmp_path: Path) -> None:
    def built(name: str, body: str) -> Built:
        place = tmp_path / name
        place.mkdir()
        (place / "test_it.py").write_text(f"from keuos_hil.errors import WaitTimeout\n\ndef test_it():\n    {body}\n")
        return Built(place, ("--target=netd",), ())

    late, wrong, fine = (
        built(name, body)
        for name, body in (("late", "raise WaitTimeout('no answer')"), ("wrong", "assert 0"), ("fine", "pass"))
    )
    selection, bounded = ["{tree}/test_it.py"], Bounded()

    def word(faulty: Built, sound: Built) -> str:
        verdict = try_fault("f", faulty, [selection], tmp_path / "trial", bounded)
        return confirmed(verdict, lambda: sound, [selection], tmp_path / "trial", bounded).word

    assert [word(late, late), word(late, fine), word(wrong, late)] == ["trouble", "killed", "killed"]


def test_stopped_run_says_nothing_and_leaves_nothing_running(tmp_path: Path) -> None:
    bounded = Bounded()
    assert bounded.run([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", 0.2) is None
    bounded.stop()
    assert bounded.run(["true"], tmp_path / "log", 10) is None


def test_whoever_kills_the_runner_leaves_nothing_running(tmp_path: Path) -> None:
    child = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    said = tmp_path / "pid"
    runner = (
        "import pathlib, sys; from tests.mutants.bounded import Bounded; "
        "Bounded().run([sys.executable, *sys.argv[1:]], pathlib.Path('/dev/null'), 60)"
    )
    process = subprocess.Popen([sys.executable, "-c", runner, "-c", child, str(said)], cwd=ROOT)
    try:
        assert _comes(lambda: said.exists() and said.read_text() != "", 30.0)
        pid = int(said.read_text())
    finally:
        process.kill()
        process.wait()
    assert _comes(lambda: not Path(f"/proc/{pid}").exists(), 10.0)


def _comes(condition: Callable[[], bool], within: float) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_sources_are_whole_again_after_a_fault(tmp_path: Path) -> None:
    class Nothing(Bounded):
        def run(self, argv, log, timeout, cwd=None):  # the compiler is not what is tested
            return 0

    workshop = Workshop(tmp_path, Nothing())
    fault = by_product(FAULTS)["netd"][0]
    name = fault.edits[0].file
    with workshop.fault(fault) as built:
        assert (built.tree / name).read_text() != (ROOT / name).read_text()
    assert (built.tree / name).read_text() == (ROOT / name).read_text()


def test_list_names_every_fault() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "tests.mutants", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(fault.name in listed.stdout for fault in FAULTS)


def test_narrow_terminal_cuts_no_name_off() -> None:
    noticed = "suites/gates/test_hostile_tags.py::test_a_tag_that_differs_in_one_bit_is_refused[qemu-arm64-63]"
    fault = Fault("a-fault-with-a-name-of-many-words", "harm", (), ("test",), "kernel")
    shown = io.StringIO()
    Console(width=80, file=shown, markup=False).print(
        _table([fault], [Verdict(fault.name, [Outcome(noticed=noticed)])])
    )
    title, *rows = shown.getvalue().splitlines()
    assert "".join(row[title.index("noticed by") :].strip() for row in rows) == noticed


def test_failure_is_named_though_its_id_holds_blanks() -> None:
    said = "1 passed\nFAILED suites/a.py::test_x[qemu-x86-a b] - assert no c\nFAILED suites/a.py::test_y\n"
    assert first_failure(said) == Outcome(noticed="suites/a.py::test_x[qemu-x86-a b]", words="assert no c")
    assert first_failure("FAILED suites/a.py::test_y\n") == Outcome(noticed="suites/a.py::test_y")
    assert first_failure("3 passed") is None


def test_pytest_around_it_tells_the_one_that_is_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    said = tmp_path / "log"
    program = "import os; print([name for name in os.environ if name.startswith('PYTEST')])"
    assert Bounded().run([sys.executable, "-c", program], said, 10) == 0
    assert said.read_text().strip() == "[]"
