"""Debian's Linux in the machine of a target qemu-x86, moving bulk data: what NetD's throughput is put beside.

It is the machine itself, with its cores, its NIC and its IOMMU; only kernel and initrd are others. The program
(linux_transfer.c) serves the two ports of KeuOS's `transfer`. Linux has its defaults; one of them is to let a device
reach all memory, which NetD's can't.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Interface
from pathlib import Path

from keuos_hil.plugins.qemu_session import QemuSession

from keuos_hil.parts import Network

from .linux_guest import find_kernel, make_initrd
from .qemu_x86 import QemuX86

SINK, SOURCE = 5001, 5002
_SOURCES = ("linux_transfer.c", "linux_guest_start.c", "linux_interface.c")
_COMMAND_LINE = "console=ttyS0 quiet loglevel=4 panic=-1 random.trust_cpu=on mitigations=off"
#: Linux panics if its timer has not ticked within what it takes for 10 ticks: on a busy host an emulated one may not.
_COMMAND_LINE += " no_timer_check tsc=reliable"
_REMAPPED = " intel_iommu=on"
_READY = re.compile(rb"ready (Linux [^\r\n]*)")
#: Seconds of this machine's time: so long means never.
_BOOT_S = 180.0


class LinuxTransfer:
    """That Linux, booted and serving. A context manager.

    Args:
        target: whose machine.
        network: what it is given.
        directory: its own, for files and logs.
        iommu: whether Linux shows the NIC the pages of its buffers alone, one by one, as it does when told to.

    Raises:
        InfraError: there is no such kernel here (`make linux-guest` fetches one), or it does not come up.
    """

    def __init__(self, target: QemuX86, network: Network, directory: Path, *, iommu: bool) -> None:
        kernel = find_kernel(target.name)
        mask = IPv4Interface(f"{network.address}/{network.prefix}").netmask
        arguments = [network.address, mask, network.gateway, network.mtu]
        initrd = make_initrd(kernel, _SOURCES, arguments, directory)
        command_line = _COMMAND_LINE + (_REMAPPED if iommu else "")
        boot = ["-kernel", str(kernel.image), "-initrd", str(initrd), "-append", command_line]
        self._session: QemuSession = target.start(boot, directory)
        self.network = network
        try:
            found = self._session.console.expect(_READY, _BOOT_S)
            #: As its uname says it.
            self.system = found[1].decode()
            assert self._session.link is not None, "the machine has a NIC"
            self.link = self._session.link
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> LinuxTransfer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Switch it off. Safe to repeat."""
        self._session.close()
