"""A labgrid coordinator and exporter on the loopback interface, and places on them: the lab of a farm of stand-ins."""

from __future__ import annotations

import socket
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from keuos_hil.plugins.bench_command import run_command
from keuos_hil.plugins.child_process import ChildProcess

from keuos_hil.errors import InfraError
from keuos_hil.locks import file_lock

from .bench import ROOT
from .port_server import PortServer

_ENVIRONMENT = ROOT / "build" / "labgrid"
_INSTALL_S = 600.0
_START_S = 120.0


def installed() -> Path:
    """The programs of labgrid, in an environment of their own, made if it is not there (pyproject.toml says which).

    Raises:
        InfraError: pip can't get it.
    """
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["labgrid"]
    stamp = _ENVIRONMENT / "keuos-hil.setup"
    with file_lock(ROOT / "build" / "labgrid.lock", _INSTALL_S):
        if not stamp.is_file() or stamp.read_text() != repr(wanted):
            run_command([sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT)], _INSTALL_S)
            pip = [str(_ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            run_command([*pip, "--disable-pip-version-check", *wanted], _INSTALL_S)
            stamp.write_text(repr(wanted))
    return _ENVIRONMENT / "bin"


class Lab:
    """A coordinator with a place for each of `ports`, name to the server of its serial line; all have one tag.

    Args:
        folder: for the coordinator's state; its own.
    """

    tag = "board=standin"

    def __init__(self, folder: Path, ports: Mapping[str, PortServer]) -> None:
        self.client = installed() / "labgrid-client"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.coordinator = f"127.0.0.1:{free.getsockname()[1]}"
        self._stack = ExitStack()
        try:
            self._start(folder, ports)
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path, ports: Mapping[str, PortServer]) -> None:
        programs = self.client.parent
        state = folder / "coordinator"
        state.mkdir()
        # The coordinator keeps its state where it is started.
        self._run([sys.executable, "-c", _IN_FOLDER, str(state), str(programs / "labgrid-coordinator"),
                   "-l", self.coordinator], folder / "coordinator.log")  # fmt: skip
        resources = folder / "exporter.yaml"
        resources.write_text(
            "".join(
                f"{name}:\n  NetworkSerialPort:\n    host: 127.0.0.1\n    port: {server.port}\n"
                f"    protocol: {server.protocol}\n"
                for name, server in ports.items()
            )
        )
        self._until(lambda: self.say("places") is not None)
        self._run(
            [str(programs / "labgrid-exporter"), "-c", self.coordinator, "-n", "bench", "--hostname", "127.0.0.1",
             str(resources)], folder / "exporter.log")  # fmt: skip
        self._until(lambda: all(f"bench/{name}/" in self.say("resources") for name in ports))
        for name in ports:
            self.say("-p", name, "create")
            self.say("-p", name, "add-match", f"bench/{name}/NetworkSerialPort")
            self.say("-p", name, "set-tags", self.tag)

    def _run(self, argv: list[str], output: Path) -> None:
        process = ChildProcess(argv, inherit=[], output=output, on_exit=lambda status: None)
        self._stack.callback(process.close)

    def say(self, *words: str) -> str:
        """What labgrid's client says to this. Raises InfraError if it fails."""
        return run_command([str(self.client), "-x", self.coordinator, *words], 60)

    @staticmethod
    def _until(ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                if ready():
                    return
            except InfraError:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise InfraError("labgrid did not start")

    @property
    def held(self) -> list[str]:
        """The places that somebody holds, and reservations that stand."""
        places = self.say("-v", "places")
        return [line.strip() for line in places.splitlines() if "acquired: " in line and "None" not in line] + [
            line.strip() for line in self.say("reservations").splitlines() if line.strip()
        ]

    def held_in_the_end(self, seconds: float = 60.0) -> list[str]:
        """The same, once that is nothing, or after so long: a worker that was killed leaves a client giving back."""
        deadline = time.monotonic() + seconds
        while (held := self.held) and time.monotonic() < deadline:
            pass  # asking takes a second
        return held

    def close(self) -> None:
        """Everything ends. Safe to repeat."""
        self._stack.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


_IN_FOLDER = "import os, sys; os.chdir(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"
