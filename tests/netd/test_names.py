"""The resolver, answer by answer (RFC 1035; RFC 5452), and the ways that datagrams take."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from tests.netd.stack import GATEWAY, MAC, MASK, OWN, PEER_MAC, NetdError, Stack
from tests.netd.wire import address

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.dns import DNS, DNSQR, DNSRR
    from scapy.layers.inet import ICMP, IP, UDP

NAME = "host.example"
FOUND = "192.0.2.9"


def ask(stack: Stack, name: str = NAME) -> Any:
    """The question that leaves, as scapy reads it."""
    stack.command("resolve", name)
    (query,) = [IP(d) for d in stack.datagrams()]
    return query


def reply(stack: Stack, query: Any, records: Any, **fields: Any) -> None:
    """An answer with these records; fields of IP, UDP and DNS can be named."""
    dns = {"id": query[DNS].id, "qr": 1, "qd": DNSQR(qname=NAME), "an": records} | fields.pop("dns", {})
    ports = {"sport": 53, "dport": query.sport} | fields.pop("udp", {})
    ip = {"src": "10.0.0.53", "dst": "10.0.0.1"} | fields
    stack.ip(bytes(IP(**ip) / UDP(**ports) / DNS(**dns)))


def found(stack: Stack) -> str:
    """The address as a number, or the error's name; "again" while there is no answer."""
    try:
        return str(int(stack.command("resolved")))
    except NetdError as error:
        return str(error)


def record(name: str = NAME, data: str = FOUND, **fields: Any) -> Any:
    """An A record, unless another type is named."""
    return DNSRR(rrname=name, rdata=data, **fields)


ANSWER = str(address(FOUND))


@pytest.mark.parametrize(
    ("records", "fields", "wanted"),
    [
        (record(), {}, ANSWER),
        ([record(), record(data="192.0.2.10")], {}, ANSWER),
        (record("HOST.EXAMPLE"), {}, ANSWER),
        ([record("other.example", "192.0.2.1"), record()], {}, ANSWER),
        ([record(type="TXT", data="text"), record()], {}, ANSWER),
        ([record("b.example"), record(type="CNAME", data="b.example")], {}, ANSWER),
        (record("other.example"), {}, "no-name"),
        (record(rclass=3), {}, "no-name"),
        ([], {}, "no-name"),
        ([], {"dns": {"rcode": 3}}, "no-name"),
        ([], {"dns": {"rcode": 2}}, "unreachable"),
        ([], {"dns": {"rcode": 5}}, "unreachable"),
        ([], {"dns": {"tc": 1}}, "unreachable"),
        ([record(type="CNAME", data=NAME)], {}, "unreachable"),
    ],
    ids=[
        *("one", "the-first-counts", "case-does-not-count", "behind-another-name", "behind-another-type"),
        *("alias-behind-its-target", "only-another-name", "another-class", "no-record", "no-such-name"),
        *("server-failure", "refused", "truncated", "an-alias-of-itself"),
    ],
)
def test_an_answer_is_read_as_it_is_meant(stack, records, fields, wanted):
    reply(stack, ask(stack), records, **fields)
    assert found(stack) == wanted


@pytest.mark.parametrize(
    "forged",
    [
        {"src": "10.0.0.66"},
        {"udp": {"sport": 54}},
        {"dns": {"id": 1}},
        {"dns": {"qr": 0}},
        {"dns": {"opcode": 2}},
        {"dns": {"qd": DNSQR(qname="other.example")}},
        {"dns": {"qd": DNSQR(qname=NAME, qtype="MX")}},
        {"dns": {"qd": [DNSQR(qname=NAME), DNSQR(qname=NAME)]}},
    ],
    ids=["address", "port", "id", "a-question", "opcode", "another-name", "another-type", "two-questions"],
)
def test_what_does_not_answer_the_question_is_ignored_and_the_answer_still_counts(stack, forged):
    query = ask(stack)
    reply(stack, query, record(data="192.0.2.66"), **forged)
    assert found(stack) == "again"
    reply(stack, query, record())
    assert found(stack) == ANSWER


def test_each_question_has_an_id_and_a_port_of_its_own(stack):
    queries = [ask(stack, f"{i}.example") for i in range(4)]
    assert len({query.sport for query in queries}) == len({query[DNS].id for query in queries}) == 4


def test_a_question_is_asked_three_times_and_late_answers_are_for_nobody(stack):
    query = ask(stack)
    stack.advance(20)
    assert len(stack.datagrams()) == 2
    assert found(stack) == "timed-out"
    reply(stack, query, record())
    assert found(stack) == "timed-out"
    assert stack.counters()["udp_no_port"] == 1


def test_a_question_that_was_lost_is_answered_at_its_second_try(stack):
    ask(stack)
    stack.advance(2.5)
    (again,) = [IP(d) for d in stack.datagrams()]
    reply(stack, again, record())
    assert found(stack) == ANSWER


@pytest.mark.parametrize("name", ["", ".", "a..b", ".a", "a" * 64, ".".join(["a" * 63] * 4)])
def test_what_is_no_name_is_refused(stack, name):
    with pytest.raises(NetdError, match="invalid"):
        stack.command("resolve", name)


