"""Frames: 0x00, COBS of a CBOR map and its CRC-32, 0x00. Encoding, and telling frames from console text."""

from __future__ import annotations

import zlib
from typing import Any

import cbor2
from cobs import cobs

#: Most bytes of a frame before COBS: CBOR and CRC together (docs/hil-protocol.md).
FRAME_MAX = 4096
#: COBS adds one byte, and one more for each 254.
ENCODED_MAX = FRAME_MAX + FRAME_MAX // 254 + 1
CRC_BYTES = 4

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """One frame with both its delimiters.

    Raises:
        ValueError: it would be longer than a frame may be.
    """
    body = cbor2.dumps(message)
    body += zlib.crc32(body).to_bytes(CRC_BYTES, "little")
    if len(body) > FRAME_MAX:
        raise ValueError(f"a frame holds at most {FRAME_MAX} bytes; this message takes {len(body)}")
    return b"\0" + bytes(cobs.encode(body)) + b"\0"


def decode(encoded: bytes) -> Message | None:
    """The message in what stood between two zeros, or None if it is console text, noise or a damaged frame."""
    if not 1 + CRC_BYTES < len(encoded) <= ENCODED_MAX:
        return None
    try:
        body = cobs.decode(encoded)
    except cobs.DecodeError:
        return None
    if len(body) <= CRC_BYTES or zlib.crc32(body[:-CRC_BYTES]) != int.from_bytes(body[-CRC_BYTES:], "little"):
        return None
    try:
        message = cbor2.loads(body[:-CRC_BYTES])
    except Exception:  # noqa: BLE001 - cbor2 raises many kinds, and an intact CRC proves the line only
        return None
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        return None
    return message


class Splitter:
    """Parts a byte stream into text, which passes at once, and frames.

    A zero opens a candidate. What it holds back is given out as text as soon as it cannot be a frame any more: too
    long, not decodable when the next zero comes, or unfinished when :meth:`flush` is called after a silence. The
    closing zero of something that was no frame opens the next candidate, so that one lost delimiter costs one frame.
    """

    def __init__(self) -> None:
        self._candidate: bytearray | None = None
        #: What stood between two zeros and was no frame.
        self.damaged = 0

    @property
    def holding(self) -> bool:
        """Whether bytes are held back that a silence should release."""
        return bool(self._candidate)

    def feed(self, data: bytes) -> tuple[bytes, list[Message]]:
        """The text and the messages that `data` completes, each in order."""
        text = bytearray()
        messages: list[Message] = []
        for index, chunk in enumerate(data.split(b"\0")):
            if index:
                self._zero(text, messages)
            if self._candidate is None:
                text += chunk
            else:
                self._candidate += chunk
                if len(self._candidate) > ENCODED_MAX:
                    text += self._candidate
                    self._candidate = None
        return bytes(text), messages

    def _zero(self, text: bytearray, messages: list[Message]) -> None:
        if not self._candidate:
            self._candidate = bytearray()
            return
        message = decode(bytes(self._candidate))
        if message is None:
            self.damaged += 1
            text += self._candidate
            self._candidate = bytearray()
        else:
            messages.append(message)
            self._candidate = None

    def flush(self) -> bytes:
        """What is held back, as text."""
        held = bytes(self._candidate or b"")
        self._candidate = None
        return held
