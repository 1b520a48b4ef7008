"""C drivers built for the host under ASan and UBSan, and the cases of a program that plays their device, one a run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
FLAGS = ["-std=c17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
#: A bound for a hang, many times what any case needs.
HANG_S = 300


def cases_of(source: Path) -> list[str]:
    """The names in the table at the end of a program of cases."""
    return re.findall(r'\{"(\w+)", \w+\}', source.read_text())


def build(
    folder: Path,
    here: Path,
    sources: Iterable[str],
    headers: Iterable[str] = (),
    searched: Iterable[str] = (),
    top: Path = TOP,
) -> Path:
    """Compile cases.c and model.c of `here` with sources of the tree.

    string.h is the host's, so that the sanitizers see every copy.

    Args:
        headers: of kernel/user/lib, whose folder can't be searched itself: it has a string.h.
        searched: more folders of the tree with headers.
        top: of the tree, where that is a copy.
    """
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang; Debian: apt-get install clang")
    include = folder / "include"
    include.mkdir()
    for header in headers:
        (include / header).symlink_to(top / "kernel/user/lib" / header)
    copies = []
    for source in (here / "cases.c", here / "model.c", *(top / name for name in sources)):
        # out of their folder, whose own string.h would be found first
        (folder / source.name).write_text(f'#line 1 "{source}"\n' + source.read_text())
        copies.append(str(folder / source.name))
    folders = [include, here, *(top / name for name in ("tests", "netd/include", "netd/drivers", *searched))]
    paths = [f"-I{path}" for path in folders]
    out = folder / "cases"
    command = [clang, *FLAGS, "-fno-sanitize-recover=all", *paths, "-o", str(out), *copies]
    subprocess.run(command, check=True, timeout=HANG_S)
    return out


def listed(program: Path) -> list[str]:
    """The cases that the program has by its own account."""
    return subprocess.run([program], capture_output=True, text=True, check=True, timeout=HANG_S).stdout.split()


def run(program: Path, case: str) -> None:
    """One case. AssertionError with what the program said if it fails."""
    done = subprocess.run(
        [program, case],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        env={"ASAN_OPTIONS": "detect_leaks=0", "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
