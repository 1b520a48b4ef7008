"""The arm64 kernel on machines of other kinds: older cores, either GIC, an 8250, entered at EL2 or EL1."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .conftest import Node, board, cells, make_tree

ROOT = Path(__file__).resolve().parents[2]
LONG = 240.0
#: It comes up, each core runs processes and is interrupted, sealed messages pass from one to the other.
CASES = "every_core or take_turns_on_one or same_core_verified_sleeping or verified_in_batches"


@dataclass(frozen=True)
class Machine:
    """One kind.

    Attributes:
        options: for pytest, that make it.
        missing: what the kernel's line of protections must say that it lacks.
        cases: what is run on it, for pytest's -k.
    """

    options: tuple[str, ...]
    missing: frozenset[str] = field(default=frozenset())
    cases: str = CASES


MACHINES = {
    "cortex_a57_gicv2": Machine(
        ("--qemu-cpu=cortex-a57", "--qemu-machine=virt,gic-version=2"), frozenset({"no-PAN", "no-IOMMU"})
    ),
    "el2": Machine(("--qemu-machine=virt,gic-version=3,virtualization=on",)),
    "el2_gicv2_cortex_a72_four_cores": Machine(
        ("--qemu-cpu=cortex-a72", "--qemu-machine=virt,gic-version=2,virtualization=on", "--qemu-cores=4"),
        frozenset({"no-PAN", "no-IOMMU"}),
    ),
    "one_core": Machine(("--qemu-cores=1",)),
}


@pytest.mark.parametrize("kind", MACHINES)
def test_the_kernel_runs_on_it_and_says_what_it_lacks(pytestconfig: pytest.Config, tmp_path: Path, kind: str) -> None:
    _require_works(MACHINES[kind], pytestconfig, tmp_path)


def test_the_kernel_runs_with_an_8250_for_a_console(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """`virt` has none. One on its PCIe bus serves: firmware gives it an address, and the device tree tells of it."""
    firmware = tmp_path / "firmware.elf"
    source = ROOT / "tests" / "kernels" / "uart_firmware.S"
    command = [
        "clang",
        "--target=aarch64-unknown-none-elf",
        "-nostdlib",
        "-fuse-ld=lld",
        "-static",
        "-Wl,-Ttext=0x40001000",
    ]
    subprocess.run([*command, str(source), "-o", str(firmware)], check=True, timeout=60)
    tree = board()
    del tree["pl011@9000000"]
    # Port 0x1000 of the bridge's window; interrupt A of slot 2 is the third of the bridge's lines, SPI 3 to 6.
    path = "serial@3eff1000"
    tree[path] = Node({"compatible": "ns16550a", "reg": cells(0x3EFF_1000) + cells(8), "interrupts": [0, 5, 4]})
    tree["chosen"] = Node({"stdout-path": f"/{path}"})
    (tmp_path / "board.dtb").write_bytes(make_tree(tree))
    extra = ["-serial", "null"]  # the PL011: the console is the line behind it
    extra += ["-device", "pci-serial,chardev=console,addr=2", "-dtb", str(tmp_path / "board.dtb")]
    extra += ["-device", f"loader,file={firmware},cpu-num=0"]
    # This tree tells of no PCI host and no SMMU.
    machine = Machine(tuple(f"--qemu-extra={word}" for word in extra), frozenset({"no-IOMMU"}))
    _require_works(machine, pytestconfig, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"msi-map", b"x-x-map", b"a PCI function has no number there, or another's"),
        # Its value is 0, and so a mask that leaves nothing of a requester.
        (b"linux,pci-domain", b"iommu-map-mask", b"a PCI function has no stream there, or another's"),
        (b"linux,pci-domain", b"msi-map-mask", b"a PCI function has no number there, or another's"),
    ],
    ids=["no-numbers", "one-stream", "one-number"],
)
def test_functions_that_can_not_be_told_apart_are_given_to_nobody(
    pytestconfig: pytest.Config, tmp_path: Path, old: bytes, new: bytes, said: bytes
) -> None:
    """QEMU's own tree with a property that goes by another name."""
    tree = _virt(tmp_path)
    assert tree.count(b"\0" + old + b"\0") == 1
    tree = tree.replace(b"\0" + old + b"\0", b"\0" + new.ljust(len(old), b"\0") + b"\0")
    assert said in _require_works(_of(tree, tmp_path), pytestconfig, tmp_path)


