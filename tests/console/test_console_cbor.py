"""The console's CBOR reader and writer against `cbor2`, and against RFC 8949's own notion of well-formedness."""

from __future__ import annotations

import random
import struct
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .conftest import Functions

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE, ABSENT = range(9)
quick = settings(max_examples=400, deadline=None)

scalars = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.binary(max_size=300),
    st.text(max_size=80),
    st.booleans(),
    st.none(),
    st.floats(),
)
values = st.recursive(
    scalars,
    lambda v: st.one_of(st.lists(v, max_size=5), st.dictionaries(st.text(max_size=5), v, max_size=5)),
    max_leaves=12,
)
keys = st.text("abcdefgh", max_size=6)


def find(functions: Functions, message: bytes, key: str) -> tuple[int, int, int, bytes] | None:
    """(pairs, kind, value, content) of a key in a message, or None if the message is refused."""
    answer = functions.call("m", struct.pack("<Q", len(key)) + key.encode() + message)
    if answer == b"\0":
        return None
    count, kind, value = struct.unpack_from("<QBQ", answer, 1)
    return count, kind, value, answer[18:]


def put(
    functions: Functions, kind: int, value: int = 0, content: bytes = b"", capacity: int = 5000
) -> tuple[bool, bytes]:
    """(overflow, bytes) of what the writer made."""
    answer = functions.call("w", struct.pack("<QQQ", capacity, kind, value) + content)
    return answer[0] == 1, answer[1:]


class IllFormed(Exception):
    """Not well-formed CBOR of definite lengths."""


def take(data: bytes, at: int) -> tuple[int, int]:
    """Return (major type, position behind the item), after RFC 8949 appendix C, definite lengths only."""
    if at >= len(data):
        raise IllFormed
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    value = info
    if 24 <= info <= 27:
        width = 1 << (info - 24)
        if at + width > len(data):
            raise IllFormed
        value = int.from_bytes(data[at : at + width], "big")
        at += width
        if major == SIMPLE and width == 1 and value < 32:
            raise IllFormed
    elif info > 27:
        raise IllFormed
    if major in (BYTES, TEXT):
        at += value
        if at > len(data):
            raise IllFormed
    else:
        for _ in range({ARRAY: value, MAP: 2 * value, TAG: 1}.get(major, 0)):
            _, at = take(data, at)
    return major, at


def is_message(data: bytes) -> bool:
    """Whether the data is one map with text keys and nothing behind it."""
    try:
        if not data or data[0] >> 5 != MAP:
            return False
        _, end = take(data, 0)
        if end != len(data):
            return False
        info = data[0] & 31
        at = 1 + (1 << (info - 24) if info >= 24 else 0)
        while at < end:
            major, at = take(data, at)
            if major != TEXT:
                return False
            _, at = take(data, at)
    except IllFormed:
        return False
    return True


def expected_item(value: Any) -> tuple[int, int | None, bytes]:
    """(kind, value, content) that the reader must show for a Python value; None: not looked at."""
    if isinstance(value, bool):
        return SIMPLE, 21 if value else 20, b""
    if value is None:
        return SIMPLE, 22, b""
    if isinstance(value, int):
        return (UNSIGNED, value, b"") if value >= 0 else (NEGATIVE, -1 - value, b"")
    if isinstance(value, bytes):
        return BYTES, len(value), value
    if isinstance(value, str):
        return TEXT, len(value.encode()), value.encode()
    if isinstance(value, float):
        return SIMPLE, 0, b""
    return (ARRAY if isinstance(value, list) else MAP), len(value), b""


@quick
@given(message=st.dictionaries(keys, values, max_size=30))
def test_every_value_of_a_map_that_cbor2_made_is_found(functions: Functions, message: dict[str, Any]) -> None:
    encoded = cbor2.dumps(message)
    for key, value in message.items():
        assert find(functions, encoded, key) == (len(message), *expected_item(value))
    assert find(functions, encoded, "absent!") == (len(message), ABSENT, 0, b"")


@quick
@given(message=st.dictionaries(keys, values, max_size=6), cut=st.integers(0), extra=st.binary(min_size=1, max_size=3))
def test_a_message_cut_short_or_with_something_behind_it_is_refused(
    functions: Functions, message: dict[str, Any], cut: int, extra: bytes
) -> None:
    encoded = cbor2.dumps(message)
    assert find(functions, encoded[: cut % len(encoded)], "a") is None
    assert find(functions, encoded + extra, "a") is None


