"""An image of a CD, or a stick, from which a PC's firmware boots a kernel through GRUB (multiboot2).

What lives here: making the image, with one kernel for an emulator, or with several and GRUB on the serial line for a PC
on a bench; run as a program it makes the latter. What must not: starting a machine. The targets that boot a PC call it.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from keuos_hil import bundled
from keuos_hil.errors import HilError, InfraError
from keuos_hil.image import Image

_PROGRAM = "python -m keuos_hil.plugins.grub_iso"
_MAKER = "grub-mkrescue"
_PACKAGES = "grub-pc-bin grub-common xorriso mtools"
_TIMEOUT_S = 120.0
_BAUD = 115200


def require() -> None:
    """Raise InfraError if GRUB's tools are not installed."""
    missing = [name for name in (_MAKER, "xorriso", "mformat") if shutil.which(name) is None]
    if missing:
        raise InfraError(f"{', '.join(missing)} not found; Debian: apt-get install {_PACKAGES}")


def make_grub_iso(kernel: Path, initrd: Path | None, command_line: str, directory: Path) -> Path:
    """Write a bootable image into `directory`, which must exist; its path.

    Args:
        kernel: an ELF with a multiboot2 header.
        initrd: becomes the first module, if there is one.
        command_line: handed to the kernel as it is; must hold no newline.

    Raises:
        InfraError: GRUB's tools are missing or refuse.
    """
    require()
    tree, iso = directory / "iso", directory / "boot.iso"
    grub = tree / "boot" / "grub"
    grub.mkdir(parents=True)
    shutil.copyfile(kernel, tree / "boot" / "kernel.elf")
    lines = ["set timeout=0", "menuentry kernel {", f"\tmultiboot2 /boot/kernel.elf {command_line}".rstrip()]
    if initrd is not None:
        shutil.copyfile(initrd, tree / "boot" / "initrd.cpio")
        lines.append("\tmodule2 /boot/initrd.cpio")
    (grub / "grub.cfg").write_text("\n".join([*lines, "}"]) + "\n")
    return _write_iso(tree, iso)


def _write_iso(tree: Path, iso: Path) -> Path:
    """The image of what lies in `tree`, which is removed."""
    try:
        made = subprocess.run(
            [_MAKER, "-o", str(iso), str(tree)], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise InfraError(f"{_MAKER} was not done after {_TIMEOUT_S:g} s") from None
    if made.returncode != 0:
        raise InfraError(f"{_MAKER} failed with status {made.returncode}:\n{made.stderr.strip()[-1000:]}")
    shutil.rmtree(tree)
    return iso


def stick_folder(image: Image) -> str:
    """Where on a stick `image` lies: named by its content, so that what is booted is what is tested."""
    return f"/keuos-hil/{image.key[:16]}"


def stick_command(image: Image, baud: int) -> str:
    """What a person types to have a stick with `image`; of the bundled kernel it will hold both builds.

    Args:
        baud: of the board's line.
    """
    words = _PROGRAM.split()
    given = image.variant not in bundled.VARIANTS
    if given:
        words.append(f"--kernel={image.kernel_path}")
    if image.initrd_path is not None and (given or not _is_bundled(image.initrd_path, image.kernel.machine)):
        words.append(f"--initrd={image.initrd_path}")
    if baud != _BAUD:
        words.append(f"--baud={baud}")
    return shlex.join([*words, "--output=stick.iso"])


def _is_bundled(initrd: Path, architecture: str) -> bool:
    try:
        return initrd.read_bytes() == bundled.paths(architecture, "release").initrd.read_bytes()
    except OSError:
        return False


def make_stick(images: Iterable[Image], output: Path, baud: int = _BAUD) -> None:
    """Write an image for a stick or CD with all of `images`; GRUB's menu and prompt are on the first serial port.

    Raises:
        InfraError: GRUB's tools are missing or refuse.
    """
    require()
    tree = output.parent / f"{output.name}.tree"
    grub = tree / "boot" / "grub"
    try:
        grub.mkdir(parents=True)
        lines = [
            f"serial --unit=0 --speed={baud}",
            "terminfo serial dumb",
            "terminal_input serial console",
            "terminal_output serial console",
            "set timeout=5",
        ]
        for image in images:
            folder = stick_folder(image)
            place = tree / folder.removeprefix("/")
            place.mkdir(parents=True)
            shutil.copyfile(image.kernel_path, place / "kernel.elf")
            lines += [f'menuentry "{image.variant} {image.kernel.build_id}" {{', f"\tmultiboot2 {folder}/kernel.elf"]
            if image.initrd_path is not None:
                shutil.copyfile(image.initrd_path, place / "initrd.cpio")
                lines.append(f"\tmodule2 {folder}/initrd.cpio")
            lines.append("}")
        (grub / "grub.cfg").write_text("\n".join(lines) + "\n")
        _write_iso(tree, output)
    except OSError as error:
        raise InfraError(f"the stick's image {output} can't be made: {error}") from None
    finally:
        shutil.rmtree(tree, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line: makes a stick's image. The exit status: 0, or 1 with one line that says what was wrong."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Make an image for a stick or CD from which boards with load = grub-serial boot; "
        "`dd if=IMAGE of=/dev/sdX` puts it on a stick.",
    )
    parser.add_argument(
        "--kernel", type=Path, help="an ELF with a multiboot2 header (default: the bundled KeuOS, both builds)"
    )
    parser.add_argument("--initrd", type=Path, help="its initrd")
    parser.add_argument("--baud", type=int, default=_BAUD, help=f"of the serial line (default: {_BAUD})")
    parser.add_argument("--output", type=Path, required=True, help="the image to write")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.kernel is not None:
            images = [Image.load(chosen.kernel, chosen.initrd)]
        else:
            bundled.ensure("x86_64")
            found = {variant: bundled.paths("x86_64", variant) for variant in bundled.VARIANTS}
            images = [Image.load(p.kernel, chosen.initrd or p.initrd, variant=v) for v, p in found.items()]
        make_stick(images, chosen.output.absolute(), chosen.baud)
    except HilError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
