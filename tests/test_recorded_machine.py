"""A case that fails on a recorded machine prints the command that plays the very same machine again."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from keuos_hil.targets.qemu_arm64 import QemuArm64, QemuArm64Options
from keuos_hil.targets.qemu_x86 import QemuX86, QemuX86Options
from scapy.utils import rdpcap

from keuos_hil.errors import UsageError
from keuos_hil.hookspecs import RunOptions

#: Of a loaded machine: most of it is the emulator's way from one event of the record to the next.
_REPLAY_S = 400


def _replayed(command: list[str], pcap: Path) -> tuple[bytes, list[tuple[float, bytes]]]:
    """What the machine says on its line, and the frames on its wire, with its own clock's time."""
    more = ["-object", f"filter-dump,id=dump,netdev=wire,file={pcap}"]
    done = subprocess.run(
        [*command, *more], stdin=subprocess.DEVNULL, capture_output=True, timeout=_REPLAY_S, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, [(float(frame.time), bytes(frame)) for frame in rdpcap(str(pcap))]


@pytest.mark.soak
def test_a_failed_case_is_replayed_to_the_byte_and_the_nanosecond(
    pytester: pytest.Pytester, request: pytest.FixtureRequest
) -> None:
    root = request.config.rootpath
    result = pytester.runpytest_subprocess(
        *("-p", "keuos_hil.net.fault_plugin", "-p", "no:cacheprovider", "-q", "--link-fault=no-mss-option"),
        *("--target=qemu-x86", "--qemu-cores=1", "--qemu-record=yes", f"--results={pytester.path / 'results'}"),
        *("--rootdir", str(root), "-c", f"{root}/pyproject.toml"),
        *(f"{root}/suites/tcp/test_handshake.py", "-k", "test_a_syn_ack_offers_an_mss"),
        timeout=_REPLAY_S,
    )
    result.assert_outcomes(failed=1, deselected=result.parseoutcomes()["deselected"])
    told = result.stdout.str()
    found = re.search(r"^to replay, once this run has ended: (.*)$", told, re.MULTILINE)
    seen = re.search(r"^(/.*\.pcap)$", told, re.MULTILINE)
    assert found
    assert seen
    once, again = (_replayed(shlex.split(found[1]), pytester.path / f"{name}.pcap") for name in ("once", "again"))
    assert once == again
    line, frames = once
    assert b"KeuOS agent ready" in line
    # The fault is between the machine and the test, which saw the SYN-ACK without its option.
    sent = [bytes(frame)[26:46] for frame in rdpcap(seen[1])]  # addresses, ports and numbers
    assert len(sent) == 2
    assert set(sent) <= {frame[26:46] for _, frame in frames}


def test_a_machine_that_can_not_be_recorded_says_what_to_change() -> None:
    run = RunOptions()
    with pytest.raises(UsageError, match="add --qemu-cores=1"):
        QemuX86("qemu-x86", QemuX86Options(record=True), run)
    QemuX86("qemu-x86", QemuX86Options(record=True, cores=1), run)


def test_an_arm64_machine_is_not_recorded_and_no_failure_advises_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"target qemu-arm64: a recorded machine .* leave record"):
        QemuArm64("qemu-arm64", QemuArm64Options(record=True, cores=1), RunOptions())
    for target, advised in (
        (QemuArm64("qemu-arm64", QemuArm64Options(nic="none"), RunOptions()), False),
        (QemuX86("qemu-x86", QemuX86Options(nic="none"), RunOptions()), True),
    ):
        (tmp_path / target.name).mkdir()
        session = target._machine.start(["-S"], tmp_path / target.name)
        try:
            told = session.post_mortem(tmp_path)
        finally:
            session.close()
        assert any("--qemu-record=yes" in line for line in told) == advised
