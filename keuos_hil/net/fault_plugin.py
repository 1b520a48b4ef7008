"""A pytest plugin that puts a fault between the target and the test: `-p keuos_hil.net.fault_plugin --link-fault NAME`.

It is there to test the suites, which have to notice each of :data:`keuos_hil.net.faults.FAULTS`; nothing loads it by
itself.
"""

from __future__ import annotations

import pytest

from keuos_hil.parts import Link, Network

from . import wire
from .faults import FAULTS, FaultyLink

_fault_key = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option."""
    parser.getgroup("keuos-hil").addoption(
        "--link-fault", metavar="NAME", choices=sorted(FAULTS), help="what the target does wrong, seen from the wire"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep the choice."""
    name = config.getoption("--link-fault")
    if name:
        config.stash[_fault_key] = name


def link_of(config: pytest.Config, link: Link, network: Network) -> Link:
    """`link`, with this run's fault in it if there is one."""
    name = config.stash.get(_fault_key, None)
    return link if name is None else FaultyLink(link, name, (network.mac, wire.ip(network.address)))
