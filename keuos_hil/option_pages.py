"""The page of a board's keys, written from the dataclasses that check them: `python -m keuos_hil.option_pages`.

What lives here: the page docs/board-options.md. What must not: any key, or what it means; the dataclasses say that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

from . import registry
from .board_parts import ROLES
from .hookspecs import PartType
from .options import default_of, type_name

_HEAD = """# Keys of a board

Written by `python -m keuos_hil.option_pages --output docs/board-options.md` from what is installed; [board](board.md)
says how to put them together. A key without a default has to be there. A key or a part that is misspelt is told, with
the nearest valid ones. `{place}` and the names of a place's tags, in braces, stand for what a lease says.
"""


def page() -> str:
    """The page, as Markdown.

    Raises:
        InfraError: two plugins bring the same.
    """
    manager = registry.load_plugins()
    board = registry.target_types(manager)["board"]
    kinds = registry.part_types(manager)
    lines = [_HEAD, "## `[targets.NAME]`", "", *_table(board.options)]
    for role, missing in ROLES.items():
        lines += [f"## `[targets.NAME.{role}]`", "", f'Without this table: `part = "{missing}"`.', ""]
        for kind in sorted((k for k in kinds if k.role == role), key=lambda kind: kind.name):
            lines += _part(kind)
    return "\n".join(lines).rstrip() + "\n"


def _part(kind: PartType) -> Iterator[str]:
    yield f'### `part = "{kind.name}"`'
    yield ""
    yield kind.summary[0].upper() + kind.summary[1:] + "."
    yield ""
    yield from _table(kind.options)


def _table(options: type[Any]) -> Iterator[str]:
    if not fields(options):
        return
    types = get_type_hints(options)
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for option in fields(options):
        default = default_of(option)
        shown = "" if default is MISSING else f"`{_toml(default)}`"
        yield f"| `{option.name}` | {type_name(types[option.name])} | {shown} | {option.metadata.get('help', '')} |"
    yield ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value)
        return f'"{plain}"'
    return str(value)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status is 0."""
    parser = argparse.ArgumentParser(prog="python -m keuos_hil.option_pages", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="the file to write (default: standard output)")
    chosen = parser.parse_args(arguments)
    if chosen.output is None:
        print(page(), end="")
    else:
        chosen.output.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
