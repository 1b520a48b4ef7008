"""Whether a machine runs a given image already, as after its boot: asked over the protocol, held against its files."""

from __future__ import annotations

import siphash24

from .console import Console
from .dwarf import Record
from .errors import HilError
from .image import Grade, Image
from .protocol.client import Client

#: An agent that lives answers at once.
ASK_S = 1.0
#: Of struct keuos_system_info's hashes: they tell builds apart and keep no secret.
_KEY = bytes(16)


def content_hash(data: bytes) -> int:
    """SipHash-2-4 of `data` with a key of zeros, as struct keuos_system_info has it."""
    return int.from_bytes(siphash24.siphash24(data, key=_KEY).digest(), "little")


def difference(info: Record, image: Image, command_line: str | None) -> str:
    """Why what gave `info` (struct keuos_system_info) is not `image` as after its boot; "" if it is.

    Args:
        command_line: what the kernel would be given; None if that is not known here, and not compared.
    """
    initrd = b"" if image.initrd_path is None else image.initrd_path.read_bytes()
    build_id = bytes(info.build_id).hex()
    if build_id != image.kernel.build_id:
        return f"it runs the build {build_id}"
    if info.initrd_hash != content_hash(initrd):
        return "it runs this kernel with another initrd"
    if command_line is not None and info.command_line_hash != content_hash(command_line.encode()):
        return "it runs this build with another command line"
    if (info.processes, info.channels) != (1, 0):
        return f"it runs this build, with {info.processes} processes and {info.channels} channels on it"
    return ""


def ask(console: Console, image: Image, command_line: str | None) -> str:
    """The same of whatever answers on `console`; also a word on why nothing can be told."""
    if image.grade < Grade.CHANNELS:
        return "the image does not tell what it is"
    client = Client(console)
    try:
        client.hello(ASK_S)
        data = client.request("info", ASK_S)["info"]
        info = Record.of(image.struct("keuos_system_info"), data)
        return difference(info, image, command_line)
    except HilError:
        return "no agent answers"
    except (KeyError, TypeError, ValueError, AttributeError):
        return "it runs another build"
