"""Load parts of a board: U-Boot by TFTP or by YMODEM, GRUB's prompt on a prepared stick, or what lies on it already."""

from __future__ import annotations

import ipaddress
import logging
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from keuos_hil.console import Console
from keuos_hil.errors import InfraError, UsageError, WaitTimeout
from keuos_hil.hookspecs import PartContext, PartType, hookimpl
from keuos_hil.image import Image
from keuos_hil.parts import Link

from .arm64_image import flat_image
from .grub_iso import stick_command, stick_folder
from .lease_values import fill, require_values
from .loader_prompt import Dialect, LoaderPrompt
from .tftp_server import TftpServer
from .ymodem import StartedOver, YmodemSender

_log = logging.getLogger(__name__)

ROLE = "load"
#: What U-Boot says first, in each of its stages.
_BANNER = rb"U-Boot (?:SPL |TPL )?20[0-9][0-9]\."
#: What a boot loader says last; the kernel's own first line and its agent's first frame count as well.
_ENTERED = rb"Starting kernel|KeuOS [0-9]|KeuOS agent ready"
#: From the command that starts the kernel to its first word.
_ENTER_S = 10.0
#: `booti` moves an Image that does not lie where it wants to.
_MOVED = re.compile(rb"Moving Image from 0x[0-9a-f]+ to (0x[0-9a-f]+)")
_CRC = rb"==> ([0-9a-f]{8})\s"
#: U-Boot's timer of a TFTP transfer that stands still is 5 s; so many times that, and a megabyte, fit in.
_TRANSFER_S = 60.0
_TRIES = 4


def _words(*parts: str) -> str:
    return " ".join(filter(None, parts))


@dataclass(frozen=True)
class UBootOptions:
    """Keys that every U-Boot part has."""

    prompt: str = field(default="=> ", metadata={"help": "U-Boot's prompt"})
    key: str = field(default="\x03", metadata={"help": "what stops its autoboot; by default Ctrl-C"})
    kernel_address: str = field(
        default="${kernel_addr_r}", metadata={"help": "where the kernel is put, a number or a variable of U-Boot's"}
    )
    initrd_address: str = field(
        default="${ramdisk_addr_r}", metadata={"help": "where the initrd is put, a number or a variable of U-Boot's"}
    )
    fdt_address: str = field(
        default="${fdtcontroladdr}",
        metadata={
            "help": "where the device tree lies, or with dtb where it is put; a number or a variable of U-Boot's"
        },
    )
    dtb: str = field(default="", metadata={"help": "device tree file to send; by default the one that U-Boot has"})
    append: str = field(default="", metadata={"help": "kernel command line"})


@dataclass(frozen=True)
class TftpOptions(UBootOptions):
    """`part = "uboot-tftp"`: U-Boot fetches kernel and initrd by TFTP, over the board's link or from a server."""

    address: str = field(default="192.0.2.2", metadata={"help": "the board's IPv4 address while it loads"})
    netmask: str = field(default="255.255.255.0", metadata={"help": "of its subnet"})
    server: str = field(
        default="192.0.2.1",
        metadata={"help": "the TFTP server's address; without directory the server is ours, on the board's link"},
    )
    directory: str = field(
        default="", metadata={"help": "folder of a TFTP server that runs already; the files are put there for the run"}
    )


@dataclass(frozen=True)
class YmodemOptions(UBootOptions):
    """`part = "uboot-ymodem"`: everything goes over the serial line. 1 MiB takes one and a half minutes at 115,200."""

    chunk: int = field(
        default=64 << 10, metadata={"help": "bytes sent and verified in one piece; what is done is not sent again"}
    )


@dataclass(frozen=True)
class _File:
    """One thing to have in the board's memory."""

    name: str
    address: str
    data: bytes

    @property
    def crc(self) -> str:
        return f"{zlib.crc32(self.data):08x}"


