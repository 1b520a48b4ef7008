"""COBS, CRC-32 and the splitter of the console against the `cobs` package and zlib."""

from __future__ import annotations

import random
import struct
import zlib

import cbor2
import pytest
from cobs import cobs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .conftest import Functions, make_frame

pieces = st.lists(
    st.one_of(st.binary(max_size=20), st.just(b"\0"), st.integers(250, 520).map(lambda n: b"\x07" * n)), max_size=8
).map(b"".join)
quick = settings(max_examples=300, deadline=None)


def split(functions: Functions, data: bytes) -> list[tuple[str, bytes]]:
    """What the splitter makes of a stream, from its initial state."""
    answer = functions.call("s", data)
    result: list[tuple[str, bytes]] = []
    while answer:
        if answer[:1] == b"T":
            result.append(("text", answer[1:2]))
            answer = answer[2:]
        else:
            (length,) = struct.unpack_from("<I", answer, 1)
            result.append(("message", answer[5 : 5 + length]))
            answer = answer[5 + length :]
    return result


def messages(functions: Functions, data: bytes) -> list[bytes]:
    return [content for kind, content in split(functions, data) if kind == "message"]


@quick
@given(data=pieces)
def test_crc32_equals_zlibs(functions: Functions, data: bytes) -> None:
    assert struct.unpack("<I", functions.call("c", data))[0] == zlib.crc32(data)


@quick
@given(data=pieces)
@example(data=b"")
@example(data=b"\x01" * 253)
@example(data=b"\x01" * 254)
@example(data=b"\x01" * 255)
@example(data=b"\x01" * 254 + b"\0")
@example(data=b"\x01" * 508)
def test_cobs_encoding_equals_the_packages(functions: Functions, data: bytes) -> None:
    assert functions.call("e", data) == cobs.encode(data)


@quick
@given(data=pieces)
def test_cobs_decoding_inverts_the_packages_encoding(functions: Functions, data: bytes) -> None:
    assert functions.call("d", cobs.encode(data)) == b"\1" + data


@quick
@given(data=st.binary(max_size=600))
@example(data=b"\xff")
@example(data=b"\x02")
@example(data=b"\x01\x00")
def test_cobs_decoding_accepts_exactly_what_the_package_accepts(functions: Functions, data: bytes) -> None:
    try:
        expected = b"\1" + cobs.decode(data)
    except cobs.DecodeError:
        expected = b"\0"
    if not data:
        expected = b"\0"  # the package decodes nothing to nothing; on the line nothing is not a frame
    assert functions.call("d", data) == expected


@quick
@given(data=pieces)
def test_a_frame_decodes_elsewhere(functions: Functions, data: bytes) -> None:
    frame = functions.call("f", data)
    assert frame == make_frame(data)


def test_a_message_of_exactly_the_maximum_fits_and_one_byte_more_does_not(functions: Functions) -> None:
    longest = b"\x5a" * 4092
    assert functions.call("f", longest) == make_frame(longest)
    assert messages(functions, make_frame(longest)) == [longest]
    assert functions.call("f", longest + b"\x5a") == b""
    assert messages(functions, make_frame(longest + b"\x5a")) == []


@quick
@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=40).map(lambda d: (True, d)), st.text("abc\r ", max_size=9).map(lambda t: (False, t))
        ),
        max_size=12,
    )
)
def test_text_and_frames_in_any_order_come_apart(functions: Functions, parts: list[tuple[bool, bytes | str]]) -> None:
    stream = b"".join(make_frame(p) if isinstance(p, bytes) else p.encode() for _, p in parts)
    expected: list[tuple[str, bytes]] = []
    for _, part in parts:
        if isinstance(part, bytes):
            expected.append(("message", part))
        else:
            expected += [("text", c.encode()) for c in part]
    assert split(functions, stream) == expected


def test_two_zeros_in_a_row_delimit_nothing(functions: Functions) -> None:
    assert messages(functions, b"\0\0\0" + make_frame(b"abc") + b"\0\0" + make_frame(b"def")) == [b"abc", b"def"]


@pytest.mark.parametrize("lost", ["opening", "closing"])
def test_a_lost_delimiter_costs_one_frame(functions: Functions, lost: str) -> None:
    first = make_frame(b"first")
    stream = (first[1:] if lost == "opening" else first[:-1]) + b"".join(make_frame(b"%d" % i) for i in range(4))
    assert messages(functions, stream)[-3:] == [b"1", b"2", b"3"]


@quick
@given(data=st.binary(min_size=1, max_size=60), where=st.integers(0), bit=st.integers(0, 7))
def test_a_frame_with_one_bit_wrong_is_not_a_message(functions: Functions, data: bytes, where: int, bit: int) -> None:
    frame = bytearray(make_frame(data))
    at = 1 + where % (len(frame) - 2)
    frame[at] ^= 1 << bit
    assert data not in messages(functions, bytes(frame))


def test_the_splitter_survives_a_hostile_stream_and_still_finds_the_next_frames(functions: Functions) -> None:
    generator = random.Random(20240607)
    request = cbor2.dumps({"id": 7, "op": "ping"})
    for _ in range(300):
        noise = bytearray()
        for _ in range(generator.randrange(1, 8)):
            kind = generator.randrange(4)
            if kind == 0:
                noise += generator.randbytes(generator.randrange(6000))
            elif kind == 1:
                noise += b"\0" + b"\xff" * generator.randrange(9000)
            elif kind == 2:
                noise += make_frame(generator.randbytes(generator.randrange(4092)))[: generator.randrange(1, 4000)]
            else:
                noise += b"\0" * generator.randrange(5)
        # One frame may go under in what the noise left open; the one behind it must come through.
        assert messages(functions, bytes(noise) + make_frame(request) * 2)[-1] == request
