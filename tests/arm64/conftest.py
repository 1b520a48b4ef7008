"""The pure parts of kernel/arch/arm64, compiled for the host with ASan and UBSan, and a writer of device trees."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "kernel" / "arch" / "arm64"


class Reader:
    """The program of reader.c, one request at a time; a finding of a sanitizer is the answer's end, and raises."""

    def __init__(self, program: Path, errors: Path) -> None:
        self._errors = errors
        with errors.open("wb") as out:
            self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out)

    def ask(self, operation: str, data: bytes) -> list[str]:
        """The lines of the answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(operation.encode() + struct.pack("<I", len(data)) + data)
        self._process.stdin.flush()
        lines = []
        while (line := self._process.stdout.readline()) != b"\n":
            if not line:
                raise AssertionError(f"the reader died on {data.hex()}:\n{self._errors.read_text(errors='replace')}")
            lines.append(line.decode("latin-1").rstrip("\n"))
        return lines

    def machine(self, tree: bytes) -> dict[str, list[list[str]]]:
        """What tree_read found, by name; the first line says how it went."""
        found: dict[str, list[list[str]]] = {}
        for line in self.ask("t", tree):
            name, _, rest = line.partition(" ")
            found.setdefault(name, []).append([rest] if name == "arguments" else rest.split())
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(30) == 0, self._errors.read_text(errors="replace")


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    if shutil.which("clang") is None:
        pytest.fail("clang is not installed; `make setup` installs it", pytrace=False)
    place = tmp_path_factory.mktemp("arm64")
    sources = [HERE / "reader.c", *(SOURCES / name for name in ("fdt.c", "tree.c", "chacha.c"))]
    flags = ["-std=c17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    flags += ["-fno-sanitize-recover=all", f"-I{SOURCES}"]
    subprocess.run(["clang", *flags, *sources, "-o", place / "reader"], check=True)
    program = Reader(place / "reader", place / "errors")
    yield program
    program.close()


Value = bytes | str | int | Sequence[int | str] | None
"""Of a property: bytes as they are, a string, a cell, several of either; None for an empty one."""


def value_bytes(value: Value) -> bytes:
    """A property's value as it stands in the tree."""
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode() + b"\0"
    if isinstance(value, int):
        return struct.pack(">I", value)
    return b"".join(map(value_bytes, value))


def cells(number: int, count: int = 2) -> bytes:
    """A number in so many cells."""
    return number.to_bytes(4 * count, "big")


class Node(dict[str, "Value | Node"]):
    """A node: its properties by name, and its children."""


def board(**more: Node) -> Node:
    """A small board in the manner of `virt`."""
    return Node(
        {
            "#address-cells": 2,
            "#size-cells": 2,
            "memory@40000000": Node({"device_type": "memory", "reg": cells(0x4000_0000) + cells(0x800_0000)}),
            "cpus": Node(
                {
                    "#address-cells": 1,
                    "#size-cells": 0,
                    "cpu@0": Node({"device_type": "cpu", "reg": 0}),
                    "cpu@1": Node({"device_type": "cpu", "reg": 1}),
                    "cpu-map": Node({}),
                }
            ),
            "psci": Node({"compatible": ["arm,psci-1.0", "arm,psci-0.2", "arm,psci"], "method": "hvc"}),
            "intc@8000000": Node(
                {
                    "compatible": "arm,gic-v3",
                    "#interrupt-cells": 3,
                    "reg": cells(0x800_0000) + cells(0x1_0000) + cells(0x80A_0000) + cells(0xF6_0000),
                    "#redistributor-regions": 1,
                }
            ),
            "timer": Node(
                {
                    "compatible": ["arm,armv8-timer", "arm,armv7-timer"],
                    "interrupts": [1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4],
                }
            ),
            "pl011@9000000": Node(
                {
                    "compatible": ["arm,pl011", "arm,primecell"],
                    "reg": cells(0x900_0000) + cells(0x1000),
                    "interrupts": [0, 1, 4],
                }
            ),
            **more,
        }
    )


def make_tree(root: Node, reservations: list[tuple[int, int]] | None = None) -> bytes:
    """A flattened device tree of version 17 (Devicetree specification 0.4, chapter 5)."""
    strings = bytearray()
    offsets: dict[str, int] = {}

    def padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % 4)

    def node(name: str, content: Node) -> bytes:
        out = struct.pack(">I", 1) + padded(name.encode() + b"\0")
        children = b""
        for key, value in content.items():
            if isinstance(value, Node):
                children += node(key, value)
                continue
            if key not in offsets:
                offsets[key] = len(strings)
                strings.extend(key.encode() + b"\0")
            data = value_bytes(value)
            out += struct.pack(">III", 3, len(data), offsets[key]) + padded(data)
        return out + children + struct.pack(">I", 2)

    structure = node("", root) + struct.pack(">I", 9)
    reserved = b"".join(struct.pack(">QQ", *entry) for entry in [*(reservations or []), (0, 0)])
    structure_at = 40 + len(reserved)
    strings_at = structure_at + len(structure)
    total = strings_at + len(strings)
    header = struct.pack(
        ">10I", 0xD00DFEED, total, structure_at, strings_at, 40, 17, 16, 0, len(strings), len(structure)
    )
    return header + reserved + structure + bytes(strings)
