"""NetD and another stack side by side, for conversations that are had with both (test_differential*.py)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from keuos_hil.targets.netd import Netd, NetdOptions

from keuos_hil.errors import InfraError
from keuos_hil.hookspecs import RunOptions
from keuos_hil.net.host import Host
from keuos_hil.net.sockets import App
from keuos_hil.net.tcp import Stack
from keuos_hil.parts import Networked, Session


class Reference(Protocol):
    """A target that NetD is held against."""

    name: str

    def check(self) -> None:
        """See Target.check."""
        ...

    def attach(self, directory: Path) -> Session:
        """See Resident.attach."""
        ...


@contextmanager
def beside_netd(reference: Reference, directory: Path, excused: str = "") -> Iterator[tuple[Stack, Stack]]:
    """NetD and `reference`, while a block runs.

    Args:
        directory: for what the targets leave; a folder for each is made in it.
        excused: the test is skipped if `reference` can't run here and the reason has these words in it.
    """
    with ExitStack() as sessions:

        def started(target: Reference) -> Stack:
            folder = directory / target.name
            folder.mkdir()
            target.check()
            session = target.attach(folder)
            sessions.callback(session.close)
            assert isinstance(session, Networked)
            host = Host(session.link, session.network, getattr(session, "clock", None))
            host.fence()
            return Stack(host, App(session.sockets, host), itertools.cycle(range(2000, 32000)).__next__)

        netd = started(Netd("netd", NetdOptions(), RunOptions()))
        try:
            other = started(reference)
        except InfraError as error:
            if excused not in str(error):
                raise
            pytest.skip(str(error))
        yield netd, other
