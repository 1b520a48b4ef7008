"""Options of a target type: declared once, as a dataclass, and read from TOML tables and from the command line.

A field's type, default and help text are the schema; a misspelt key lists the valid ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_args, get_origin, get_type_hints

from .errors import InfraError, UsageError

#: Defaults that tell a person nothing.
_UNSAID: tuple[Any, ...] = (MISSING, "", [], {})


def nearest(name: str, valid: Iterable[str]) -> str:
    """`; did you mean 'x'? Valid: ...` for an error message about an unknown name."""
    names = sorted(valid)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{hint} valid: {', '.join(names) or '(none)'}"


def nearest_of_many(name: str, valid: Iterable[str], where: str) -> str:
    """Like :func:`nearest`, of names that are too many to be listed; `where` says where they are."""
    near = difflib.get_close_matches(name, list(valid), 3)
    return f"; did you mean {' or '.join(near)}? {where}" if near else f"; {where}"


def default_of(option: Field[Any]) -> Any:
    """The default of a dataclass field, or MISSING."""
    return option.default_factory() if option.default_factory is not MISSING else option.default


def type_name(wanted: Any) -> str:
    """What a person calls the type of a key."""
    if get_origin(wanted) is list:
        return f"list of {type_name(get_args(wanted)[0])}s"
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return names.get(wanted, "table")


def build(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """An instance of the dataclass `kind` from a table.

    A field of a list whose metadata has `filled` must not be given empty.

    Args:
        where: what error messages call the table.

    Raises:
        UsageError: an unknown key, a missing one, or a value of another type.
    """
    known = {option.name: option for option in fields(kind)}
    types = get_type_hints(kind)
    for key in values:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}{nearest(key, known)}")
    for name, option in known.items():
        if name not in values and default_of(option) is MISSING:
            raise UsageError(
                f"{where}: the key {name!r} is missing: {option.metadata.get('help', 'it has no default')}"
            )
    for key, value in values.items():
        if value == [] and known[key].metadata.get("filled"):
            raise UsageError(f"{where}: {key} is empty; expected: {known[key].metadata.get('help', 'one at least')}")
    return kind(**{key: _checked(value, types[key], f"{where}: {key}") for key, value in values.items()})


def _checked(value: Any, wanted: Any, where: str) -> Any:
    if get_origin(wanted) is list:
        if isinstance(value, list) and all(isinstance(item, get_args(wanted)[0]) for item in value):
            return value
    elif get_origin(wanted) is dict:
        if isinstance(value, dict):
            return value
    elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    name = type_name(wanted)
    raise UsageError(f"{where}: expected {'an' if name[0] in 'aeiou' else 'a'} {name}, found {value!r}")


def add_to_command_line(add: Callable[..., object], prefix: str, *kinds: type[Any]) -> None:
    """Declare `--PREFIX-FIELD` for every field of the dataclasses, those of one name and type as one option.

    Where their helps differ, the option's says each, so they should name whom they are about.

    `add` is argparse's or pytest's way to add an option.
    """
    found: dict[str, list[tuple[Field[Any], Any]]] = {}
    for kind in kinds:
        types = get_type_hints(kind)
        for option in fields(kind):
            found.setdefault(option.name, []).append((option, types[option.name]))
    for name, options in found.items():
        option, wanted = options[0]
        if any(other != wanted for _, other in options):
            raise InfraError(f"two target types want an option --{prefix}-{name} of different types")
        several = get_origin(wanted) is list
        helps = dict.fromkeys(str(each.metadata.get("help", name)) for each, _ in options)
        defaults = [default for default in map(default_of, (each for each, _ in options)) if default not in _UNSAID]
        shown = f" (default: {' or '.join(map(_said, dict.fromkeys(defaults)))})" if defaults else ""
        how: dict[str, Any] = {"action": "append"} if several else {"type": wanted if wanted is not bool else _boolean}
        add(
            f"--{prefix}-{name.replace('_', '-')}",
            dest=_dest(prefix, name),
            default=None,
            metavar="yes|no" if wanted is bool else name.upper(),
            help=("; ".join(helps) + shown).replace("%", "%%"),
            **how,
        )


def from_command_line(get: Callable[[str], Any], prefix: str, kind: type[Any]) -> dict[str, Any]:
    """What was given of the options that :func:`add_to_command_line` declared; `get` takes a dest."""
    found = {option.name: get(_dest(prefix, option.name)) for option in fields(kind)}
    return {name: value for name, value in found.items() if value is not None}


def require_taken(
    get: Callable[[str], Any], prefix: str, declared: Mapping[str, type[Any]], used: Mapping[str, type[Any]]
) -> None:
    """Refuse what was given on the command line and none of a run's targets would look at.

    Args:
        declared: the dataclasses with this prefix, by the names of their target types.
        used: those of the run's targets, by the targets' names.

    Raises:
        UsageError: names the option, the targets, and the types that have it.
    """
    taken = {option.name for kind in used.values() for option in fields(kind)}
    for name in dict.fromkeys(option.name for kind in declared.values() for option in fields(kind)):
        if name in taken or get(_dest(prefix, name)) is None:
            continue
        owners = [owner for owner, kind in declared.items() if name in {option.name for option in fields(kind)}]
        verb = "has" if len(owners) == 1 else "have"
        raise UsageError(
            f"--{prefix}-{name.replace('_', '-')}: no target of this run takes it; "
            f"{' and '.join(sorted(owners))} {verb} it"
        )


def _dest(prefix: str, name: str) -> str:
    return f"keuos_{prefix}_{name}"


def _said(default: Any) -> str:
    """A default as a person would type it."""
    return {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)


def _boolean(text: str) -> bool:
    words = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError(f"expected yes or no, found {text!r}")
    return words[text.lower()]
