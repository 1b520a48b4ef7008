"""Which function executes more: sums of windows, differences of runs, and how they are told."""

from __future__ import annotations

import io
import json
from importlib.resources import files

import jsonschema
import pytest
from keuos_hil.plugins.guest_memory import GuestMemory, Window
from keuos_hil.plugins.qemu_counter import QemuCounter
from keuos_hil.targets.qemu_x86 import QemuX86, QemuX86Options
from rich.console import Console

from keuos_hil import bundled, cli, kernel_run, registry
from keuos_hil.code_map import Function
from keuos_hil.compare import changes
from keuos_hil.errors import InfraError, UsageError
from keuos_hil.executed import Grown, difference, grown, least, shares
from keuos_hil.hookspecs import RunOptions
from keuos_hil.judged_table import unattributed
from keuos_hil.terminal import changes_tables
from tests.row_results import whole

GATE, TRAP, OTHER = Function("gate_pass", "kernel/ipc/gate.c"), Function("trap", ""), Function("gate_pass", "b.c")


def test_a_window_is_what_lies_between_two_moments_of_programs_that_were_there_at_both():
    before, after = {"kernel": {GATE: 5, TRAP: 2}, "gone": {GATE: 1}}, {"kernel": {GATE: 9, TRAP: 2}, "new": {GATE: 7}}
    assert difference(after, before) == {"kernel": {GATE: 4}}


def test_of_several_windows_the_least_counts():
    windows = [{"kernel": {GATE: 5, TRAP: 3}}, {"kernel": {GATE: 5}}, {"kernel": {GATE: 6, TRAP: 2}}]
    assert least(windows) == {"kernel": {GATE: 5, TRAP: 0}}


def test_an_operation_s_share_is_that_of_the_operations_by_which_the_windows_differ():
    more, fewer = {"kernel": {GATE: 2_500, OTHER: 100, TRAP: 61}}, {"kernel": {GATE: 500, TRAP: 60}}
    assert shares(more, fewer, 100) == {"kernel": {"gate_pass": 21.0}}, "the trap is done once, not by each"


def test_what_grew_most_is_told_first_and_what_shrank_last():
    old, new = {"kernel": {"a": 10.0, "b": 5.0, "c": 1.0, "d": 3.0}}, {"kernel": {"a": 12.0, "c": 9.0, "d": 3.05}}
    assert grown(old, new) == [
        Grown("kernel", "c", 1.0, 9.0), Grown("kernel", "a", 10.0, 12.0), Grown("kernel", "b", 5.0, 0.0),
    ]  # fmt: skip


def row(value, executed=None, name="ring.round_trip", timebase="instructions"):
    made = {"name": name, "params": {"size": 56}, "target": "q", "timebase": timebase, "unit": "ticks", "value": value}
    return made | ({} if executed is None else {"executed": executed})


def results(*rows):
    return {"schema": "keuos-hil/results/1", "measurements": list(rows), "environment": {}}


def test_rows_that_differ_are_told_with_their_functions():
    old = results(row(90, {"p": {"f": 40.0}}), row(7, name="same"), row(50, name="timed", timebase="emulated"))
    new = results(row(92, {"p": {"f": 42.0}}), row(7, name="same"), row(99, name="timed", timebase="emulated"))
    (change,) = changes(old, new)
    assert (change.old, change.new, change.functions) == (90, 92, [Grown("p", "f", 40.0, 42.0)])
    ((title, table),) = changes_tables([change])
    assert title == "ring.round_trip size=56 q instructions: 90, now 92; executed for each operation"
    shown = io.StringIO()
    Console(file=shown, width=100).print(table)
    assert shown.getvalue().split()[-5:] == ["p", "f", "40", "42", "+2.0"]


def test_where_nobody_counted_it_is_said_how_to():
    (change,) = changes(results(row(90)), results(row(92, {"p": {"f": 1.0}})))
    assert change.functions is None
    assert not changes_tables([change])
    assert "--executed; not of: ring.round_trip" in unattributed([change])[0]


