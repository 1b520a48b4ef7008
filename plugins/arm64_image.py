"""Linux `Image` files: what boot loaders of 64-bit Arm boards load (Linux, Documentation/arch/arm64/booting.rst)."""

from __future__ import annotations

from pathlib import Path

from keuos_hil.errors import InfraError
from keuos_hil.image import Elf

_MAGIC, _MAGIC_AT = b"ARM\x64", 56


def flatten(elf: Elf) -> bytes | None:
    """The bytes that an ELF has in memory, from the lowest physical address to the end of what the file holds.

    None if they do not begin with an Image's header: then it is not one that can be loaded so.
    """
    segments = sorted((s for s in elf.segments if s.file_size), key=lambda segment: segment.physical)
    if not segments or segments[0].data[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        return None
    start = segments[0].physical
    flat = bytearray()
    for segment in segments:
        flat = flat.ljust(segment.physical - start, b"\0")
        flat[segment.physical - start :] = segment.data
    return bytes(flat)


def flat_image(kernel: Path, directory: Path) -> Path:
    """`kernel` as a loader takes it: itself if it is flat or an ELF of another kind, else a flat copy in `directory`.

    Raises:
        InfraError: it can't be read, or the copy not be written.
    """
    try:
        data = kernel.read_bytes()
        flat = flatten(Elf(data, str(kernel))) if data.startswith(b"\x7fELF") else None
        if flat is None:
            return kernel
        copy = directory / "Image"
        copy.write_bytes(flat)
    except OSError as error:
        raise InfraError(f"{kernel} can't be made a flat image: {error}") from None
    return copy
