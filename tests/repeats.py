"""A suite run again and again, and whether it says the same each time. What is done is kept, so that it can go on.

The records lie in build/repeats/DIGEST/TARGET, one file a run. The digest is of everything that a verdict depends on:
the framework, targets, suite, kernel and NetD as sources, this machine's system, and what a target takes from packages:
lwIP, the guest's kernel, the emulator. After a change of any of them the count begins anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from keuos_hil.targets.linux_guest import LinuxGuestOptions, find_kernel
from keuos_hil.targets.lwip import LwipOptions
from keuos_hil.targets.qemu_arm64 import QemuArm64Options
from keuos_hil.targets.qemu_x86 import QemuX86Options

_SOURCES = ("keuos_hil", "targets", "plugins", "suites/tcp", "kernel", "netd")
_EMULATORS = {
    "linux-guest": LinuxGuestOptions().binary,
    "qemu-arm64": QemuArm64Options().binary,
    "qemu-x86": QemuX86Options().binary,
}
_BAD = ("failed", "error", "xpassed")


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        busy: whether every core had something else to do meanwhile.
        seconds: of this machine's time.
        verdicts: by the test's id.
    """

    busy: bool
    seconds: float
    verdicts: dict[str, str]

    def describe(self) -> str:
        """For a person."""
        counts = Counter(self.verdicts.values())
        told = ", ".join(f"{counts[word]:,} {word}" for word in sorted(counts))
        return f"cores {'busy' if self.busy else 'as they were'}, {self.seconds:.0f} s: {told}"

    def problem(self, first: Run) -> str:
        """What is wrong with it beside the first one; "" if nothing."""
        if not self.verdicts:
            return "no test ran"
        bad = {name: verdict for name, verdict in self.verdicts.items() if verdict in _BAD}
        if bad:
            return f"not everything passed: {bad}"
        changed = {name for name, _ in self.verdicts.items() ^ first.verdicts.items()}
        pairs = {name: (first.verdicts.get(name), self.verdicts.get(name)) for name in sorted(changed)}
        return f"other verdicts than the first run's: {pairs}" if pairs else ""


class Repeats:
    """The runs of one suite on one target.

    Args:
        folder: where the records are, whether it exists or not.
        once: does one run; it is told a folder to put results into, and gives the verdicts.
        tell: is given a line for each run.
    """

    def __init__(self, folder: Path, once: Callable[[Path], dict[str, str]], tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._once = once
        self._tell = tell

    def up_to(self, count: int) -> str:
        """Do what is missing of `count` runs, every second one with all cores busy; what is wrong, or ""."""
        first: Run | None = None
        for number in range(count):
            path = self._folder / f"{number:03}.json"
            kept = path.is_file()
            run = Run(**json.loads(path.read_text())) if kept else self._do(number, path)
            first = first or run
            self._tell(f"run {number + 1} of {count}{', kept' if kept else ''}: {run.describe()}")
            problem = run.problem(first)
            if problem:
                return f"run {number + 1} of {count}, {run.describe()}: {problem}\nkept as {path}; remove it to go on"
        return ""

    def _do(self, number: int, path: Path) -> Run:
        results = self._folder / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir(parents=True)
        busy = bool(number % 2)
        begun = time.monotonic()
        with every_core_busy() if busy else ExitStack():
            verdicts = self._once(results)
        run = Run(busy, round(time.monotonic() - begun, 1), verdicts)
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(asdict(run)))
        unfinished.rename(path)
        return run


@contextmanager
def every_core_busy() -> Iterator[None]:
    """A process that computes for each core."""
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        yield


def digest(root: Path, packaged: Iterable[Path] = ()) -> str:
    """Of all that verdicts depend on: the sources below `root`, and files from elsewhere."""
    made = hashlib.sha256(f"{platform.platform()} {sys.version}".encode())
    sources = (path for folder in _SOURCES for path in sorted((root / folder).rglob("*")))
    named = [(str(path.relative_to(root)), path) for path in sources if "__pycache__" not in path.parts]
    for name, path in [*named, *((str(path), path) for path in packaged)]:
        if path.is_file():
            made.update(f"{name}\0".encode())
            made.update(hashlib.sha256(path.read_bytes()).digest())
    return made.hexdigest()[:12]


def packaged(target: str) -> list[Path]:
    """What the verdicts of a target depend on that packages bring; the guest's image stands for its modules, too.

    Raises:
        InfraError: target linux-guest has no kernel.
    """
    if target == "lwip":
        headers = Path(LwipOptions().headers).rglob("*")
        return sorted([*headers, *Path("/usr/lib").glob("*/liblwip.so*")])
    emulator = shutil.which(_EMULATORS.get(target, ""))
    found = [Path(emulator)] if emulator else []
    return [*found, find_kernel(target).image] if target == "linux-guest" else found
