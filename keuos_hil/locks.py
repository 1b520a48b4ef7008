"""Locks that hold across processes of this machine."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_state_path

from .errors import InfraError

#: The longest measurement takes minutes; whoever holds a lock for so long is stuck.
_TIMING_S = 3600.0
_POLL_S = 0.1


@contextmanager
def file_lock(path: Path, timeout: float) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the operating system gives it back if this process dies.

    Raises:
        InfraError: somebody else kept it for `timeout` seconds, the message says who; or there can't be such a file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise InfraError(f"no lock can be made at {path}: {error.strerror}") from None
    deadline = time.monotonic() + timeout
    with file as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    lock.seek(0)
                    holder = lock.read().strip() or "an unknown process"
                    raise InfraError(f"{path} was locked by {holder} for more than {timeout:g} s") from None
                time.sleep(_POLL_S)
        lock.truncate(0)
        lock.write(f"process {os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def timing_lock() -> Iterator[None]:
    """Keep other measurements of this user off this machine's processors."""
    with file_lock(user_state_path("keuos-hil") / "timing.lock", _TIMING_S):
        yield
