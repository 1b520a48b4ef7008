"""Which accelerator QEMU should use. /dev/kvm alone proves nothing: see :func:`choose_accel`.

Some virtual machines offer a /dev/kvm that emulates long-mode code instruction by instruction: a thousand times slower
than TCG, and nothing fails. So a short loop is timed under both, in children with a bounded life.
"""

from __future__ import annotations

import functools
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .child_process import ChildProcess

#: A guest run may take so long; a good KVM needs a fraction of a second.
_LIMIT_S = 10.0
#: isa-debug-exit: the guest writes 16, QEMU exits with 2 * 16 + 1.
_EXIT_PORT = 0xF4
_EXIT_STATUS = 33
_LOAD_AT = 0x10_0000
_PAGE_TABLES_AT = 0x20_0000
_LOOPS = 20_000_000

Measure = Callable[[str, str], "float | None"]


def _probe_code() -> bytes:
    """Machine code for the PVH entry (32-bit, flat): enter long mode, count down, leave through the exit port."""
    le32 = struct.Struct("<I").pack
    tables, entry = _PAGE_TABLES_AT, _LOAD_AT
    code = b"".join((
        b"\xc7\x05" + le32(tables) + le32(tables + 0x1000 + 3),  # PML4[0] = PDPT, present and writable
        b"\xc7\x05" + le32(tables + 0x1000) + le32(tables + 0x2000 + 3),  # PDPT[0] = page directory
        b"\xc7\x05" + le32(tables + 0x2000) + le32(0x83),  # PD[0] = 2 MiB page at 0
        b"\xb8" + le32(tables) + b"\x0f\x22\xd8",  # cr3
        b"\x0f\x20\xe0\x83\xc8\x20\x0f\x22\xe0",  # cr4 |= PAE
        b"\xb9" + le32(0xC000_0080) + b"\x0f\x32\x0d" + le32(0x100) + b"\x0f\x30",  # EFER |= LME
        b"\x0f\x20\xc0\x0d" + le32(0x8000_0001) + b"\x0f\x22\xc0",  # cr0 |= PG | PE
    ))  # fmt: skip
    lgdt_and_jump = 7 + 7
    long_mode = entry + len(code) + lgdt_and_jump
    body = b"".join((
        b"\xb9" + le32(_LOOPS),  # mov ecx, loops
        b"\xff\xc9\x75\xfc",  # dec ecx; jnz
        b"\xb0\x10\x66\xba" + struct.pack("<H", _EXIT_PORT) + b"\xee\xf4",  # out dx, 16; hlt
    ))  # fmt: skip
    gdt = long_mode + len(body)
    pointer = gdt + 16
    code += b"\x0f\x01\x15" + le32(pointer)  # lgdt
    code += b"\xea" + le32(long_mode) + struct.pack("<H", 8)  # far jump into 64-bit code
    code += body
    code += bytes(8) + struct.pack("<Q", 0x00AF_9A00_0000_FFFF)  # null, 64-bit code segment
    return code + struct.pack("<HI", 15, gdt)


def probe_elf() -> bytes:
    """A whole 64-bit ELF with a PVH note around :func:`_probe_code`."""
    code = _probe_code()
    note = struct.pack("<III4sQ", 4, 8, 18, b"Xen\0", _LOAD_AT)
    header_bytes, program_header_bytes = 64, 56
    note_at = header_bytes + 2 * program_header_bytes
    code_at = 0x1000
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        *(b"\x7fELF", 2, 1, 1, 0, 2, 62, 1, _LOAD_AT, header_bytes, 0, 0),
        *(header_bytes, program_header_bytes, 2, 0, 0, 0),
    )
    load = struct.pack("<IIQQQQQQ", 1, 7, code_at, _LOAD_AT, _LOAD_AT, len(code), len(code), 0x1000)
    notes = struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(note), len(note), 4)
    return (header + load + notes + note).ljust(code_at, b"\0") + code


def measure(binary: str, accel: str) -> float | None:
    """Seconds that the loop takes under `accel`, start of QEMU included; None if it fails or passes its limit."""
    program = shutil.which(binary)
    if program is None:
        return None
    with tempfile.TemporaryDirectory(prefix="keuos-hil-accel-") as place:
        kernel = Path(place) / "probe.elf"
        kernel.write_bytes(probe_elf())
        argv = [program, "-accel", accel, "-M", "q35", "-bios", "qboot.rom", "-m", "64", "-nodefaults"]
        argv += ["-cpu", "max", "-display", "none", "-no-reboot", "-kernel", str(kernel)]
        argv += ["-device", f"isa-debug-exit,iobase={_EXIT_PORT:#x},iosize=4"]
        start = time.monotonic()
        probe = ChildProcess(argv, inherit=(), output=Path(place) / "log", on_exit=lambda status: None)
        try:
            status = probe.wait(_LIMIT_S)
            return time.monotonic() - start if status == _EXIT_STATUS else None
        finally:
            probe.close()


@functools.cache
def choose_accel(binary: str, measured: Measure = measure, device: str = "/dev/kvm") -> str:
    """ "kvm" if it can be used and runs a loop no slower than TCG does, else "tcg" and a line that says why."""
    if not os.access(device, os.R_OK | os.W_OK):
        return _fall_back(f"{device} can't be opened")
    kvm = measured(binary, "kvm")
    if kvm is None:
        return _fall_back(f"a short loop under KVM failed, or took more than {_LIMIT_S:g} s")
    tcg = measured(binary, "tcg")
    if tcg is not None and kvm > tcg:
        return _fall_back(f"a short loop took {kvm:.2f} s under KVM and {tcg:.2f} s under TCG")
    return "kvm"


def _fall_back(why: str) -> str:
    print(f"keuos-hil: --accel=auto uses TCG: {why}", file=sys.stderr)
    return "tcg"
