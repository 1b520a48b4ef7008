"""A Linux at the far end of a target's wire: this machine's own stack, in a network namespace that nobody else sees.

What lives here: the namespace's life, and asking it to do things. Which things there are, :mod:`.linux_peer_program`
knows.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..errors import InfraError, TargetFailure
from ..parts import Network
from .bridge import Bridge, PollableLink
from .impaired_link import Impairments
from .transcript import Transcript

_MESSAGE_MAX = 1 << 16
_START_S = 60.0
_PROGRAM = "keuos_hil.net.linux_peer_program"


def why_not() -> str:
    """Why this machine can't have such a namespace, or "" if it can."""
    for program in ("unshare", "setpriv", "ip"):
        if shutil.which(program) is None:
            return f"no {program} on this machine (Debian: util-linux and iproute2)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun can't be opened; run as root, or give this user access to it"
    namespace = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(["unshare", "--net", *namespace, "true"], capture_output=True, text=True, check=False)
    return f"no network namespace can be made: {done.stderr.strip()}" if done.returncode else ""


class LinuxPeer:
    """Has the address `network.gateway`; what it is asked runs beside the test. A context manager.

    Args:
        link: to the target; nobody else may receive from it until this is closed.
        network: the target's addresses.
        to_target, from_target: what happens to frames each way.
        seed: of that.
    """

    def __init__(
        self,
        link: PollableLink,
        network: Network,
        to_target: Impairments | None = None,
        from_target: Impairments | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._device = -1
        self._stack = ExitStack()
        self._log = Path(self._stack.enter_context(tempfile.TemporaryDirectory())) / "peer.log"
        self.bridge: Bridge | None = None
        namespace = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", *namespace, sys.executable, "-m", _PROGRAM]
        words = [str(far.fileno()), f"{network.gateway}/{network.prefix}", str(network.mtu), network.address]
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command + words, pass_fds=[far.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        finally:
            far.close()
        try:
            self._device = self._take_device()
            self.bridge = Bridge(link, self._device, to_target or Impairments(), from_target or Impairments(), seed)
        except BaseException:
            self.close()
            raise

    def _take_device(self) -> int:
        if not select.select([self._control], [], [], _START_S)[0]:
            raise InfraError(f"the Linux peer did not start within {_START_S:g} s")
        _, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_MAX, 1)
        if not descriptors:
            raise InfraError(f"the Linux peer did not start: {self._output()}")
        return descriptors[0]

    def _output(self) -> str:
        return self._log.read_bytes().decode("utf-8", "replace")[-2000:].strip()

    def begin(self, what: str, **arguments: Any) -> None:
        """Have it begin a function of the program; one at a time."""
        self._control.send(json.dumps({"do": what, **arguments}).encode())

    def finish(self, timeout: float = 300.0) -> dict[str, Any]:
        """Wait for the end of what was begun; what came of it.

        Raises:
            TargetFailure: it failed there, or has no answer in time.
        """
        if not select.select([self._control], [], [], timeout)[0]:
            raise TargetFailure(f"the Linux peer had no answer within {timeout:g} s")
        answer = self._control.recv(_MESSAGE_MAX)
        if not answer:
            raise InfraError(f"the Linux peer is gone: {self._output()}")
        told: dict[str, Any] = json.loads(answer)
        if "error" in told:
            raise TargetFailure(f"the Linux peer: {told['error']}")
        return told

    def do(self, what: str, *, timeout: float = 300.0, **arguments: Any) -> dict[str, Any]:
        """Begin and finish."""
        self.begin(what, **arguments)
        return self.finish(timeout)

    def transcript(self) -> Transcript:
        """The last frames on the target's wire."""
        return self.bridge.transcript() if self.bridge is not None else Transcript()

    def __enter__(self) -> LinuxPeer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; the namespace goes with it. Safe to repeat."""
        self._control.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        bridge, self.bridge = self.bridge, None
        try:
            if bridge is not None:
                bridge.close()
        finally:
            if self._device >= 0:
                os.close(self._device)
                self._device = -1
            self._stack.close()
