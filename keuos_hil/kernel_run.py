"""A kernel's counted rows: the ring suite, run on an emulator that counts instructions, function by function."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from . import registry
from .errors import ImageError, InfraError, UsageError
from .image import Elf

_SUITE = "keuos_hil.suites.ring.test_instructions"
#: Each of its tests boots once; so long means that something hangs.
_RUN_S = 1800.0
#: KeuOS's kernels have it, programs that include its headers don't.
_KERNEL_SYMBOL = "kernel_start"
_INITRD = "initrd.cpio"


def is_kernel(path: Path) -> bool:
    """Whether an ELF is a KeuOS kernel."""
    try:
        return _KERNEL_SYMBOL in Elf.load(path).symbols
    except ImageError:
        return False


def count(kernel: Path, initrd: Path | None, target: str | None, directory: Path, *, only: str = "") -> Path:
    """Run the suite; the folder of its results.

    Args:
        initrd: by default the one beside the kernel, or in the folder above, as a build leaves it; else the bundled.
        target: by default the first kind of target that emulates the kernel's architecture; targets that the
            configuration in the folder at hand names, too.
        directory: a new folder for the run.
        only: of which tests, as pytest's -k has it.

    Raises:
        InfraError: the run did not come to its end; ImageError or UsageError: there is nothing to run, or nowhere.
    """
    kernel = kernel.resolve()
    target = target or emulator_of(Elf.load(kernel).machine)
    near = [folder / _INITRD for folder in (kernel.parent, kernel.parent.parent)]
    found = initrd or next((path for path in near if path.is_file()), None)
    directory.mkdir(parents=True)
    configuration = directory / "pytest.ini"
    configuration.write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "--pyargs", _SUITE, "-c", str(configuration), "-p", "no:cacheprovider"]
    command += [f"--rootdir={directory}", f"--target={target}", "--timebase=instructions", "--executed", "--tb=line"]
    named = Path.cwd() / registry.CONFIG_NAME  # the run's own rootdir has none
    command += [f"--hil-config={named}"] if named.is_file() else []
    command += [f"--kernel={kernel}", *([f"--initrd={found.resolve()}"] if found else [])]
    command += ["-k", only] if only else []
    command += [f"--results={directory / 'results'}"]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_RUN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InfraError(f"the ring suite did not end within {_RUN_S:g} s on {kernel}") from None
    made = directory / "results" / "latest"
    if done.returncode not in (0, 1) or not (made / "results.json").is_file():
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise InfraError(f"the ring suite could not be run on {kernel} (status {done.returncode}):\n{last}")
    if done.returncode:
        print("some of its tests failed, as where a count is above its limit:")
        print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))))
    return made


def emulator_of(machine: str) -> str:
    """The target that emulates an architecture. Raises UsageError if there is none."""
    kinds = registry.target_types(registry.load_plugins()).values()
    found = [kind.name for kind in kinds if kind.architecture == machine and kind.option_prefix == "qemu"]
    if not found:
        raise UsageError(f"no emulator is known for {machine}; name a target by --target")
    return found[0]
