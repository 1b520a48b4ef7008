"""What `--link` says: which wire a run's targets are reached by, where they have a choice."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import UsageError
from .options import nearest

#: By kind: what it means, and whether the name of an interface follows.
KINDS = {
    "tap": (
        "a TAP device of this host; an emulator's NIC is plugged into it for this host's own stack and tools",
        True,
    ),
    "raw": ("a packet socket on an interface of this host, which is wired to the target", True),
    "veth": ("a pair of virtual interfaces, of which the test has one by a packet socket", False),
}
#: What Linux allows for an interface (dev_valid_name), less what QEMU's options and shells would trip over.
_INTERFACE = re.compile(r"(?!\.{1,2}$)[\w.-]{1,15}")


@dataclass(frozen=True)
class LinkChoice:
    """A wire: its kind, one of :data:`KINDS`, and the name of its interface, if the kind has one."""

    kind: str
    interface: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.interface}" if self.interface else self.kind


def _form(kind: str) -> str:
    return f"{kind}:INTERFACE" if KINDS[kind][1] else kind


def parse(text: str) -> LinkChoice:
    """What was said: `tap:NAME`, `raw:NAME` or `veth`.

    Raises:
        UsageError: it is none of these, or the name can't be an interface's.
    """
    kind, colon, interface = text.partition(":")
    if kind not in KINDS:
        raise UsageError(f"--link={text}: no link {kind!r}{nearest(kind, KINDS)}")
    if bool(colon) != KINDS[kind][1] or (colon and not _INTERFACE.fullmatch(interface)):
        what = "the name of an interface has 1 to 15 letters, digits or . _ -" if colon and KINDS[kind][1] else ""
        raise UsageError(f"--link={text}: expected {_form(kind)}" + (f"; {what}" if what else ""))
    return LinkChoice(kind, interface)


def require(target: str, choice: LinkChoice, takes: tuple[str, ...]) -> None:
    """Raise UsageError, naming the target, unless `choice` is one of the kinds that it takes."""
    if choice.kind not in takes:
        can = ", ".join(map(_form, takes))
        raise UsageError(
            f"target {target}: --link={choice}: "
            + (f"it can be reached by {can}" if can else "it has but its own wire")
        )
