"""An image of a CD from which a PC's firmware boots a kernel through GRUB, as it would from a disk (multiboot2).

What lives here: making the image. What must not: starting a machine. The targets that boot a PC call it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from keuos_hil.errors import InfraError

_MAKER = "grub-mkrescue"
_PACKAGES = "grub-pc-bin grub-common xorriso mtools"
_TIMEOUT_S = 120.0


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