@pytest.mark.parametrize(
    ("name", "first", "said"),
    [
        ("iommu-map", 1 << 15, b"a PCI function's stream is beyond its table"),
        ("msi-map", 1 << 16, b"a PCI function's number there is beyond those it has, or beyond its table"),
    ],
)
def test_functions_whose_numbers_are_beyond_the_tables_are_given_to_nobody(
    pytestconfig: pytest.Config, tmp_path: Path, name: str, first: int, said: bytes
) -> None:
    """QEMU's own tree, with other numbers of streams or devices: its ITS has sixteen bits of them."""
    tree = _virt(tmp_path)
    strings = struct.unpack_from(">I", tree, 12)[0]
    property_ = struct.pack(">III", 3, 16, tree.index(b"\0" + name.encode() + b"\0", strings) + 1 - strings)
    [at] = [found.end() for found in re.finditer(re.escape(property_), tree)]
    requester, controller, number, count = struct.unpack_from(">4I", tree, at)
    assert (requester, number) == (0, 0)
    tree = tree[:at] + struct.pack(">4I", requester, controller, first, count) + tree[at + 16 :]
    assert said in _require_works(_of(tree, tmp_path), pytestconfig, tmp_path)


def _virt(tmp_path: Path) -> bytes:
    """The device tree of QEMU's machine with an SMMU and an ITS."""
    blob = tmp_path / "virt.dtb"
    dump = ["-M", f"virt,gic-version=3,iommu=smmuv3,dumpdtb={blob}", "-cpu", "max", "-smp", "2", "-m", "128"]
    subprocess.run(["qemu-system-aarch64", *dump], check=True, capture_output=True, timeout=60)
    return blob.read_bytes()


def _of(tree: bytes, tmp_path: Path) -> Machine:
    """The machine that is told to the kernel by this tree, whose functions nobody is to get."""
    blob = tmp_path / "other.dtb"
    blob.write_bytes(_without_padding(tree))
    return Machine(("--qemu-extra=-dtb", f"--qemu-extra={blob}"), frozenset({"no-IOMMU"}), "every_core")


def _without_padding(tree: bytes) -> bytes:
    """QEMU dumps a megabyte and doubles what it is given; a kernel takes two at most (Linux, arm64/booting.rst)."""
    magic, _, structure, strings, *rest = struct.unpack_from(">10I", tree)
    end = max(structure + rest[5], strings + rest[4])
    return struct.pack(">II", magic, end) + tree[8:end]


def _require_works(machine: Machine, config: pytest.Config, tmp_path: Path) -> bytes:
    """What it says. The kernel is the one that the run's options name, or that of the checkout."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "suites/boot/test_boot.py",
        "suites/ring/test_stream.py",
        "-q",
        "-p",
        "no:cacheprovider",
        "--target=qemu-arm64",
    ]
    given = {name: config.getoption(f"keuos_{name}") for name in ("kernel", "initrd")}
    command += [f"--{name}={path}" for name, path in given.items() if path]
    command += ["-k", machine.cases, "--require=agent", *machine.options, f"--results={tmp_path}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    assert re.search(r"\d+ passed", run.stdout), run.stdout[-400:]
    console = next(iter(sorted(tmp_path.rglob("console.log")))).read_bytes()
    [line] = {line for line in console.splitlines() if line.startswith(b"protection:")}
    said = {word.decode() for word in line.split() if word.startswith(b"no-")}
    assert said == machine.missing, line
    assert line.split()[-2] == b"entropy", line
    return console
