"""What a failing case on the target netd leaves can be replayed: the stack does the same again, nobody attached."""

from __future__ import annotations

import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import pytest

CASE = """
import pytest
from suites.tcp.conftest import app, host, net

@pytest.mark.needs("link", "sockets")
def test_that_fails(net):
    c = net.est(ts=True, sack=True)
    c.sock.send(5000)
    c.rx_data(5000, reply=True)
    c.host.elapse(100)
    c.tx("PA", data=3000)
    assert c.sock.recv_exactly(3000).bad == 7
"""


@pytest.fixture(scope="module")
def replay(tmp_path_factory, pytestconfig):
    """The command that a failure prints."""
    place = tmp_path_factory.mktemp("case")
    (place / "test_case.py").write_text(CASE)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={pytestconfig.rootpath}"]
    command += [f"-c{pytestconfig.rootpath}/pyproject.toml", "--target=netd", f"--results={place / 'results'}"]
    command += [str(place)]
    said = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, timeout=300, check=False)
    assert said.returncode == pytest.ExitCode.TESTS_FAILED, said.stdout
    found = re.search(r"to replay: (.*)", said.stdout)
    assert found, said.stdout
    return shlex.split(found[1])


def test_a_failure_is_replayed_frame_by_frame(replay):
    done = subprocess.run(replay, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(
        r"replayed: (\d+) frames and (\d+) commands came, (\d+) frames were sent, 0 of them", done.stdout
    )
    assert counts, done.stdout
    assert all(int(count) > 10 for count in counts.groups())
    assert "\nsend " in done.stdout, "the commands are told"


def test_another_conversation_is_told_from_the_recorded_one(replay, tmp_path):
    """One bit of the random numbers is changed: other sequence numbers are sent."""
    command = list(replay)
    at = command.index("--replay") + 1
    data = bytearray(Path(command[at]).read_bytes())
    offset = 0
    while offset < len(data):
        kind, size = struct.unpack_from("<II", data, offset)
        if kind == 1:
            data[offset + 8] ^= 1
        offset += 8 + size
    changed = tmp_path / "journal"
    changed.write_bytes(data)
    command[at] = str(changed)
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "is not the one that was recorded" in done.stdout


@pytest.mark.parametrize(
    "content", [None, b"", b"\1\0\0", b"# A text, and no journal.\n" * 9, struct.pack("<II", 2, 99)]
)
def test_a_file_that_is_no_journal_is_one_line(replay, tmp_path, content):
    path = tmp_path / "none"
    if content is not None:
        path.write_bytes(content)
    done = subprocess.run([replay[0], "--replay", str(path)], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"netd-host: .*none is no journal: expected a file that --record wrote\n", done.stderr)
