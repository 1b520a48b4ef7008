"""The faults: what each one changes in the sources, what harm it does, and which tests have to notice. Pure."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keuos_hil.errors import UsageError
from keuos_hil.options import build, nearest, nearest_of_many
from keuos_hil.requirements import require

from .products import PRODUCTS

HERE = Path(__file__).parent
#: Every file of faults; a new one needs no line elsewhere.
FILES = tuple(sorted(HERE.glob("*.toml")))


@dataclass(frozen=True)
class Edit:
    """One change: `find`, which stands exactly once in `file`, becomes `replace`."""

    file: str
    find: str
    replace: str

    def apply(self, text: str) -> str:
        """The changed text.

        Raises:
            UsageError: `find` does not stand in it exactly once: the sources have moved on.
        """
        count = text.count(self.find)
        if count != 1:
            raise UsageError(f"{self.file} holds {count} times, and not once: {self.find!r}")
        return text.replace(self.find, self.replace)


@dataclass(frozen=True)
class Fault:
    """A fault and what is known of it.

    Attributes:
        name: by which it is asked for.
        harm: what an attacker gains, or what goes wrong, in a few words.
        edits: what is changed; all in one go.
        tests: arguments for pytest, by words: these tests must notice. Several runs: each by itself must.
        product: what it is put into; see products.py.
        requirements: what it violates, by the names of keuos_hil/net/requirements.csv.
        harmless_on_arm64: why it is no fault there, "" if it is one.
    """

    name: str
    harm: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    product: str
    requirements: tuple[str, ...] = ()
    harmless_on_arm64: str = ""

    def apply(self, read: Callable[[str], str]) -> dict[str, str]:
        """The changed files by name, each as `read` gives it with all its edits made.

        Raises:
            UsageError: an edit does not fit the sources any more.
        """
        changed: dict[str, str] = {}
        for edit in self.edits:
            try:
                changed[edit.file] = edit.apply(changed.get(edit.file) or read(edit.file))
            except (UsageError, OSError) as error:
                raise UsageError(f"fault {self.name}: {error}") from None
        return changed

    def selections(self) -> list[list[str]]:
        """The arguments of each run of pytest."""
        return [shlex.split(text) for text in self.tests]


@dataclass(frozen=True)
class _Entry:
    name: str
    harm: str
    tests: list[str]
    file: str
    find: str
    replace: str
    requirements: list[str] = field(default_factory=list)
    harmless_on_arm64: str = ""


def load(files: Iterable[Path] = FILES) -> list[Fault]:
    """All faults, in the order of the files. A file is named by the product that its faults are put into.

    Raises:
        UsageError: a key is unknown or missing, a name comes twice, or there is no such product or requirement.
    """
    faults: dict[str, Fault] = {}
    for path in files:
        if path.stem not in PRODUCTS:
            raise UsageError(f"{path.name} holds faults for no product{nearest(path.stem, PRODUCTS)}")
        for number, table in enumerate(tomllib.loads(path.read_text())["fault"], 1):
            fault = _fault(table, path.stem, f"{path.name}, fault {table.get('name', number)}")
            if fault.name in faults:
                raise UsageError(f"{path.name}: two faults are called {fault.name}")
            faults[fault.name] = fault
    return list(faults.values())


def _fault(table: dict[str, Any], product: str, where: str) -> Fault:
    """`also` holds further edits: tables of file, find and replace."""
    further = table.pop("also", [])
    entry = build(_Entry, table, where)
    edits = [Edit(entry.file, entry.find, entry.replace)]
    edits += [build(Edit, {"file": entry.file, **more}, f"{where}, also") for more in further]
    requirements = require(entry.requirements, where)
    return Fault(
        entry.name,
        entry.harm,
        tuple(edits),
        tuple(entry.tests),
        product,
        requirements=tuple(requirements),
        harmless_on_arm64=entry.harmless_on_arm64,
    )


def shared(faults: Iterable[Fault]) -> list[Fault]:
    """Faults of the kernel in what both architectures have, or in each one's own of the same, put into arm64's."""
    return [
        replace(fault, product="kernel-arm64") for fault in faults if fault.product == "kernel" and _is_arm64s(fault)
    ]


def _is_arm64s(fault: Fault) -> bool:
    of_an_architecture = [edit.file for edit in fault.edits if edit.file.startswith("kernel/arch/")]
    return not fault.harmless_on_arm64 and (
        not of_an_architecture or any(name.startswith("kernel/arch/arm64/") for name in of_an_architecture)
    )


def choose(faults: Sequence[Fault], names: Sequence[str]) -> list[Fault]:
    """Those with the names, or all if there are none.

    Raises:
        UsageError: there is no such fault.
    """
    known = {fault.name: fault for fault in faults}
    for name in names:
        if name not in known:
            hint = nearest_of_many(name, known, f"--list tells all {len(known)}")
            raise UsageError(f"there is no fault {name!r}{hint}")
    return [known[name] for name in names] if names else list(faults)


def together(faults: Iterable[Fault]) -> list[list[str]]:
    """The tests of faults of one product in as few runs as can be: what differs by its -k only becomes one."""
    words: dict[tuple[str, ...], list[str]] = {}
    for selection in (selection for fault in faults for selection in fault.selections()):
        rest, word = list(selection), ""
        if "-k" in rest:
            at = rest.index("-k")
            word = rest[at + 1]
            del rest[at : at + 2]
        words.setdefault(tuple(rest), []).append(word)
    return [
        [*rest, "-k", " or ".join(f"({word})" for word in dict.fromkeys(found))] if all(found) else list(rest)
        for rest, found in words.items()
    ]


def handful(faults: Sequence[Fault], count: int, turn: int) -> list[Fault]:
    """`count` of them, others at the next turn, so that after enough turns each has come."""
    start = turn * count % len(faults)
    return [faults[(start + i) % len(faults)] for i in range(min(count, len(faults)))]


def by_product(faults: Iterable[Fault]) -> dict[str, list[Fault]]:
    """The faults of each product that any of them is put into."""
    found: dict[str, list[Fault]] = {}
    for fault in faults:
        found.setdefault(fault.product, []).append(fault)
    return found
