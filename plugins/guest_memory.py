"""An emulated machine's RAM as a memory file that both the emulator and this process map."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

from keuos_hil.errors import InfraError


@dataclass(frozen=True)
class Window:
    """A range of guest-physical addresses and where it lies in the file."""

    physical: int
    size: int
    offset: int


class GuestMemory:
    """`size` bytes of RAM, of which the emulator inherits the descriptor :attr:`fd`.

    Stays readable after the emulator ended, until :meth:`close`. Writes are seen by the guest's loads; code that the
    emulator has already translated is not translated again.

    Args:
        size: bytes.
        windows: how guest-physical addresses map to the file.
    """

    def __init__(self, size: int, windows: tuple[Window, ...]) -> None:
        self.size = size
        self._windows = windows
        self.fd = os.memfd_create("keuos-hil guest memory", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.fd, size)
            self._map = mmap.mmap(self.fd, size)
        except (OSError, ValueError) as error:
            os.close(self.fd)
            raise InfraError(f"no {size} bytes of memory for the guest: {error}") from error

    def offset(self, address: int, size: int) -> int:
        """Where `size` bytes at a guest-physical address lie in the file. Raises InfraError outside RAM."""
        for window in self._windows:
            if window.physical <= address and address + size <= window.physical + window.size:
                return address - window.physical + window.offset
        raise InfraError(
            f"physical {address:#x}..{address + size:#x} is not in the guest's RAM of {self.size:#x} bytes"
        )

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at a guest-physical address."""
        offset = self.offset(address, size)
        return self._map[offset : offset + size]

    def write(self, address: int, data: bytes) -> None:
        """Change bytes at a guest-physical address."""
        offset = self.offset(address, len(data))
        self._map[offset : offset + len(data)] = data

    def close(self) -> None:
        """Give the memory back. Safe to repeat."""
        if not self._map.closed:
            self._map.close()
            os.close(self.fd)
