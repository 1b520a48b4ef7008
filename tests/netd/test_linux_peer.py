"""Against Linux's own stack, in a network namespace: every byte arrives, over a clean wire and over a bad one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("linux_peer.py")


@pytest.mark.parametrize(("percent", "megabytes", "program"), [(0, 8, "netd-host-fast"), (1, 1, "netd-host")])
def test_linux_exchanges_data_with_netd(build, percent, megabytes, program):
    if os.geteuid() or not os.access("/dev/net/tun", os.W_OK) or shutil.which("unshare") is None:
        pytest.skip("a TAP in a network namespace takes root, /dev/net/tun and unshare (util-linux)")
    command = ["unshare", "--net", sys.executable, SCRIPT, build / program, "7", str(percent), str(megabytes << 20)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "datagrams 30" in done.stdout
