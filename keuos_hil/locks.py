"""Locks that hold across processes of this machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_state_path

from .errors import InfraError
from .telling import tell

#: The longest measurement takes minutes; whoever holds a lock for so long is stuck.
_TIMING_S = 3600.0
_POLL_S = 0.1
#: Whoever waits for longer is told why.
_TELL_S = 1.0


@contextmanager
def file_lock(path: Path, timeout: float, waits: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the operating system gives it back if this process dies.

    The file is there while somebody holds it, and behind one who died: whoever gives it back removes it first, so that
    a lock counts only if its file is still the one of that name. Other users of the machine can wait for it, too.

    After a second of waiting, `waits` is called, once, with who holds it.

    Raises:
        InfraError: somebody else kept it for `timeout` seconds, the message says who; or there can't be such a file.
    """
    deadline = time.monotonic() + timeout
    tell_at = time.monotonic() + _TELL_S
    while True:
        with _opened(path) as lock:
            if _taken(lock):
                if not _is_at(lock, path):
                    continue
                os.ftruncate(lock, 0)
                os.pwrite(lock, b"process %d\n" % os.getpid(), 0)
                try:
                    yield
                finally:
                    with suppress(OSError):  # in a folder such as /var/lock only who made a file can remove it
                        if _is_at(lock, path):
                            path.unlink()
                return
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "an unknown process"
        now = time.monotonic()
        if now >= deadline:
            raise InfraError(f"{path} was locked by {holder} for more than {timeout:g} s")
        if waits is not None and now >= tell_at:
            waits(holder)
            waits = None
        time.sleep(_POLL_S)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of the file, which is made if there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Without O_CREAT: in a folder that anybody can write to, Linux refuses that for another user's file.
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            with suppress(OSError):  # somebody else made it just now
                os.fchmod(descriptor, 0o666)
    except OSError as error:
        raise InfraError(f"no lock can be made at {path}: {error.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(lock: int, path: Path) -> bool:
    """Whether it is the file that others will find there."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except OSError:
        return False


def _state_folder() -> Path:
    """This user's own; where there is no home that can be written, one among the temporary files."""
    home = user_state_path("keuos-hil")
    with suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK | os.X_OK):
            return home
    folder = Path(tempfile.gettempdir()) / f"keuos-hil-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise InfraError(f"no lock can be made in {folder}: it belongs to somebody else")
    except OSError as error:
        raise InfraError(f"no lock can be made in {home} or {folder}: {error.strerror}") from None
    return folder


@contextmanager
def timing_lock() -> Iterator[None]:
    """Keep other measurements of this user off this machine's processors; a line is told if that takes long."""
    path = _state_folder() / "timing.lock"

    def waits(holder: str) -> None:
        tell(f"waiting for another keuos-hil run that measures (lock {path}, held by {holder})")

    with file_lock(path, _TIMING_S, waits):
        yield
