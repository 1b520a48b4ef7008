"""The DHCP client: an address is asked for, checked, kept, and given up when nobody renews it; hostile answers.

Only where a stack can be told to ask (the call `network dhcp` of docs/socket-calls.md) and its clock can be wound.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from keuos_hil.errors import SocketError
from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.sockets import App

pytestmark = [pytest.mark.needs("link", "sockets"), pytest.mark.timed(3600)]

_CLIENT, _SERVER = 68, 67
_DISCOVER, _OFFER, _REQUEST, _DECLINE, _ACK, _NAK, _RELEASE = range(1, 8)
#: RFC 2132: option codes.
_MASK, _ROUTER, _REQUESTED, _LEASE, _OVERLOAD, _TYPE, _NAMES, _T1, _T2 = 1, 3, 50, 51, 52, 53, 54, 58, 59
_COOKIE = bytes((99, 130, 83, 99))
_BROADCAST = b"\xff" * 4
_LEASE_S = 3600
_OFFERED = wire.ip("192.0.2.77")


@dataclass(frozen=True)
class Message:
    """What the client said. RFC 2131, figure 1."""

    transaction: int
    client: bytes
    hardware: bytes
    options: dict[int, bytes]
    destination: bytes

    @property
    def type(self) -> int:
        """RFC 2132, 9.6."""
        return self.options[_TYPE][0]


def _read(datagram: wire.Udp) -> Message:
    data = datagram.payload
    operation, kind, length, _, transaction = struct.unpack_from("!BBBBI", data)
    assert (operation, kind, length) == (1, 1, 6), "a request from an Ethernet"
    assert data[236:240] == _COOKIE
    options: dict[int, bytes] = {}
    at = 240
    while data[at] != 255:
        if data[at]:
            options[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
            at += 1 + data[at + 1]
        at += 1
    return Message(transaction, data[12:16], data[28:34], options, datagram.ip.destination)


def _option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


class Server:
    """One DHCP server, played by hand."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.address = host.address
        # It answers ARP for itself alone: the address it offers is nobody's.
        host.answers = lambda address: host.mac if address == self.address else None

    def next(self, kind: int, within: float) -> Message:
        """The client's next message, which has to be of that kind."""
        assert self.host.wait(lambda: bool(self.host.udps), within), "the client says nothing"
        message = _read(self.host.udps.popleft())
        assert message.type == kind
        return message

    def silent(self, seconds: float) -> None:
        """The client says nothing for so long."""
        self.host.elapse(seconds)
        assert not self.host.udps

    def options(self, kind: int, lease: int = _LEASE_S) -> bytes:
        """Those of a right answer."""
        return (
            _option(_TYPE, bytes((kind,)))
            + _option(_NAMES, self.address)
            + _option(_MASK, wire.ip("255.255.255.0"))
            + _option(_ROUTER, self.address)
            + _option(_LEASE, struct.pack("!I", lease))
        )

    def answer(
        self,
        to: Message,
        options: bytes,
        *,
        transaction: int | None = None,
        hardware: bytes | None = None,
        yours: bytes = _OFFERED,
        end: bytes = b"\xff",
        most: int | None = None,
    ) -> None:
        """Send a reply; what is not given is right. `most`: cut off behind so many bytes of options.

        To a client that has its address it goes to that address alone, but for a refusal (RFC 2131, 4.1).
        """
        head = struct.pack("!BBBBIHH", 2, 1, 6, 0, to.transaction if transaction is None else transaction, 0, 0x8000)
        head += to.client + yours + self.address + bytes(4) + (hardware or to.hardware) + bytes(10 + 192)
        text = head + _COOKIE + (options + end)[:most]
        alone = to.client != bytes(4) and not options.startswith(_option(_TYPE, bytes((_NAK,))))
        destination = to.client if alone else _BROADCAST
        data = wire.udp(self.address, destination, _SERVER, _CLIENT, text)
        datagram = wire.ipv4(self.address, destination, wire.PROTOCOL_UDP, data)
        self.host.send_ip(datagram, to=to.hardware if alone else b"\xff" * 6)

    def discovered(self) -> Message:
        """The first message of a client without an address."""
        return self.next(_DISCOVER, 12)

    def requested(self) -> Message:
        """The client has discovered, was offered the address, and asks for it."""
        self.answer(self.discovered(), self.options(_OFFER))
        return self.next(_REQUEST, 1)

    def bound(self, app: App) -> Message:
        """The client has its address, and has checked that it is nobody else's."""
        request = self.requested()
        self.answer(request, self.options(_ACK))
        self.host.elapse(15)
        assert network(app) == (wire.dotted(_OFFERED), "bound")
        return request


