"""The initrd as an archive of files: cpio "newc", as made by ``cpio -H newc`` and by the kernel's own build.

Parsing, and strictly: a truncated archive is one clear line here rather than a missing file on the target. A file is
exchanged in a copy that keeps every other byte; making archives is the kernel's build's affair.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import ImageError

_MAGICS = (b"070701", b"070702")
_HEADER_BYTES = 110
#: Which of the header's numbers is the file's size.
_SIZE_FIELD = 6
_DIGITS = re.compile(rb"[0-9A-Fa-f]+")
_TRAILER = "TRAILER!!!"
_FILE_TYPE_MASK = 0o170000
_REGULAR = 0o100000


def _aligned(offset: int) -> int:
    return (offset + 3) & ~3


@dataclass(frozen=True)
class _Member:
    """Where one lies in the archive: header, body, and where the next begins."""

    name: str
    mode: int
    start: int
    body: int
    size: int
    end: int


def _members(data: bytes, name: str) -> Iterator[_Member]:
    """All, the trailer too, in the archive's order. Raises ImageError, see :func:`parse`."""
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
        mode, size, name_size = fields[1], fields[_SIZE_FIELD], fields[11]
        name_at = offset + _HEADER_BYTES
        body_at = _aligned(name_at + name_size)
        if name_at + name_size > len(data):
            raise _truncated(name, len(data), f"a file name at byte {name_at}")
        file_name = data[name_at : name_at + name_size].rstrip(b"\0").decode("utf-8", "replace")
        if file_name != _TRAILER and body_at + size > len(data):
            raise _truncated(name, len(data), f"{file_name!r}, {size} bytes at byte {body_at}")
        end = _aligned(body_at + size)
        yield _Member(file_name.removeprefix("./"), mode, offset, body_at, size, end)
        if file_name == _TRAILER:
            return
        offset = end


def parse(data: bytes, name: str = "initrd") -> dict[str, bytes]:
    """The regular files, by name, in the archive's order.

    Raises:
        ImageError: `data` is no newc archive, or ends before its trailer.
    """
    return {
        member.name: data[member.body : member.body + member.size]
        for member in _members(data, name)
        if member.mode & _FILE_TYPE_MASK == _REGULAR and member.name != _TRAILER
    }


def with_file(data: bytes, name: str, contents: bytes, *, without: str = "") -> bytes:
    """The archive with other contents of the file `name`, and without the file `without`; all else as it was.

    Raises:
        ImageError: it is no archive, or has no such file.
    """
    out, found = bytearray(), False
    for member in _members(data, "initrd"):
        if member.name == without:
            continue
        if member.name != name:
            out += data[member.start : member.end]
            continue
        found = True
        size_at = member.start + 6 + 8 * _SIZE_FIELD
        out += data[member.start : size_at] + f"{len(contents):08X}".encode() + data[size_at + 8 : member.body]
        out += contents + bytes(-len(contents) % 4)
    if not found:
        raise ImageError(f"the initrd has no file {name!r} that could be another")
    return bytes(out)


def read(path: Path) -> dict[str, bytes]:
    """:func:`parse` of a file. Raises ImageError if it can't be read, too."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"the initrd {path} can't be read: {error.strerror}") from None
    return parse(data, str(path))


def _truncated(name: str, size: int, where: str) -> ImageError:
    return ImageError(f"{name} is truncated: it ends after {size} bytes, within {where}; make or copy it again")
