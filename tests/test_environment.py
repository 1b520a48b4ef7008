"""What is said of a host, from folders laid out like several machines' /proc and /sys."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest

from keuos_hil.environment import UNKNOWN, CpuTimes, describe, host_environment, spoilers

SCHEMA = json.loads(files("keuos_hil").joinpath("schema/results.schema.json").read_text())
CPU = "sys/devices/system/cpu"
LAPTOP = {
    "proc/cpuinfo": "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 140\nmodel name\t: A CPU @ 3 GHz\nstepping\t: 1\n"
    "microcode\t: 0xa4\nflags\t\t: fpu tsc constant_tsc nonstop_tsc\n\nprocessor\t: 1\nmodel name\t: another\n",
    "proc/loadavg": "1.50 0.40 0.20 1/300 999\n",
    "proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
    "proc/cmdline": "quiet isolcpus=1\n",
    "proc/stat": "cpu  100 0 50 800 10 0 0 40 0 0\ncpu0 1 2 3\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave\n",
    f"{CPU}/cpu0/cpufreq/scaling_driver": "intel_pstate\n",
    f"{CPU}/cpu1/cpufreq/scaling_driver": "acpi-cpufreq\n",
    f"{CPU}/intel_pstate/no_turbo": "0\n",
    f"{CPU}/smt/control": "on\n",
    f"{CPU}/isolated": "1\n",
    f"{CPU}/vulnerabilities/meltdown": "Mitigation: PTI\n",
    f"{CPU}/cpu0/cache/index0/level": "1\n",
    f"{CPU}/cpu0/cache/index0/type": "Data\n",
    f"{CPU}/cpu0/cache/index0/shared_cpu_list": "0,2\n",
    f"{CPU}/cpu0/cache/index3/level": "3\n",
    f"{CPU}/cpu0/cache/index3/type": "Unified\n",
    f"{CPU}/cpu0/cache/index3/shared_cpu_list": "0-3\n",
    f"{CPU}/cpu0/topology/package_cpus_list": "0-3\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
}


@pytest.fixture
def root(tmp_path):
    def lay_out(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return lay_out


def test_a_laptop_is_described_as_its_files_say(root):
    machine = describe(root(LAPTOP))
    assert machine["cpu"] == "A CPU @ 3 GHz (family 6, model 140, stepping 1)"
    assert machine["frequency_policy"] == "powersave"
    assert machine["frequency_driver"] == "cpu0 intel_pstate, cpu1 acpi-cpufreq"
    assert machine["distance"] == "L1 own, L3 shared, package shared"
    assert machine["mitigations"] == {"meltdown": "Mitigation: PTI"}
    assert machine["hypervisor"] == "none that is told"
    assert (machine["boost"], machine["smt"], machine["isolated"]) == ("on", "on", "1")
    assert (machine["load"], machine["memory"]) == (1.5, 16_000_000)


def test_everything_that_spoils_a_laptop_s_timings_is_named_with_what_mends_it(root):
    found = spoilers(describe(root(LAPTOP)), 2, 0.02)
    assert [entry["found"] for entry in found] == [
        "frequency policy powersave",
        "boost on",
        "SMT on",
        "clocksource hpet",
        "load 1.5 on 2 cores",
        "2.0% of the time stolen by the hypervisor",
    ]
    assert all(entry["why"] and entry["fix"] for entry in found)


def test_a_quiet_machine_of_one_s_own_has_no_spoilers(root):
    quiet = {
        "proc/loadavg": "0.10 0 0 1/1 1",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
        f"{CPU}/intel_pstate/no_turbo": "1",
        f"{CPU}/smt/control": "off",
        f"{CPU}/cpu0/cpufreq/scaling_governor": "performance",
        f"{CPU}/cpu1/cpufreq/scaling_governor": "performance",
    }
    assert spoilers(describe(root(LAPTOP | quiet)), 2, 0.0) == []


def test_what_can_not_be_found_out_is_unknown_and_spoils(tmp_path):
    machine = describe(tmp_path)
    assert machine.keys() == describe().keys()
    for name in ("cpu", "frequency_policy", "boost", "smt", "tsc", "distance", "hypervisor"):
        assert machine[name] == UNKNOWN, name
    assert machine["load"] is machine["memory"] is None
    assert [entry["found"].split()[-1] for entry in spoilers(machine, 2, None)] == [UNKNOWN] * 3


def test_a_hypervisor_is_told_apart(root):
    flags = LAPTOP["proc/cpuinfo"].replace("flags\t\t: fpu", "flags\t\t: hypervisor fpu")
    machine = describe(root(LAPTOP | {"proc/cpuinfo": flags}))
    assert machine["hypervisor"] == "yes"
    assert spoilers(machine, 8, 0.0)[-1]["found"] == "runs under a hypervisor"


def test_an_arm_core_goes_by_its_numbers(root):
    text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU variant\t: 0x0\nCPU part\t: 0xd08\n"
    machine = describe(root({"proc/cpuinfo": text}))
    assert machine["cpu"].strip() == "(CPU implementer 0x41, CPU part 0xd08, CPU variant 0x0)"
    assert machine["tsc"] == UNKNOWN


def test_stolen_time_is_a_share_of_what_passed(root):
    first = CpuTimes.read(root(LAPTOP))
    assert first == CpuTimes(1000, 40)
    later = CpuTimes(2000, 290)
    assert later.stolen_since(first) == 0.25
    assert first.stolen_since(first) is None


def test_a_host_without_proc_has_no_times(tmp_path):
    assert CpuTimes.read(tmp_path) is None


def test_this_host_s_description_is_as_the_schema_says():
    schema = SCHEMA["properties"]["environment"]["properties"]
    said = host_environment(CpuTimes.read())
    jsonschema.validate(said["machine"], schema["machine"])
    jsonschema.validate(said["spoilers"], schema["spoilers"])
