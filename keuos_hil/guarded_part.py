"""A board's part behind its role's protocol: one that lacks something is refused, and what breaks in it is the bench.

What lives here: what is asked of any part, whoever wrote it. What must not: what a part is for (keuos_hil.board_parts).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

from .board_parts import BoardDebug, BoardLease, BoardLink, BoardLoader, BoardPower
from .errors import HilError, InfraError, UsageError

_log = logging.getLogger(__name__)

_PROTOCOLS: Mapping[str, type] = {
    "power": BoardPower,
    "load": BoardLoader,
    "link": BoardLink,
    "debug": BoardDebug,
    "lease": BoardLease,
}
#: Methods that nobody calls where an attribute of the part is false.
_ONLY_WITH = {"cycle": "switches", "reset": "resets"}


def guarded(role: str, name: str, make: Callable[[], Any], where: str) -> Any:
    """The part that `make` builds, to be used as its role's protocol says.

    An exception out of it that is no HilError comes as an InfraError of one line, raised from it; the log has it whole.

    Args:
        name: the part's, as its table says.
        where: what error messages call the table.

    Raises:
        UsageError: the part lacks attributes or methods that the protocol demands; the line names them.
        InfraError: `make` broke.
    """
    what = f"{where}: the {role} part {name!r}"
    with _blamed(f"{what} can't be made: it"):
        part = make()
    with _blamed(what):
        lacking = list(_lacking(part, _PROTOCOLS[role]))
    if lacking:
        raise UsageError(
            f"{what} ({type(part).__name__}) lacks {', '.join(lacking)}; keuos_hil.board_parts."
            f"{_PROTOCOLS[role].__name__} says what that is"
        )
    return _Guarded(part, what)


def _lacking(part: Any, protocol: type) -> Iterator[str]:
    for attribute in protocol.__annotations__:
        if not hasattr(part, attribute):
            yield attribute
    for method, declared in vars(protocol).items():
        if method.startswith("_") or not callable(declared) or not getattr(part, _ONLY_WITH.get(method, ""), True):
            continue
        if not callable(getattr(part, method, None)):
            yield f"{method}()"


@contextmanager
def _blamed(what: str, another_s: BaseException | None = None) -> Iterator[None]:
    try:
        yield
    except HilError:
        raise
    except Exception as error:
        if error is another_s:
            raise
        _log.warning("%s broke", what, exc_info=error)
        said = " ".join(str(error).split())
        raise InfraError(f"{what} raised {type(error).__name__}{said and ': '}{said}") from error


class _Guarded:
    """Stands for a part. What its methods give back to be entered and left is guarded, too."""

    def __init__(self, part: Any, what: str) -> None:
        self._part = part
        self._what = what

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found):
            return found
        what = f"{self._what}: its {name}()"

        def call(*arguments: Any, **named: Any) -> Any:
            with _blamed(what):
                given = found(*arguments, **named)
            if name == "hold":
                return _Entered(given, what)
            if name == "open":
                if not isinstance(given, tuple) or len(given) != 2:
                    raise InfraError(f"{what} gave {given!r}; expected a pair: the part, and what to leave behind it")
                return given[0], _Entered(given[1], what)
            return given

        return call


class _Entered:
    """A context manager that a part gave; what goes wrong between is not its fault."""

    def __init__(self, inner: Any, what: str) -> None:
        if not isinstance(inner, AbstractContextManager):
            raise InfraError(f"{what} gave {inner!r}; expected a context manager")
        self._inner = inner
        self._what = what

    def __enter__(self) -> Any:
        with _blamed(self._what):
            return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with _blamed(self._what, error):
            left: bool | None = self._inner.__exit__(kind, error, trace)
            return left
