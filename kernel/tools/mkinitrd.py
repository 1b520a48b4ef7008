#!/usr/bin/env python3
"""Make an initrd: a cpio archive (newc) of user programs, the same bytes for the same files.

What lives here is the archive's format and nothing else; which programs go in is the caller's affair (user/user.mk,
or a person with programs of their own). Times, owners and inode numbers carry no information, so they are fixed.

    mkinitrd.py --output initrd.cpio PATH [NAME=PATH ...]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

NAME_MAX = 31
"""Longest name in bytes: the kernel keeps a name and its NUL in 32."""

_HEADER = "070701"
_TRAILER = "TRAILER!!!"
_REGULAR_EXECUTABLE = 0o100755


def _member(name: str, data: bytes, inode: int, mode: int) -> bytes:
    encoded = name.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device major and minor, its own major and minor, name size, checksum
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = (_HEADER + "".join(f"{field:08x}" for field in fields)).encode() + encoded
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return the archive of (name, contents) pairs, sorted by name.

    Raises ValueError for a name that is empty, too long, given twice, or holds a slash or unprintable bytes.
    """
    members = sorted(files)
    names = [name for name, _ in members]
    for name in names:
        if not name or len(name.encode()) > NAME_MAX or "/" in name or not name.isprintable() or not name.isascii():
            raise ValueError(f"file name {name!r}: expected 1 to {NAME_MAX} printable ASCII characters without '/'")
        if names.count(name) > 1:
            raise ValueError(f"file name {name!r} is given twice: give one of them another name as NAME=PATH")
    body = b"".join(
        _member(name, data, inode, _REGULAR_EXECUTABLE) for inode, (name, data) in enumerate(members, start=1)
    )
    return body + _member(_TRAILER, b"", 0, 0)


def _argument(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    return (name, Path(path)) if separator else (Path(text).name.removesuffix(".elf"), Path(text))


def main(arguments: list[str]) -> int:
    """Command line entry. Returns the exit status: 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(description="Make an initrd (newc cpio) of user programs.")
    parser.add_argument("--output", required=True, type=Path, help="the archive to write")
    parser.add_argument("files", nargs="+", metavar="[NAME=]PATH", help="NAME defaults to the file's, without .elf")
    options = parser.parse_args(arguments)
    try:
        data = archive((name, path.read_bytes()) for name, path in map(_argument, options.files))
        # Written beside and renamed: a boot that runs meanwhile sees the old archive or the new one, never half.
        with tempfile.NamedTemporaryFile(dir=options.output.parent, delete=False) as scratch:
            try:
                scratch.write(data)
                scratch.close()
                os.chmod(scratch.name, 0o644)
                os.replace(scratch.name, options.output)
            except BaseException:
                os.unlink(scratch.name)
                raise
    except (OSError, ValueError) as error:
        print(f"mkinitrd: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
