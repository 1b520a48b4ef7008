"""Each wire format against scapy: what it builds is read, what NetD writes it reads, and damage is refused."""

from __future__ import annotations

import subprocess
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.netd.wire import checksum

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.dhcp import BOOTP, DHCP
    from scapy.layers.dns import DNS, DNSQR, DNSRR
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.l2 import ARP, Ether
    from scapy.packet import Raw

U8, U16, U32 = (st.integers(0, 2**n - 1) for n in (8, 16, 32))
ADDRESS = U32.map(lambda n: ".".join(str(n >> s & 255) for s in (24, 16, 8, 0)))
MAC = st.binary(min_size=6, max_size=6).map(lambda b: b.hex(":"))
PAYLOAD = st.binary(max_size=80)
QUICK = settings(max_examples=60, deadline=None)


def number(address: str) -> int:
    return int.from_bytes(bytes(map(int, address.split("."))), "big")


@pytest.fixture(scope="module")
def wire(build):
    """Asks the program for one line; a dict of strings, or None if it refuses."""
    process = subprocess.Popen([build / "wire"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    to, back = process.stdin, process.stdout
    assert to
    assert back

    def ask(*words):
        to.write(" ".join(w.hex() if isinstance(w, bytes) else w for w in words) + "\n")
        to.flush()
        line = back.readline()
        assert line, "a sanitizer's finding: see the captured stderr"
        found = line.split()
        return None if "bad" in found else dict(w.split("=", 1) for w in found)

    yield ask
    to.close()
    assert process.wait(60) == 0
    back.close()


@QUICK
@given(dst=MAC, src=MAC, kind=U16, payload=PAYLOAD)
def test_ethernet_headers_are_read_and_written(wire, dst, src, kind, payload):
    frame = bytes(Ether(dst=dst, src=src, type=kind) / Raw(payload))
    got = wire("ethernet", frame)
    assert (got["dst"], got["src"], int(got["type"])) == (dst.replace(":", ""), src.replace(":", ""), kind)
    assert bytes.fromhex(got["emit"]) == frame[:14]


@QUICK
@given(op=U16, hwsrc=MAC, hwdst=MAC, psrc=ADDRESS, pdst=ADDRESS)
def test_arp_is_read_and_written(wire, op, hwsrc, hwdst, psrc, pdst):
    packet = bytes(ARP(op=op, hwsrc=hwsrc, hwdst=hwdst, psrc=psrc, pdst=pdst))
    got = wire("arp", packet)
    assert (int(got["op"]), int(got["psrc"]), int(got["pdst"])) == (op, number(psrc), number(pdst))
    assert (got["hwsrc"], got["hwdst"]) == (hwsrc.replace(":", ""), hwdst.replace(":", ""))
    assert bytes.fromhex(got["emit"]) == packet


@pytest.mark.parametrize("at", range(6))
def test_arp_of_another_kind_or_length_is_refused(wire, at):
    packet = bytearray(bytes(ARP(psrc="10.0.0.2", pdst="10.0.0.1")))
    packet[at] ^= 1
    assert wire("arp", bytes(packet)) is None
    assert wire("arp", bytes(packet[:27])) is None


@QUICK
@given(
    src=ADDRESS, dst=ADDRESS, id_=U16, tos=U8, ttl=U8, proto=U8, frag=st.integers(0, 8191), flags=st.integers(0, 3),
    payload=PAYLOAD, padding=st.binary(max_size=20),
)  # fmt: skip
def test_ipv4_headers_are_read_and_written(wire, src, dst, id_, tos, ttl, proto, frag, flags, payload, padding):
    packet = IP(src=src, dst=dst, id=id_, tos=tos, ttl=ttl, proto=proto, frag=frag, flags=flags, len=20 + len(payload))
    data = bytes(packet)[:20] + payload
    got = wire("ipv4", data + padding)
    assert (int(got["src"]), int(got["dst"]), int(got["id"])) == (number(src), number(dst), id_)
    assert (int(got["tos"]), int(got["ttl"]), int(got["proto"]), int(got["frag"])) == (tos, ttl, proto, frag)
    assert (int(got["df"]), int(got["mf"])) == (flags >> 1 & 1, flags & 1)
    assert bytes.fromhex(got["payload"]) == payload
    assert bytes.fromhex(got["emit"]) == data[:20]


@QUICK
@given(payload=PAYLOAD, bit=st.integers(0, 159))
def test_an_ipv4_header_with_a_flipped_bit_is_refused(wire, payload, bit):
    data = bytearray(bytes(IP(src="10.0.0.2", dst="10.0.0.1", proto=253) / Raw(payload)))
    data[bit // 8] ^= 1 << bit % 8
    assert wire("ipv4", bytes(data)) is None


@QUICK
@given(kind=U8, code=U8, rest=U32, payload=PAYLOAD, bit=st.integers(0, 63))
def test_icmp_is_read_and_written_and_its_checksum_counts(wire, kind, code, rest, payload, bit):
    data = bytearray(bytes((kind, code, 0, 0)) + rest.to_bytes(4, "big") + payload)
    data[2:4] = checksum(bytes(data)).to_bytes(2, "big")
    got = wire("icmp", bytes(data))
    assert (int(got["type"]), int(got["code"]), int(got["rest"])) == (kind, code, rest)
    assert bytes.fromhex(got["payload"]) == payload
    assert bytes.fromhex(got["emit"]) == bytes(data[:8])
    data[bit // 8] ^= 1 << bit % 8
    assert wire("icmp", bytes(data)) is None


@QUICK
@given(src=ADDRESS, dst=ADDRESS, sport=U16, dport=U16, payload=PAYLOAD, bit=st.integers(0, 63))
def test_udp_is_read_and_written_and_its_checksum_counts(wire, src, dst, sport, dport, payload, bit):
    data = bytearray(bytes(IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(payload)))
    got = wire("udp", bytes(data))
    assert (int(got["sport"]), int(got["dport"])) == (sport, dport)
    assert bytes.fromhex(got["payload"]) == payload
    assert bytes.fromhex(got["emit"]) == bytes(data[20:28])
    data[20 + bit // 8] ^= 1 << bit % 8
    if data[26:28] != b"\0\0":  # else: none
        assert wire("udp", bytes(data)) is None


TCP_OPTIONS = st.lists(
    st.one_of(
        st.just(("NOP", None)),
        st.tuples(st.just("MSS"), U16.filter(bool)),
        st.tuples(st.just("WScale"), st.integers(0, 127)),
        st.just(("SAckOK", b"")),
        st.tuples(st.just("Timestamp"), st.tuples(U32, U32)),
        st.tuples(st.just("SAck"), st.tuples(U32, U32)),
    ),
    max_size=5,
).filter(lambda options: len(bytes(TCP(options=options))) <= 60)


@settings(max_examples=150, deadline=None)
@given(
    src=ADDRESS, dst=ADDRESS, sport=U16, dport=U16, seq=U32, ack=U32, flags=U8, window=U16, urgptr=U16,
    options=TCP_OPTIONS, payload=PAYLOAD,
)  # fmt: skip
def test_tcp_is_read_and_written(wire, src, dst, sport, dport, seq, ack, flags, window, urgptr, options, payload):
    head = TCP(sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, window=window, urgptr=urgptr, options=options)
    got = wire("tcp", bytes(IP(src=src, dst=dst) / head / Raw(payload)))
    fields = ("sport", "dport", "seq", "ack", "flags", "window", "urgptr")
    assert [int(got[f]) for f in fields] == [sport, dport, seq, ack, flags, window, urgptr]
    assert bytes.fromhex(got["payload"]) == payload
    first = dict(reversed(options))
    assert int(got["mss"]) == first.get("MSS", 0)
    assert int(got["shift"]) == first.get("WScale", -1)
    assert int(got["sackok"]) == ("SAckOK" in first)
    assert (int(got["tsval"]), int(got["tsecr"])) == first.get("Timestamp", (0, 0))
    assert got["sack"] == ("{}-{}".format(*first["SAck"]) if "SAck" in first else "")
    # What is written, scapy reads: the same fields, in a segment whose checksum it finds right.
    emitted = bytes.fromhex(got["emit"]) + payload
    back = TCP(emitted)
    assert {f: int(getattr(back, f)) for f in fields} == {f: int(got[f]) for f in fields}
    known = dict(o for o in back.options if o[0] not in ("NOP", "EOL"))
    assert known == first | {} if "NOP" not in first else known.items() <= first.items()
    rebuilt = IP(src=src, dst=dst) / TCP(emitted)
    del rebuilt[TCP].chksum
    assert bytes(rebuilt)[36:38] == emitted[16:18]


@QUICK
@given(payload=PAYLOAD, data=st.data())
def test_tcp_with_a_flipped_bit_is_refused(wire, payload, data):
    packet = bytearray(bytes(IP(src="10.0.0.2", dst="10.0.0.1") / TCP(options=[("MSS", 1460)]) / Raw(payload)))
    bit = data.draw(st.integers(160, 8 * len(packet) - 1))
    packet[bit // 8] ^= 1 << bit % 8
    assert wire("tcp", bytes(packet)) is None


@QUICK
@given(options=st.binary(min_size=1, max_size=40))
def test_tcp_survives_any_option_bytes(wire, options):
    options += b"\0" * (-len(options) % 4)
    head = bytes(TCP(dataofs=5 + len(options) // 4))
    packet = IP(src="10.0.0.2", dst="10.0.0.1", proto=6) / Raw(head[:20] + options + b"text")
    raw = bytes(IP(src="10.0.0.2", dst="10.0.0.1") / TCP(bytes(packet)[20:]))
    fixed = IP(raw)
    del fixed[TCP].chksum
    got = wire("tcp", raw[:20] + bytes(fixed)[20:])
    assert got is None or got["payload"].endswith(b"text".hex())


@QUICK
@given(
    kind=st.integers(1, 8), xid=U32, yours=ADDRESS, server=ADDRESS, mask=ADDRESS, router=ADDRESS, lease=U32,
    mac=st.binary(min_size=6, max_size=6),
)  # fmt: skip
def test_dhcp_replies_are_read(wire, kind, xid, yours, server, mask, router, lease, mac):
    message = BOOTP(op=2, xid=xid, yiaddr=yours, chaddr=mac) / DHCP(
        options=[
            ("message-type", kind), ("server_id", server), ("subnet_mask", mask), "pad", ("router", router),
            (200, b"unknown"), ("lease_time", lease), "end",
        ]
    )  # fmt: skip
    got = wire("dhcp", bytes(message))
    assert [int(got[f]) for f in ("type", "xid", "yiaddr", "server", "mask", "router", "lease")] == [
        kind, xid, number(yours), number(server), number(mask), number(router), lease,
    ]  # fmt: skip
    assert got["chaddr"] == mac.hex()
    sent = BOOTP(bytes.fromhex(got["emit"]))
    options = dict(o for o in sent[DHCP].options if isinstance(o, tuple) and len(o) == 2)
    assert (sent.op, sent.xid, options["message-type"]) == (1, xid, kind)


@QUICK
@given(cut=st.integers(0, 270))
def test_dhcp_that_is_cut_off_is_refused_or_read_without_what_is_missing(wire, cut):
    message = bytes(
        BOOTP(op=2, chaddr=b"\2\0\0\0\0\1") / DHCP(options=[("message-type", 2), ("server_id", "10.0.0.9"), "end"])
    )
    got = wire("dhcp", message[:cut])
    assert got is None or cut >= 243


@QUICK
@given(labels=st.lists(st.text("abcXYZ019-", min_size=1, max_size=20), min_size=1, max_size=5), address=ADDRESS)
def test_dns_queries_are_written_and_answers_read(wire, labels, address):
    name = ".".join(labels)
    query = DNS(bytes.fromhex(wire("dns", name.encode(), b"\0")["emit"]))
    assert (query.qd[0].qname, query.qd[0].qtype, query.rd) == (name.encode() + b".", 1, 1)
    answer = DNS(id=0x1234, qr=1, rd=1, ra=1, qd=DNSQR(qname=name), an=DNSRR(rrname=name, type="A", rdata=address))
    got = wire("dns", name.encode(), bytes(answer))
    assert (got["result"], int(got["address"])) == ("0", number(address))


def test_dns_follows_aliases_and_tells_what_is_not_there(wire):
    name = b"www.example.org"
    records = [
        DNSRR(rrname="host.example.net", type="A", rdata="192.0.2.7"),
        DNSRR(rrname="www.example.org", type="CNAME", rdata="host.example.net"),
    ]
    answer = DNS(id=0x1234, qr=1, qd=DNSQR(qname=name), an=records)
    assert wire("dns", name, bytes(answer))["address"] == str(number("192.0.2.7"))
    assert wire("dns", name, bytes(DNS(id=0x1234, qr=1, rcode=3, qd=DNSQR(qname=name))))["result"] == "1"
    assert wire("dns", name, bytes(DNS(id=0x1234, qr=1, rcode=2, qd=DNSQR(qname=name))))["result"] == "2"
    assert wire("dns", name, bytes(DNS(id=0x1235, qr=1, qd=DNSQR(qname=name), an=records)))["result"] == "3"
    assert wire("dns", name, bytes(DNS(id=0x1234, qr=1, qd=DNSQR(qname="other.org"), an=records)))["result"] == "3"


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64, ".".join(["y" * 60] * 5)])
def test_what_is_no_name_is_not_asked_for(wire, name):
    assert wire("dns", name.encode() or b".", b"\0") is None
