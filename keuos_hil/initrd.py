"""The initrd as an archive of files: cpio "newc", as made by ``cpio -H newc`` and by the kernel's own build.

Parsing only, and strictly: a truncated archive is one clear line here rather than a missing file on the target.
"""

from __future__ import annotations

import re
from pathlib import Path

from .errors import ImageError

_MAGICS = (b"070701", b"070702")
_HEADER_BYTES = 110
_DIGITS = re.compile(rb"[0-9A-Fa-f]+")
_TRAILER = "TRAILER!!!"
_FILE_TYPE_MASK = 0o170000
_REGULAR = 0o100000


def _aligned(offset: int) -> int:
    return (offset + 3) & ~3


def parse(data: bytes, name: str = "initrd") -> dict[str, bytes]:
    """The regular files, by name, in the archive's order.

    Raises:
        ImageError: `data` is no newc archive, or ends before its trailer.
    """
    files: dict[str, bytes] = {}
    offset = 0
    while True:
        header = data[offset : offset + _HEADER_BYTES]
        if len(header) == _HEADER_BYTES and header[:6] not in _MAGICS:
            kind = "no cpio archive of the newc format" if not offset else f"damaged at byte {offset}"
            raise ImageError(f"{name} is {kind}: expected the magic 070701, found {header[:6]!r}")
        if len(header) < _HEADER_BYTES:
            raise _truncated(name, len(data), f"a header at byte {offset}")
        if not _DIGITS.fullmatch(header, 6):
            raise ImageError(f"{name} is damaged: the header at byte {offset} holds no hexadecimal numbers")
        fields = [int(header[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name_at = offset + _HEADER_BYTES
        body_at = _aligned(name_at + name_size)
        if name_at + name_size > len(data):
            raise _truncated(name, len(data), f"a file name at byte {name_at}")
        file_name = data[name_at : name_at + name_size].rstrip(b"\0").decode("utf-8", "replace")
        if file_name == _TRAILER:
            return files
        if body_at + size > len(data):
            raise _truncated(name, len(data), f"{file_name!r}, {size} bytes at byte {body_at}")
        if mode & _FILE_TYPE_MASK == _REGULAR:
            files[file_name.removeprefix("./")] = data[body_at : body_at + size]
        offset = _aligned(body_at + size)


def read(path: Path) -> dict[str, bytes]:
    """:func:`parse` of a file. Raises ImageError if it can't be read, too."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"the initrd {path} can't be read: {error.strerror}") from None
    return parse(data, str(path))


def _truncated(name: str, size: int, where: str) -> ImageError:
    return ImageError(f"{name} is truncated: it ends after {size} bytes, within {where}; make or copy it again")
