"""One moment of a kernel: its records, its page tables, the registers of its cores.

What lives here: reading, and finding one's way from pointers to records. What must not: any opinion on what is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.image import Elf, Segment
from keuos_hil.iommu import Unit, kind_of
from keuos_hil.memory import KernelMemory
from keuos_hil.page_tables import CpuFormat, PageMap, Walker, format_for
from keuos_hil.page_tables.walk import PAGES

PAGE = 4096
#: Addresses from here on are the kernel's, on every architecture.
UPPER_HALF = 1 << 63

#: The program headers of a program, by its name.
Programs = Callable[[str], Sequence[Segment]]


@dataclass(frozen=True)
class Core:
    """What a core has loaded.

    Attributes:
        registers: as Debug.registers gives them.
        space: what the kernel believes to be loaded: the address of a struct space.
    """

    index: int
    registers: dict[str, int]
    space: int


@dataclass(frozen=True)
class Table:
    """An array of records in the kernel. Pointers to its elements become indices."""

    records: NDArray[Any]
    address: int

    def index(self, pointer: int) -> int | None:
        """Which record a pointer points to; None for a null pointer or one that points elsewhere."""
        at, rest = divmod(pointer - self.address, self.records.dtype.itemsize)
        return at if 0 <= at < len(self.records) and rest == 0 else None

    def pointer(self, index: int) -> int:
        """The address of a record."""
        return self.address + index * self.records.dtype.itemsize


@dataclass(frozen=True)
class Stack:
    """One of the kernel's own stacks: `pages` pages that end at `top`."""

    top: int
    pages: int
    name: str

    @property
    def bottom(self) -> int:
        """Its lowest address; the page below is to be unmapped."""
        return self.top - self.pages * PAGE


