"""Cases that a target once failed by, a file for each: every later run tries them first.

They lie below the rootdir of whoever tests (by default `.keuos-hil/corpus`), also when the suites are an installed
package's: they are findings about that tree's target, and worth committing there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from keuos_hil.errors import InfraError, UsageError


class Case(Protocol):
    """What can be kept. SCHEMA is what a file says that it is."""

    SCHEMA: ClassVar[str]

    def as_json(self) -> dict[str, Any]:
        """The case, in what JSON has."""
        ...

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """From :meth:`as_json`. Raises KeyError, TypeError or ValueError for anything else."""
        ...


C = TypeVar("C", bound=Case)


@dataclass(frozen=True)
class Kept(Generic[C]):
    """One file of the corpus."""

    path: Path
    case: C


class Corpus(Generic[C]):
    """A folder of cases of one kind; it is made when the first is saved."""

    def __init__(self, directory: Path, kind: type[C]) -> None:
        self.directory = directory
        self._kind = kind

    def cases(self) -> list[Kept[C]]:
        """All that are kept, by name.

        Raises:
            UsageError: a file can't be read, or is no such case.
        """
        found = []
        for path in sorted(self.directory.glob("*.json")):
            try:
                document = json.loads(path.read_text())
                if document["schema"] != self._kind.SCHEMA:
                    raise ValueError(f"expected schema {self._kind.SCHEMA}, found {document['schema']}")
                found.append(Kept(path, self._kind.from_json(document["case"])))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise UsageError(f"{path} is no case of {self._kind.SCHEMA} ({error!r}): repair or remove it") from None
        return found

    def save(self, case: C, **about: Any) -> Path:
        """Keep a case; the same case twice is one file.

        Args:
            about: for a person: what was expected and found, the seed, the kernel's build.

        Raises:
            InfraError: it can't be written.
        """
        content = case.as_json()
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        path = self.directory / f"{digest}.json"
        text = json.dumps({"schema": self._kind.SCHEMA, "case": content, "about": about}, indent=1) + "\n"
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            partial.write_text(text)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise InfraError(
                f"the failing case can't be saved in {self.directory}: {error.strerror}; see --fuzz-corpus"
            ) from None
        return path
