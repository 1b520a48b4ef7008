"""Variables in target memory by name: the symbol table says where, the debug information says what.

The same for a user process, read through the agent, and for the kernel, read through a target's Debug part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dwarf import Record, plain
from .image import Elf
from .parts import Debug


class Variables:
    """The variables of one program.

    Args:
        elf: its file, with symbols and debug information.
        read: `size` bytes at a virtual address of the program.
        write: changes bytes at a virtual address of the program.
        read_words: so many words of 32 bits, if there is a better way to them than `read`.
    """

    def __init__(
        self,
        elf: Elf,
        read: Callable[[int, int], bytes],
        write: Callable[[int, bytes], None],
        read_words: Callable[[int, int], NDArray[np.uint32]] | None = None,
    ) -> None:
        self.elf = elf
        self._read = read
        self._write = write
        self._read_words = read_words

    def address(self, name: str) -> int:
        """Where the variable lies. Raises ImageError if there is no such symbol."""
        return self.elf.symbol(name).address

    def read(self, name: str) -> Any:
        """The variable's value: an int, a Record, a list of Records, or an array."""
        dtype = self.elf.layouts.variable(name)
        data = self._read(self.address(name), dtype.itemsize)
        return plain(np.frombuffer(bytearray(data), dtype=dtype.base).reshape(dtype.shape))

    def read_array(self, name: str, count: int | None = None, start: int = 0) -> NDArray[Any]:
        """`count` elements of an array from index `start` on; to its end by default.

        Raises:
            ValueError: the range doesn't lie within the array.
        """
        dtype = self.elf.layouts.variable(name)
        if not dtype.shape:
            raise ValueError(f"{name} in {self.elf.name} is no array")
        length = dtype.shape[0]
        count = length - start if count is None else count
        if not 0 <= start <= start + count <= length:
            raise ValueError(f"{name} has {length} elements; {start}..{start + count} do not lie within")
        stride = dtype.itemsize // length
        address = self.address(name) + start * stride
        if self._read_words is not None and dtype.base == np.dtype("<u4") and dtype.shape == (length,):
            return self._read_words(address, count)
        data = self._read(address, count * stride) if count else b""
        return np.frombuffer(bytearray(data), dtype=dtype.base).reshape((count, *dtype.shape[1:]))

    def read_element(self, name: str, index: int) -> Any:
        """One element of an array: an int or a Record."""
        array = self.read_array(name, 1, index)
        return plain(array.reshape(array.shape[1:]))

    def write(self, name: str, value: Any = None, /, **fields: Any) -> None:
        """Set a variable: a number, a Record or an array as a whole, or some fields of a structure."""
        dtype = self.elf.layouts.variable(name)
        address = self.address(name)
        if fields:
            record = Record.of(dtype, self._read(address, dtype.itemsize)) if value is None else value
            for field, content in fields.items():
                setattr(record, field, content)
            value = record
        if isinstance(value, Record | bytes | bytearray):
            data = bytes(value)
        else:
            data = np.asarray(value, dtype=dtype.base).tobytes()
        if len(data) > dtype.itemsize:
            raise ValueError(f"{name} takes {dtype.itemsize} bytes, not {len(data)}")
        self._write(address, data)


class KernelMemory(Variables):
    """The kernel's variables, seen from outside, without the kernel's help, while it runs.

    Args:
        elf: the kernel's file.
        debug: the target's part.
        start: physical address of its first byte, where a boot loader chose one; None: what the ELF says.
    """

    def __init__(self, elf: Elf, debug: Debug, start: int | None = None) -> None:
        super().__init__(elf, self.read_bytes, self.write_bytes)
        self.debug = debug
        self._moved = 0 if start is None else start - min(s.physical for s in elf.segments if s.file_size)

    def physical(self, address: int) -> int:
        """Where a virtual address of the kernel lies in RAM. Raises ImageError outside."""
        return self.elf.physical(address) + self._moved

    def read_bytes(self, address: int, size: int) -> bytes:
        """`size` bytes at a virtual address within the kernel's image."""
        return self.debug.read_physical(self.physical(address), size)

    def write_bytes(self, address: int, data: bytes) -> None:
        """Change bytes at a virtual address within the kernel's image. Not for code: see Debug.write_physical."""
        self.debug.write_physical(self.physical(address), data)
