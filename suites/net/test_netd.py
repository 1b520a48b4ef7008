"""NetD comes up, answers, and serves peers that know nothing of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from keuos_hil.errors import TargetFailure
from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.netd import Netd
from keuos_hil.net.scapy_socket import LinkSocket
from keuos_hil.net.sockets import App
from keuos_hil.net.tcp import Conversation
from keuos_hil.parts import Network
from keuos_hil.rig import LiveTarget

from .conftest import fenced

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")

ECHO, DISCARD, CHARGEN = 7, 9, 19
MAC = "02:00:00:00:ad:03"
#: Words of a command line that make no sense.
BAD_ARGUMENTS = (
    "ip=10.0.2.300/24", "ip=10.0.2.15", "mtu=67", "mtu=9001", "gw=", "colour=blue", "blocks=70000",
    "route=198.51.100.0,192.0.2.9", "route=198.51.100.0/25", "route=198.51.100.0/33,192.0.2.9",
)  # fmt: skip
#: For what takes NetD seconds of its clock; so long means that it never comes.
PATIENCE_S = 60.0


def open_to(host: Host, port: int, own: int) -> Conversation:
    """A connection to one of the services."""
    c = Conversation(host, port, own)
    c.tx("S")
    c.rx("SA", ack=c.snd)
    c.tx("A")
    return c


def test_a_ping_is_answered_with_its_own_bytes(target: LiveTarget, netd: Netd) -> None:
    wire_socket = LinkSocket(target.link, MAC, netd.network.gateway)
    request = IP(dst=netd.network.address) / ICMP(id=7, seq=1) / Raw(bytes(range(256)))
    answer = wire_socket.sr1(request)
    assert answer is not None, "no answer within 5 s"
    assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (0, 7, 1)
    assert bytes(answer[Raw]) == bytes(range(256))
    assert answer.src == netd.network.address


def test_arp_tells_the_hardware_address_of_the_card(target: LiveTarget, netd: Netd) -> None:
    wire_socket = LinkSocket(target.link, MAC, netd.network.gateway)
    assert wire_socket.resolve(netd.network.address) == netd.network.mac.hex(":")


def test_arp_for_another_address_is_not_answered(target: LiveTarget, host: Host) -> None:
    stranger = host.target[:3] + bytes([host.target[3] + 1])
    host.send(
        wire.ethernet(
            b"\xff" * 6, host.mac, wire.ETHERTYPE_ARP, wire.arp(1, host.mac, host.address, bytes(6), stranger)
        )
    )
    host.fence()
    assert not [answer for answer in host.arps if answer.sender == stranger]


def test_udp_echo_returns_every_size_of_datagram(target: LiveTarget, netd: Netd) -> None:
    wire_socket = LinkSocket(target.link, MAC, netd.network.gateway)
    for size in (0, 1, 17, 18, 1471, 1472):
        data = bytes(i % 251 for i in range(size))
        request = IP(dst=netd.network.address) / UDP(sport=4000, dport=ECHO) / Raw(data)
        answer = wire_socket.sr1(request)
        assert answer is not None, f"a datagram of {size} bytes was not answered within 5 s"
        assert bytes(answer[UDP].payload)[:size] == data
        assert answer[UDP].len == 8 + size


def test_tcp_echo_returns_what_it_gets_and_closes_after_us(host: Host) -> None:
    c = open_to(host, ECHO, 4100)
    data = wire.pattern(0, 1000)
    c.tx("PA", data=data)
    got = b"".join(segment.payload for segment in c.rx_data(1000))
    assert got == data
    c.tx("FA")
    c.rx("FA")
    c.tx("A")


def test_discard_takes_everything_and_says_nothing(host: Host) -> None:
    c = open_to(host, DISCARD, 4101)
    for _ in range(20):
        c.tx("PA", data=bytes(1000))
        c.rx_ack()
    assert c.target_window >= 32768, "what is thrown away does not fill the window"
    c.tx("FA")
    c.rx("FA")
    c.tx("A")


def test_chargen_sends_the_pattern_of_rfc_864(host: Host) -> None:
    c = open_to(host, CHARGEN, 4102)
    got = b""
    while len(got) < 74 * 95:
        got += b"".join(segment.payload for segment in c.rx_data(1, reply=True))
    lines = got.split(b"\r\n")
    assert [len(line) for line in lines[:95]] == [72] * 95
    for before, after in itertools.pairwise(lines[:95]):
        assert after[:-1] == before[1:], "each line starts one character further"
    c.kill()


def test_a_route_leads_past_the_gateway(target: LiveTarget, start_netd: Callable[..., Netd]) -> None:
    netd = start_netd("route=198.51.100.0/25,192.0.2.9 route=203.0.113.0/24,192.0.2.8")
    host = fenced(target, netd)
    socket = App(netd.application(), host).open("udp")
    socket.bind(port=4000)

    def asked_for(hop: str) -> bool:
        return host.wait(lambda: any(arp.target == wire.ip(hop) for arp in host.arps), 5)

    for destination, hop in (("198.51.100.127", "192.0.2.9"), ("203.0.113.1", "192.0.2.8")):
        socket.send_to(destination, 9, b"x")
        assert asked_for(hop), f"{destination} is reached by {hop}"
    asked = len(host.arps)
    socket.send_to("198.51.100.128", 9, b"beside")
    assert host.wait(lambda: any(udp.payload == b"beside" for udp in host.udps), 5), (
        "the gateway, which it knows, gets it"
    )
    assert len(host.arps) == asked


def answer_dhcp(wire_socket: LinkSocket, asked: Packet, address: str, router: str) -> int:
    """Answer a DISCOVER by an offer, a REQUEST by an acknowledgment; which of the two it was (RFC 2131)."""
    kind = next(value for name, value in asked[DHCP].options[:-1] if name == "message-type")
    options = [
        ("message-type", {1: "offer", 3: "ack"}[kind]),
        ("server_id", router),
        ("lease_time", 3600),
        ("subnet_mask", "255.255.255.0"),
        ("router", router),
        "end",
    ]
    bootp = BOOTP(op=2, xid=asked[BOOTP].xid, yiaddr=address, chaddr=asked[BOOTP].chaddr)
    datagram = IP(src=router, dst="255.255.255.255") / UDP(sport=67, dport=68) / bootp / DHCP(options=options)
    wire_socket.send(Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / datagram)
    return int(kind)


def test_an_address_comes_by_dhcp_and_is_served(target: LiveTarget, start_netd: Callable[..., Netd]) -> None:
    address, router = "192.0.2.77", "192.0.2.1"
    netd = start_netd("dhcp", address="")
    mac = bytes(netd.process.read_struct("wire").nic.mac).hex(":")
    wire_socket = LinkSocket(target.link, MAC, router)
    kinds = []
    deadline = time.monotonic() + PATIENCE_S
    while 3 not in kinds and time.monotonic() < deadline:
        frame = target.link.receive(PATIENCE_S)
        asked = Ether(frame) if frame is not None else None
        if asked is not None and asked.src == mac and DHCP in asked:
            kinds.append(answer_dhcp(wire_socket, asked, address, router))
    assert kinds[-1:] == [3], f"expected a DISCOVER and a REQUEST, saw {kinds} (RFC 2132, 9.6)"
    host = Host(target.link, Network(address, bytes.fromhex(mac.replace(":", "")), 24, router))
    host.judging = False
    while time.monotonic() < deadline:  # it asks first whether somebody has the address already (RFC 2131, 2.2)
        host.ping()
        if host.wait(lambda: any(message.type == 0 for message in host.icmps), 1.0):
            return
    pytest.fail(f"nobody answers for the address {address} that DHCP gave")


@pytest.mark.parametrize("mtu", [68, 576, 1500])
def test_no_frame_is_longer_than_the_mtu(target: LiveTarget, start_netd: Callable[..., Netd], mtu: int) -> None:
    netd = start_netd(f"mtu={mtu}")
    assert netd.network.mtu == mtu
    host = Host(target.link, netd.network)
    host.judging = False
    host.fence()
    c = open_to(host, CHARGEN, 4103)
    for _ in range(8):
        segment = c.rx()
        assert 20 + len(segment.ip.payload) <= mtu
        c.tx("A", ack=(segment.seq + len(segment.payload)) % (1 << 32))
    c.kill()


def test_runts_and_tagged_frames_are_dropped_and_the_stack_lives(target: LiveTarget, host: Host, netd: Netd) -> None:
    before = netd.counters()
    mac = netd.network.mac
    for size in (1, 13):
        target.link.send((mac + host.mac + b"\x08\x00")[:size])
    target.link.send(mac + host.mac + b"\x08\x00")  # a header and nothing behind it
    tagged = mac + host.mac + b"\x81\x00\x00\x05\x08\x00" + bytes(46)
    for _ in range(3):
        target.link.send(tagged)
    host.fence()
    assert netd.application().counters()["frames_unknown"] >= 3
    assert netd.counters()["nic_received"] > before["nic_received"]


@pytest.mark.needs("clean-line")
def test_bad_arguments_end_it_with_one_line_that_names_them(target: LiveTarget) -> None:
    target.end_netd()
    for words in BAD_ARGUMENTS:
        process = target.agent.spawn("netd", words, pages=4096)
        assert process.wait_exit().detail == 2
        assert f"'{words}' is no argument" in target.console_slice().decode("latin-1")
        process.close()


@pytest.mark.needs("clean-line")
@pytest.mark.parametrize(
    ("address", "route"),
    [
        ("192.0.2.2/24", "198.51.100.1/25,192.0.2.9"),
        ("192.0.2.2/24", "198.51.100.0/25,192.0.3.9"),
        ("", "198.51.100.0/25,192.0.2.9"),
    ],
    ids=["host-bits", "gateway-off-the-link", "no-address-yet"],
)
def test_a_route_that_makes_no_sense_ends_it_with_one_line(
    target: LiveTarget, start_netd: Callable[..., Netd], address: str, route: str
) -> None:
    with pytest.raises(TargetFailure, match="ended with code 4"):
        start_netd(f"noservices route={route}", address=address)
    assert "route 1 makes no sense: expected a network" in target.console_slice().decode("latin-1")


@pytest.mark.needs("clean-line")
def test_without_a_nic_it_says_so(target: LiveTarget) -> None:
    target.end_netd()
    process = target.agent.spawn("netd", "dhcp", pages=4096)
    assert process.wait_exit().detail == 3
    assert "no NIC that there is a driver for (virtio-net, 82574)" in target.console_slice().decode("latin-1")
