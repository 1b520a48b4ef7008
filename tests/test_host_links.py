"""The board's links `raw` and `tap` on interfaces of this host, in a network namespace of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from keuos_hil.plugins import board_link

from keuos_hil.errors import InfraError
from keuos_hil.hookspecs import PartContext

#: Runs as root of a namespace; a frame of an experimental type (RFC 5342) goes each way.
_EXERCISE = """
import subprocess, sys
from types import SimpleNamespace
from keuos_hil.plugins.board_link import RawLink, RawLinkPart, RawOptions, TapLinkPart, TapOptions
from keuos_hil.errors import InfraError

def ip(*words):
    subprocess.run(["ip", *words], check=True)

def frame(destination, text):
    return bytes.fromhex(destination) + bytes.fromhex("02000000aa01") + b"\\x88\\xb5" + text.ljust(60, b".")

def wait(link, wanted):
    for _ in range(200):
        got = link.receive(5)
        assert got is not None, "the frame did not come"
        if got == wanted:
            return
        assert b"from here" not in got, "what this host sent is not seen"

context = SimpleNamespace(where="[targets.x.link]")
if sys.argv[1] == "raw":
    ip("link", "add", "near", "type", "veth", "peer", "name", "far")
    for name in ("near", "far"):
        ip("link", "set", name, "up")
    part, far = RawLinkPart(RawOptions("{card}"), context), RawLink("far")
    link, closing = part.open({"card": "near"})
else:
    ip("tuntap", "add", "tap0", "mode", "tap")
    part = TapLinkPart(TapOptions("tap0"), context)
    link, closing = part.open({})
    ip("link", "set", "tap0", "up")
    far = RawLink("tap0")
with closing:
    link.send(frame("020000000001", b"from here"))
    wait(far, frame("020000000001", b"from here"))
    stranger = frame("020000000099", b"to somebody else")  # an interface has to be promiscuous to pass it on
    far.send(stranger)
    wait(link, stranger)
    if sys.argv[1] == "tap":
        try:
            part.open({})
        except InfraError as error:
            assert "who else has it open?" in str(error), error
        else:
            raise AssertionError("a TAP device has one user")
far.close()
"""


@pytest.mark.parametrize("part", ["raw", "tap"])
def test_frames_go_both_ways_over_an_interface_of_this_host(part: str) -> None:
    assert shutil.which("unshare"), "unshare is not installed (Debian: util-linux)"
    namespace = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    done = subprocess.run(
        [*namespace, sys.executable, "-c", _EXERCISE, part],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("part", "word"), [("raw", "`ip link` lists them"), ("tap", "ip tuntap add no-such")])
def test_an_interface_that_is_not_there_is_one_clear_line(part: str, word: str) -> None:
    kinds = {kind.name: kind for kind in board_link.keuos_hil_part_types()}
    made = kinds[part].make(kinds[part].options("no-such"), PartContext("x", "arm64", "[targets.x.link]"))
    with pytest.raises(InfraError, match=r"no-such") as caught:
        made.open({})
    assert word in str(caught.value) or "CAP_NET_RAW" in str(caught.value)
    assert "\n" not in str(caught.value)
