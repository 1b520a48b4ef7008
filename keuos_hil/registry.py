"""Finds target types through pluggy, and makes named targets of the configuration and the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import pluggy

from . import hookspecs, link_choice, options
from .board_parts import ROLES
from .errors import InfraError, UsageError
from .hookspecs import PROJECT, PartType, RunOptions, TargetType
from .parts import AnyTarget

#: Found at pytest's rootdir, if --hil-config names no other.
CONFIG_NAME = "keuos-hil.toml"


def load_plugins() -> pluggy.PluginManager:
    """The plugins of every installed distribution."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.load_setuptools_entrypoints(PROJECT)
    return manager


def add_plugins(manager: pluggy.PluginManager, candidates: Iterable[object]) -> None:
    """Register those of pytest's own plugins that implement a hook of ours: a lab's conftest.py may bring a target."""
    names = [name for name in vars(hookspecs) if name.startswith(f"{PROJECT}_")]
    for plugin in candidates:
        ours = any(hasattr(getattr(plugin, name, None), f"{PROJECT}_impl") for name in names)
        if ours and not manager.is_registered(plugin):
            manager.register(plugin)


def target_types(manager: pluggy.PluginManager) -> dict[str, TargetType]:
    """The target types by name. Raises InfraError if two plugins bring the same name."""
    types: dict[str, TargetType] = {}
    for brought in manager.hook.keuos_hil_target_types():
        for kind in brought:
            if kind.name in types:
                raise InfraError(f"two plugins bring a target type {kind.name!r}; uninstall one of them")
            types[kind.name] = kind
    return types


def part_types(manager: pluggy.PluginManager) -> tuple[PartType, ...]:
    """The kinds of part for boards.

    Raises:
        InfraError: two plugins bring one of the same role and name. UsageError: one has no such role, or no options.
    """
    found: dict[tuple[str, str], PartType] = {}
    for brought in manager.hook.keuos_hil_part_types():
        for kind in brought:
            what = f"a plugin's part {kind.name!r}"
            if kind.role not in ROLES:
                raise UsageError(f"{what}: no role {kind.role!r}{options.nearest(kind.role, ROLES)}")
            if not is_dataclass(kind.options):
                raise UsageError(f"{what}: expected a dataclass as its options, found {kind.options!r}")
            if (kind.role, kind.name) in found:
                raise InfraError(f"two plugins bring a {kind.role} part {kind.name!r}; uninstall one of them")
            found[kind.role, kind.name] = kind
    return tuple(found.values())


def panic_patterns(manager: pluggy.PluginManager) -> tuple[bytes, ...]:
    """What plugins add to KeuOS's own panic banner."""
    return tuple(pattern for brought in manager.hook.keuos_hil_panic_patterns() for pattern in brought)


@dataclass(frozen=True)
class Named:
    """A target of the configuration: a type and the table's other keys."""

    kind: TargetType
    values: dict[str, Any]
    where: str


def _bare(name: str) -> str:
    """What error messages call a target that has no table."""
    return f"target {name}"


class Registry:
    """Every target that can be named.

    Args:
        types: what the plugins bring; each is a target of its own name, too, unless the configuration redefines it.
        config: a TOML file, or None.

    Raises:
        UsageError: the file is no TOML, or a table names no known type.
    """

    def __init__(self, types: dict[str, TargetType], config: Path | None = None) -> None:
        self.types = types
        self._config = config
        self.targets = {name: Named(kind, {}, _bare(name)) for name, kind in types.items()}
        if config is not None:
            self._read(config)

    def _read(self, config: Path) -> None:
        try:
            document = tomllib.loads(config.read_text())
        except OSError as error:
            raise UsageError(f"the configuration {config} can't be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"the configuration {config} is no TOML: {error}") from None
        for key in document:
            if key != "targets":
                raise UsageError(f"{config}: unknown table {key!r}{options.nearest(key, ['targets'])}")
        tables = document.get("targets", {})
        if not isinstance(tables, dict):
            raise UsageError(f"{config}: targets: expected tables [targets.NAME], found {tables!r}")
        for name, table in tables.items():
            where = f"{config}: [targets.{name}]"
            if not isinstance(table, dict):
                raise UsageError(f"{where}: expected a table with a type, found {table!r}")
            kind_name = table.get("type", name if name in self.types else None)
            if kind_name is None:
                raise UsageError(f"{where}: the key 'type' is missing; valid: {', '.join(sorted(self.types))}")
            if not isinstance(kind_name, str) or kind_name not in self.types:
                raise UsageError(f"{where}: no target type {kind_name!r}{options.nearest(str(kind_name), self.types)}")
            values = {key: value for key, value in table.items() if key != "type"}
            options.build(self.types[kind_name].options, values, where)
            self.targets[name] = Named(self.types[kind_name], values, where)

    def require(self, name: str) -> Named:
        """The target `name`. Raises UsageError with the known names if there is none."""
        if name not in self.targets:
            raise UsageError(f"no target named {name!r}{options.nearest(name, self.targets)}")
        return self.targets[name]

    def resolve(self, name: str) -> str:
        """The name of the target that ``--target=NAME`` means: itself, or the only one of a type that needs a table.

        Raises:
            UsageError: there is no such target, or there are several to choose from.
        """
        named = self.require(name)
        if not named.kind.named_only or named.where != _bare(name):
            return name
        of_it = sorted(n for n, other in self.targets.items() if other.kind.name == name and other.where != _bare(n))
        if len(of_it) == 1:
            return of_it[0]
        if not of_it:
            raise UsageError(
                f'--target={name}: the configuration {CONFIG_NAME} has no [targets.NAME] with type = "{name}"; '
                "docs/board.md shows one"
            )
        raise UsageError(f"--target={name}: which of them? Say --target={' or --target='.join(of_it)}")

    def make(
        self, name: str, run: RunOptions, overrides: Callable[[TargetType], dict[str, Any]] = lambda k: {}
    ) -> AnyTarget:
        """Build the target `name`; `overrides` are what the command line says about its type."""
        named = self.require(name)
        if run.link is not None:
            link_choice.require(name, run.link, named.kind.links)
        if named.where != _bare(name):
            run = replace(run, configuration=self._config)
        values = {**named.values, **overrides(named.kind)}
        return named.kind.make(name, options.build(named.kind.options, values, named.where), run)
