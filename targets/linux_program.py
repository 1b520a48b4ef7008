"""What the targets linux and linux-guest have in common, and the settings of their stack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keuos_hil.plugins.host_compiler import compile_c

from keuos_hil.errors import UsageError

#: Sources of both programs that make socket calls.
SHARED = ("linux_sockets.c", "linux_interface.c", "call_text.c")

#: What differs from Linux's defaults, below /proc/sys/net, and why. Paths that a kernel lacks are passed over.
SETTINGS = {
    "ipv6/conf/all/disable_ipv6": "1",  # IPv6 is not what is tested; its neighbour discovery would be noise
    "ipv4/tcp_congestion_control": "reno",  # what RFC 5681 describes; the host's choice would differ by machine
    "ipv4/tcp_no_metrics_save": "1",  # a case must not inherit RTT and ssthresh from an earlier one
    "ipv4/tcp_invalid_ratelimit": "0",  # one answer to each unacceptable segment, so that a fence proves silence
    "ipv4/icmp_ratelimit": "0",  # the same for ICMP errors; rate limits have cases of their own
    "ipv4/icmp_msgs_per_sec": "100000",
    "ipv4/icmp_msgs_burst": "100000",
    "ipv4/tcp_early_retrans": "0",  # no tail loss probe within milliseconds: the wire's round trip is microseconds
    "ipv4/neigh/wire0/locktime": "0",  # a neighbour's second word within a second counts, as the first does
    "ipv4/tcp_fastopen": "0",
    "ipv4/tcp_max_tw_buckets": "65536",
    "core/somaxconn": "4096",
}


def all_settings(name: str, more: Sequence[str]) -> list[str]:
    """:data:`SETTINGS` and the user's own, each as PATH=VALUE. Raises UsageError, naming the target, if one is none."""
    for setting in more:
        if "=" not in setting:
            raise UsageError(f"target {name}: set = {setting!r}; expected PATH=VALUE")
    return [*(f"{path}={value}" for path, value in SETTINGS.items()), *more]


def require_mtu(name: str, mtu: int) -> None:
    """Raise UsageError, naming the target, for an MTU that IPv4 can't have (RFC 791: at least 576 is taken whole)."""
    if not 576 <= mtu <= 65535:
        raise UsageError(f"target {name}: mtu = {mtu}; expected 576 to 65535")


def compile_program(sources: Sequence[str], output: Path, *flags: str, libraries: Sequence[str] = ()) -> Path:
    """Compile a program of this folder's `sources`; see :func:`.host_compiler.compile_c`."""
    folder = Path(__file__).parent
    return compile_c([folder / source for source in sources], output, *flags, libraries=libraries)


def build(main: str, output: Path, *more: str) -> Path:
    """Compile `main` and what both of Linux's programs share; see :func:`compile_program`."""
    return compile_program((main, *SHARED), output, *more)
