"""A stand-in whose wire is an interface of this host, to be run as root of a network namespace:

    python -m tests.standin.wired raw|tap FOLDER PYTEST-ARGUMENT...

`raw`: a pair of interfaces, of which the board's NIC is plugged into `far` and the target gets `near`. `tap`: a TAP
device, which the target opens; the NIC is plugged into its interface. The status is pytest's.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

from keuos_hil.plugins.board_link import DgramLinkPart, DgramOptions
from keuos_hil.plugins.packet_link import RawLink, open_packet_socket

from keuos_hil.hookspecs import PartContext
from keuos_hil.net.bridge import Bridge, PollableLink
from keuos_hil.net.impaired_link import Impairments

from .bench import ROOT, Bench

_CONTEXT = PartContext("standin", "arm64", "[the stand-in's wire]")
#: What makes the wire, and which end the NIC is plugged into and the target's table names.
_WIRES = {
    "raw": (("link add near type veth peer name far", "link set near up", "link set far up"), "far", "near"),
    "tap": (("tuntap add near mode tap", "link set near up"), "near", "near"),
}


def main() -> int:
    """Bench, wire and pytest."""
    part, folder, *arguments = sys.argv[1:]
    words, far, near = _WIRES[part]
    for line in words:
        subprocess.run(["ip", *line.split()], check=True)
    place = Path(folder)
    with ExitStack() as stack:
        bench = stack.enter_context(Bench(place, "arm64"))
        sockets = DgramOptions(local=str(place / "host"), remote=str(place / "link"))
        nic, wire = DgramLinkPart(sockets, _CONTEXT).open({})
        stack.enter_context(wire)
        assert isinstance(nic, PollableLink)
        plug = stack.enter_context(closing(RawLink(open_packet_socket(), far)))
        bridge = stack.enter_context(closing(Bridge(nic, plug.fileno(), Impairments(), Impairments(), 1)))
        config = place / "keuos-hil.toml"
        config.write_text(bench.configuration("arm", debug=False, link={"part": part, "interface": near}))
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.standin.starved", "-q"]
        command += [f"--hil-config={config}"]
        done = subprocess.run([*command, "--target=arm", *arguments], cwd=ROOT, check=False)
        print(f"{bridge.frames_from_target} frames came from the board, {bridge.frames_to_target} went there")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