class UBootLoader(ABC):
    """See :class:`keuos_hil.board_parts.BoardLoader`: what both U-Boot parts have in common."""

    capabilities = frozenset({"command-line"})
    needs_link = False
    loads = True
    moves = True
    command_line: str | None = None
    repeats = 0
    kernel_start: int | None = None
    banners: tuple[bytes, ...] = (b"^" + _BANNER,)

    def __init__(self, options: UBootOptions, context: PartContext) -> None:
        if context.architecture != "arm64":
            raise UsageError(
                f"{context.where}: U-Boot boots arm64 by `booti`; for {context.architecture} use grub-serial"
            )
        self._common = options
        self._context = context
        self._files: list[_File] = []

    def check(self) -> None:
        """See BoardLoader.check."""
        if self._common.dtb and not Path(self._common.dtb).is_file():
            raise InfraError(f"{self._context.where}: there is no device tree {self._common.dtb}")

    def prepare(self, image: Image, directory: Path, values: Mapping[str, str]) -> None:
        """See BoardLoader.prepare."""
        options = self._common
        kernel = flat_image(image.kernel_path, directory)
        self._files = [_File("kernel", options.kernel_address, kernel.read_bytes())]
        if image.initrd_path is not None:
            self._files.append(_File("initrd", options.initrd_address, image.initrd_path.read_bytes()))
        if options.dtb:
            self._files.append(_File("dtb", options.fdt_address, Path(options.dtb).read_bytes()))
        self.command_line = _words(options.append, image.command_line)
        if re.search(r"[;'\"$\\\r\n]", self.command_line):
            raise UsageError(f"{self._context.where}: the command line {self.command_line!r} can't go through U-Boot")

    def boot(self, console: Console, link: Link | None, timeout: float, *, whole: bool) -> None:
        """See BoardLoader.boot."""
        options = self._common
        dialect = Dialect(
            "U-Boot",
            re.escape(options.prompt.encode()),
            options.key.encode(),
            b"\x03",
            f"the key prompt of {self._context.where} ({options.prompt!r})",
        )
        prompt = LoaderPrompt(console, dialect, timeout)
        try:
            self._boot(prompt, console, link, whole=whole)
        finally:
            self.repeats = prompt.repeats

    def _boot(self, prompt: LoaderPrompt, console: Console, link: Link | None, *, whole: bool) -> None:
        options = self._common
        prompt.interrupt()
        wanted = [file for file in self._files if whole or not self._is_there(prompt, file)]
        if wanted:
            self.transfer(prompt, console, link, wanted)
        prompt.run(f"setenv bootargs '{self.command_line}'")
        initrd = next((file for file in self._files if file.name == "initrd"), None)
        module = f"{initrd.address}:{len(initrd.data):x}" if initrd else "-"
        self.kernel_start = self._number(prompt, options.kernel_address)
        mark = console.mark()
        prompt.leave(f"booti {options.kernel_address} {module} {options.fdt_address}", _ENTERED, _ENTER_S)
        if (moved := _MOVED.search(console.since(mark))) is not None:
            self.kernel_start = int(moved.group(1), 16)

    @staticmethod
    def _number(prompt: LoaderPrompt, address: str) -> int:
        """An address that may be a variable of U-Boot's, which goes by hexadecimal digits."""
        found = prompt.ask(f"echo at={address}", rb"[\r\n]at=(?:0x)?([0-9a-fA-F]+)[\r\n]")
        return int(found.group(1), 16)

    @staticmethod
    def _is_there(prompt: LoaderPrompt, file: _File) -> bool:
        found = prompt.ask(f"crc32 {file.address} {len(file.data):x}", _CRC, _TRANSFER_S)
        return found.group(1).decode() == file.crc

    @abstractmethod
    def transfer(self, prompt: LoaderPrompt, console: Console, link: Link | None, files: list[_File]) -> None:
        """Bring `files` into the board's memory, each verified there by its CRC."""


#: Keys in which a lease's values may stand, and those of them that have to be addresses.
_LEASED = ("address", "netmask", "server", "directory")
_ADDRESSES = _LEASED[:3]


def _require_addresses(options: TftpOptions, where: str) -> None:
    """Raise InfraError unless they are IPv4 addresses, and a mask; what has braces is passed over."""
    for key in _ADDRESSES:
        text = getattr(options, key)
        if "{" in text:
            continue
        try:
            ipaddress.IPv4Address(text)
        except ValueError:
            raise InfraError(f"{where}: {key} = {text!r}: expected an IPv4 address") from None
    try:
        if "{" not in options.netmask:
            ipaddress.IPv4Network(f"0.0.0.0/{options.netmask}")
    except ValueError:
        raise InfraError(f"{where}: netmask = {options.netmask!r}: expected one such as 255.255.255.0") from None


