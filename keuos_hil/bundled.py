"""The kernel that is booted if nobody names another: KeuOS, built from the checkout or prebuilt in the wheel."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import InfraError

#: Both variants; each is one ELF, and they share the initrd.
VARIANTS = ("release", "hil")
_PACKAGE = Path(__file__).resolve().parent
#: The kernel builds within a minute on two cores; so long means that something waits for ever.
_BUILD_S = 900.0


@dataclass(frozen=True)
class Paths:
    """Where one variant's files lie, whether they exist or not."""

    kernel: Path
    initrd: Path


def _sources() -> Path | None:
    """The folder with the kernel's sources, in a checkout."""
    folder = _PACKAGE.parent / "kernel"
    return folder if (folder / "Makefile").is_file() else None


def paths(architecture: str, variant: str) -> Paths:
    """The files of a variant for an architecture ("x86_64")."""
    if _sources() is not None:
        built = _PACKAGE.parent / "build" / "kernel"
        return Paths(built / variant / "keuos.elf", built / "initrd.cpio")
    prebuilt = _PACKAGE / "images" / architecture
    return Paths(prebuilt / f"keuos-{variant}.elf", prebuilt / "initrd.cpio")


def ensure(architecture: str = "x86_64") -> None:
    """Build the kernels if their sources are newer. Only one process of the machine builds a checkout at a time.

    Raises:
        InfraError: the build fails, or an installed package has no images for this architecture.
    """
    sources = _sources()
    if sources is None:
        missing = [str(p) for v in VARIANTS for p in vars(paths(architecture, v)).values() if not p.is_file()]
        if missing:
            raise InfraError(
                f"this installation brings no kernel for {architecture} ({missing[0]}); name one by --kernel"
            )
        return
    stamp = _PACKAGE.parent / "build" / ".kernel-built"
    with _locked(_lock_path()):
        begun = _newest(sources)
        wanted = [p for v in VARIANTS for p in vars(paths(architecture, v)).values()]
        if all(p.is_file() for p in wanted) and stamp.is_file() and stamp.stat().st_mtime_ns >= begun:
            return
        _make(sources)
        still = [str(p) for p in wanted if not p.is_file()]
        if still:
            raise InfraError(f"`make -C {sources}` succeeded but made no {', '.join(still)}")
        stamp.touch()
        os.utime(stamp, ns=(begun, begun))  # what changed during the build is newer


def snapshot(architecture: str, variant: str, directory: Path) -> Paths:
    """Copies of a variant's files in `directory`: what a run boots, and what it leaves beside its results, is one thing
    even if somebody builds meanwhile.

    Raises:
        InfraError: there is no such file to copy.
    """
    found = paths(architecture, variant)
    kept = Paths(directory / "keuos.elf", directory / "initrd.cpio")
    try:
        (directory / "user").mkdir(parents=True, exist_ok=True)
        with _locked(_lock_path()) if _sources() is not None else nullcontext():
            shutil.copyfile(found.kernel, kept.kernel)
            shutil.copyfile(found.initrd, kept.initrd)
            # What the programs of a stripped initrd are described by.
            for elf in (found.initrd.parent / "user").glob("*.elf"):
                shutil.copyfile(elf, directory / "user" / elf.name)
    except OSError as error:
        raise InfraError(f"the bundled kernel can't be copied: {error}; `make kernel` builds it") from None
    return kept


def _lock_path() -> Path:
    return _PACKAGE.parent / "build" / ".kernel-lock"


def _newest(sources: Path) -> int:
    times = [sources.stat().st_mtime_ns]
    for folder, _, files in os.walk(sources):
        for path in (folder, *(os.path.join(folder, name) for name in files)):  # folder: a file that was taken away
            with suppress(FileNotFoundError):  # an editor's, gone by now
                times.append(os.lstat(path).st_mtime_ns)
    return max(times)


def _make(sources: Path) -> None:
    command = ["make", "-C", str(sources)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_S, check=False
        )
    except FileNotFoundError:
        raise InfraError("make is not installed; `apt-get install make`, then `make setup`") from None
    except subprocess.TimeoutExpired:
        raise InfraError(f"`{' '.join(command)}` did not end within {_BUILD_S:g} s") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise InfraError(f"`{' '.join(command)}` failed with status {done.returncode}:\n{last}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
