"""Wire formats: what keuos_hil.net builds scapy reads the same way, and the other way round; no bytes raise."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from keuos_hil.net import wire
from keuos_hil.net.seq import add, diff
from keuos_hil.net.sockets import pattern_crc

A, B = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")

u8, u16, u32 = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
payloads = st.binary(max_size=600)
option_lists = st.lists(
    st.one_of(
        st.builds(wire.mss, u16),
        st.builds(wire.wscale, u8),
        st.just(wire.sack_ok()),
        st.builds(wire.timestamps, u32, u32),
        st.just(b"\x01"),
        st.builds(lambda left, right: wire.sack((left, right)), u32, u32),
    ),
    max_size=4,
).map(wire.join).filter(lambda data: len(data) <= 40)  # fmt: skip


@given(u16, u16, u32, u32, u8, u16, u16, option_lists, payloads)
def test_scapy_reads_a_segment_as_it_was_meant(sport, dport, seq, ack, flags, window, urgent, options, payload):
    data = wire.tcp(A, B, sport, dport, seq, ack, flags, window, urgent=urgent, options=options, payload=payload)
    packet = IP(wire.ipv4(A, B, wire.PROTOCOL_TCP, data))
    tcp = packet[TCP]
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack, int(tcp.flags), tcp.window, tcp.urgptr) == (
        sport, dport, seq, ack, flags, window, urgent,
    )  # fmt: skip
    assert bytes(tcp.payload) == payload
    given_sum, given_header = tcp.chksum, packet.chksum
    del tcp.chksum, packet.chksum
    again = IP(bytes(packet))
    assert (again[TCP].chksum, again.chksum) == (given_sum, given_header)


@given(u16, u16, u32, u32, u8, u16, payloads, st.lists(st.sampled_from([("MSS", 1000), ("NOP", None), ("WScale", 7), ("SAckOK", b""), ("Timestamp", (1, 2))]), max_size=4, unique_by=lambda o: o[0]))  # fmt: skip  # noqa: E501
def test_a_segment_of_scapy_is_read_as_it_was_meant(sport, dport, seq, ack, flags, window, payload, options):
    packet = Ether(src=MAC_A, dst=MAC_B) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP(
        sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, window=window, options=options
    ) / Raw(payload)  # fmt: skip
    found = wire.parse(bytes(packet))
    assert isinstance(found, wire.Segment)
    assert (found.source_port, found.destination_port, found.seq, found.ack, found.flags, found.window) == (
        sport, dport, seq, ack, flags, window,
    )  # fmt: skip
    assert found.payload == payload
    assert found.checksum_ok
    assert found.ip.checksum_ok
    names = dict(options)
    assert found.options.mss == names.get("MSS")
    assert found.options.wscale == names.get("WScale")
    assert found.options.ts == names.get("Timestamp")
    assert found.options.sack_ok == ("SAckOK" in names)
    assert not found.options.problem


@given(u16, u16, payloads)
def test_udp_and_scapy_agree(sport, dport, payload):
    packet = IP(wire.ipv4(A, B, wire.PROTOCOL_UDP, wire.udp(A, B, sport, dport, payload)))
    assert (packet[UDP].sport, packet[UDP].dport, packet[UDP].len) == (sport, dport, 8 + len(payload))
    given_sum = packet[UDP].chksum
    del packet[UDP].chksum
    assert IP(bytes(packet))[UDP].chksum == given_sum
    found = wire.parse(bytes(Ether(src=MAC_A, dst=MAC_B) / packet))
    assert isinstance(found, wire.Udp)
    assert found.payload == payload
    assert found.checksum_ok


@given(u16, u16, payloads)
def test_echo_and_scapy_agree(identifier, sequence, payload):
    packet = IP(wire.ipv4(A, B, wire.PROTOCOL_ICMP, wire.echo(identifier, sequence, payload)))
    assert (packet[ICMP].type, packet[ICMP].id, packet[ICMP].seq) == (8, identifier, sequence)
    given_sum = packet[ICMP].chksum
    del packet[ICMP].chksum
    assert IP(bytes(packet))[ICMP].chksum == given_sum


def test_arp_and_scapy_agree():
    packet = ARP(wire.arp(1, MAC_A, A, bytes(6), B))
    assert (packet.op, packet.hwsrc, packet.psrc, packet.pdst) == (1, "02:00:00:00:00:01", "192.0.2.1", "192.0.2.2")
    found = wire.parse(bytes(Ether(src=MAC_B, dst=MAC_A) / ARP(op=2, hwsrc=MAC_B, psrc="192.0.2.2", pdst="192.0.2.1")))
    assert isinstance(found, wire.Arp)
    assert (found.operation, found.sender_mac, found.sender, found.target) == (2, MAC_B, B, A)


@given(st.binary(max_size=200))
def test_the_checksum_is_the_sum_of_words(data):
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert wire.checksum(data) == ~total & 0xFFFF


@given(st.binary(max_size=120))
def test_no_frame_does_more_than_be_malformed(data):
    for frame in (data, bytes(12) + b"\x08\x00" + data, bytes(12) + b"\x08\x06" + data):
        try:
            wire.parse(frame)
        except wire.Malformed:
            continue


@given(st.binary(max_size=40))
def test_no_list_of_options_raises(data):
    found = wire.parse_options(data)
    assert found.problem or sum(1 for kind in found.kinds) <= len(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x08\x00", "length 0"),
        (b"\x08\x01", "length 1"),
        (b"\x02\x04\x05", "with 3 bytes left"),
        (b"\x02", "length 0, with 1 bytes left"),
        (b"\x02\x03\x05", "option 2 has the length 3"),
        (b"\x05\x09" + bytes(7), "option 5 has the length 9"),
        (b"\x00\x00\x01\x00", "padding"),
    ],
)
def test_what_is_wrong_with_options_is_told(data, problem):
    assert problem in wire.parse_options(data).problem


@given(payloads.filter(lambda data: len(data) > 16), st.lists(st.integers(1, 70), max_size=5, unique=True))
def test_fragments_together_are_the_datagram(payload, units):
    cuts = sorted(8 * unit for unit in units if 8 * unit < len(payload))
    made = [wire.parse_ipv4(data) for data in wire.fragments(A, B, 17, payload, cuts, 7)]
    assert b"".join(piece.payload for piece in made) == payload
    assert [piece.offset for piece in made] == [0, *cuts]
    assert [piece.more_fragments for piece in made] == [True] * len(cuts) + [False]


@given(u32, st.integers(-(2**31), 2**31 - 1))
def test_distances_wrap(number, distance):
    assert diff(add(number, distance), number) == distance


def test_the_pattern_is_the_same_in_pieces():
    whole = wire.pattern(0, 70000)
    assert whole[65000:66000] == wire.pattern(65000, 1000)
    assert pattern_crc(70000) == zlib.crc32(whole)
    assert wire.pattern(1 << 24, 4) != wire.pattern(0, 4)