def network(app: App) -> tuple[str, str]:
    """The target's address, and where its DHCP client is."""
    address, state = app.sockets.call("network", "-")
    return address, state


@pytest.fixture
def server(host: Host, app: App) -> Iterator[Server]:
    """A server, and a client that has just been told to ask for an address."""
    host.judging = False  # frames bear other addresses than the target's own
    try:
        app.sockets.call("network", "dhcp")
    except SocketError as error:
        if error.name == "ENOSYS":
            pytest.skip("nobody can tell this stack to ask for an address by DHCP")
        raise
    yield Server(host)
    app.sockets.call("network", "as_given")
    host.elapse(3)


@pytest.mark.requirement("2131:1")
def test_a_client_discovers_requests_and_checks_before_it_uses_an_address(app: App, server: Server) -> None:
    request = server.requested()
    assert request.destination == _BROADCAST
    assert request.options[_REQUESTED] == _OFFERED
    assert request.options[_NAMES] == server.address
    assert request.client == bytes(4)
    server.host.arps.clear()
    server.answer(request, server.options(_ACK))
    assert server.host.wait(lambda: any(a.target == _OFFERED for a in server.host.arps), 3), "it asks whose it is"
    assert network(app)[0] == "0.0.0.0"
    server.host.elapse(15)
    assert network(app) == (wire.dotted(_OFFERED), "bound")


@pytest.mark.requirement("2131:1")
def test_a_discovery_that_nobody_answers_is_repeated_ever_more_slowly(server: Server) -> None:
    times = []
    for _ in range(4):
        server.next(_DISCOVER, 70)
        times.append(server.host.clock.now())
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert 3 <= gaps[0] <= 5, "RFC 2131, 4.1: four seconds, changed by one at most"
    assert all(after > before for before, after in itertools.pairwise(gaps))


@pytest.mark.requirement("2131:1")
def test_half_the_lease_later_the_server_alone_is_asked_again(app: App, server: Server) -> None:
    server.bound(app)
    server.silent(_LEASE_S / 2 - 30)
    renewal = server.next(_REQUEST, 60)
    assert renewal.destination == server.address
    assert renewal.client == _OFFERED
    assert _NAMES not in renewal.options
    assert _REQUESTED not in renewal.options
    server.answer(renewal, server.options(_ACK))
    server.silent(_LEASE_S / 2 - 30)
    assert network(app) == (wire.dotted(_OFFERED), "bound")


@pytest.mark.requirement("2131:1")
def test_no_application_takes_the_clients_answers_away(app: App, server: Server) -> None:
    """The client's port is its own at every address: an answer to a renewal comes to the leased one."""
    server.bound(app)
    (number,) = app.sockets.call("open", "udp")
    for address in ("0.0.0.0", wire.dotted(_OFFERED)):
        with pytest.raises(SocketError, match="EADDRINUSE"):
            app.sockets.call("bind", number, address, _CLIENT)
    app.sockets.call("close", number)
    server.answer(server.next(_REQUEST, _LEASE_S / 2 + 60), server.options(_ACK))
    server.silent(_LEASE_S / 2 - 30)
    assert network(app) == (wire.dotted(_OFFERED), "bound")


