"""The virtio-net driver (netd/drivers) against a device that lies, built for the host under ASan and UBSan.

cases.c holds the cases, model.c the device; this module builds and runs them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
SOURCES = [
    HERE / "cases.c",
    HERE / "model.c",
    TOP / "netd/drivers/virtio_net.c",
    TOP / "kernel/user/lib/virtio.c",
    TOP / "kernel/user/lib/virtio_queue.c",
]
FLAGS = ["-std=c17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
#: A bound for a hang, many times what any case needs.
HANG_S = 300
CASES = re.findall(r'\{"(\w+)", \w+\}', (HERE / "cases.c").read_text())


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cases, compiled. string.h is the host's, so that the sanitizers see every copy."""
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang; Debian: apt-get install clang")
    folder = tmp_path_factory.mktemp("virtio_net")
    include = folder / "include"
    include.mkdir()
    for header in ("virtio.h", "virtio_queue.h"):
        (include / header).symlink_to(TOP / "kernel/user/lib" / header)
    sources = []
    for source in SOURCES:  # out of their folder, whose own string.h would be found first
        (folder / source.name).write_text(f'#line 1 "{source}"\n' + source.read_text())
        sources.append(str(folder / source.name))
    paths = [f"-I{include}", f"-I{HERE}", f"-I{TOP / 'netd/include'}", f"-I{TOP / 'netd/drivers'}"]
    out = folder / "cases"
    command = [clang, *FLAGS, "-fno-sanitize-recover=all", *paths, "-o", str(out), *sources]
    subprocess.run(command, check=True, timeout=HANG_S)
    return out


def test_every_case_of_the_source_is_run_here(program: Path) -> None:
    listed = subprocess.run([program], capture_output=True, text=True, check=True, timeout=HANG_S).stdout.split()
    assert listed == CASES


@pytest.mark.parametrize("case", CASES)
def test_the_driver_believes_no_device(program: Path, case: str) -> None:
    done = subprocess.run(
        [program, case],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
        env={"ASAN_OPTIONS": "detect_leaks=0", "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
