"""SipHash-2-4 of many messages at once (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012), with numpy.

Written from the paper, for the oracle's bulk half. tests/test_oracle.py checks it against the published vectors and
against the `siphash24` package.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U64 = np.uint64
Words = NDArray[np.uint64]


def _rotate(x: Words, by: int) -> Words:
    rotated: Words = x << U64(by) | x >> U64(64 - by)
    return rotated


def _rounds(v: list[Words], count: int) -> None:
    for _ in range(count):
        v[0] = v[0] + v[1]
        v[2] = v[2] + v[3]
        v[1] = _rotate(v[1], 13) ^ v[0]
        v[3] = _rotate(v[3], 16) ^ v[2]
        v[0] = _rotate(v[0], 32)
        v[2] = v[2] + v[1]
        v[0] = v[0] + v[3]
        v[1] = _rotate(v[1], 17) ^ v[2]
        v[3] = _rotate(v[3], 21) ^ v[0]
        v[2] = _rotate(v[2], 32)


def siphash_2_4(key: bytes, messages: NDArray[np.uint8]) -> Words:
    """SipHash-2-4 of each row.

    Args:
        key: 16 bytes.
        messages: shape (messages, bytes of each); all have the same length.

    Returns:
        One 64-bit hash for each message.

    Raises:
        ValueError: a key of another length, or no two-dimensional array.
    """
    if len(key) != 16 or messages.ndim != 2:
        raise ValueError(f"expected 16 bytes of key and rows of bytes, got {len(key)} and shape {messages.shape}")
    count, length = messages.shape
    padded = np.zeros((count, length // 8 * 8 + 8), np.uint8)
    padded[:, :length] = messages
    padded[:, -1] = length & 0xFF
    words = padded.view("<u8").astype(U64, copy=False)
    k0, k1 = (U64(int.from_bytes(half, "little")) for half in (key[:8], key[8:]))
    start = (k0 ^ U64(0x736F6D6570736575), k1 ^ U64(0x646F72616E646F6D),
             k0 ^ U64(0x6C7967656E657261), k1 ^ U64(0x7465646279746573))  # fmt: skip
    v = [np.full(count, value, U64) for value in start]
    for column in range(words.shape[1]):
        v[3] = v[3] ^ words[:, column]
        _rounds(v, 2)
        v[0] = v[0] ^ words[:, column]
    v[2] = v[2] ^ U64(0xFF)
    _rounds(v, 4)
    result: Words = v[0] ^ v[1] ^ v[2] ^ v[3]
    return result
