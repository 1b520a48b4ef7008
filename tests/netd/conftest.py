"""Builds the host programs once, and hands out stacks."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.netd.stack import Peer, Stack

TOP = Path(__file__).parents[2]
BUILD_SECONDS = 600


def make(target: str, *variables: str) -> Path:
    """build/netd, with a target of netd/Makefile up to date."""
    for tool in ("clang", "make"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is not installed; `make setup` installs it", pytrace=False)
    build = TOP / "build" / "netd"
    build.mkdir(parents=True, exist_ok=True)
    with (build / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            ["make", "-C", str(TOP / "netd"), target, *variables],
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return build


@pytest.fixture(scope="session")
def build() -> Path:
    """The folder with netd-host and wire."""
    return make("all") / "host"


@pytest.fixture(scope="session")
def netd_host(request) -> Path:
    """The program that a stack is: `--netd-program`, or the checkout's own."""
    given = request.config.getoption("keuos_netd_program", None)
    return Path(given) if given else request.getfixturevalue("build") / "netd-host"


@pytest.fixture(scope="session")
def process() -> Iterator[list[Stack]]:
    """The one process that tests share; replaced if it dies."""
    held: list[Stack] = []
    yield held
    for stack in held:
        stack.close()


@pytest.fixture
def stack(netd_host, process) -> Iterator[Stack]:
    """A fresh stack at 10.0.0.1/24."""
    if process and process[0].process.poll() is not None:
        process.clear()
    if not process:
        process.append(Stack(netd_host))
    process[0].reset()
    yield process[0]
    if process[0].process.poll() is None:
        assert process[0].command("audit") == "whole"
        process[0].reset()
        assert process[0].command("lent") == "0", "every frame is released"


@pytest.fixture
def accepted(stack) -> Callable[..., tuple[Peer, int]]:
    """Makes (peer, socket) of a connection that a listener accepted."""
    listeners: dict[int, int] = {}

    def connect(port: int = 4000, sport: int = 40000, **fields):
        ts = fields.pop("ts", False)
        seq = fields.pop("seq", 1000)
        options = fields.pop("options", {})
        if port not in listeners:
            listeners[port] = stack.listen(port)
        for name, value in options.items():
            stack.option(listeners[port], name, value)
        peer = Peer(stack, sport, port, ts=ts, seq=seq).open(**fields)
        return peer, int(stack.command("accept", listeners[port]))

    return connect
