"""Numbers as few bytes: words of 32 bits as the agent's operation `read_words` sends them (docs/hil-protocol.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ProtocolViolation

_WORD = 0xFFFF_FFFF
_BITS = 32


def decode(data: bytes, count: int) -> NDArray[np.uint32]:
    """`count` words out of `data`: differences, zigzag, LEB128.

    Raises:
        ProtocolViolation: `data` is not exactly so many.
    """
    words = np.zeros(count, np.uint32)
    previous = done = value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80 and shift < _BITS:
            continue
        if byte & 0x80 or value > _WORD or done == count:
            raise ProtocolViolation(f"read_words: byte {byte:#04x} ends no word; {count} of at most 32 bits were said")
        previous = (previous + ((value >> 1) ^ -(value & 1))) & _WORD
        words[done] = previous
        done += 1
        value = shift = 0
    if done != count or shift:
        raise ProtocolViolation(f"read_words: {count} words were said to come, {done} did")
    return words
