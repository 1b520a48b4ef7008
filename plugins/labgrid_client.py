"""Takes a place of a labgrid coordinator by driving labgrid's own client as a process.

As a process, because labgrid brings a fork of pyserial that takes the place of the one that we use: it lives in an
environment of its own. What lives here: reserving by tags, acquiring, reading where the console is, and giving it back.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from keuos_hil.errors import InfraError, UsageError
from keuos_hil.telling import tell

from .bench_command import run_command

_COMMAND_S = 60.0
#: Who waits for longer is told what for.
_TELL_S = 1.0
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

    def _argv(self, *arguments: str) -> list[str]:
        """A command of its. Raises InfraError if it is not installed."""
        program = shutil.which(self._program)
        if program is None:
            raise InfraError(
                f"{self._where}: there is no program {self._program}; `python3 -m venv labgrid && "
                'labgrid/bin/pip install labgrid`, then client = "labgrid/bin/labgrid-client"'
            )
        return [program, *(["-x", self._coordinator] if self._coordinator else []), *arguments]

    def _run(self, *arguments: str, timeout: float = _COMMAND_S) -> str:
        """What it said on its standard output. Raises InfraError with what else it said if it failed."""
        # A Ctrl-C is for pytest, which then gives the place back.
        return run_command(self._argv(*arguments), timeout, own_session=True, environment=_environment())

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
        keeper = _Keeper()
        try:
            found = _TOKEN.search(self._run("reserve", "--shell", *tags))
            if found is None:
                raise InfraError("labgrid-client reserve --shell printed no LG_TOKEN; labgrid 24 or newer is expected")
            token = found.group(1)
            by_token = ("-p", f"+{token}")
            keeper.remember(self._argv("cancel-reservation", token))
            told = f"waiting for a free place with the tags {' '.join(tags)}, at most {wait:g} s"
            teller = threading.Timer(_TELL_S, tell, [told])
            teller.start()
            try:
                self._run("wait", token, timeout=wait)
            except InfraError as error:
                raise InfraError(f"no place with the tags {' '.join(tags)} became free: {error}") from None
            finally:
                teller.cancel()
            values = self._values(self._run(*by_token, "show"))
            keeper.remember(self._argv("-p", values["place"], "release"))
            self._run(*by_token, "acquire")
            # What is acquired has more to tell than what is reserved.
            yield self._values(self._run(*by_token, "show"))
        except BaseException:
            with suppress(InfraError):  # what went wrong first counts; a place that was not taken yet can't be released
                keeper.give_back()
            raise
        keeper.give_back()

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


class _Keeper:
    """A process that outlives this one, and gives back what it was told of, however this one ends.

    pytest-xdist kills a worker that takes long to end, and labgrid holds a place until it is given back.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "keuos_hil.plugins.labgrid_keeper"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment(), start_new_session=True, text=True,
        )  # fmt: skip

    def remember(self, argv: Sequence[str]) -> None:
        """Run this in the end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(list(argv)) + "\n")
        self._process.stdin.flush()

    def give_back(self) -> None:
        """Now. Raises InfraError with what could not be given back, and why."""
        _, said = self._process.communicate()
        if self._process.returncode:
            raise InfraError(f"what was taken of labgrid could not be given back: {said.strip()}")


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in ("LG_PLACE", "LG_TOKEN")}


def _parameters(text: str) -> dict[str, Any]:
    try:
        resource = ast.literal_eval(text.strip())
        params: dict[str, Any] = resource["params"]
    except (ValueError, SyntaxError, KeyError, TypeError):
        raise InfraError(f"labgrid-client show described a serial port as {text[:200]!r}") from None
    return params