def test_compare_tells_which_function_executes_more(tmp_path, capsys):
    for name, value in (("old", 40.0), ("new", 42.0)):
        (tmp_path / f"{name}.json").write_text(
            json.dumps(whole(results(row(50 + value, {"kernel": {"gate_pass": value}}))))
        )
    assert cli.main(["compare", str(tmp_path / "old.json"), str(tmp_path / "new.json")]) == cli.EXIT_SLOWER
    said = capsys.readouterr().out
    assert "90, now 92; executed for each operation" in said
    assert ["kernel", "gate_pass", "40", "42", "+2.0"] in [line.split() for line in said.splitlines()]


def test_counts_go_with_tcg_and_one_thread():
    with pytest.raises(UsageError, match="--executed counts with TCG"):
        QemuX86("q", QemuX86Options(), RunOptions(accel="kvm", executed=True))
    assert "executed" in QemuX86("q", QemuX86Options(), RunOptions(executed=True)).capabilities
    assert "executed" not in QemuX86("q", QemuX86Options(), RunOptions()).capabilities


def test_a_machine_without_a_compiler_says_so(tmp_path, monkeypatch):
    memory = GuestMemory(1 << 20, (Window(0, 1 << 20, 0),))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfraError, match="a C compiler is needed"):
        QemuCounter(memory, tmp_path)
    memory.close()


@pytest.fixture(scope="module")
def counted_run(tmp_path_factory):
    """A run of the null system call, function by function, and the baseline that it left."""
    bundled.ensure("x86_64")
    folder = tmp_path_factory.mktemp("counted")
    return kernel_run.count(
        bundled.paths("x86_64", "release").kernel, None, None, folder / "run", only="null_system_call"
    )


def test_on_keuos_a_null_system_call_is_the_sum_of_its_functions(counted_run):
    document = json.loads((counted_run / "results.json").read_text())
    jsonschema.validate(document, json.loads(files("keuos_hil").joinpath("schema/results.schema.json").read_text()))
    (call,) = (row for row in document["measurements"] if row["name"] == "syscall.null")
    kernel = call["executed"]["kernel"]
    assert {"syscall_entry", "return_to_user", "sys_null"} <= set(kernel)
    assert sum(sum(functions.values()) for functions in call["executed"].values()) == pytest.approx(call["p50"], abs=6)


def test_a_target_of_the_folder_s_configuration_is_found(tmp_path, monkeypatch):
    (tmp_path / registry.CONFIG_NAME).write_text('[targets.mine]\ntype = "qemu-x86"\nmemory = "no size"\n')
    monkeypatch.chdir(tmp_path)
    bundled.ensure("x86_64")
    with pytest.raises(InfraError, match="target mine: memory"):
        kernel_run.count(bundled.paths("x86_64", "release").kernel, None, "mine", tmp_path / "run")


def test_a_run_that_can_t_be_made_is_told_with_what_it_said(tmp_path):
    bundled.ensure("x86_64")
    kernel = bundled.paths("x86_64", "release").kernel
    with pytest.raises(InfraError, match=r"(?s)could not be run on .*status 4.*no target named 'nowhere'"):
        kernel_run.count(kernel, None, "nowhere", tmp_path / "run")
    with pytest.raises(UsageError, match="no emulator is known for EM_386"):
        kernel_run.emulator_of("EM_386")


def test_a_kernel_is_compared_with_kernels_only(tmp_path, capsys):
    bundled.ensure("x86_64")
    kernel = bundled.paths("x86_64", "release").kernel
    (tmp_path / "other").write_bytes(b"\x7fELFnot really")
    assert cli.main(["compare", str(kernel), str(tmp_path / "other")]) == cli.EXIT_USAGE
    assert "one of the two is a kernel, and one is not" in capsys.readouterr().err
