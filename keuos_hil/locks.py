"""Locks that hold across processes of this machine."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

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

    After a second of waiting, `waits` is called, once, with who holds it.

    Raises:
        InfraError: somebody else kept it for `timeout` seconds, the message says who; or there can't be such a file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise InfraError(f"no lock can be made at {path}: {error.strerror}") from None
    deadline = time.monotonic() + timeout
    tell_at = time.monotonic() + _TELL_S
    with file as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                now = time.monotonic()
                if now >= deadline:
                    raise InfraError(f"{path} was locked by {_holder(lock)} for more than {timeout:g} s") from None
                if waits is not None and now >= tell_at:
                    waits(_holder(lock))
                    waits = None
                time.sleep(_POLL_S)
        lock.truncate(0)
        lock.write(f"process {os.getpid()}\n")
        lock.flush()
        yield


def _holder(lock: TextIO) -> str:
    lock.seek(0)
    return lock.read().strip() or "an unknown process"


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
