"""What packets cost NetD, beside the article: every figure in its place, and what is missing seen to be missing."""

from __future__ import annotations

from keuos_hil.netd_table import beside, packets
from keuos_hil.terminal import netd, number


def row(name, value, unit="1/1000 packets", target="qemu-x86", timebase="emulated", **params):
    return {"name": name, "value": value, "unit": unit, "target": target, "timebase": timebase, "params": params}


def test_each_load_and_mode_has_a_column_and_each_quantity_a_line():
    columns, lines = packets(
        [
            row("net.syscalls", 950.0, load="echo", mode="shared"),
            row("net.syscalls", 80.5, load="bulk", mode="direct", direction="receive"),
            row("net.copied", 1.25, "bytes per byte", load="bulk", mode="direct", direction="receive"),
            row("ring.wake", 1, cores="same"),
        ],
        number,
    )
    assert columns == ["echo shared (qemu-x86)", "bulk receive direct (qemu-x86)"]
    told = {line.what: line for line in lines}
    assert told["system calls"].cells == ["950", "80.5"]
    assert (told["system calls"].article, told["system calls"].traditional) == ("~1,000", "~2,000")
    assert told["bytes copied"].cells == ["", "1.25"]


def test_a_figure_of_the_article_that_was_not_measured_keeps_its_line():
    _, lines = packets([row("net.syscalls", 1, load="echo", mode="shared")], number)
    cost = next(line for line in lines if line.what == "a packet's cost")
    assert (cost.unit, cost.article, cost.traditional, cost.cells) == (
        "not measured", "~450 cycles", "~3,500 cycles", [""],
    )  # fmt: skip


def test_instructions_of_a_packet_stand_by_phase():
    measured = [
        row("net.instructions", n, "instructions", load="echo", phase=p) for p, n in (("parse", 90), ("tcp", 400))
    ]
    _, lines = packets(measured, number)
    assert [(line.what, line.cells) for line in lines if "cost" in line.what] == [
        ("a packet's cost: parse", ["90"]), ("a packet's cost: tcp", ["400"]),
    ]  # fmt: skip


def test_without_a_packet_there_is_no_table():
    assert packets([row("ring.wake", 1, cores="same")], number) == ([], [])


def test_waking_and_polling_stand_beside():
    trip = {"path": "data", "wait": "poll", "cores": "cross", "size": 56}
    lines = beside(
        [
            row("ring.wake", 2_000, "ticks", cores="cross"),
            row("ring.round_trip", 700, "ticks", **trip),
            row("ring.round_trip", 900, "ticks", **(trip | {"path": "notify"})),
        ],
        number,
    )
    assert [(line.what, line.article, line.cells) for line in lines] == [
        ("waking a sleeper on another core, by IPI", "~1 microsecond", ["2,000"]),
        ("there and back, polled size=56", "150 cycles", ["700"]),
    ]


def test_the_terminal_has_what_packets_cost_and_what_that_rests_on():
    wake = row("ring.wake", 900, unit="ticks", cores="cross")
    cost, rest = netd([row("net.syscalls", 987, load="echo", mode="shared"), wake])
    assert ["987"] in [list(column.cells)[:1] for column in cost.columns]
    cells = [list(column.cells) for column in rest.columns]
    assert cells[0] == ["waking a sleeper on another core, by IPI"]
    assert (cells[1], cells[3]) == (["900"], ["~1 microsecond"])
    assert netd([wake]) == []
