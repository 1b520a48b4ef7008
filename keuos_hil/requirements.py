"""The numbered requirements that suites prove: which there are, what they say, where they stand.

The table is net/requirements.csv; an id is SOURCE:NUMBER, such as 9293:MUST-35 for RFC 9293's MUST-35, or 5961:RST-2
for one that we numbered. `observable` says what it takes to see it: the wire, the application's side (agent), the clock
(time), statistics over many connections (stat), or nothing that there is (none).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .errors import UsageError
from .options import nearest_of_many

_TABLE = Path(__file__).parent / "net" / "requirements.csv"
#: What a stack is held to; the other levels say what it may do.
BINDING = ("MUST", "MUST NOT", "RULE")


@dataclass(frozen=True)
class Requirement:
    """One row. `text` is a summary in our words, never the RFC's; `how` says how a test can show it."""

    id: str
    rfc: str
    section: str
    level: str
    text: str
    observable: str
    how: str
    source: str


@cache
def table() -> dict[str, Requirement]:
    """Every requirement by its id, in the table's order."""
    with _TABLE.open(newline="") as source:
        rows = [Requirement(*row) for row in csv.reader(source)][1:]
    return {row.id: row for row in rows}


def require(ids: Iterable[str], where: str) -> list[str]:
    """These ids, or UsageError with the nearest for one that is in no row."""
    found = list(ids)
    for name in found:
        if name not in table():
            hint = nearest_of_many(name, table(), f"They stand in keuos_hil/net/{_TABLE.name}")
            raise UsageError(f"{where}: no requirement is called {name!r}{hint}")
    return found