class TftpLoader(UBootLoader):
    """See :class:`TftpOptions`."""

    def __init__(self, options: TftpOptions, context: PartContext) -> None:
        super().__init__(options, context)
        self._options = self._filled = options
        self.needs_link = not options.directory
        for key in _LEASED:
            require_values(getattr(options, key), context, key)
        try:
            _require_addresses(options, context.where)
        except InfraError as error:
            raise UsageError(str(error)) from None

    def check(self) -> None:
        """See BoardLoader.check."""
        super().check()
        if "{" not in self._options.directory:
            self._require_folder(self._options.directory)

    def _require_folder(self, directory: str) -> None:
        if directory and not Path(directory).is_dir():
            raise InfraError(f"{self._context.where}: directory = {directory!r}: there is no such folder")

    def prepare(self, image: Image, directory: Path, values: Mapping[str, str]) -> None:
        """See BoardLoader.prepare."""
        super().prepare(image, directory, values)
        where = self._context.where
        filled = {key: fill(getattr(self._options, key), values, f"{where}: {key}") for key in _LEASED}
        self._filled = replace(self._options, **filled)
        _require_addresses(self._filled, where)
        self._require_folder(self._filled.directory)

    def transfer(self, prompt: LoaderPrompt, console: Console, link: Link | None, files: list[_File]) -> None:
        """See UBootLoader.transfer."""
        options = self._filled
        names = {f"keuos-hil-{self._context.board}-{file.name}": file for file in files}
        with ExitStack() as stack:
            if options.directory:
                for name, file in names.items():
                    path = Path(options.directory, name)
                    stack.callback(path.unlink, missing_ok=True)
                    path.write_bytes(file.data)
            elif link is None:
                raise InfraError(f"{self._context.where}: without a link, directory must name a TFTP server's folder")
            else:
                stack.enter_context(TftpServer(link, options.server, {n: file.data for n, file in names.items()}))
            prompt.run(
                f"setenv autoload no; setenv ipaddr {options.address}; setenv serverip {options.server}; "
                f"setenv netmask {options.netmask}"
            )
            for name, file in names.items():
                for _ in range(_TRIES):
                    prompt.run(f"tftpboot {file.address} {name}", _TRANSFER_S)
                    if self._is_there(prompt, file):
                        break
                else:
                    raise InfraError(f"U-Boot did not get {name} by TFTP.\n{console.describe()}")


class YmodemLoader(UBootLoader):
    """See :class:`YmodemOptions`."""

    def __init__(self, options: YmodemOptions, context: PartContext) -> None:
        super().__init__(options, context)
        if options.chunk < 1024 or options.chunk % 1024:
            raise UsageError(f"{context.where}: chunk = {options.chunk}; expected a multiple of 1024")
        self._options = options

    def transfer(self, prompt: LoaderPrompt, console: Console, link: Link | None, files: list[_File]) -> None:
        """See UBootLoader.transfer. A chunk that is in place, from before a break say, is not sent again."""
        while True:
            try:
                for file in files:
                    self._put(prompt, console, file)
            except StartedOver:
                _log.info("%s: the board started over while it was loaded", self._context.board)
                prompt.interrupt()
            else:
                return

    def _put(self, prompt: LoaderPrompt, console: Console, file: _File) -> None:
        base = self._number(prompt, file.address)
        for at in range(0, len(file.data), self._options.chunk):
            piece = _File(f"{file.name}@{at:x}", f"{base + at:x}", file.data[at : at + self._options.chunk])
            for _ in range(_TRIES):
                if self._is_there(prompt, piece):
                    break
                prompt.type(f"loady {piece.address}")
                console.write(b"\r")
                YmodemSender(console, _BANNER).send(piece.name, piece.data)
                prompt.settle()
            else:
                raise InfraError(f"U-Boot did not get {piece.name} by YMODEM.\n{console.describe()}")
            _log.info(
                "%s: %d of %d KiB of the %s are there",
                self._context.board, at + len(piece.data) >> 10, len(file.data) >> 10, file.name,
            )  # fmt: skip