def test_a_key_given_twice_counts_as_absent(functions: Functions) -> None:
    assert find(functions, bytes.fromhex("a2 6161 01 6161 02"), "a") == (2, ABSENT, 0, b"")


@pytest.mark.parametrize(
    "message",
    [
        "bf6161 01ff",
        "a16161 5f41ffff",
        "a1016161",
        "81a0",
        "a0a0",
        "",
        "a1",
        "bbffffffffffffffff",
        "a16161 9bffffffffffffffff",
        "a16161 bb8000000000000000",
        "a16161 5bffffffffffffffff",
        "a16161 f81f",
        "a16161 1c",
        "a16161 c1",
    ],
)
def test_what_is_no_definite_map_with_text_keys_is_refused(functions: Functions, message: str) -> None:
    data = bytes.fromhex(message)
    assert not is_message(data)
    assert find(functions, data, "a") is None


def test_nesting_as_deep_as_a_frame_allows_needs_no_stack(functions: Functions) -> None:
    assert find(functions, b"\xa1\x61a" + b"\x81" * 4000 + b"\x00", "a") == (1, ARRAY, 1, b"")
    assert find(functions, b"\xa1\x61a" + b"\xc1" * 4000 + b"\x00", "a") == (1, TAG, 1, b"")
    assert find(functions, b"\xa1\x61a" + b"\x81" * 4000, "a") is None


@settings(max_examples=1500, deadline=None)
@given(data=st.one_of(st.binary(max_size=40), st.binary(max_size=30).map(lambda d: b"\xa1\x61a" + d)))
@example(data=b"\xa0")
def test_the_reader_accepts_exactly_what_the_rfc_calls_well_formed(functions: Functions, data: bytes) -> None:
    assert (find(functions, data, "a") is not None) == is_message(data)


def test_mutated_messages_are_judged_as_the_rfc_judges_them(functions: Functions) -> None:
    generator = random.Random(8949)
    seeds = [
        cbor2.dumps({"id": 3, "op": "write", "pid": 5, "address": 0x400000, "data": bytes(40)}),
        cbor2.dumps({"id": 2**32 - 1, "op": "bind", "label": 2**64 - 1, "x": [1, {"y": [None, -5, 1.5]}]}),
    ]
    accepted = 0
    for _ in range(20000):
        data = bytearray(generator.choice(seeds))
        for _ in range(generator.randrange(1, 4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        accepted += is_message(bytes(data))
        assert (find(functions, bytes(data), "op") is not None) == is_message(bytes(data)), data.hex()
    assert 0 < accepted < 20000


boundaries = [0, 1, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63, 2**64 - 1]


@quick
@given(value=st.one_of(st.sampled_from(boundaries), st.integers(0, 2**64 - 1)))
def test_integers_are_written_in_their_shortest_form(functions: Functions, value: int) -> None:
    assert put(functions, UNSIGNED, value) == (False, cbor2.dumps(value))
    assert put(functions, NEGATIVE, value) == (False, cbor2.dumps(-1 - value))


@quick
@given(value=st.binary(max_size=700))
def test_bytes_are_written_as_cbor2_writes_them(functions: Functions, value: bytes) -> None:
    assert put(functions, BYTES, content=value) == (False, cbor2.dumps(value))


@quick
@given(value=st.binary(max_size=300).map(lambda b: b.replace(b"\0", b"")))
def test_text_is_always_valid_whatever_the_bytes_were(functions: Functions, value: bytes) -> None:
    expected = "".join(chr(b) if 0x20 <= b <= 0x7E else "?" for b in value)
    assert put(functions, TEXT, content=value) == (False, cbor2.dumps(expected))


def test_truth_values_are_written_as_cbor2_writes_them(functions: Functions) -> None:
    assert put(functions, SIMPLE, 0) == (False, cbor2.dumps(False))
    assert put(functions, SIMPLE, 1) == (False, cbor2.dumps(True))


@quick
@given(value=st.binary(max_size=300), capacity=st.integers(0, 310))
def test_the_writer_never_passes_its_end_and_says_so(functions: Functions, value: bytes, capacity: int) -> None:
    overflow, written = put(functions, BYTES, content=value, capacity=capacity)
    encoded = cbor2.dumps(value)
    assert overflow == (len(encoded) > capacity)
    assert encoded.startswith(written)
    assert len(written) <= capacity
