"""The whole way of a failure: a kernel that compares tags in 32 bits is found out, its case shrunk, kept, replayed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "build" / "kernel" / "x86_64"
#: By what is broken: file, what stands there, what takes its place.
FAULTS = {
    "tag": ("ipc/gate.c", "(x[3] ^ y[3])) == 0", "(uint32_t)(x[3] ^ y[3])) == 0"),
    "index": ("ipc/channel_calls.c", "published > KEUOS_SLOTS || published < n", "published < n"),
}

pytestmark = [
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs qemu-system-x86_64"),
    pytest.mark.skipif(not (BUILT / "hil" / "keuos.elf").is_file(), reason="needs the kernel: make kernel"),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the sources and of what was built of them."""
    place = tmp_path_factory.mktemp("broken")
    shutil.copytree(ROOT / "kernel", place / "kernel")
    shutil.copytree(BUILT, place / "built")
    return place


@contextmanager
def with_fault(place, fault):
    """One file is changed, and the kernel compiled again."""
    file, right, wrong = FAULTS[fault]
    path = place / "kernel" / file
    whole = path.read_text()
    assert whole.count(right) == 1
    path.write_text(whole.replace(right, wrong))
    make = ["make", "-s", "-C", str(place / "kernel"), "ARCH=x86_64", f"BUILD={place / 'built'}"]
    try:
        subprocess.run(
            [*make, str(place / "built" / "hil" / "keuos.elf")], check=True, capture_output=True, timeout=300
        )
        yield
    finally:
        path.write_text(whole)


@pytest.fixture(scope="module")
def broken(sources):
    """The copy with a tag that is compared in 32 bits."""
    with with_fault(sources, "tag"):
        yield sources


def run(broken, test, *options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "suites/gates" / test),
         f"--kernel={broken / 'built/hil/keuos.elf'}", f"--initrd={broken / 'built/initrd.cpio'}",
         f"--results={broken / 'results'}", f"--fuzz-corpus={broken / test}", "--fuzz-seed=5", *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_sender_that_lies_about_its_head_is_kept_whole_and_replayed(sources):
    """Its descriptor is as good as any: what was done beside it is the case. First, while the copy has no fault."""
    with with_fault(sources, "index"):
        first = run(sources, "test_fuzz_full.py", "--fuzz-count=2000000", f"--fuzz-corpus={sources / 'heads'}")
        assert first.returncode == 1, first.stdout + first.stderr
        assert "expected: gate index; " in first.stdout
        [kept] = (sources / "heads").rglob("*.json")
        assert kept.parent.name == "senders"
        assert json.loads(kept.read_text())["case"]["head_slots"]
        again = run(sources, "test_fuzz_full.py", "--fuzz-seed=6", f"--fuzz-corpus={sources / 'heads'}")
        assert again.returncode == 1, again.stdout + again.stderr
        assert f"a case of the corpus is judged wrongly: {kept}" in again.stdout


@pytest.mark.parametrize(
    ("test", "count", "expected", "found"),
    [
        ("test_fuzz.py", 100_000, "tag; ", "ok; "),
        ("test_fuzz_full.py", 2_000_000, "gate tag; ", "code 0; notify returned"),
    ],
    ids=["bulk", "full"],
)
def test_a_tag_compared_in_32_bits_is_found_shrunk_kept_and_replayed(broken, test, count, expected, found):
    first = run(broken, test, f"--fuzz-count={count}")
    assert first.returncode == 1, first.stdout + first.stderr
    assert f"expected: {expected}" in first.stdout
    assert f"kernel's: {found}" in first.stdout
    assert "--fuzz-seed=5" in first.stdout
    [kept] = (broken / test).glob("*.json")
    document = json.loads(kept.read_text())
    assert document["about"]["expected"].startswith(expected)
    assert document["about"]["found"].startswith(found)
    assert ("sender: after " in first.stdout) == (test == "test_fuzz_full.py")
    assert list(document["case"]["bits"]) == ["tag"]
    assert int(document["case"]["bits"]["tag"], 16).bit_count() == 1
    results = json.loads((broken / "results" / "latest" / "results.json").read_text())
    assert [entry["qemu-x86"]["verdict"] for entry in results["gates"].values()] == ["failed"]
    [fuzzed] = results["fuzz"]
    assert fuzzed["rows"], "nobody can see what was tried until it failed"
    again = run(broken, test, f"--fuzz-count={count}", "--fuzz-seed=6")
    assert again.returncode == 1, again.stdout + again.stderr
    assert f"a case of the corpus is judged wrongly: {kept}" in again.stdout


def test_a_kernel_that_fails_is_no_fault_of_the_bench_though_the_case_can_not_be_kept(broken):
    nowhere = "/proc/nowhere"
    done = run(broken, "test_fuzz.py", "--fuzz-count=100000", f"--fuzz-corpus={nowhere}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "expected: tag; " in done.stdout
    assert f"not saved: the failing case can't be saved in {nowhere}" in done.stdout
