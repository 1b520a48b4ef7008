"""The initrd maker: the archive that the boot loader hands to the kernel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "kernel" / "tools" / "mkinitrd.py"


def make(output: Path, *files: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TOOL, "--output", output, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def members(archive: bytes) -> list[tuple[str, bytes]]:
    """Names and contents of a newc archive, read after its description, not with the tool's own code."""
    found: list[tuple[str, bytes]] = []
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        size, name_size = (int(archive[at + 6 + 8 * field : at + 14 + 8 * field], 16) for field in (6, 11))
        name = archive[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        at += (110 + name_size + 3) // 4 * 4
        if name == b"TRAILER!!!\0":
            assert at == len(archive)
            return found
        found.append((name[:-1].decode(), archive[at : at + size]))
        at += (size + 3) // 4 * 4


def test_the_archive_holds_the_files_sorted_whatever_their_order_and_times(tmp_path: Path) -> None:
    sizes = {"b": 0, "a": 1, "dd": 4097, "ccc": 6}
    for name, size in sizes.items():
        (tmp_path / f"{name}.elf").write_bytes(b"\x7f" * size)
    paths = [tmp_path / f"{name}.elf" for name in sizes]
    assert make(tmp_path / "one", *paths).returncode == 0
    for path in paths:
        shutil.copy(path, path.with_suffix(".copy"))
        path.unlink()
        path.with_suffix(".copy").rename(path)
    assert make(tmp_path / "two", *reversed(paths)).returncode == 0
    archive = (tmp_path / "one").read_bytes()
    assert archive == (tmp_path / "two").read_bytes()
    assert members(archive) == [(name, b"\x7f" * sizes[name]) for name in sorted(sizes)]


def test_a_file_may_be_given_another_name(tmp_path: Path) -> None:
    (tmp_path / "x.elf").write_bytes(b"1")
    assert make(tmp_path / "out", f"console={tmp_path / 'x.elf'}").returncode == 0
    assert members((tmp_path / "out").read_bytes()) == [("console", b"1")]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["missing"], "missing"),
        (["x", "x"], "twice"),
        (["n" * 32 + "=x"], "1 to 31"),
        (["a/b=x"], "'/'"),
        (["=x"], "1 to 31"),
    ],
)
def test_what_cannot_be_archived_is_one_line_and_leaves_the_old_archive(
    tmp_path: Path, arguments: list[str], word: str
) -> None:
    (tmp_path / "x").write_bytes(b"1")
    (tmp_path / "out").write_bytes(b"old")
    result = subprocess.run(
        [sys.executable, TOOL, "--output", "out", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert word in result.stderr
    assert result.stderr.count("\n") == 1
    assert (tmp_path / "out").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x"]