@pytest.mark.requirement("2131:1")
def test_seven_eighths_of_the_lease_later_every_server_is_asked(app: App, server: Server) -> None:
    server.bound(app)
    rebinding = None
    server.host.elapse(_LEASE_S * 7 / 8 + 60)
    while server.host.udps:
        rebinding = server.next(_REQUEST, 0)
    assert rebinding is not None
    assert rebinding.destination == _BROADCAST
    assert rebinding.client == _OFFERED
    server.answer(rebinding, server.options(_ACK))
    server.host.elapse(1)
    assert network(app) == (wire.dotted(_OFFERED), "bound")


@pytest.mark.requirement("2131:1")
def test_times_that_the_server_names_are_kept(app: App, server: Server) -> None:
    request = server.requested()
    times = _option(_T1, struct.pack("!I", 100)) + _option(_T2, struct.pack("!I", 200))
    server.answer(request, server.options(_ACK) + times)
    server.silent(90)
    assert server.next(_REQUEST, 20).destination == server.address
    while (message := server.next(_REQUEST, 70)).destination == server.address:
        assert network(app)[1] == "renewing"
    assert message.destination == _BROADCAST
    assert network(app)[1] == "rebinding"


@pytest.mark.requirement("2131:1")
def test_an_address_whose_lease_has_ended_is_given_up(app: App, server: Server) -> None:
    server.bound(app)
    server.host.elapse(_LEASE_S + 1)
    assert network(app)[0] == "0.0.0.0"
    server.host.udps.clear()
    assert server.next(_DISCOVER, 120).client == bytes(4)


@pytest.mark.requirement("2131:1")
def test_a_lease_is_renewed_when_somebody_asks_for_it(app: App, server: Server) -> None:
    server.bound(app)
    server.silent(100)
    app.sockets.call("network", "renew")
    renewal = server.next(_REQUEST, 1)
    assert (renewal.destination, renewal.client) == (server.address, _OFFERED)
    assert network(app)[1] == "renewing"
    server.answer(renewal, server.options(_ACK))
    server.silent(_LEASE_S / 2 - 30)
    assert network(app) == (wire.dotted(_OFFERED), "bound"), "the lease counts from the renewal"


@pytest.mark.requirement("2131:1")
def test_a_lease_that_is_given_back_is_told_to_its_server(app: App, server: Server) -> None:
    """RFC 2131, 4.4.6 and table 5."""
    server.bound(app)
    app.sockets.call("network", "release")
    release = server.next(_RELEASE, 1)
    assert (release.destination, release.client) == (server.address, _OFFERED)
    assert release.options[_NAMES] == server.address
    assert _REQUESTED not in release.options
    server.silent(5)
    assert network(app) == ("0.0.0.0", "off")


@pytest.mark.requirement("2131:1")
@pytest.mark.parametrize("what", ["renew", "release"])
def test_without_a_lease_there_is_nothing_to_renew_or_to_give_back(app: App, server: Server, what: str) -> None:
    server.discovered()
    with pytest.raises(SocketError) as refused:
        app.sockets.call("network", what)
    assert refused.value.name == "EINVAL"
    assert network(app)[1] == "selecting"


@pytest.mark.requirement("2131:1")
@pytest.mark.parametrize("renewing", [False, True], ids=["requesting", "renewing"])
def test_a_refusal_sends_the_client_back_to_the_start(app: App, server: Server, renewing: bool) -> None:
    if renewing:
        server.bound(app)
        request = server.next(_REQUEST, _LEASE_S / 2 + 60)
    else:
        request = server.requested()
    refusal = _option(_TYPE, bytes((_NAK,))) + _option(_NAMES, server.address)
    server.answer(request, refusal, yours=bytes(4))
    assert server.next(_DISCOVER, 30).transaction != request.transaction
    assert network(app)[0] == "0.0.0.0"