def test_the_longest_name_is_asked_for(stack):
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert ask(stack, name)[DNS].qd[0].qname.decode() == name + "."


def test_without_a_name_server_the_answer_is_immediate(stack):
    stack.command("address", OWN, MASK, GATEWAY, 0)
    with pytest.raises(NetdError, match="unreachable"):
        stack.command("resolve", NAME)


# Routes ---------------------------------------------------------------------------------------------------------


def asked_for(stack: Stack, destination: str) -> str:
    """The neighbour that a datagram to this address wants to go to."""
    udp = stack.command("udp", 0, 0)
    stack.command("sendto", udp, address(destination), 9, "00")
    (request,) = [f for f in stack.frames() if f[12:14] == b"\x08\x06"]
    stack.command("close", udp)
    return ".".join(str(b) for b in request[38:42])


@pytest.mark.parametrize(
    ("destination", "hop"),
    [
        ("10.0.0.77", "10.0.0.77"),
        ("203.0.113.1", "10.0.0.254"),
        ("192.0.2.200", "10.0.0.250"),
        ("192.0.2.1", "10.0.0.251"),
        ("192.0.3.1", "10.0.0.254"),
    ],
    ids=["on-the-link", "by-the-gateway", "by-a-route", "by-the-longest-route", "beside-a-route"],
)
def test_a_datagram_goes_the_way_of_the_longest_route(stack, destination, hop):
    stack.command("route", address("192.0.2.0"), address("255.255.255.128"), address("10.0.0.251"))
    stack.command("route", address("192.0.2.0"), address("255.255.255.0"), address("10.0.0.250"))
    assert asked_for(stack, destination) == hop


@pytest.mark.parametrize(
    ("network", "mask", "gateway"),
    [
        ("192.0.2.0", "255.0.255.0", "10.0.0.250"),
        ("192.0.2.1", "255.255.255.0", "10.0.0.250"),
        ("192.0.2.0", "255.255.255.0", "10.0.1.250"),
        ("192.0.2.0", "255.255.255.0", "10.0.0.1"),
    ],
    ids=["mask-with-holes", "host-bits", "gateway-off-the-link", "by-ourselves"],
)
def test_a_route_that_makes_no_sense_is_refused(stack, network, mask, gateway):
    with pytest.raises(NetdError, match="invalid"):
        stack.command("route", address(network), address(mask), address(gateway))


def test_without_a_gateway_there_is_no_way_beyond_the_link(stack):
    stack.command("address", OWN, MASK, 0, 0)
    udp = stack.command("udp", 0, 0)
    with pytest.raises(NetdError, match="unreachable"):
        stack.command("sendto", udp, address("203.0.113.1"), 9, "00")
    with pytest.raises(NetdError, match="unreachable"):
        stack.connect(80, address("203.0.113.1"))


# Statistics -----------------------------------------------------------------------------------------------------


def frame_of(kind: str) -> bytes:
    """Frames that are each counted by one counter besides the general ones."""
    udp = IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=9, dport=6) / b"x"
    datagrams = {
        "ip_malformed": b"\x46" + bytes(udp)[1:20],
        "ip_checksum": bytes(udp)[:10] + b"\0\1" + bytes(udp)[12:],
        "ip_martian": bytes(IP(src="127.0.0.1", dst="10.0.0.1") / b"x"),
        "ip_not_ours": bytes(IP(src="10.0.0.2", dst="10.0.0.3") / b"x"),
        "udp_no_port": bytes(udp),
        "udp_malformed": bytes(IP(src="10.0.0.2", dst="10.0.0.1", proto=17) / b"short"),
        "icmp_malformed": bytes(IP(src="10.0.0.2", dst="10.0.0.1") / ICMP(chksum=1)),
        "icmp_echoes": bytes(IP(src="10.0.0.2", dst="10.0.0.1") / ICMP()),
        "tcp_malformed": bytes(IP(src="10.0.0.2", dst="10.0.0.1", proto=6) / b"short"),
    }
    if kind == "frames_unknown":
        return MAC + PEER_MAC + b"\x86\xdd" + bytes(40)
    if kind == "arp_malformed":
        return MAC + PEER_MAC + b"\x08\x06" + bytes(28)
    return MAC + PEER_MAC + b"\x08\x00" + datagrams[kind]


@pytest.mark.parametrize(
    "counter",
    [
        *("frames_unknown", "arp_malformed", "ip_malformed", "ip_checksum", "ip_martian", "ip_not_ours", "udp_no_port"),
        *("udp_malformed", "icmp_malformed", "icmp_echoes", "tcp_malformed"),
    ],
)
def test_a_frame_is_counted_for_what_it_is_and_for_nothing_else(stack, counter):
    before = stack.counters()
    frame = frame_of(counter)
    stack.send(frame)
    stack.frames()
    after = stack.counters()
    moved = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    general = {"frames_in", "bytes_in", "arp_in", "ip_in", "udp_in", "icmp_in", "tcp_in"}
    answers = {"frames_out", "bytes_out", "ip_out", "icmp_errors_out"}
    assert moved.pop(counter) == 1
    assert (moved.pop("frames_in"), moved.pop("bytes_in")) == (1, len(frame))
    assert set(moved) <= general | answers
