"""Cases that a kernel once judged wrongly, a file for each: every later run tries them first.

They lie below the rootdir of whoever tests (by default `.keuos-hil/corpus`), also when the suites are an installed
package's: they are findings about that tree's kernel, and worth committing there.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keuos_hil.errors import InfraError, UsageError

from .difference import Difference

#: What a file says it is.
SCHEMA = "keuos-hil/gate-case/1"


@dataclass(frozen=True)
class Kept:
    """One file of the corpus."""

    path: Path
    case: Difference


class Corpus:
    """A folder of cases; it is made when the first is saved."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def cases(self) -> list[Kept]:
        """All that are kept, by name.

        Raises:
            UsageError: a file can't be read, or is no such case.
        """
        found = []
        for path in sorted(self.directory.glob("*.json")):
            try:
                document = json.loads(path.read_text())
                if document["schema"] != SCHEMA:
                    raise ValueError(f"expected schema {SCHEMA}, found {document['schema']}")
                found.append(Kept(path, Difference.from_json(document["case"])))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise UsageError(f"{path} is no gate case ({error!r}): repair or remove it") from None
        return found

    def save(self, case: Difference, **about: Any) -> Path:
        """Keep a case; the same case twice is one file.

        Args:
            about: for a person: what was expected and found, the seed, the kernel's build.

        Raises:
            InfraError: it can't be written.
        """
        content = case.as_json()
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        path = self.directory / f"{digest}.json"
        text = json.dumps({"schema": SCHEMA, "case": content, "about": about}, indent=1) + "\n"
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
