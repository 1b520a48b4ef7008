"""The kernel that is booted if nobody names another: KeuOS, built from the checkout or prebuilt in the wheel."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from . import initrd as cpio
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
        built = _PACKAGE.parent / "build" / "kernel" / architecture
        return Paths(built / variant / "keuos.elf", built / "initrd.cpio")
    prebuilt = _PACKAGE / "images" / architecture
    return Paths(prebuilt / f"keuos-{variant}.elf", prebuilt / "initrd.cpio")


def ensure(architecture: str) -> None:
    """Build an architecture's kernels if their sources are newer. Only one process builds a checkout at a time.

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
    stamp = _PACKAGE.parent / "build" / f".kernel-built-{architecture}"
    with _locked(_lock_path()):
        begun = _newest(sources)
        wanted = [p for v in VARIANTS for p in vars(paths(architecture, v)).values()]
        if all(p.is_file() for p in wanted) and stamp.is_file() and stamp.stat().st_mtime_ns >= begun:
            return
        _make(sources, architecture)
        still = [str(p) for p in wanted if not p.is_file()]
        if still:
            raise InfraError(f"`{_command(sources, architecture)}` succeeded but made no {', '.join(still)}")
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
    with _copying(directory):
        shutil.copyfile(found.kernel, kept.kernel)
        _copy_initrd(found.initrd, kept.initrd)
    return kept


def snapshot_initrd(architecture: str, directory: Path) -> Path:
    """A copy of the initrd alone, for a KeuOS that somebody built elsewhere; like :func:`snapshot`."""
    kept = directory / "initrd.cpio"
    with _copying(directory):
        _copy_initrd(paths(architecture, "release").initrd, kept)
    return kept


@contextmanager
def _copying(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(_lock_path()) if _sources() is not None else nullcontext():
            yield
    except OSError as error:
        raise InfraError(f"the bundled kernel can't be copied: {error}; `make kernel` builds it") from None


def _copy_initrd(initrd: Path, to: Path) -> None:
    shutil.copyfile(initrd, to)
    user = to.parent / "user"
    user.mkdir(exist_ok=True)
    for elf in (initrd.parent / "user").glob("*.elf"):  # what the programs of a stripped initrd are described by
        shutil.copyfile(elf, user / elf.name)


def snapshot_given(
    kernel: Path | None, symbols: Path | None, initrd: Path | None, directory: Path
) -> tuple[Path | None, Path | None, Path | None]:
    """Copies, under their own names, of the files that a user named, each in a folder of its own; None stays None.

    Beside the initrd `user/NAME.elf` is kept for each of its files: see :meth:`keuos_hil.image.Image.program`.

    Raises:
        InfraError: one can't be copied.
    """

    def keep(path: Path | None, folder: str) -> Path | None:
        if path is None:
            return None
        to = directory / folder / path.name
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
        except OSError as error:
            raise InfraError(f"{path} can't be copied into this run's folder: {error}") from None
        return to

    kept = keep(initrd, "initrd")
    if initrd is not None and kept is not None:
        for name in cpio.read(kept):
            beside = initrd.parent / "user" / f"{name}.elf"
            if not {"..", "/"} & set(Path(name).parts) and beside.is_file():
                keep(beside, str(Path("initrd", "user", name).parent))
    return keep(kernel, "kernel"), keep(symbols, "symbols"), kept


def put_in(initrd: Path, name: str, program: Path, *, without: str) -> None:
    """Give the program `name` of a run's own copy of an initrd other contents, and take the program `without` out.

    Raises:
        InfraError: there is no such program, or the files can't be read or written.
    """
    try:
        contents = program.read_bytes()
        initrd.write_bytes(cpio.with_file(initrd.read_bytes(), name, contents, without=without))
        (initrd.parent / "user" / f"{name}.elf").unlink(missing_ok=True)  # describes the one that was there
    except OSError as error:
        raise InfraError(f"{program} can't be put into this run's initrd: {error}") from None


def _lock_path() -> Path:
    return _PACKAGE.parent / "build" / ".kernel-lock"


def _newest(sources: Path) -> int:
    times = [sources.stat().st_mtime_ns]
    for folder, _, files in itertools.chain(os.walk(sources), os.walk(sources.parent / "netd")):
        for path in (folder, *(os.path.join(folder, name) for name in files)):  # folder: a file that was taken away
            with suppress(FileNotFoundError):  # an editor's, gone by now
                times.append(os.lstat(path).st_mtime_ns)
    return max(times)


def _command(sources: Path, architecture: str) -> str:
    return f"make -C {sources} ARCH={architecture}"


def _make(sources: Path, architecture: str) -> None:
    command = ["make", "-C", str(sources), f"ARCH={architecture}"]
    shown = _command(sources, architecture)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_S, check=False
        )
    except FileNotFoundError:
        raise InfraError("make is not installed; `apt-get install make`, then `make setup`") from None
    except subprocess.TimeoutExpired:
        raise InfraError(f"`{shown}` did not end within {_BUILD_S:g} s") from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise InfraError(f"`{shown}` failed with status {done.returncode}:\n{last}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
