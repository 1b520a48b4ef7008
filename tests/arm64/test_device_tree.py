"""What the kernel reads out of a device tree, and that no tree makes it read beside it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import Node, Reader, Value, board, cells, make_tree

quick = settings(max_examples=400, deadline=None)


def test_a_board_is_read_whole(reader: Reader) -> None:
    found = reader.machine(make_tree(board(), [(0x4800_0000, 0x1000)]))
    assert found["whole"]
    assert found["memory"] == [["40000000", "8000000"]]
    assert found["reserved"] == [["48000000", "1000", "0"]]
    assert found["core"] == [["0"], ["1"]]
    assert found["conduit"] == [["1"]]
    assert found["gic"] == [["2", "1", "0"]]
    assert found["gic-range"] == [["8000000", "10000"], ["80a0000", "f60000"]]
    assert found["timer"] == [["1b"]], "PPI 11 is interrupt 27"
    assert found["serial"] == [["1", "9000000", "21", "0", "4", "0"]], "SPI 1 is interrupt 33"


def test_the_console_that_the_loader_used_is_the_one_by_path_and_by_alias(reader: Reader) -> None:
    serial: dict[str, Value | Node] = {"compatible": "ns16550a", "reg-shift": 2, "reg-io-width": 4}
    more = {
        "soc": Node(
            {
                "#address-cells": 1,
                "#size-cells": 1,
                "ranges": [0x7E00_0000, 0, 0xFE00_0000, 0x180_0000],
                "serial@7e215040": Node({**serial, "reg": [0x7E21_5040, 0x40], "interrupts": [0, 93, 4]}),
            }
        ),
        "aliases": Node({"serial0": "/soc/serial@7e215040"}),
    }
    for path in ("/soc/serial@7e215040", "serial0", "serial0:115200n8"):
        found = reader.machine(make_tree(board(**more, chosen=Node({"stdout-path": path}))))
        assert found["serial"] == [["2", "fe215040", "7d", "2", "4", "0"]], path
    for path in ("/soc/serial", "/soc/serial@7e2150401", "/soc", "serial1", "/", ""):
        found = reader.machine(make_tree(board(**more, chosen=Node({"stdout-path": path}))))
        assert found["serial"][0][1] == "9000000", f"{path!r} names none: the first is taken"


@pytest.mark.parametrize(
    ("compatible", "more", "found"),
    [
        ("ns16550a", {}, ["2", "0", "1"]),
        ("ns16550", {"reg-shift": 2, "reg-io-width": 4}, ["2", "2", "4"]),
        ("ns16550a", {"reg-shift": 9}, ["2", "0", "1"]),
        ("snps,dw-apb-uart", {"reg-shift": 2, "reg-io-width": 4}, ["3", "2", "4"]),
        (["ns16550a", "snps,dw-apb-uart"], {"reg-shift": 2}, ["3", "2", "1"]),
        ("brcm,bcm2835-aux-uart", {}, ["4", "2", "4"]),
        (["arm,pl011", "arm,primecell"], {}, ["1", "0", "4"]),
    ],
)
def test_a_uart_is_driven_as_the_most_that_it_is(
    reader: Reader, compatible: Value, more: dict[str, Value | Node], found: list[str]
) -> None:
    """Kind, shift between registers, width of an access: the last two are the BCM2835's and the PL011's own."""
    tree = board()
    del tree["pl011@9000000"]
    tree["serial@9000000"] = Node({"compatible": compatible, "reg": cells(0x900_0000) + cells(0x1000), **more})
    ((kind, _, _, shift, width, _),) = reader.machine(make_tree(tree))["serial"]
    assert [kind, shift, width] == found


@pytest.mark.parametrize(("flags", "edge"), [(4, "0"), (1, "1"), (0, "0"), (0x104, "0"), (0x101, "1")])
def test_the_interrupt_of_the_line_is_an_edge_or_a_level_as_the_tree_says(
    reader: Reader, flags: int, edge: str
) -> None:
    tree = board()
    serial = tree["pl011@9000000"]
    assert isinstance(serial, Node)
    serial["interrupts"] = [0, 1, flags]
    assert reader.machine(make_tree(tree))["serial"] == [["1", "9000000", "21", "0", "4", edge]]


def test_addresses_go_through_the_ranges_of_every_bus_or_are_none(reader: Reader) -> None:
    def bus(ranges: list[int] | None, inside: Node) -> Node:
        node = Node({"#address-cells": 1, "#size-cells": 1, "dev@1000": inside})
        return Node({**node, "ranges": ranges}) if ranges != [] else node

    device = Node({"compatible": "arm,pl011", "reg": [0x1000, 0x1000]})
    tree = board()
    del tree["pl011@9000000"]
    nested = Node(
        {
            "#address-cells": 1,
            "#size-cells": 1,
            "ranges": [0x10_0000, 8, 0, 0x1000_0000],
            "inner": bus([0, 0x20_0000, 0x2000], device),
        }
    )
    assert reader.machine(make_tree(Node({**tree, "outer": nested})))["serial"][0][1] == "800101000"
    outside = bus([0x8000, 0x20_0000, 0x2000], device)
    assert reader.machine(make_tree(Node({**tree, "outer": outside})))["serial"][0][0] == "0", "beside its bus's ranges"
    assert reader.machine(make_tree(Node({**tree, "outer": bus([], device)})))["serial"][0][0] == "0", "no ranges"


def test_reserved_memory_says_whether_it_may_be_mapped(reader: Reader) -> None:
    reserved = Node(
        {
            "#address-cells": 2,
            "#size-cells": 2,
            "ranges": None,
            "secure@41000000": Node({"reg": cells(0x4100_0000) + cells(0x20_0000), "no-map": None}),
            "shared@42000000": Node({"reg": cells(0x4200_0000) + cells(0x1000)}),
            "off@43000000": Node({"reg": cells(0x4300_0000) + cells(0x1000), "status": "disabled"}),
        }
    )
    found = reader.machine(make_tree(board(**{"reserved-memory": reserved})))
    assert found["reserved"] == [["41000000", "200000", "1"], ["42000000", "1000", "0"]]


def test_what_the_loader_chose_is_read_and_a_long_command_line_cut(reader: Reader) -> None:
    chosen = Node(
        {
            "bootargs": "a=b " + "x" * 600,
            "linux,initrd-start": cells(0x4800_0000),
            "linux,initrd-end": 0x4800_1000,
            "rng-seed": bytes(range(32)),
        }
    )
    tree = make_tree(board(chosen=chosen))
    found = reader.machine(tree)
    assert found["arguments"] == [[("a=b " + "x" * 600)[:511]]]
    assert found["initrd"] == [["48000000", "48001000"]]
    ((at, count),) = found["seed"]
    assert tree[int(at, 16) :][: int(count, 16)] == bytes(range(32))
    backwards = Node({"linux,initrd-start": 0x4800_1000, "linux,initrd-end": 0x4800_0000})
    assert reader.machine(make_tree(board(chosen=backwards)))["initrd"] == [["0", "0"]]


def test_gicv2_smc_and_a_pcie_window(reader: Reader) -> None:
    tree = board(
        **{
            "pcie@10000000": Node(
                {
                    "compatible": "pci-host-ecam-generic",
                    "#address-cells": 3,
                    "#size-cells": 2,
                    "reg": cells(0x40_1000_0000) + cells(0x1000_0000),
                    "bus-range": [0, 0xFF],
                    "ranges": cells(0x0100_0000, 1) + cells(0) + cells(0x3EFF_0000) + cells(0x1_0000)
                    + cells(0x0200_0000, 1) + cells(0x1000_0000) + cells(0x1000_0000) + cells(0x2EFF_0000)
                    + cells(0x0300_0000, 1) + cells(0x80_0000_0000) + cells(0x80_0000_0000) + cells(0x80_0000_0000),
                }
            )
        }
    )  # fmt: skip
    tree["psci"] = Node({"compatible": "arm,psci-0.2", "method": "smc"})
    tree["intc@8000000"] = Node(
        {
            "compatible": "arm,gic-400",
            "#interrupt-cells": 3,
            "reg": cells(0x800_0000) + cells(0x1000) + cells(0x801_0000) + cells(0x2000),
        }
    )
    found = reader.machine(make_tree(tree))
    assert found["conduit"] == [["2"]]
    assert found["gic"][0][0] == "1"
    assert found["gic-range"] == [["8000000", "1000"], ["8010000", "2000"]]
    assert found["ecam"] == [["4010000000", "10000000", "0", "ff"]]
    assert found["pci-window"] == [["10000000", "10000000", "2eff0000"], ["8000000000", "8000000000", "8000000000"]]


def pci(**properties: Value) -> Node:
    """A PCI host with maps of requesters, an SMMU (phandle 7) and an ITS (phandle 8)."""
    host: dict[str, Value | Node] = {
        "compatible": "pci-host-ecam-generic",
        "reg": cells(0x40_1000_0000) + cells(0x1000_0000),
        **{name.replace("_", "-"): value for name, value in properties.items()},
    }
    tree = board(
        **{
            "pcie@10000000": Node(host),
            "smmuv3@9050000": Node(
                {
                    "compatible": "arm,smmu-v3",
                    "reg": cells(0x905_0000) + cells(0x2_0000),
                    "interrupt-names": ["gerror", "eventq", "cmdq-sync"],
                    "interrupts": [0, 77, 1, 0, 74, 1, 0, 76, 4],
                    "phandle": 7,
                }
            ),
        }
    )
    gic = tree["intc@8000000"]
    assert isinstance(gic, Node)
    its: dict[str, Value | Node] = {
        "compatible": "arm,gic-v3-its",
        "reg": cells(0x808_0000) + cells(0x2_0000),
        "phandle": 8,
    }
    gic |= {"#address-cells": 2, "#size-cells": 2, "ranges": b"", "its@8080000": Node(its)}
    return tree


def test_an_smmu_and_an_its_are_known_by_the_names_of_interrupts_and_below_the_gic(reader: Reader) -> None:
    found = reader.machine(make_tree(pci()))
    assert found["smmu"] == [["9050000", "20000", "6a", "1", "0"]]
    assert found["its"] == [["8080000", "20000"]]
    assert found["streams"] == [["none"] * 3]


@pytest.mark.parametrize(
    ("maps", "streams"),
    [
        ([0, 7, 0, 0x10000], ["0", "108", "ffff"]),
        ([0, 7, 0x1000, 0x200], ["1000", "1108", "none"]),
        ([0x100, 7, 0, 0x100], ["none", "8", "none"]),
        ([0, 8, 0, 0x10000], ["none"] * 3),
        ([0, 8, 0, 0x100, 0x100, 7, 0x40, 0xFF00], ["none", "48", "ff3f"]),
    ],
    ids=["same", "moved", "second bus", "another's", "two controllers"],
)
def test_requesters_are_streams_by_the_map_of_their_own_controller(
    reader: Reader, maps: list[int], streams: list[str]
) -> None:
    found = reader.machine(make_tree(pci(iommu_map=maps, msi_map=[0, 8, 0x20, 0x10000])))
    assert found["streams"] == [streams]
    assert found["messages"] == [["20", "128", "1001f"]]


def test_a_mask_takes_bits_of_requesters_away_before_they_are_looked_up(reader: Reader) -> None:
    found = reader.machine(make_tree(pci(iommu_map=[0, 7, 0, 0x10000], iommu_map_mask=0xFF)))
    assert found["streams"] == [["0", "8", "ff"]]


def test_a_disabled_device_is_none(reader: Reader) -> None:
    tree = board()
    serial = tree["pl011@9000000"]
    assert isinstance(serial, Node)
    serial["status"] = "disabled"
    assert reader.machine(make_tree(tree))["serial"][0][0] == "0"


@pytest.mark.parametrize("gic", [2, 3])
def test_qemu_s_own_tree_is_read(reader: Reader, tmp_path: Path, gic: int) -> None:
    """Made by QEMU, not by this test: what the two could be wrong about together shows here."""
    if shutil.which("qemu-system-aarch64") is None:
        pytest.skip("needs qemu-system-aarch64; `make setup` installs it")
    blob = tmp_path / "virt.dtb"
    machine = f"virt,gic-version={gic},iommu=smmuv3,dumpdtb={blob}"
    subprocess.run(
        ["qemu-system-aarch64", "-M", machine, "-cpu", "max", "-smp", "3", "-m", "192"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    found = reader.machine(blob.read_bytes())
    assert found["whole"]
    assert found["memory"] == [["40000000", "c000000"]]
    assert [int(core, 16) for (core,) in found["core"]] == [0, 1, 2]
    assert found["gic"][0][0] == str(gic - 1)
    assert found["gic-range"][0][0] == "8000000"
    assert found["timer"] == [["1b"]]
    assert found["serial"][0][:3] == ["1", "9000000", "21"]
    assert found["conduit"] == [["1"]]
    assert found["ecam"][0][:2] == ["4010000000", "10000000"]
    assert int(found["seed"][0][1], 16) >= 16
    assert found["smmu"] == [["9050000", "20000", "6a", "1", "1"]]
    assert found["streams"] == [["0", "108", "ffff"]]
    assert found["its"][0][0] == ("8080000" if gic == 3 else "0")
    assert found["messages"] == [["0", "108", "ffff"] if gic == 3 else ["none"] * 3]


ranges = st.lists(
    st.tuples(st.integers(0, 2**48 - 1), st.integers(1, 2**40)), min_size=1, max_size=32
)  # as many as the kernel keeps


@quick
@given(memory=ranges, address_cells=st.sampled_from([1, 2]), size_cells=st.sampled_from([1, 2]))
def test_any_memory_is_read_as_it_was_written(
    reader: Reader, memory: list[tuple[int, int]], address_cells: int, size_cells: int
) -> None:
    memory = [(base % 2 ** (32 * address_cells), min(size, 2 ** (32 * size_cells) - 1)) for base, size in memory]
    reg = b"".join(cells(base, address_cells) + cells(size, size_cells) for base, size in memory)
    root = Node(
        {
            "#address-cells": address_cells,
            "#size-cells": size_cells,
            "memory": Node({"device_type": "memory", "reg": reg}),
        }
    )
    found = reader.machine(make_tree(root))
    assert [(int(base, 16), int(size, 16)) for base, size in found["memory"]] == memory


GOOD = make_tree(
    board(chosen=Node({"bootargs": "a", "stdout-path": "serial0", "rng-seed": bytes(32)})), [(1 << 30, 4096)]
)


@quick
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8),
    st.integers(0, len(GOOD)),
    st.booleans(),
)
def test_no_damage_makes_it_read_beside_the_tree(
    reader: Reader, changes: list[tuple[int, int]], length: int, cut: bool
) -> None:
    """The sanitizers look on; what comes out matters less than that it comes."""
    tree = bytearray(GOOD)
    for at, byte in changes:
        tree[at] = byte
    assert reader.ask("t", bytes(tree[:length] if cut else tree))


@quick
@given(st.lists(st.sampled_from([1, 2, 3, 4, 9, 0, 0xFFFF_FFFF, 0x6600_0000]), max_size=400))
def test_no_sequence_of_tokens_is_too_much(reader: Reader, tokens: list[int]) -> None:
    """Nesting deeper than any board's, ends without beginnings, properties of nothing."""
    structure = struct.pack(f">{len(tokens)}I", *tokens)
    header = struct.pack(
        ">10I", 0xD00DFEED, 56 + len(structure) + 4, 56, 56 + len(structure), 40, 17, 16, 0, 4, len(structure)
    )
    assert reader.ask("t", header + bytes(16) + structure + b"reg\0")


def test_four_billion_levels_of_nothing_end(reader: Reader) -> None:
    deep = struct.pack(">II", 1, 0) * 5000 + struct.pack(">I", 2) * 5000 + struct.pack(">I", 9)
    header = struct.pack(">10I", 0xD00DFEED, 56 + len(deep), 56, 56, 40, 17, 16, 0, 0, len(deep))
    assert reader.ask("t", header + bytes(16) + deep)[0] == "whole"