@dataclass(frozen=True)
class GrubOptions:
    """`part = "grub-serial"`: a stick, disk or CD with GRUB on the serial line and the images (docs/board.md)."""

    append: str = field(default="", metadata={"help": "kernel command line"})


class GrubLoader:
    """See :class:`keuos_hil.board_parts.BoardLoader`."""

    capabilities = frozenset({"command-line"})
    needs_link = False
    loads = True
    moves = False
    command_line: str | None = None
    repeats = 0
    kernel_start: int | None = None
    banners: tuple[bytes, ...] = (rb"SeaBIOS \(version", rb"GNU GRUB  version")

    def __init__(self, options: GrubOptions, context: PartContext) -> None:
        if context.architecture != "x86_64":
            raise UsageError(f"{context.where}: grub-serial starts PCs; for {context.architecture} use uboot-tftp")
        self._options = options
        self._context = context
        self._image: Image | None = None

    def check(self) -> None:
        """See BoardLoader.check."""

    def prepare(self, image: Image, directory: Path, values: Mapping[str, str]) -> None:
        """See BoardLoader.prepare: nothing is sent, the stick has it."""
        self._image = image
        self.command_line = _words(self._options.append, image.command_line)

    def boot(self, console: Console, link: Link | None, timeout: float, *, whole: bool) -> None:
        """See BoardLoader.boot."""
        image = self._image
        assert image is not None
        prompt = LoaderPrompt(console, Dialect("GRUB", b"grub> ", b"c", b"\x15"), timeout)
        try:
            self._boot(prompt, image, console.byte_seconds)
        finally:
            self.repeats = prompt.repeats

    def _boot(self, prompt: LoaderPrompt, image: Image, byte_seconds: float) -> None:
        prompt.interrupt()
        folder = stick_folder(image)
        commands = [f"multiboot2 {folder}/kernel.elf {self.command_line}".rstrip()]
        if image.initrd_path is not None:
            commands.append(f"module2 {folder}/initrd.cpio")
        for command in commands:
            if b"error:" in prompt.run(command, _TRANSFER_S):
                raise InfraError(
                    f"GRUB refused {command!r}: the stick of {self._context.board} does not hold what is tested; "
                    f"`{stick_command(image, round(10 / byte_seconds))}` makes one that does (docs/board.md)"
                )
        prompt.leave("boot", _ENTERED, _ENTER_S)


@dataclass(frozen=True)
class PreloadedOptions:
    """`part = "preloaded"`: the board starts by itself what lies on it; that has to be the image that is tested."""


class PreloadedLoader:
    """See :class:`keuos_hil.board_parts.BoardLoader`."""

    capabilities: frozenset[str] = frozenset()
    needs_link = False
    loads = False
    moves = False
    command_line: str | None = None
    repeats = 0
    kernel_start: int | None = None
    banners: tuple[bytes, ...] = ()

    def __init__(self, options: PreloadedOptions, context: PartContext) -> None:
        self._board = context.board

    def check(self) -> None:
        """See BoardLoader.check."""

    def prepare(self, image: Image, directory: Path, values: Mapping[str, str]) -> None:
        """See BoardLoader.prepare: nothing is sent."""

    def boot(self, console: Console, link: Link | None, timeout: float, *, whole: bool) -> None:
        """See BoardLoader.boot: any line of text will do, whoever speaks first."""
        try:
            console.expect(rb"[^\r\n]{4,}[\r\n]", timeout)
        except WaitTimeout as error:
            raise InfraError(f"{self._board} said nothing after it was switched on: {error}") from None


@hookimpl
def keuos_hil_part_types() -> list[PartType]:
    """This module's parts."""
    return [
        PartType(ROLE, "uboot-tftp", "U-Boot fetches the image by TFTP", TftpOptions, TftpLoader),
        PartType(ROLE, "uboot-ymodem", "U-Boot takes the image over the serial line", YmodemOptions, YmodemLoader),
        PartType(ROLE, "grub-serial", "GRUB on a prepared stick", GrubOptions, GrubLoader),
        PartType(ROLE, "preloaded", "the board starts what lies on it", PreloadedOptions, PreloadedLoader),
    ]
