"""What the kernel tells SMMU and ITS and what it waits for, as the machine sees it: QEMU traces registers and commands.

An emulator carries every command out at once, and caches little. So a command too few, or one that is not waited for,
does no harm there; here it is missed. What is ordered in memory before each is barriers.py's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONG = 240.0
TRACED = ("smmuv3_cmdq_opcode", "smmuv3_*_mmio", "gicv3_its_read", "gicv3_its_write", "gicv3_its_cmd_*")
_DEED = re.compile(
    r"^(?:smmuv3_cmdq_opcode <--- SMMU_CMD_(\w+)|smmuv3_(read|write)_mmio addr: (0x\w+) val:(0x\w+)"
    r"|gicv3_its_cmd_\w+ .*command (\w+)|gicv3_its_(read|write) .*offset (0x\w+) data (0x\w+)) *",
    re.MULTILINE,
)

#: Registers of the SMMU (Arm IHI0070, 6.3) and of the ITS (IHI0069, 12.19), and their bits.
CR0, GBPA, CMDQ_PROD, CMDQ_CONS = 0x20, 0x44, 0x98, 0x9C
IRQ_CTRL, IRQ_CTRLACK, EVENTQ_IRQ_CFG0 = 0x50, 0x54, 0xB0
SMMUEN, UPDATE, ABORT, EVENTS_TELL = 1, 1 << 31, 1 << 20, 1 << 2
CTLR, CBASER, CWRITER, CREADR, BASER_0 = 0x0, 0x80, 0x88, 0x90, 0x100
ENABLED, QUIESCENT = 1, 1 << 31

UNMAPPED = ["TLBI_NH_ASID", "SYNC"]
#: Behind a change of a stream's entry: it and its context are forgotten, then the domain's translations.
CHANGED = ["CFGI_CD_ALL", "CFGI_STE", "SYNC", *UNMAPPED]


@dataclass(frozen=True)
class Deed:
    """What was done to a unit.

    Attributes:
        what: "read", "write", or the command that it carried out.
        at: the register's offset; -1 for a command.
        value: what was read or written.
    """

    what: str
    at: int = -1
    value: int = 0


@dataclass
class Told:
    """All deeds, in order; both units' together, too, as far as they are commands."""

    smmu: list[Deed] = field(default_factory=list)
    its: list[Deed] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, log: str) -> Told:
        """What QEMU wrote into its log."""
        told = cls()
        for found in _DEED.finditer(log):
            words = found.groups()
            [command, way, at, value] = words[:4] if any(words[:4]) else words[4:]
            unit = told.smmu if any(words[:4]) else told.its
            unit.append(Deed(command) if command else Deed(way, int(at, 16), int(value, 16)))
            if command:
                told.commands.append(command)
        return told


