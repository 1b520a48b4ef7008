"""A bar on the person's terminal while one test runs for long. In a pipe or under xdist nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

Advance = Callable[[int], None]


def own_terminal() -> TextIO | None:
    """The terminal by a descriptor that pytest's capturing doesn't replace; None if standard output is none.

    Must be called while nothing is captured.
    """
    return os.fdopen(os.dup(1), "w") if os.isatty(1) else None


class Progress:
    """Bars on `terminal`; None shows nothing.

    Args:
        newline: called before a bar is drawn, so that it gets a line of its own.
    """

    def __init__(self, terminal: TextIO | None, newline: Callable[[], None] = lambda: None) -> None:
        self._terminal = terminal
        self._newline = newline

    @contextmanager
    def __call__(self, text: str, total: int) -> Iterator[Advance]:
        """A bar for `total` steps; what it gives is called with the number of steps just done."""
        if self._terminal is None:
            yield lambda steps: None
            return
        self._newline()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        screen = RichConsole(file=self._terminal, force_terminal=True)
        with RichProgress(*columns, TimeRemainingColumn(), console=screen, transient=True) as bars:
            task = bars.add_task(text, total=total)
            yield lambda steps: bars.advance(task, steps)
