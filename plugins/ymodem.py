"""Sending a file by YMODEM-1K with CRC (Forsberg, XMODEM/YMODEM Protocol Reference, 1988), over a damaging line.

The libraries for it that are kept know no YMODEM, or take a damaged answer for the end; and the console's thread is the
line's one reader, so a sender has to wait where everybody waits. One call sends one file; who calls verifies it.
"""

from __future__ import annotations

import binascii

from keuos_hil.console import Console
from keuos_hil.errors import InfraError, WaitTimeout

SOH, STX, EOT, ACK, NAK, CAN = b"\x01", b"\x02", b"\x04", b"\x06", b"\x15", b"\x18"
_START = b"C"
_BLOCK = 1024
#: A receiver asks every few seconds, and answers a block within milliseconds of its last byte.
_START_S = 15.0
_ANSWER_S = 3.0
_TRIES = 16


class StartedOver(Exception):
    """The receiver said its banner: there is none any more."""


class YmodemSender:
    """Sends to whoever receives on `console`'s line.

    Args:
        banner: what the machine says when it starts, a regular expression.
    """

    def __init__(self, console: Console, banner: bytes) -> None:
        self._console = console
        self._banner = banner
        #: Blocks that were sent again.
        self.repeats = 0

    def send(self, name: str, data: bytes) -> bool:
        """Send one file; whether the receiver took all of it. A receiver that gave up is left in peace.

        Raises:
            StartedOver: in the middle of it.
        """
        if not self._await(_START, _START_S):
            return False
        header = f"{name}\0{len(data)}".encode().ljust(128, b"\0")
        if not self._block(0, header, SOH) or not self._await(_START, _START_S):
            return self._give_up()
        for number, at in enumerate(range(0, len(data), _BLOCK), 1):
            if not self._block(number, data[at : at + _BLOCK].ljust(_BLOCK, b"\x1a"), STX):
                return self._give_up()
        for _ in range(_TRIES):
            self._console.write(EOT)
            if self._answer(_ANSWER_S) == ACK:
                break
        self._await(_START, _ANSWER_S)
        self._block(0, bytes(128), SOH)  # no further file
        return True

    def _await(self, byte: bytes, timeout: float) -> bool:
        return bool(self._heard(byte, timeout))

    def _heard(self, bytes_: bytes, timeout: float) -> bytes:
        """The first of these bytes that comes; b"" if none does."""
        try:
            found = self._console.expect(b"([" + bytes_ + b"])|" + self._banner, timeout)
        except WaitTimeout:
            return b""
        if found.group(1) is None:
            raise StartedOver
        return bytes(found.group(1))

    def _block(self, number: int, data: bytes, kind: bytes) -> bool:
        sequence = number & 0xFF
        packet = kind + bytes((sequence, 0xFF - sequence)) + data + binascii.crc_hqx(data, 0).to_bytes(2, "big")
        timeout = _ANSWER_S + 2 * len(packet) * self._console.byte_seconds
        for attempt in range(_TRIES):
            self.repeats += attempt > 0
            self._console.write(packet, timeout + 10)
            answer = self._answer(timeout)
            if answer == ACK:
                return True
            if answer == CAN:
                return False
        return False

    def _answer(self, timeout: float) -> bytes:
        """ACK, NAK or CAN; b"" if none came. Anything else is noise, or an old request to start."""
        return self._heard(ACK + NAK + CAN, timeout)

    def _give_up(self) -> bool:
        """Have the receiver go back to its prompt."""
        try:
            self._console.write(CAN * 4)
        except InfraError:
            pass
        return False
