"""Fixtures of the network's cases: NetD started for one test, our end of the wire, applications."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from keuos_hil.net.bridge import PollableLink
from keuos_hil.net.host import Host
from keuos_hil.net.impaired_link import Impairments
from keuos_hil.net.linux_peer import LinuxPeer, why_not
from keuos_hil.net.netd import Netd, NetdSockets
from keuos_hil.net.sockets import App
from keuos_hil.net.tcp import Conversation, Stack
from keuos_hil.net.transcript import Transcript
from keuos_hil.net.transfer import Transfer
from keuos_hil.reporting import frames_key
from keuos_hil.rig import LiveTarget

_ports = itertools.cycle(range(2000, 32000))


@pytest.fixture(autouse=True)
def frames_are_kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """Those of a test whose end of the wire is its own making; `host` and `start_peer` keep theirs."""
    if "target" not in request.fixturenames or {"host", "start_peer"} & set(request.fixturenames):
        yield
        return
    target: LiveTarget = request.getfixturevalue("target")
    transcript = Transcript()
    request.node.stash[frames_key] = lambda: transcript, target.directory
    with target.transcribed(transcript):
        yield


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


def fenced(target: LiveTarget, netd: Netd) -> Host:
    """Our end of the wire, when NetD has dealt with all that was sent and we have read all that it had to say."""
    made = Host(target.link, netd.network)
    made.judging = False
    made.fence()
    made.judging = True
    return made


def connect_to(host: Host, app: App, port: int, own: int) -> Conversation:
    """A connection from us to a new listener of `app`, accepted."""
    listener = app.open()
    listener.bind(port=port)
    listener.listen()
    c = Conversation(host, port, own)
    c.tx("S")
    c.rx("SA", ack=c.snd)
    c.tx("A")
    c.app = listener.accept()
    listener.close()
    return c


@pytest.fixture
def host(request: pytest.FixtureRequest, target: LiveTarget, netd: Netd) -> Host:
    """Our end of the wire to NetD, every frame read that was under way before."""
    made = fenced(target, netd)
    request.node.stash[frames_key] = lambda: made.transcript, target.directory
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


@pytest.fixture(scope="session")
def namespace() -> None:
    """Skips where this machine can't have a network namespace with a TAP device."""
    if why := why_not():
        pytest.skip(why)


@pytest.fixture
def start_peer(
    request: pytest.FixtureRequest, target: LiveTarget, netd: Netd, namespace: None, seed: int
) -> Iterator[Callable[..., LinuxPeer]]:
    """Starts a Linux at the other end of NetD's wire, behind impairments that are the same each way."""
    link = target.link
    if not isinstance(link, PollableLink):
        pytest.skip(f"the wire of {target.name} can't be bridged to a TAP device")
    with ExitStack() as stack:

        def start(impairments: Impairments | None = None) -> LinuxPeer:
            peer = stack.enter_context(LinuxPeer(link, netd.network, impairments, impairments, seed=seed))
            request.node.stash[frames_key] = peer.transcript, target.directory
            return peer

        yield start
    if not netd.closed:
        fenced(target, netd)  # what that Linux sent last must not lie on the wire for the next driver


@pytest.fixture
def transfer(netd: Netd) -> Transfer:
    """The program that moves bulk data."""
    return Transfer(netd)
