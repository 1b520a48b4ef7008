"""Executed instructions of a window, told by the phase of a packet's way."""

from __future__ import annotations

from pathlib import Path

import pytest

from keuos_hil.code_map import Function
from keuos_hil.net.phases import TOTAL, by_phase

ROOT = Path(__file__).resolve().parents[2]


def test_each_phase_has_what_its_files_executed_for_each_packet():
    netd = {
        Function("virtio_take", "netd/drivers/virtio_net.c"): 200,
        Function("netd_checksum", "netd/wire/checksum.c"): 300,
        Function("ipv4_input", "netd/stack/ipv4.c"): 50,
        Function("tcp_input", "netd/stack/tcp_input.c"): 400,
        Function("inlined", "netd/stack/tcp_input.c"): 100,
        Function("memcpy", "kernel/user/lib/string.c"): 30,
        Function("main", "netd/keuos/main.c"): 10,
    }
    kernel = {Function("syscall_entry", "kernel/arch/x86_64/traps.S"): 28, Function("idle", "kernel/core/x.c"): 9_999}
    window = {
        "netd": netd,
        "kernel": kernel,
        "transfer": {Function("check", ""): 5_000},
        "console": {Function("m", ""): 7},
    }
    assert by_phase(window, 10, ("transfer",)) == pytest.approx({
        TOTAL: 111.8, "NetD: NIC": 20.0, "NetD: headers and checksums": 30.0, "NetD: ARP, IP, ICMP, UDP": 5.0,
        "NetD: TCP, in": 50.0, "NetD: copies": 3.0, "NetD: loop and clock": 1.0, "kernel": 2.8, "application": 500.0,
    })  # fmt: skip


@pytest.mark.parametrize("file", sorted((ROOT / "netd" / "stack").glob("*.c")), ids=lambda path: path.name)
def test_every_file_of_the_stack_belongs_to_a_phase_of_its_own(file):
    phases = by_phase({"netd": {Function("f", str(file.relative_to(ROOT))): 1}}, 1)
    assert "NetD: loop and clock" not in phases