@pytest.fixture(scope="module")
def told(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """From the start of the machine on, of the driver in suites/net/driver_case.py."""
    place = tmp_path_factory.mktemp("told")
    (place / "traced").write_text("\n".join(TRACED) + "\n")
    command = [sys.executable, "-m", "pytest", "suites/net/driver_case.py", "-q", "-p", "no:cacheprovider"]
    command += ["--target=qemu-arm64", "--require=agent", "--require=iommu", f"--results={place / 'results'}"]
    command += ["--qemu-extra=-trace", f"--qemu-extra=events={place / 'traced'}"]
    for option in ("kernel", "initrd"):
        if given := pytestconfig.getoption(f"keuos_{option}"):
            command.append(f"--{option}={given}")
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    assert "1 passed" in run.stdout, run.stdout[-400:]
    [log] = (place / "results" / "latest" / "sessions").glob("*/reset.log")
    return Told.of(log.read_text())


def index_of(deeds: list[Deed], *, what: str = "write", at: int, bits: int = 0) -> int:
    """Which deed is the first with all these bits of this register; behind the last: none."""
    found = (i for i, deed in enumerate(deeds) if (deed.what, deed.at) == (what, at) and deed.value & bits == bits)
    return next(found, len(deeds))


def test_no_stream_passes_the_smmu_while_it_is_off(told: Told) -> None:
    """The word for what passes is changed, and the change has come, before the unit is switched off."""
    aborts = index_of(told.smmu, at=GBPA, bits=UPDATE | ABORT)
    came = index_of(told.smmu[aborts:], what="read", at=GBPA)
    assert aborts + came < index_of(told.smmu, at=CR0) < len(told.smmu)
    assert told.smmu[aborts + came].value & UPDATE == 0
    assert index_of(told.smmu[:aborts], what="read", at=GBPA) < aborts, "an earlier change may be under way"


def test_the_smmu_forgets_everything_before_it_is_on(told: Told) -> None:
    on = index_of(told.smmu, at=CR0, bits=SMMUEN)
    assert on < len(told.smmu)
    assert [deed.what for deed in told.smmu[:on] if deed.at < 0] == ["CFGI_STE_RANGE", "TLBI_NSNH_ALL", "SYNC"]


def test_the_smmu_tells_by_its_line(told: Told) -> None:
    """Where it would write a message to is unknown after a reset: it is told none, with its interrupts off."""
    off = index_of(told.smmu, at=IRQ_CTRL)
    done = off + index_of(told.smmu[off:], what="read", at=IRQ_CTRLACK)
    none = index_of(told.smmu, at=EVENTQ_IRQ_CFG0)
    assert off < done < none < index_of(told.smmu, at=IRQ_CTRL, bits=EVENTS_TELL) < len(told.smmu)
    assert (told.smmu[off].value, told.smmu[done].value, told.smmu[none].value) == (0, 0, 0)


def test_the_its_is_at_rest_before_its_tables_are_changed(told: Told) -> None:
    off = index_of(told.its, at=CTLR)
    rests = index_of(told.its, what="read", at=CTLR, bits=QUIESCENT)
    changed = min(index_of(told.its, at=at) for at in (CBASER, *range(BASER_0, BASER_0 + 64, 8)))
    assert off < rests < changed < index_of(told.its, at=CTLR, bits=ENABLED) < len(told.its)
    assert told.its[off].value & ENABLED == 0


def test_each_is_told_of_every_change_and_of_nothing_else(told: Told) -> None:
    """A driver claims a device and its interrupt, shows it a page and takes that away, and lets go of all."""
    cores = ["MAPC", "INVALL", "SYNC"] * 2
    functions = ["MAPD", "SYNC"] * told.commands.count("MAPD")
    assert functions
    begun = [*cores, *functions, "CFGI_STE_RANGE", "TLBI_NSNH_ALL", "SYNC"]
    driver = [*CHANGED, "MAPTI", "SYNC", *UNMAPPED, "DISCARD", "SYNC", *UNMAPPED, *CHANGED]
    assert told.commands == [*begun, *driver]


@pytest.mark.parametrize(("unit", "index", "done"), [("smmu", CMDQ_PROD, CMDQ_CONS), ("its", CWRITER, CREADR)])
def test_what_is_told_is_done_before_the_kernel_goes_on(told: Told, unit: str, index: int, done: int) -> None:
    """Of each index of commands: the last one that it covers is a SYNC, and it is read back before the next."""
    deeds: list[Deed] = getattr(told, unit)
    shown = [i for i, deed in enumerate(deeds) if (deed.what, deed.at) == ("write", index) and deed.value]
    assert len(shown) > 4
    for i, following in zip(shown, [*shown[1:], len(deeds)], strict=True):
        assert deeds[i - 1].what == "SYNC", f"{unit} is shown {deeds[i].value:#x}, the last of which is {deeds[i - 1]}"
        said = [deed.value for deed in deeds[i:following] if (deed.what, deed.at) == ("read", done)]
        assert said[-1:] == [deeds[i].value], f"{unit} is shown {deeds[i].value:#x}, and read back was {said}"
