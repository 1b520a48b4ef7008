"""What another core or a device must see in order is ordered in the code as it was built: see barriers.py."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from keuos_hil.errors import UsageError
from tests import built

from .barriers import ACCESSES, DRIVER, KERNEL, RINGS, Access, faults, origin

TREE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def images(pytestconfig: pytest.Config) -> list[Path]:
    """The kernel and the programs that ACCESSES are about."""
    return built.images(pytestconfig, "arm64", (*RINGS, *DRIVER))


def test_every_access_that_a_peer_synchronises_with_is_an_ordered_instruction(images: list[Path]) -> None:
    wrong = faults(TREE, images)
    assert not wrong, "\n".join(f"{access}: {what}" for access, what in wrong.items())


@pytest.mark.parametrize(
    "files",
    [
        "kernel/include/keuos/*.h",
        "kernel/include/kernel/*.h",
        "kernel/ipc/*.c",
        "kernel/dev/*.c",
        "kernel/user/lib/virtio_queue.c",
        "kernel/arch/arm64/smmu.c",
        "kernel/arch/arm64/its.c",
        "kernel/arch/arm64/gic.c",
        "netd/drivers/*.c",
    ],
)
def test_no_order_is_asked_for_by_rings_gates_and_drivers_that_is_not_looked_at(files: str) -> None:
    """A statement may take two lines, the order on the second."""
    orders = re.compile(r"__ATOMIC_(ACQUIRE|RELEASE|ACQ_REL|SEQ_CST)|\bD[MS]B\(|\bd[ms]b |iommu_tables\.publish\(")
    ordered, known = set(), set()
    for path in TREE.glob(files):
        file = str(path.relative_to(TREE))
        ordered |= {(file, i) for i, line in enumerate(path.read_text().splitlines(), 1) if orders.search(line)}
        of_file = [one for one in ACCESSES if one.file == file]
        known |= {(file, line + more) for one in of_file for line in origin(TREE, one) for more in (0, 1)}
    assert ordered
    assert not ordered - known, f"who looks at {sorted(ordered - known)}? Not ACCESSES in barriers.py"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what those are built from, to be spoilt."""
    place = tmp_path_factory.mktemp("tree")
    for name in ("kernel", "netd"):
        shutil.copytree(TREE / name, place / name, ignore=shutil.ignore_patterns("build"))
    return place


def _built(tree: Path) -> list[Path]:
    build = tree / "build"
    made = [build / "release" / f"{name}.elf" for name in KERNEL]
    made += [build / "user" / f"{name}.elf" for name in (*RINGS[:2], *DRIVER)]
    command = ["make", "-s", "-j2", "-C", str(tree / "kernel"), "ARCH=arm64", f"BUILD={build}", *map(str, made)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return made


def test_every_order_less_in_the_catalogue_is_found_and_each_access_has_one(tree: Path) -> None:
    """What the test above can see at all. As many faults go into a build as don't touch each other."""
    from tests.mutants.catalogue import HERE, load  # not where a faulty tree is tested: it has none

    here = f"tests/arm64/{Path(__file__).name}"
    faults_of_orders = [one for one in load([HERE / "kernel-arm64.toml"]) if any(here in test for test in one.tests)]
    left = {fault.name: fault for fault in faults_of_orders}
    spoilt: set[Access] = set()
    while left:
        now: dict[str, list[Access]] = {}
        texts: dict[str, str] = {}
        for name, fault in left.items():
            [edit] = fault.edits
            sound = (TREE / edit.file).read_text()
            try:
                texts[edit.file] = edit.apply(texts.get(edit.file, sound))
            except UsageError:  # another fault of this place
                continue
            first = sound[: sound.index(edit.find)].count("\n") + 1
            span = range(first, first + edit.find.count("\n") + 1)
            of_file = [one for one in ACCESSES if one.file == edit.file]
            now[name] = [one for one in of_file if set(origin(TREE, one)) & set(span)]
            assert now[name], f"{name} changes no access that is looked at"
        assert now, f"these fit the sources no more: {sorted(left)}"
        for file, text in texts.items():
            (tree / file).write_text(text)
        found = faults(tree, _built(tree))
        meant = {access: name for name, accesses in now.items() for access in accesses}
        assert set(found) == set(meant), f"not as {sorted(set(meant.values()))} have it: {found}"
        left = {name: fault for name, fault in left.items() if name not in now}
        spoilt |= set(found)
        for file in texts:
            shutil.copyfile(TREE / file, tree / file)  # newer than what was made of the faulty one
    assert spoilt == set(ACCESSES), f"no fault is done to {[str(one) for one in set(ACCESSES) - spoilt]}"
