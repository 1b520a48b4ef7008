"""Sequence numbers: arithmetic modulo 2^32 (RFC 9293, section 3.4)."""

from __future__ import annotations

MODULUS = 1 << 32
_HALF = 1 << 31


def add(number: int, count: int) -> int:
    """`number` + `count`, wrapped."""
    return (number + count) % MODULUS


def diff(one: int, other: int) -> int:
    """How far `one` lies behind `other`: from -2^31 to 2^31 - 1."""
    return (one - other + _HALF) % MODULUS - _HALF
