"""Naming targets and setting their options: what is misspelt is told, with what was probably meant."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field, replace

import pytest
from keuos_hil.targets.qemu_arm64 import QemuArm64Options
from keuos_hil.targets.qemu_x86 import QemuX86Options

from keuos_hil import capabilities, hookspecs, options, registry
from keuos_hil.errors import InfraError, UsageError
from keuos_hil.hookspecs import RunOptions, TargetType, hookimpl


@dataclass(frozen=True)
class BoardOptions:
    port: str = field(metadata={"help": "the serial port"})
    baud: int = 115200
    loud: bool = False
    factor: float = 1.0
    extra: list[str] = field(default_factory=list)


def make(name, values, run):
    """Stands for a target: what it would be made of."""
    return (name, values, run)


BOARD = TargetType("board", "a board", "x86_64", BoardOptions, "board", make)


@pytest.fixture
def configured(tmp_path):
    def read(text):
        path = tmp_path / "keuos-hil.toml"
        path.write_text(text)
        return registry.Registry({"board": BOARD}, path)

    return read


def test_a_named_target_gets_its_table_and_the_command_line_on_top(configured):
    name, values, run = configured('[targets.rack]\ntype = "board"\nport = "/dev/x"\nbaud = 9600\nfactor = 2\n').make(
        "rack", RunOptions("instructions"), lambda kind: {"baud": 1200, "extra": ["-x"]}
    )
    assert name == "rack"
    assert values == BoardOptions("/dev/x", 1200, False, 2.0, ["-x"])
    assert run.timebase == "instructions"


def test_an_unknown_target_lists_the_known_ones(configured):
    found = configured('[targets.rack]\ntype = "board"\nport = "p"\n')
    with pytest.raises(UsageError, match=r"no target named 'rak'; did you mean 'rack'\? valid: board, rack"):
        found.require("rak")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[targets.x]\ntype = "board"\nport = "p"\nbuad = 1\n',
            r"unknown key 'buad'; did you mean 'baud'\? valid: baud, ext",
        ),
        ('[targets.x]\ntype = "bord"\n', r"no target type 'bord'; did you mean 'board'\?"),
        ("[targets.x]\n", "'type' is missing"),
        ('[targets.x]\ntype = "board"\n', "'port' is missing: the serial port"),
        ('[targets.x]\ntype = "board"\nport = 3\n', "port: expected a string, found 3"),
        ('[targets.x]\ntype = "board"\nport = "p"\nbaud = true\n', "baud: expected an integer, found True"),
        ('[targets.x]\ntype = "board"\nport = "p"\nextra = "a"\n', "extra: expected a list of strings, found 'a'"),
        ("[target.x]\n", r"unknown table 'target'; did you mean 'targets'\?"),
        ("[targets\n", "is no TOML"),
        ("[targets]\nx = 1\n", "expected a table"),
        ("targets = 1\n", r"expected tables \[targets.NAME\], found 1"),
        ("[targets.x]\ntype = []\n", r"no target type \[\]"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_clear_line(configured, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        configured(text)
    assert "\n" not in str(caught.value)


def test_a_missing_configuration_is_told(tmp_path):
    with pytest.raises(UsageError, match="can't be read"):
        registry.Registry({}, tmp_path / "none.toml")


def test_the_command_line_follows_from_the_dataclass():
    parser = argparse.ArgumentParser()
    options.add_to_command_line(parser.add_argument, "board", BoardOptions)
    given = parser.parse_args(["--board-baud", "300", "--board-extra=-a", "--board-extra=-b", "--board-loud", "yes"])
    found = options.from_command_line(lambda dest: getattr(given, dest), "board", BoardOptions)
    assert found == {"baud": 300, "extra": ["-a", "-b"], "loud": True}
    assert "the serial port" in parser.format_help()


def test_an_option_of_two_kinds_of_target_tells_both(monkeypatch):
    @dataclass(frozen=True)
    class RackOptions:
        port: str = field(default="ttyS0", metadata={"help": "the rack's socket"})
        extra: list[str] = field(default_factory=list)

    monkeypatch.setenv("COLUMNS", "200")
    parser = argparse.ArgumentParser()
    options.add_to_command_line(parser.add_argument, "board", BoardOptions, RackOptions)
    told = parser.format_help()
    assert "the serial port; the rack's socket (default: ttyS0)" in told
    assert told.count("  extra\n") == 1, "what both say alike is said once"
    assert re.search(r"--board-loud yes\|no .*\(default: no\)", told), "a default is said as it would be typed"


def test_the_help_of_an_option_of_both_emulators_reads_as_one_sentence(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    parser = argparse.ArgumentParser()
    options.add_to_command_line(parser.add_argument, "qemu", QemuX86Options, QemuArm64Options)
    told = parser.format_help()
    assert "so that a run can be replayed (one core); not on qemu-arm64 (default: no)" in told
    assert "whether q35 gets an IOMMU (VT-d with interrupt remapping); whether `virt` gets an IOMMU (SMMUv3)" in told
    assert "RDRAND); arm64 CPU model (cortex-a57" in told


def test_plugins_bring_targets_and_two_of_a_name_are_refused():
    rack = replace(BOARD, name="rack")

    class Plugin:
        @hookimpl
        def keuos_hil_target_types(self):
            return [rack]

        @hookimpl
        def keuos_hil_panic_patterns(self):
            return [b"Oops: .*"]

    manager = registry.load_plugins()
    assert "qemu-x86" in registry.target_types(manager)
    registry.add_plugins(manager, [object(), Plugin()])
    assert registry.target_types(manager)["rack"] is rack
    assert registry.panic_patterns(manager) == (b"Oops: .*",)
    manager.register(Plugin())
    with pytest.raises(InfraError, match="two plugins bring a target type 'rack'"):
        registry.target_types(manager)


def test_every_hook_is_found_by_its_prefix():
    assert [n for n in vars(hookspecs) if n.startswith("keuos_hil_")] == [
        "keuos_hil_target_types", "keuos_hil_part_types", "keuos_hil_panic_patterns", "keuos_hil_post_mortem",
    ]  # fmt: skip


def test_an_unknown_capability_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"no capability is called 'iomu'; did you mean 'iommu'"):
        capabilities.lookup(["iomu"], "here")


@pytest.mark.parametrize("capability", capabilities.KNOWN.values(), ids=lambda c: c.name)
def test_a_skip_says_what_is_missing_and_how_to_get_it(capability):
    text = capabilities.reason(capability, target="board", image="k.elf")
    assert repr(capability.name) in text
    assert "to get it: " in text
    assert "board" in text or "k.elf" in text
