"""The generator that a loader's seed feeds: ChaCha20 as published, and nothing given twice or kept."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import Reader


def words(reader: Reader, key: bytes, counter: int, nonce: bytes) -> list[int]:
    return [int(line.split()[1], 16) for line in reader.ask("c", key + struct.pack("<I", counter) + nonce)]


def test_the_block_function_is_that_of_rfc_8439(reader: Reader) -> None:
    """Section 2.3.2, and the first vector of appendix A.1."""
    block = words(reader, bytes(range(32)), 1, bytes.fromhex("000000090000004a00000000"))
    assert struct.pack("<16I", *block).hex() == (
        "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
    )
    assert (
        struct.pack("<16I", *words(reader, bytes(32), 0, bytes(12)))
        .hex()
        .startswith("76b8e0ada0f13d90405d6ae55386bd28")
    )


def generated(reader: Reader, seed: bytes) -> tuple[list[int], list[int]]:
    """Numbers, and what is left in the places of those that were given."""
    lines = [line.split() for line in reader.ask("g", seed)]
    numbers = [int(value, 16) for name, value in lines if name == "number"]
    return numbers, [int(value, 16) for name, value in lines if name == "given"]


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=16, max_size=100), st.data())
def test_every_bit_of_the_seed_counts_and_given_numbers_are_erased(
    reader: Reader, seed: bytes, data: st.DataObject
) -> None:
    numbers, given_places = generated(reader, seed)
    assert len(set(numbers)) == len(numbers)
    assert not any(given_places)
    bit = data.draw(st.integers(0, 8 * len(seed) - 1))
    other = bytearray(seed)
    other[bit // 8] ^= 1 << bit % 8
    assert not set(numbers) & set(generated(reader, bytes(other))[0])
