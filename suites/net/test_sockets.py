"""Sockets over rings (docs/sockets.md): what applications ask of NetD, and what they can't do to each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keuos_hil.errors import SocketError
from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.netd import Netd, NetdSockets, until
from keuos_hil.net.sockets import App
from keuos_hil.net.tcp import Conversation, Stack
from keuos_hil.rig import LiveTarget

from .conftest import connect_to, fenced
from .reader import Reader

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")


def test_data_passes_both_ways_and_the_end_of_the_stream_follows_it(stack: Stack) -> None:
    c = stack.est()
    c.tx("PA", data=1400)
    got = c.sock.recv_exactly(1400)
    assert (got.bad, got.end) == (None, False)
    assert c.sock.send(5000) == 5000
    c.rx_data(5000, reply=True)
    c.tx("FA")
    assert c.sock.recv(10).end
    c.sock.close()
    c.rx("FA")
    c.tx("A")


def test_an_active_open_is_told_by_readiness(stack: Stack) -> None:
    c = stack.active()
    assert "w" in c.sock.ready()
    assert c.sock.info().state == "ESTABLISHED"


def test_a_refused_connection_is_a_value(host: Host, application: NetdSockets) -> None:
    app = App(application, host)
    socket = app.open()
    c = Conversation(host, 4200, 4201)
    socket.bind(port=4200)
    socket.connect(wire.dotted(host.address), 4201)
    syn = c.rx("S")
    c.tx("RA", seq=0, ack=(syn.seq + 1) % (1 << 32))
    host.fence()
    assert socket.error() == "ECONNREFUSED"


def test_options_keep_what_they_were_set_to(stack: Stack) -> None:
    c = stack.est()
    for option, value in (
        ("nodelay", 1), ("keepidle", 60), ("user_timeout", 9000), ("ttl", 17), ("tos", 0x28), ("linger", 4),
    ):  # fmt: skip
        c.sock.set(option, value)
        assert c.sock.get(option) == value, option
    with pytest.raises(SocketError, match="EINVAL"):
        c.sock.set("ttl", 256)
    c.sock.send(1)
    segment = c.rx("PA")
    assert (segment.ip.ttl, segment.ip.tos) == (17, 0x28)


def test_urgent_data_is_announced_and_stays_in_the_stream(stack: Stack) -> None:
    c = stack.est()
    c.tx("UPA", data=b"abc", urgent=3)
    c.host.fence()
    assert "u" in c.sock.ready()
    assert c.sock.recv_bytes() == b"abc"
    assert c.sock.at_mark()
    c.tx("PA", data=b"d")
    assert c.sock.recv_bytes() == b"d"
    assert not c.sock.at_mark()
    c.sock.send_bytes(b"xyz", "u")
    segment = c.rx_data(3)[-1]
    assert "U" in wire.letters_of(segment.flags)
    assert segment.payload == b"xyz"


def test_peeking_takes_nothing(stack: Stack) -> None:
    c = stack.est()
    c.tx("PA", data=b"twice")
    assert c.sock.recv_bytes(flags="p") == b"twice"
    assert c.sock.recv_bytes() == b"twice"
    assert c.sock.nothing()


def test_udp_is_sent_received_and_refused(host: Host, application: NetdSockets) -> None:
    app = App(application, host)
    socket = app.open("udp")
    socket.bind(port=4300)
    host.send_udp(4301, 4300, b"a datagram")
    assert socket.recv_from() == (wire.dotted(host.address), 4301, 10, b"a datagram")
    socket.send_to(wire.dotted(host.address), 4301, b"and back")
    assert host.wait(lambda: any(udp.payload == b"and back" for udp in host.udps), 5)
    with pytest.raises(SocketError, match="EADDRINUSE"):
        app.open("udp").bind(port=4300)
    socket.close()


@pytest.mark.parametrize(("taken", "wanted"), [("0.0.0.0", "192.0.2.2"), ("192.0.2.2", "0.0.0.0")])
def test_no_application_takes_the_port_of_another_at_another_address(
    host: Host, netd: Netd, taken: str, wanted: str
) -> None:
    first, second = (App(netd.application(), host) for _ in range(2))
    sockets = {kind: first.open(kind) for kind in ("tcp", "udp")}
    for socket in sockets.values():
        socket.bind(taken, 4310)
    sockets["tcp"].listen()
    for port in (4310, 7):  # echo is NetD's own
        with pytest.raises(SocketError, match="EADDRINUSE"):
            second.open("udp").bind(wanted, port)
        listener = second.open()
        listener.bind(wanted, port)
        with pytest.raises(SocketError, match="EADDRINUSE"):
            listener.listen()
    again = first.open("udp")
    again.bind(wanted, 4310)  # one's own


def test_who_may_not_look_at_everybodys_traffic_is_told_no_counters(netd: Netd) -> None:
    with pytest.raises(SocketError, match="EACCES"):
        netd.application(observer=False).counters()
    assert netd.application().counters()["frames_in"] >= 0


def test_an_application_that_does_not_read_closes_its_window_and_loses_nothing(stack: Stack) -> None:
    c = stack.est()
    sent = 0
    while c.target_window:
        size = min(1460, c.target_window)
        c.tx("PA", data=c.pattern(size))
        c.rx_ack()
        sent += size
    assert sent >= 32768
    got = c.sock.recv_exactly(sent)
    assert (got.count, got.bad) == (sent, None)
    c.host.fence()
    c.host.wait(lambda: c.target_window > 0, 5)
    assert c.target_window > 0, "the window opens again"


def test_what_a_full_buffer_does_not_take_is_told_and_sent_later(stack: Stack) -> None:
    c = stack.est(window=2000)
    taken = c.sock.send(1 << 20)
    assert 1000 < taken < 1 << 20
    with pytest.raises(SocketError, match="EAGAIN"):
        c.sock.send(1)
    c.window = 0xFFFF
    c.tx("A")
    c.rx_data(taken, reply=True, within=20)
    c.host.fence()
    assert c.sock.send(1) == 1


def test_sockets_of_another_application_do_not_exist(host: Host, netd: Netd) -> None:
    one, other = netd.application(), netd.application()
    app = App(one, host)
    c = connect_to(host, app, 4400, 4401)
    numbers = other.call("open", "tcp")
    with pytest.raises(SocketError, match="ENOTCONN"):
        other.call("recv", numbers[0], 10)
    c.tx("PA", data=50)
    assert c.sock.recv_exactly(50).bad is None


def test_an_application_that_dies_loses_its_connections_and_nobody_elses(host: Host, netd: Netd) -> None:
    victim, survivor = netd.application(), netd.application()
    dying = connect_to(host, App(victim, host), 4500, 4501)
    living = connect_to(host, App(survivor, host), 4502, 4503)
    ended = netd.counters()["ended"]
    victim.process.kill()
    dying.rx("RA", within=10)
    until("NetD to have noticed", lambda: netd.counters()["ended"], lambda n: n == ended + 1)
    living.tx("PA", data=500)
    assert living.sock.recv_exactly(500).bad is None
    again = connect_to(host, App(netd.application(), host), 4500, 4504)
    again.tx("PA", data=10)
    assert again.sock.recv_exactly(10).bad is None


def test_an_application_that_stalls_disturbs_nobody(host: Host, netd: Netd) -> None:
    sleeper, other = netd.application(), netd.application()
    stalled = connect_to(host, App(sleeper, host), 4600, 4601)
    living = connect_to(host, App(other, host), 4602, 4603)
    while stalled.target_window:
        stalled.tx("PA", data=min(1460, stalled.target_window))
        stalled.rx_ack()
    for _ in range(20):
        living.tx("PA", data=1000)
        assert living.sock.recv_exactly(1000).bad is None


def test_an_application_that_breaks_the_rings_rules_is_cut_off_alone(host: Host, netd: Netd) -> None:
    liar, other = netd.application(), netd.application()
    lying = connect_to(host, App(liar, host), 4700, 4701)
    living = connect_to(host, App(other, host), 4702, 4703)
    before = netd.counters()
    slot = liar.process.read_struct("client").out
    ring = slot.ring
    at = int(ring.slots) + (int(slot.head) % 64) * 64
    word = (int(slot.head) + 1) << 32 | 32 << 16 | 0xFFFF  # the next message, of a template that there is not
    liar.process.write(at, word.to_bytes(8, "little"))
    App(other, host).open("udp").bind(port=4704)  # any request has NetD look at every ring
    lying.rx("RA", within=10)
    after = netd.counters()
    assert after["violations"] == before["violations"] + 1
    living.tx("PA", data=500)
    assert living.sock.recv_exactly(500).bad is None
    assert not liar.bound


def test_netd_takes_no_end_that_could_be_taken_from_it(target: LiveTarget, netd: Netd) -> None:
    constant = netd.process.elf.layouts.constant
    label = constant("KEUOS_SOCKET_MARK") << constant("KEUOS_SOCKET_MARK_SHIFT")
    sleeper, before = target.agent.spawn("sleeper"), netd.counters()["refused"]
    for kept in (None, "producer"):  # the second excepts the application's side, which is as bad
        order = constant("KEUOS_SOCKET_ORDER")
        target.agent.bind(sleeper, netd.process, "polled_proof", order=order, label=label, kept=kept)
    until("the ends to be refused", lambda: netd.counters()["refused"], lambda n: n == before + 2)


def test_an_application_that_dies_while_it_waits_for_a_name_disturbs_nobody(host: Host, netd: Netd) -> None:
    victim, survivor = netd.application(), netd.application()
    ended = netd.counters()["ended"]
    for count in range(2):
        victim.call("resolve", f"host{count}.example")
    assert host.wait(lambda: len(host.udps) >= 2, 10), "both are asked for"
    victim.process.kill()
    until("NetD to have noticed", lambda: netd.counters()["ended"], lambda n: n == ended + 1)
    for question in list(host.udps):
        refused = question.payload[:2] + b"\x81\x83" + question.payload[4:]
        data = wire.udp(host.address, host.target, 53, question.source_port, refused)
        host.send_ip(wire.ipv4(host.address, host.target, wire.PROTOCOL_UDP, data))
    host.fence()
    host.udps.clear()
    for count in range(2):  # what it had asked for is no longer in the way
        survivor.call("resolve", f"again{count}.example")
    assert host.wait(lambda: len(host.udps) >= 2, 10)


def test_only_an_administrator_says_where_the_address_comes_from(netd: Netd) -> None:
    other = netd.application(administrator=False)
    before = other.call("network", "-")
    for what in ("dhcp", "as_given", "renew", "release"):
        with pytest.raises(SocketError, match="EACCES"):
            other.call("network", what)
    assert other.call("network", "-") == before


def test_the_limit_of_udp_sockets_is_a_value(host: Host, netd: Netd) -> None:
    app = App(netd.application(), host)

    def bind_until_refused() -> int:
        for bound in range(64):
            app.open("udp").bind(port=20001 + bound)
        return bound

    with pytest.raises(SocketError, match="ENOBUFS"):
        bind_until_refused()
    app.reset()
    app.open("udp").bind(port=20001)


def test_the_limits_of_sockets_of_one_application_and_of_all_are_values(
    target: LiveTarget, start_netd: Callable[..., Netd]
) -> None:
    netd = start_netd("blocks=300 connections=16")
    host, constant = fenced(target, netd), netd.process.elf.layouts.constant
    each, most = constant("KEUOS_SOCKETS_EACH"), constant("KEUOS_SOCKETS")
    one, other, _ = (Reader(host, netd, port=5010 + i) for i in range(3))  # with a listener and a connection each
    one.ask(each, sockets=True)
    assert one.answers().no_room == 2, "no more than its own limit"
    other.ask(each, sockets=True)
    left = most - each - 4
    assert other.answers().no_room == each - left, "no more than there are, though it could have more"
    ended = netd.counters()["ended"]
    one.process.kill()
    until("NetD to have noticed", lambda: netd.counters()["ended"], lambda n: n == ended + 1)
    other.ask(10, sockets=True)
    assert other.answers().no_room == each - left + 8, "what one gives back another can have"


def test_the_seventeenth_application_is_refused_and_the_sixteen_stay(
    target: LiveTarget, host: Host, netd: Netd
) -> None:
    first = netd.application()
    others = [target.agent.spawn("sleeper") for _ in range(15)]
    for process in others:
        netd.bind(process)
    refused = netd.counters()["refused"]
    netd.bind(target.agent.spawn("sleeper"))
    until("the ends to be refused", lambda: netd.counters()["refused"], lambda n: n == refused + 2)
    c = connect_to(host, App(first, host), 4800, 4801)
    c.tx("PA", data=10)
    assert c.sock.recv_exactly(10).bad is None


def test_a_killed_netd_is_an_error_to_applications_and_a_new_one_serves(
    target: LiveTarget, host: Host, netd: Netd
) -> None:
    application = netd.application()
    c = connect_to(host, App(application, host), 4900, 4901)
    c.tx("PA", data=100)
    netd.process.kill()
    until("the application to learn it", lambda: application.bound, lambda bound: not bound)
    with pytest.raises(SocketError, match="ENETDOWN"):
        application.call("recv", c.sock.number, 10)
    netd.close()
    second = Netd(target.agent)
    again = Host(target.link, second.network)
    again.judging = False
    again.fence()
    d = connect_to(again, App(second.application(), again), 4900, 4902)
    d.tx("PA", data=100)
    assert d.sock.recv_exactly(100).bad is None
