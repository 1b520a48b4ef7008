"""Lines that a person has to see at once, though output is captured: that a run waits, and for whom.

Who has one calls :func:`tell`, from anywhere; the pytest plugin shows it. Without pytest it is a warning of logging.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger("keuos_hil.telling")


def tell(line: str) -> None:
    """Show one line."""
    _log.warning("%s", line)


class _Handler(logging.Handler):
    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        self._show(record.getMessage())


@contextmanager
def shown(show: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, `show` gets each line that is told, and nobody else does."""
    handler, before = _Handler(show), _log.propagate
    _log.addHandler(handler)
    _log.propagate = False
    try:
        yield
    finally:
        _log.removeHandler(handler)
        _log.propagate = before
