"""What of this host bears on a figure: processor, frequency policy, mitigations, distance of cores, load, stolen time.

What can't be found out is said to be unknown, not left out. What spoils results is named, with what mends it.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
_CPUS = "sys/devices/system/cpu"
#: More stolen time than this share of a run spoils it, and so do more waiting processes than this share of the cores.
_STOLEN_MAX = 0.01
_LOAD_MAX = 0.5


@dataclass(frozen=True)
class CpuTimes:
    """What /proc/stat counts over all cores since boot, in its ticks; None where it can't be read."""

    all: int
    stolen: int

    @classmethod
    def read(cls, root: Path = Path("/")) -> CpuTimes | None:
        """As of now; proc(5) has the columns. Guest time is part of user time and not counted twice."""
        for line in _text(root / "proc/stat").splitlines():
            if line.startswith("cpu "):
                columns = [int(column) for column in line.split()[1:9]]
                return cls(sum(columns), columns[7] if len(columns) > 7 else 0)
        return None

    def stolen_since(self, earlier: CpuTimes) -> float | None:
        """The share of time since `earlier` in which a hypervisor ran something else; None if no time has passed."""
        passed = self.all - earlier.all
        return (self.stolen - earlier.stolen) / passed if passed > 0 else None


def _text(path: Path) -> str:
    """The file's text without the space around it; "" if there is none to be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _or_unknown(text: str) -> str:
    return text or UNKNOWN


def _of_all(root: Path, name: str) -> str:
    """What all cores say of `name`: one word if they agree, else core by core."""
    found = {path.parts[-2 - name.count("/")]: _text(path) for path in sorted((root / _CPUS).glob(f"cpu[0-9]*/{name}"))}
    words = set(found.values())
    if not words:
        return UNKNOWN
    return words.pop() if len(words) == 1 else ", ".join(f"{core} {word}" for core, word in found.items())


def _cpuinfo(root: Path) -> dict[str, str]:
    """The first core's lines of /proc/cpuinfo."""
    lines = _text(root / "proc/cpuinfo").partition("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _model(cpuinfo: dict[str, str]) -> str:
    short = {"cpu family": "family", "model": "model", "stepping": "stepping"}
    numbers = [f"{word} {cpuinfo[name]}" for name, word in short.items() if name in cpuinfo]
    arm = [f"{name} {cpuinfo[name]}" for name in ("CPU implementer", "CPU part", "CPU variant") if name in cpuinfo]
    return f"{cpuinfo.get('model name', cpuinfo.get('Model', ''))} ({', '.join(numbers or arm)})".replace(" ()", "")


def _distance(root: Path) -> str:
    """What the first two cores share, as the machine tells: a hypervisor may tell anything."""
    told = []
    for index in sorted((root / _CPUS / "cpu0/cache").glob("index*")):
        if _text(index / "type") != "Instruction":
            shared = "shared" if "1" in _expand(_text(index / "shared_cpu_list")) else "own"
            told.append(f"L{_text(index / 'level')} {shared}")
    for name, what in (("thread_siblings_list", "core"), ("package_cpus_list", "package")):
        list_ = _text(root / _CPUS / "cpu0/topology" / name)
        if list_:
            told.append(f"{what} {'shared' if '1' in _expand(list_) else 'own'}")
    return ", ".join(told) or UNKNOWN


def _expand(list_: str) -> set[str]:
    """The cores of a list such as "0-3,8"."""
    cores: set[str] = set()
    with suppress(ValueError):
        for part in filter(None, list_.split(",")):
            first, _, last = part.partition("-")
            cores |= {str(core) for core in range(int(first), int(last or first) + 1)}
    return cores


def describe(root: Path = Path("/")) -> dict[str, Any]:
    """The host as it stands now. Every key is there; a value that can't be had is "unknown" (None for numbers).

    Keys: `cpu`, `microcode`, `hypervisor`, `frequency_policy`, `frequency_driver`, `boost`, `idle_driver`, `smt`,
    `clocksource`, `tsc`, `distance` (of cores 0 and 1), `isolated` (cores), `mitigations` (by fault), `kernel_options`,
    `huge_pages`, `load` (processes that want to run, over the last minute), `memory` (KiB).
    """
    cpuinfo = _cpuinfo(root)
    flags = cpuinfo.get("flags", "").split()
    tsc = ", ".join(flag for flag in ("constant_tsc", "nonstop_tsc", "tsc_known_freq") if flag in flags)
    boost = {"1": "off", "0": "on"}.get(_text(root / _CPUS / "intel_pstate/no_turbo"))
    boost = boost or {"1": "on", "0": "off"}.get(_text(root / _CPUS / "cpufreq/boost"))
    load = _text(root / "proc/loadavg").split()
    memory = _text(root / "proc/meminfo").split()
    vulnerabilities = sorted((root / _CPUS / "vulnerabilities").glob("*"))
    return {
        "cpu": _or_unknown(_model(cpuinfo)),
        "microcode": _or_unknown(cpuinfo.get("microcode", "")),
        "hypervisor": "yes" if "hypervisor" in flags else "none that is told" if flags else UNKNOWN,
        "frequency_policy": _of_all(root, "cpufreq/scaling_governor"),
        "frequency_driver": _of_all(root, "cpufreq/scaling_driver"),
        "boost": boost or UNKNOWN,
        "idle_driver": _or_unknown(_text(root / _CPUS / "cpuidle/current_driver")),
        "smt": _or_unknown(_text(root / _CPUS / "smt/control")),
        "clocksource": _or_unknown(_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")),
        "tsc": tsc or ("neither constant nor non-stop" if flags else UNKNOWN),
        "distance": _distance(root),
        "isolated": _text(root / _CPUS / "isolated") or "none",
        "mitigations": {path.name: _text(path) for path in vulnerabilities},
        "kernel_options": _or_unknown(_text(root / "proc/cmdline")),
        "huge_pages": _or_unknown(_text(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "load": float(load[0]) if load else None,
        "memory": int(memory[1]) if len(memory) > 1 and memory[0] == "MemTotal:" else None,
    }


def spoilers(machine: dict[str, Any], cores: int, stolen: float | None) -> list[dict[str, str]]:
    """What about this machine spoils timings: each with what was `found`, `why` it does, and what mends it (`fix`).

    Args:
        machine: of :func:`describe`.
        cores: of the machine.
        stolen: share of the run in which a hypervisor ran something else; None if unknown.
    """
    made = []

    def add(found: str, why: str, fix: str) -> None:
        made.append({"found": found, "why": why, "fix": fix})

    policy = machine["frequency_policy"]
    if policy not in (UNKNOWN, "performance"):
        add(f"frequency policy {policy}", "a core that waits is slowed down", "cpupower frequency-set -g performance")
    elif policy == UNKNOWN:
        fix = "on the machine that owns the processor: cpupower frequency-set -g performance"
        add("frequency policy unknown", "cores may change their pace unseen", fix)
    if machine["boost"] == "on":
        fix = "echo 0 > /sys/devices/system/cpu/cpufreq/boost (intel_pstate: echo 1 > .../intel_pstate/no_turbo)"
        add("boost on", "the pace depends on temperature and on neighbours", fix)
    if machine["smt"] == "on":
        add("SMT on", "a neighbour thread takes a share of the core", "echo off > /sys/devices/system/cpu/smt/control")
    if machine["clocksource"] not in (UNKNOWN, "tsc", "arch_sys_counter"):
        add(
            f"clocksource {machine['clocksource']}",
            "the kernel does not trust the TSC",
            "dmesg | grep -i tsc tells why",
        )
    if "constant_tsc" not in machine["tsc"] and machine["tsc"] != UNKNOWN:
        add(f"TSC {machine['tsc']}", "its ticks are no measure of time", "use another machine")
    if machine["load"] is None or machine["load"] > _LOAD_MAX * cores:
        found = "load unknown" if machine["load"] is None else f"load {machine['load']} on {cores} cores"
        add(found, "others take turns on the measured cores", "end other work and wait a minute")
    if stolen is None or stolen > _STOLEN_MAX:
        found = "stolen time unknown" if stolen is None else f"{stolen:.1%} of the time stolen by the hypervisor"
        fix = "use a quiet host, or one core of it for each of this machine's"
        add(found, "a side stands still while its clock runs", fix)
    if machine["hypervisor"] == "yes":
        fix = "compare only within a stratum; or measure without it"
        add("runs under a hypervisor", "cores are moved, and far ones become near", fix)
    return made


def host_environment(since: CpuTimes | None = None, root: Path = Path("/")) -> dict[str, Any]:
    """What results.json says of this host. `since`: read when the run began, so that stolen time can be told."""
    machine = describe(root)
    now = CpuTimes.read(root)
    stolen = now.stolen_since(since) if now is not None and since is not None else None
    cores = os.cpu_count()
    return {
        "time": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "host": {"system": platform.platform(), "cpu": machine["cpu"], "cores": cores},
        "python": platform.python_version(),
        "machine": machine | {"stolen": stolen},
        "spoilers": spoilers(machine, cores or 1, stolen),
    }
