"""How often each instruction in the guest's RAM was executed: the plugin qemu_counter.c, and what it writes.

QEMU has to emulate all cores in one thread (`-icount`, or `thread=single`): the plugin adds without a lock.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keuos_hil.errors import InfraError

from .guest_memory import GuestMemory
from .host_compiler import compile_c

_SOURCE = Path(__file__).with_name("qemu_counter.c")
_WORD = 8


class QemuCounter:
    """The counts of one guest. Only of pages with code that ran does the host have to find memory.

    Args:
        memory: the guest's RAM.
        directory: gets the plugin.

    Raises:
        InfraError: the plugin can't be compiled, or there is no room for the counts.
    """

    def __init__(self, memory: GuestMemory, directory: Path) -> None:
        flags = ("-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror")
        self._plugin = compile_c((_SOURCE,), directory / "qemu_counter.so", *flags)
        self._memory = memory
        self.fd = os.memfd_create("keuos-hil executed instructions", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.fd, memory.size * _WORD)
            self._map = mmap.mmap(self.fd, memory.size * _WORD, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            os.close(self.fd)
            raise InfraError(f"no {memory.size * _WORD} bytes for counts of instructions: {error}") from error

    @property
    def arguments(self) -> list[str]:
        """QEMU's; it has to inherit :attr:`fd`, and the memory's."""
        ram, counts = (f"/dev/fd/{fd}" for fd in (self._memory.fd, self.fd))
        return ["-plugin", f"file={self._plugin},ram={ram},counts={counts}"]

    def read(self, address: int, size: int) -> NDArray[np.uint64]:
        """See CountsExecuted.executed."""
        offset = self._memory.offset(address, size) * _WORD
        return np.frombuffer(self._map[offset : offset + size * _WORD], dtype="<u8")

    def close(self) -> None:
        """Give the counts back. Safe to repeat."""
        if not self._map.closed:
            self._map.close()
            os.close(self.fd)
