"""The programs that docs/ shows are right: they are taken out of the page, and built or run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
BUILD_S = 300


def example(page: str, section: str, language: str) -> str:
    """The one block of code of that language in a section."""
    text = (TOP / "docs" / page).read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout of the user programs, by links, that a program can be added to."""
    for name in (
        "netd",
        "kernel/include",
        "kernel/tools",
        *(f"kernel/user/{p.name}" for p in (TOP / "kernel/user").iterdir()),
    ):
        link = tmp_path / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(TOP / name)
    return tmp_path


def make(tree: Path, what: str) -> None:
    """`make -f kernel/user/user.mk` as a person has it, in the top folder."""
    done = subprocess.run(
        ["make", "-f", "kernel/user/user.mk", f"BUILD={tree}/build", f"{tree}/build/{what}"],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_application_of_the_sockets_page_is_built_by_a_folder_alone(tree: Path) -> None:
    folder = tree / "kernel/user/greet"
    folder.mkdir()
    (folder / "main.c").write_text(example("sockets.md", "A program of your own", "c"))
    make(tree, "user/greet.elf")


def test_what_the_programs_depend_on_is_named_from_the_root_so_that_another_folders_make_can_read_it(
    tree: Path,
) -> None:
    make(tree, "user/obj/hello/main.c.o")
    names = (tree / "build/user/obj/hello/main.c.d").read_text().replace("\\\n", " ").replace(":", " ").split()
    assert len(names) > 3
    assert [name for name in names if not name.startswith("/")] == []


@pytest.mark.parametrize("target", ["netd"])
def test_the_tests_of_the_network_page_pass(pytester: pytest.Pytester, target: str) -> None:
    pytester.makepyfile(example("network-suites.md", "Tests of your own", "python"))
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q", f"--target={target}", timeout=240)
    done.assert_outcomes(passed=3)
