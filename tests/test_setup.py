"""The set-up script on machines that lack something: it says exactly what and how to get it, and changes nothing.

It runs in a copy of the checkout's two files that it reads, with a PATH that holds coreutils and nothing else. That it
installs what is missing is seen on a bare machine, where .ci/run begins with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COREUTILS = ("bash", "cat", "dirname", "env", "flock", "grep", "head", "id", "mkdir", "mv", "sha256sum", "fuser")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the set-up script reads, and bin/ with the only programs that it will find."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "setup", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in COREUTILS:
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    return tmp_path


def program(checkout: Path, name: str, script: str) -> None:
    """Put a shell script in the place of a program."""
    path = checkout / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def setup(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / ".ci" / "setup"],
        env={"PATH": str(checkout / "bin"), "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_ordinary_user_without_sudo_gets_the_command_to_run(checkout: Path):
    program(checkout, "id", "echo 1000")
    program(checkout, "apt-get", "echo ran >&2; exit 1")
    done = setup(checkout)
    assert done.returncode == 1
    assert "\n    apt-get install --no-install-recommends " in done.stderr
    assert " qemu-system-x86 " in done.stderr
    assert " python3-venv" in done.stderr
    assert "ran" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_sudo_that_wants_a_password_counts_as_none(checkout: Path):
    program(checkout, "id", "echo 1000")
    program(checkout, "apt-get", "exit 1")
    program(checkout, "sudo", '[ "$1" = -n ] || echo asked >&2\nexit 1')
    done = setup(checkout)
    assert done.returncode == 1
    assert "apt-get install" in done.stderr
    assert "asked" not in done.stderr


def test_only_what_is_missing_is_asked_for(checkout: Path):
    program(checkout, "id", "echo 1000")
    program(checkout, "apt-get", "exit 1")
    program(checkout, "clang", "exit 0")
    done = setup(checkout)
    assert "\n    lld\n" in done.stderr
    assert "\n    clang\n" not in done.stderr


def test_a_system_without_apt_gets_the_list(checkout: Path):
    done = setup(checkout)
    assert done.returncode == 1
    assert "no apt-get" in done.stderr
    assert "qemu-system-x86" in done.stderr


def test_packages_are_installed_from_lists_fetched_only_when_the_present_ones_do_not_do(checkout: Path):
    program(checkout, "id", "echo 0")
    program(checkout, "apt-get", f'echo "$*" >>{checkout}/calls\ncase "$*" in *update) exit 0 ;; esac\nexit 1')
    done = setup(checkout)
    assert done.returncode == 1
    calls = [call.split("DPkg::Lock::Timeout=300 ")[1] for call in (checkout / "calls").read_text().splitlines()]
    assert [call.split()[0] for call in calls] == ["install", "update", "install"]
    assert "--simulate" in calls[0]
    assert "could not install" in done.stderr


def test_an_installation_that_brings_nothing_is_an_error_and_not_a_loop(checkout: Path):
    program(checkout, "id", "echo 0")
    program(checkout, "apt-get", "exit 0")
    done = setup(checkout)
    assert done.returncode == 1
    assert "still not found" in done.stderr
    assert "command:clang " in done.stderr


def test_a_python_that_is_too_old_is_named(checkout: Path):
    for name in (
        "make",
        "qemu-system-x86_64",
        "qemu-system-aarch64",
        "clang",
        "ld.lld",
        "clang-format",
        "llvm-profdata",
        "llvm-objdump",
        "cpio",
        "grub-mkrescue",
        "xorriso",
        "mformat",
        "ip",
        "nc.openbsd",
    ):
        program(checkout, name, "exit 0")
    program(checkout, "python3", 'case "$2" in *version_info*) echo 3.9; exit 1 ;; esac')
    done = setup(checkout)
    assert done.returncode == 1
    if "expected Python 3.11" not in done.stderr:  # a machine without Debian's files (QEMU's, GRUB's) stops before
        assert "missing" in done.stderr or "installing" in done.stderr
        pytest.skip("needs the Debian packages of .ci/setup; run `make setup` first")
    assert "is 3.9" in done.stderr
    assert "PYTHON=" in done.stderr
