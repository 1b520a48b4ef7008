"""Two roots of error, which pytest reports apart: the system under test did wrong, or the bench did.

A :class:`TargetFailure` makes a test FAIL in whatever phase pytest is; it is never retried. An :class:`InfraError`
makes it an ERROR. Nothing else in keuos_hil is raised across a module's border, so that whoever catches one of the two
has caught all of its kind. :mod:`keuos_hil.reporting` does the sorting.
"""

from __future__ import annotations


class HilError(Exception):
    """Whatever keuos_hil raises on purpose."""


class TargetFailure(HilError):
    """The system under test did wrong."""


class Ended(TargetFailure):
    """The system under test stopped running. Attributes: ``tail``, the console's last text."""

    what = "the target ended"

    def __init__(self, detail: str, *, tail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        #: Filled in by the console when it takes note of the end.
        self.tail = tail

    def __str__(self) -> str:
        text = f"{self.what}: {self.detail}"
        if self.tail:
            lines = "\n".join(f"  | {line}" for line in self.tail.splitlines())
            text += f"\nlast lines of the console:\n{lines}"
        return text


class Panic(Ended):
    """The kernel printed its panic banner. ``message`` is the banner's text, ``report`` all that it printed."""

    what = "kernel panic"

    def __init__(self, message: str, *, report: str = "", tail: str = "") -> None:
        self.message = message
        self.report = report
        super().__init__(message, tail=tail)


class TripleFault(Ended):
    """The processor shut down: a fault, while delivering a fault, while delivering a fault."""

    what = "triple fault"


class Reset(Ended):
    """The target reset itself, unasked: the machine said so, or the boot banner came again."""

    what = "unexpected reset"


class PoweredOff(Ended):
    """The target switched itself off."""

    what = "power off"


class Exited(Ended):
    """The emulator ended at the guest's wish, by a device of its own, with a status."""

    what = "the emulator ended"

    def __init__(self, detail: str, *, status: int, tail: str = "") -> None:
        self.status = status
        super().__init__(detail, tail=tail)


class Silent(Ended):
    """The target ran, but answered nothing any more: a hang."""

    what = "the target fell silent"


class Flood(Ended):
    """The console's output passed its cap: what came later was thrown away."""

    what = "flood of console output"


class WaitTimeout(TargetFailure):
    """What was waited for did not come in time, although the target is alive as far as anybody knows."""


class ProtocolViolation(TargetFailure):
    """An intact frame said something that docs/hil-protocol.md does not allow."""


class Refused(TargetFailure):
    """The agent answered a request with an error. ``code`` is its number, ``name`` the enumerator if it is known."""

    def __init__(self, operation: str, code: int, text: str, name: str = "") -> None:
        self.operation = operation
        self.code = code
        self.name = name
        self.text = text
        shown = f"{name} ({code})" if name else str(code)
        super().__init__(f"{operation}: the target refused with {shown}: {text or 'no text'}")


class SocketError(TargetFailure):
    """A stack refused a socket call. ``name`` is its error's name, such as "ECONNREFUSED"; "EAGAIN" for "not now"."""

    def __init__(self, call: str, name: str) -> None:
        self.call = call
        self.name = name
        super().__init__(f"{call}: the stack answered {name}")


class StateLeak(TargetFailure):
    """After a test the target holds more, or less, than it did at boot."""


class InfraError(HilError):
    """The bench did wrong: arguments, files, tools, ports, an emulator that never reached its first instruction."""


class CannotStart(InfraError):
    """The bench could not open a target's first session: no later test on it will fare better."""


class NotRevived(InfraError):
    """All that could be tried to get a target up again was tried: it is not tried once more in this run."""


class UsageError(InfraError):
    """The user asked for something that does not exist or does not fit. Ends the run with pytest's usage status, 4."""


class ImageError(InfraError):
    """A kernel, an initrd or their debug information is missing, damaged or for another machine."""
