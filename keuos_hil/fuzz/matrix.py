"""What came of the cases: field x mutation x verdict, counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.oracle import GateAbi

#: What of a descriptor was changed: nothing, one of its fields, a few of them, or all of it; or of a notification.
FIELDS = (
    "none", "sequence", "mark", "template", "channel", "generation", "template_index", "opcode", "flags", "max_length",
    "alignment", "tag", "offset", "length", "cookie", "sealed", "several", "all", "head", "head_data", "n",
)  # fmt: skip
#: How: docs/measuring.md explains each.
MUTATIONS = (
    "none", "bit", "boundary", "step", "random", "stale", "swapped", "sibling", "truncated", "zero", "forged",
)  # fmt: skip


class Matrix:
    """Counts by field, mutation and verdict."""

    def __init__(self, abi: GateAbi) -> None:
        self._names = abi.names
        self._verdicts = max(abi.names) + 1
        self._counts = np.zeros(len(FIELDS) * len(MUTATIONS) * self._verdicts, np.int64)

    def add(self, fields: NDArray[np.uint8], mutations: NDArray[np.uint8], verdicts: NDArray[np.uint8]) -> None:
        """Count cases: indices into FIELDS and MUTATIONS, and verdicts by number."""
        at = (fields.astype(np.intp) * len(MUTATIONS) + mutations) * self._verdicts + verdicts
        self._counts += np.bincount(at, minlength=len(self._counts))

    @property
    def verdicts(self) -> list[str]:
        """The verdicts that occurred, in the order of the gates."""
        cube = self._counts.reshape(-1, self._verdicts)
        return [self._names[v] for v in range(self._verdicts) if v in self._names and cube[:, v].any()]

    @property
    def cases(self) -> int:
        """How many were counted."""
        return int(self._counts.sum())

    def of(self, *verdicts: str) -> int:
        """How many have one of these verdicts."""
        return sum(row["verdicts"].get(verdict, 0) for row in self.rows() for verdict in verdicts)

    def rows(self) -> list[dict[str, Any]]:
        """One `{field, mutation, verdicts: {name: cases}}` for each pair that occurred."""
        cube = self._counts.reshape(len(FIELDS), len(MUTATIONS), self._verdicts)
        return [
            {
                "field": field,
                "mutation": mutation,
                "verdicts": {self._names[v]: int(n) for v, n in enumerate(cube[f, m]) if n and v in self._names},
            }
            for f, field in enumerate(FIELDS)
            for m, mutation in enumerate(MUTATIONS)
            if cube[f, m].any()
        ]