@pytest.mark.requirement("2131:1")
def test_an_address_that_somebody_has_is_declined(app: App, server: Server) -> None:
    request = server.requested()
    server.host.answers = lambda address: server.host.mac
    server.answer(request, server.options(_ACK))
    decline = server.next(_DECLINE, 15)
    assert decline.options[_REQUESTED] == _OFFERED
    assert decline.options[_NAMES] == server.address
    server.silent(8)  # RFC 2131, 3.1 (5): at least ten seconds
    server.next(_DISCOVER, 15)
    assert network(app)[0] == "0.0.0.0"


def _without(options: bytes, code: int) -> bytes:
    """The options without one."""
    kept, at = b"", 0
    while at < len(options):
        length = 2 + options[at + 1]
        if options[at] != code:
            kept += options[at : at + length]
        at += length
    return kept


@pytest.mark.requirement("2131:2")
@pytest.mark.parametrize(
    "how",
    [
        "transaction",
        "hardware",
        "no-server",
        "no-type",
        "no-address",
        "multicast",
        "loopback",
        "no-end",
        "lying-length",
    ],
)
def test_an_offer_that_is_wrong_is_ignored_and_a_right_one_taken(app: App, server: Server, how: str) -> None:
    discover = server.discovered()
    options = server.options(_OFFER)
    if how == "transaction":
        server.answer(discover, options, transaction=discover.transaction ^ 1)
    elif how == "hardware":
        server.answer(discover, options, hardware=b"\2\0\0\0\0\7")
    elif how == "no-server":
        server.answer(discover, _without(options, _NAMES))
    elif how == "no-type":
        server.answer(discover, _without(options, _TYPE))
    elif how == "no-end":
        server.answer(discover, _option(_TYPE, bytes((_OFFER,))), end=bytes((_NAMES,)))
    elif how == "lying-length":
        server.answer(discover, options[:3] + bytes((_NAMES, 200)) + server.address)
    else:
        wrong = {"no-address": "0.0.0.0", "multicast": "224.0.0.9", "loopback": "127.0.0.9"}[how]
        server.answer(discover, options, yours=wire.ip(wrong))
    server.host.elapse(1)
    assert not server.host.udps, "an offer that can't be meant is not requested"
    server.answer(discover, options)
    assert server.next(_REQUEST, 1).options[_REQUESTED] == _OFFERED
    assert network(app)[1] == "requesting"


@pytest.mark.requirement("2131:2")
@pytest.mark.parametrize("how", ["transaction", "hardware", "other-address", "no-lease", "offer-again"])
def test_an_acknowledgment_that_is_wrong_gives_no_address(app: App, server: Server, how: str) -> None:
    request = server.requested()
    options = server.options(_ACK)
    if how == "transaction":
        server.answer(request, options, transaction=request.transaction ^ 1)
    elif how == "hardware":
        server.answer(request, options, hardware=b"\2\0\0\0\0\7")
    elif how == "other-address":
        server.answer(request, options, yours=wire.ip("192.0.2.78"))
    elif how == "no-lease":
        server.answer(request, _without(options, _LEASE))
    else:
        server.answer(request, server.options(_OFFER))
    server.host.elapse(2.5)
    assert network(app) == ("0.0.0.0", "requesting")
    server.host.udps.clear()
    server.answer(request, options)
    server.host.elapse(15)
    assert network(app) == (wire.dotted(_OFFERED), "bound")


@pytest.mark.requirement("2131:2")
def test_options_cut_off_at_every_byte_do_no_harm(app: App, server: Server) -> None:
    """What is whole in front of the cut may be taken: so the address is another one, which then is not acknowledged."""
    discover = server.discovered()
    options = server.options(_OFFER)
    for most in range(len(options)):
        server.answer(discover, options, yours=wire.ip("0.0.0.0"), most=most)
    server.answer(discover, _option(_OVERLOAD, b"\3") + options, yours=wire.ip("0.0.0.0"))
    server.answer(discover, options)
    server.answer(server.next(_REQUEST, 5), server.options(_ACK))
    server.host.elapse(15)
    assert network(app) == (wire.dotted(_OFFERED), "bound")
