"""Fixtures of the network's cases: NetD started for one test, our end of the wire, applications."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keuos_hil.net.host import Host
from keuos_hil.net.netd import Netd, NetdSockets
from keuos_hil.net.sockets import App
from keuos_hil.net.tcp import Stack
from keuos_hil.rig import LiveTarget

_ports = itertools.cycle(range(2000, 32000))


@pytest.fixture
def start_netd(target: LiveTarget) -> Callable[..., Netd]:
    """Starts NetD, with further arguments; ended behind the test with everything else that it spawned."""
    target.end_netd()

    def start(arguments: str = "", **options: Any) -> Netd:
        return Netd(target.agent, arguments, **options)

    return start


@pytest.fixture
def netd(start_netd: Callable[..., Netd]) -> Netd:
    """NetD with its defaults."""
    return start_netd()


@pytest.fixture
def host(target: LiveTarget, netd: Netd) -> Host:
    """Our end of the wire to NetD, every frame read that was under way before."""
    made = Host(target.link, netd.network)
    made.judging = False
    made.fence()
    made.judging = True
    return made


@pytest.fixture
def application(netd: Netd) -> NetdSockets:
    """A program that makes socket calls."""
    return netd.application()


@pytest.fixture
def stack(host: Host, application: NetdSockets) -> Iterator[Stack]:
    """Opens conversations with the application."""
    made = Stack(host, App(application, host), _ports.__next__)
    yield made
    if application.bound:
        made.clean_up()