@dataclass(frozen=True)
class Snapshot:
    """See the module. Processes, channels and memory objects go by the index of their records.

    Attributes:
        quiet: nobody held the kernel lock.
        elf: the kernel's file, for enumerators and symbols.
        spaces: of each process that has tables: its page map, kernel's half included.
        kernel: the page map of the kernel's own space.
        domains: of each device that somebody drives: what it may reach, through its IOMMU's tables.
        iommu: None if there is none that the kernel drives.
        frames: struct frame of every 4 KiB up to the end of memory.
        ranges: (start, end) of what of it is memory, in bytes.
        program_frames: the content of each frame that holds code or constants of programs, by its address.
        values: variables of the kernel by name.
        programs: what the loader was given.
        notes: what rules have worked out of it, so that it is done once.
    """

    quiet: bool
    elf: Elf
    format: CpuFormat
    processes: Table
    channels: Table
    objects: Table
    devices: Table
    functions: Table
    frames: NDArray[Any]
    ranges: tuple[tuple[int, int], ...]
    program_frames: dict[int, bytes]
    spaces: dict[int, PageMap]
    kernel: PageMap
    domains: dict[int, PageMap]
    iommu: Unit | None
    cores: tuple[Core, ...]
    stacks: tuple[Stack, ...]
    values: dict[str, int]
    programs: Programs
    notes: dict[str, Any] = field(default_factory=dict)

    def constant(self, name: str) -> int:
        """An enumerator of the kernel."""
        return self.elf.layouts.constant(name)

    def names(self, enumeration: str, prefix: str) -> dict[int, str]:
        """An enumeration's members without their prefix, in lower case, by value."""
        return {int(m): m.name.removeprefix(prefix).lower() for m in self.elf.layouts.enum(enumeration)}

    @cached_property
    def frame_kinds(self) -> dict[int, str]:
        """enum frame_kind by value."""
        return self.names("frame_kind", "FRAME_")

    def function(self, device: Any) -> Any:
        """The struct pci_function of a device's record.

        Raises:
            KeyError: it has none that there is.
        """
        index = self.functions.index(int(device["function"]))
        if index is None:
            raise KeyError(f"device {device['id']} names no PCI function: {int(device['function']):#x}")
        return self.functions.records[index]

    def process_name(self, index: int) -> str:
        """As in "[5 gate_sender]"."""
        record = self.processes.records[index]
        return f"[{record['pid']} {self.program(index)}]"

    def program(self, index: int) -> str:
        """The name of the file that a process was loaded from."""
        return bytes(self.processes.records[index]["name"]).split(b"\0")[0].decode("utf-8", "backslashreplace")

    def frame_name(self, physical: int) -> str:
        """As in "frame 0x1234000 (channel, of 3, 2 references)"."""
        number = physical // PAGE
        if number >= len(self.frames):
            return f"physical {physical:#x} (no memory)"
        frame = self.frames[number]
        kind = self.frame_kinds.get(int(frame["kind"]), str(frame["kind"]))
        return f"frame {physical:#x} ({kind}, of {frame['owner']}, {frame['references']} references)"

    def kind_of(self, physical: NDArray[np.uint64]) -> NDArray[np.int64]:
        """enum frame_kind of each physical address; -1 where there is no memory."""
        number = physical // np.uint64(PAGE)
        inside = np.zeros(len(physical), dtype=np.bool_)
        for start, end in self.ranges:
            inside |= (physical >= np.uint64(start)) & (physical < np.uint64(min(end, len(self.frames) * PAGE)))
        out = np.full(len(physical), -1, dtype=np.int64)
        out[inside] = self.frames["kind"][number[inside].astype(np.intp)]
        return out

    @cached_property
    def lower(self) -> dict[int, NDArray[Any]]:
        """Of each process, the pages that it maps in its own half: PAGES arrays by rising address."""
        return {index: space.pages(space.mappings["virtual"] < UPPER_HALF) for index, space in self.spaces.items()}

    @cached_property
    def reachable(self) -> dict[int, PageMap]:
        """The spaces that a core has loaded or may load: not those of the dead, nor of the suspended.

        Those are being made or taken apart at a moment that is not quiet.
        """
        alive = {self.constant(f"KEUOS_PROCESS_{state}") for state in ("READY", "RUNNING", "WAITING")}
        loaded = {root for core in self.cores for root in self.format.roots_of(core.registers)}
        return {
            index: space
            for index, space in self.spaces.items()
            if self.quiet or int(self.processes.records[index]["state"]) in alive or space.roots[0] in loaded
        }

    @cached_property
    def direct_map(self) -> int:
        """The address at which the kernel sees physical 0."""
        at = self.values["frames"]
        physical = self.kernel.translate(at)
        return at - physical if physical is not None else UPPER_HALF

    @cached_property
    def kernel_pages(self) -> NDArray[Any]:
        """Every page of the kernel's own space: a PAGES array."""
        return self.kernel.pages()

    @cached_property
    def in_direct_map(self) -> NDArray[np.bool_]:
        """Which of kernel_pages belong to the direct map."""
        virtual = self.kernel_pages["virtual"]
        size = -(-len(self.frames) * PAGE // (1 << 21)) * (1 << 21)
        start = np.uint64(self.direct_map)
        return (virtual >= start) & (virtual - start < np.uint64(size))


#: Variables that a snapshot keeps. Windows of user space, the frames' bookkeeping.
_VALUES = (
    "frames", "frames_count", "frames_managed", "frames_free", "free_head", "capability_count", "process_count",
    "channel_count", "arch_user_base", "arch_user_end", "channel_window", "channel_window_bytes", "memory_window",
    "memory_window_bytes", "device_window", "device_window_bytes", "bar_window_bytes", "process_stack_top",
    "process_stack_pages",
)  # fmt: skip
_EDGES = ("kernel_start", "kernel_text_end", "kernel_rodata_end", "kernel_end")


def take(kernel: KernelMemory, architecture: str, programs: Programs) -> Snapshot:
    """Read everything. The target must stand still meanwhile.

    Raises:
        ImageError: the kernel's debug information lacks a record that KeuOS has.
    """
    debug, format_ = kernel.debug, format_for(architecture)
    lock = kernel.read("kernel_lock")
    values = {name: int(kernel.read(name)) for name in _VALUES}
    values |= {name: kernel.address(name) for name in _EDGES}
    processes, channels, objects, devices, functions = (
        Table(kernel.read_array(name), kernel.address(name))
        for name in ("processes", "channels", "memory_objects", "devices", "pci_functions")
    )
    kernel_root = int(kernel.read("kernel_space").root)
    walker = Walker(format_, debug.read_physical)
    kernel_map = walker.walk(format_.roots(kernel_root, kernel_root))
    free = kernel.elf.layouts.constant("KEUOS_PROCESS_FREE")
    spaces = {
        index: walker.walk(format_.roots(int(record["space"]["root"]), kernel_root))
        for index, record in enumerate(processes.records)
        if record["state"] != free and record["space"]["root"] != 0
    }
    count = int(kernel.read("cpu_count"))
    cpus = kernel.read_array("cpus", count)
    cores = tuple(Core(i, debug.registers(i), int(cpus[i]["space"])) for i in range(count))
    dtype = kernel.elf.layouts.struct("frame")
    frames_at = kernel_map.translate(values["frames"])
    data = debug.read_physical(frames_at, values["frames_count"] * dtype.itemsize) if frames_at is not None else b""
    frames = np.frombuffer(data, dtype=dtype)
    of_programs = np.flatnonzero(frames["kind"] == kernel.elf.layouts.constant("FRAME_PROGRAM")) * PAGE
    booted = kernel.read("boot_info")
    ranges = booted.ranges[: booted.ranges_count]
    iommu = _iommu(kernel, kernel_map, cpus)
    return Snapshot(
        quiet=lock.next == lock.owner,
        elf=kernel.elf,
        format=format_,
        processes=processes,
        channels=channels,
        objects=objects,
        devices=devices,
        functions=functions,
        frames=frames,
        program_frames={at: debug.read_physical(at, PAGE) for at in of_programs.tolist()},
        ranges=tuple((int(r.base) & -PAGE, -(-(int(r.base) + int(r.bytes)) // PAGE) * PAGE) for r in ranges),
        spaces=spaces,
        kernel=kernel_map,
        domains=_domains(kernel, devices, iommu),
        iommu=iommu,
        cores=cores,
        stacks=_kernel_stacks(kernel, cpus),
        values=values,
        programs=programs,
    )


def _domains(kernel: KernelMemory, devices: Table, iommu: Unit | None) -> dict[int, PageMap]:
    """What the kernel has told the IOMMU of each device; the tables' depth is the unit's."""
    if iommu is None:
        return {}
    roots = {i: int(record["domain"]["root"]) for i, record in enumerate(devices.records) if record["domain"]["root"]}
    walker = Walker(iommu.tables, kernel.debug.read_physical)
    return {index: walker.walk((root,)) for index, root in roots.items()}


def _iommu(kernel: KernelMemory, kernel_map: PageMap, cpus: NDArray[Any]) -> Unit | None:
    kind = kind_of(kernel)
    return kind.take(kernel, kernel_map.translate, cpus) if kind else None


def _kernel_stacks(kernel: KernelMemory, cpus: NDArray[Any]) -> tuple[Stack, ...]:
    """Each core's stack and, where the architecture has them, those of its exceptions."""
    pages = kernel.elf.layouts.constant("KERNEL_STACK_PAGES")
    stacks = [Stack(int(cpu["arch"]["kernel_stack"]), pages, f"core {i}'s stack") for i, cpu in enumerate(cpus)]
    if "emergency_stack" in (cpus["arch"].dtype.names or ()):
        tops = cpus["arch"]["emergency_stack"].tolist()
        stacks += [Stack(top, pages, f"core {core}'s emergency stack") for core, top in enumerate(tops)]
    if "tss" in kernel.elf.symbols:
        pages = kernel.elf.layouts.constant("EXCEPTION_STACK_PAGES")
        for core, tss in enumerate(kernel.read_array("tss", len(cpus))):
            tops = [int(top) for top in tss["ist"] if top]
            stacks += [Stack(top, pages, f"core {core}'s exception stack {i + 1}") for i, top in enumerate(tops)]
    return tuple(stacks)


__all__ = [
    "PAGE", "PAGES", "UPPER_HALF", "Core", "Programs", "Snapshot", "Stack", "Table", "take",
]  # fmt: skip
