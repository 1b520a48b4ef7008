"""How much code the daemon is, by the linker's account."""

from __future__ import annotations

import subprocess

import pytest

from netd.host import size
from tests.netd.conftest import BUILD_SECONDS, TOP

INSTRUCTIONS = 24_000  # of the whole daemon: driver, rings' server and the library that it is linked with
PIECES = [(0x1000, 0x1010, ("netd/stack", "arp")), (0x1010, 0x1020, ("lib", "format"))]


def test_the_whole_daemon_stays_under_its_limit():
    command = ["make", "-C", str(TOP / "netd"), "--silent", "size"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {name: int(number) for number, name in (line.split(maxsplit=1) for line in done.stdout.splitlines())}
    for module in (
        "stack/tcp_input",
        "wire/tcp",
        "drivers/virtio_net",
        "drivers/e1000e",
        "keuos/applications",
        "services/services",
    ):
        assert rows[f"netd/{module}"] > 0
    assert rows["all"] == sum(number for name, number in rows.items() if name.endswith("modules"))
    assert rows["all"] < INSTRUCTIONS
    assert 0 < rows["of these, netd/stack, netd/wire, netd/services"] < rows["all"]
    assert {8000, 11221} <= {number for name, number in rows.items() if name.startswith("beside it: ")}


def test_an_instruction_counts_for_the_module_whose_section_it_is_in_and_padding_for_none():
    text = "    100c: movl %eax, %ebx\n    100f: nop\n    1010: retq\n    101f: int3\n"
    assert size.count(text, PIECES) == {("netd/stack", "arp"): 1, ("lib", "format"): 1}


def test_a_map_of_another_program_is_refused():
    with pytest.raises(ValueError, match="0x2000 is in no module"):
        size.count("    2000: retq\n", PIECES)


def test_the_map_tells_folder_and_name():
    line = "  201000   201000       3f     16         /b/user/obj/more/netd/stack/arp.c.o:(.text.arp_run)\n"
    assert size.sections(line) == [(0x201000, 0x20103F, ("netd/stack", "arp"))]
