"""Takes a place of a labgrid coordinator by driving labgrid's own client as a process.

As a process, because labgrid brings a fork of pyserial that takes the place of the one that we use: it lives in an
environment of its own. What lives here: reserving by tags, acquiring, reading where the console is, and giving it back.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from keuos_hil.errors import InfraError, UsageError

from .bench_command import run_command

_COMMAND_S = 60.0
_TOKEN = re.compile(r"LG_TOKEN=(\S+)")
_PLACE = re.compile(r"^Place '([^']+)'", re.MULTILINE)
_TAGS = re.compile(r"^\s*tags: (.+)$", re.MULTILINE)
_RESOURCE = re.compile(r"^(?:Acquired|Matching) resource '([^']+)' \(.*?\):\s*\n((?: .*\n?)+)", re.MULTILINE)
_PORTS = {"NetworkSerialPort": "rfc2217", "RawNetworkSerialPort": "socket"}


class LabgridClient:
    """labgrid's client.

    Args:
        program: its name or path.
        coordinator: HOST:PORT; "" leaves that to labgrid.
        where: what error messages call the table that says so.
    """

    def __init__(self, program: str, coordinator: str, where: str) -> None:
        self._program = program
        self._coordinator = coordinator
        self._where = where

    def _run(self, *arguments: str, timeout: float = _COMMAND_S) -> str:
        """What it said on its standard output. Raises InfraError with what else it said if it failed."""
        program = shutil.which(self._program)
        if program is None:
            raise InfraError(
                f"{self._where}: there is no program {self._program}; `python3 -m venv labgrid && "
                'labgrid/bin/pip install labgrid`, then client = "labgrid/bin/labgrid-client"'
            )
        argv = [program, *(["-x", self._coordinator] if self._coordinator else []), *arguments]
        environment = {key: value for key, value in os.environ.items() if key not in ("LG_PLACE", "LG_TOKEN")}
        # A Ctrl-C is for pytest, which then gives the place back.
        return run_command(argv, timeout, own_session=True, environment=environment)

    @contextmanager
    def place(self, tags: Sequence[str], wait: float) -> Iterator[Mapping[str, str]]:
        """Hold any free place that has all of `tags`; the values that stand for it in other parts' options.

        Args:
            wait: seconds to wait for one.

        Raises:
            InfraError: none became free, or the coordinator can't be reached.
        """
        for tag in tags:
            if not re.fullmatch(r"[\w.-]+=[\w.-]+", tag):
                raise UsageError(f"{self._where}: tags: expected NAME=VALUE, found {tag!r}")
        found = _TOKEN.search(self._run("reserve", "--shell", *tags))
        if found is None:
            raise InfraError("labgrid-client reserve --shell printed no LG_TOKEN; labgrid 24 or newer is expected")
        token = found.group(1)
        by_token = ("-p", f"+{token}")
        give_back: list[tuple[str, ...]] = [("cancel-reservation", token)]
        try:
            try:
                self._run("wait", token, timeout=wait)
            except InfraError as error:
                raise InfraError(f"no place with the tags {' '.join(tags)} became free: {error}") from None
            values = self._values(self._run(*by_token, "show"))
            give_back.append(("-p", values["place"], "release"))
            self._run(*by_token, "acquire")
            # What is acquired has more to tell than what is reserved.
            yield self._values(self._run(*by_token, "show"))
        except BaseException:
            with suppress(InfraError):  # what went wrong first counts; a place that was not taken yet can't be released
                self._run_together(give_back)
            raise
        self._run_together(give_back)

    def _run_together(self, commands: Sequence[Sequence[str]]) -> None:
        """All at once: what ends this process, as pytest-xdist ends workers that take long, then ends none of them."""
        with ThreadPoolExecutor(len(commands)) as pool:
            for done in [pool.submit(self._run, *command) for command in commands]:
                done.result()

    def _values(self, shown: str) -> Mapping[str, str]:
        place = _PLACE.search(shown)
        if place is None:
            raise InfraError(f"labgrid-client show named no place; it said: {shown[:200]!r}")
        values = {"place": place.group(1), "console": ""}
        tags = _TAGS.search(shown)
        if tags is not None:
            values |= dict(tag.strip().split("=", 1) for tag in tags.group(1).split(",") if "=" in tag)
        for kind, body in _RESOURCE.findall(shown):
            if kind in _PORTS:
                params = _parameters(body)
                scheme = "socket" if params.get("protocol") == "raw" else _PORTS[kind]
                values["console"] = f"{scheme}://{params['host']}:{params['port']}"
        return values


def _parameters(text: str) -> dict[str, Any]:
    try:
        resource = ast.literal_eval(text.strip())
        params: dict[str, Any] = resource["params"]
    except (ValueError, SyntaxError, KeyError, TypeError):
        raise InfraError(f"labgrid-client show described a serial port as {text[:200]!r}") from None
    return params
