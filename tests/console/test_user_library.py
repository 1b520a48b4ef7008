"""The user library's formatter and string functions against the host's C library."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import Functions

quick = settings(max_examples=300, deadline=None)


def run_format(
    functions: Functions, pattern: str, kind: int, value: int, text: bytes, capacity: int
) -> tuple[int, bytes, bytes]:
    """(length, ours, libc's)."""
    head = struct.pack("<QQQ", capacity, kind, value % 2**64)
    answer = functions.call("p", head + pattern.encode() + b"\0" + text + b"\0")
    (length,) = struct.unpack_from("<Q", answer)
    ours, _, theirs = answer[8:].partition(b"\0")
    return length, ours, theirs


flags = st.sampled_from(["", "-", "0"])
widths = st.sampled_from(["", "1", "5", "16", "40"])


@quick
@given(
    flag=flags,
    width=widths,
    conversion=st.sampled_from([("d", 0), ("u", 1), ("x", 1), ("ld", 2), ("lu", 3), ("lx", 3)]),
    value=st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, -1, 2**31 - 1, -(2**31), -(2**63)])),
    capacity=st.integers(1, 100),
)
def test_numbers_are_formatted_as_libc_does(
    functions: Functions, flag: str, width: str, conversion: tuple[str, int], value: int, capacity: int
) -> None:
    letter, kind = conversion
    length, ours, theirs = run_format(functions, f"<%{flag}{width}{letter}>", kind, value, b"", capacity)
    assert ours == theirs
    assert length == len(ours) < capacity


@quick
@given(
    flag=st.sampled_from(["", "-"]),
    width=widths,
    precision=st.sampled_from(["", ".0", ".3", ".31"]),
    text=st.text("abc %s", max_size=60),
    capacity=st.integers(1, 100),
)
def test_text_is_formatted_as_libc_does(
    functions: Functions, flag: str, width: str, precision: str, text: str, capacity: int
) -> None:
    length, ours, theirs = run_format(functions, f"<%{flag}{width}{precision}s>%%", 4, 0, text.encode(), capacity)
    assert ours == theirs
    assert length == len(ours)


def test_a_buffer_of_no_bytes_is_left_alone(functions: Functions) -> None:
    assert run_format(functions, "%u", 1, 5, b"", 0)[0] == 0


@pytest.mark.parametrize("pattern", ["%", "abc%", "%-", "%5", "%.", "%l", "%q", "%5q"])
def test_a_broken_format_is_copied_and_read_no_further(functions: Functions, pattern: str) -> None:
    _, ours, _ = run_format(functions, pattern, 5, 5, b"", 40)
    assert ours == pattern.encode()


@settings(max_examples=800, deadline=None)
@given(
    data=st.data(), which=st.integers(0, 6), content=st.one_of(st.binary(max_size=120), st.text("ab\0", max_size=80))
)
def test_string_functions_do_what_libcs_do(
    functions: Functions, data: st.DataObject, which: int, content: bytes | str
) -> None:
    block = content.encode() if isinstance(content, str) else content
    to = data.draw(st.integers(0, len(block)))
    other = data.draw(st.integers(0, len(block)))
    length = data.draw(st.integers(0, len(block) - max(to, other)))
    assert functions.call("y", struct.pack("<QQQQ", which, to, other, length) + block) == b"\1"
