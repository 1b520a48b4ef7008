"""A farm: two stand-ins are places of a labgrid coordinator, and workers of pytest-xdist take one each."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from .bench import ROOT, Bench
from .conftest import Run
from .lab import Lab
from .port_server import PortServer
from .test_boards import suite

NAMES = ("north", "south")


@dataclass(frozen=True)
class Farm:
    """The lab, its stand-ins by the names of their places, and the tables of the target `farm`."""

    lab: Lab
    benches: dict[str, Bench]
    configuration: str


@pytest.fixture
def farm(make_bench: Callable[..., Bench], tmp_path: Path) -> Iterator[Farm]:
    """Two arm64 stand-ins on a labgrid of their own, one's serial line by raw TCP, the other's by RFC 2217."""
    with ExitStack() as stack:
        benches = {name: make_bench("arm64", name=name) for name in NAMES}
        ports = {
            name: stack.enter_context(PortServer(bench.tty, rfc2217=name == NAMES[1]))
            for name, bench in benches.items()
        }
        lab = stack.enter_context(Lab(tmp_path, ports))
        first = benches[NAMES[0]]
        text = first.configuration("farm", debug=False, button=False).replace(
            str(first.place), f"{first.place.parent}/{{place}}"
        )
        text = "\n".join(line for line in text.splitlines() if not line.startswith("console"))
        text += (
            f'\n[targets.farm.lease]\npart = "labgrid"\ntags = ["{lab.tag}"]\ncoordinator = "{lab.coordinator}"\n'
            f'client = "{lab.client}"\nwait = 120\n'
        )
        yield Farm(lab, benches, text)


def test_two_workers_take_a_board_each_and_give_both_back(farm: Farm, run: Callable[..., Run], tmp_path: Path) -> None:
    place = suite(
        tmp_path,
        "spread",
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(6))\n"
        "def test_spread(agent, number):\n"
        "    with agent.spawn('hello') as process:\n"
        "        assert process.wait_exit().ok\n",
    )
    done = run(farm.configuration, "--target=farm", "-n", "2", str(place))
    assert done.status == 0, done.output[-4000:]
    assert list(done.verdicts.values()) == ["passed"] * 6
    assert {test["board"] for test in done.results["tests"]} == set(NAMES), "each worker ran on a board of its own"
    assert all(bench.powered for bench in farm.benches.values())
    assert farm.lab.held_in_the_end() == []


@pytest.mark.soak
def test_ctrl_c_gives_the_boards_back_and_until_then_nobody_else_gets_one(farm: Farm, tmp_path: Path) -> None:
    place = suite(
        tmp_path,
        "busy",
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(2))\n"
        "def test_busy(agent, number):\n"
        "    (HERE / f'busy-{number}').write_text('')\n"
        "    while True:\n"
        "        agent.ping()\n",
    )
    config = tmp_path / "keuos-hil.toml"
    config.write_text(farm.configuration)
    late = tmp_path / "late.toml"
    late.write_text(farm.configuration.replace("wait = 120", "wait = 3"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--target=farm", str(place)]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [*command, f"--hil-config={config}", f"--results={tmp_path}/results", "-n", "2"],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 240
            while len(list(place.glob("busy-*"))) < 2:
                assert process.poll() is None, (tmp_path / "output").read_text()[-4000:]
                assert time.monotonic() < deadline, (tmp_path / "output").read_text()[-4000:]
                time.sleep(0.1)
            held = "\n".join(farm.lab.held)
            assert held.count("acquired: ") == len(NAMES), held
            assert "Reservation" in held
            third = subprocess.run(
                [*command, f"--hil-config={late}", f"--results={tmp_path}/third"],
                cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
            )  # fmt: skip
            assert third.returncode == 10, "nothing but the bench went wrong"
            assert "no place with the tags board=standin became free" in third.stdout
            process.send_signal(signal.SIGINT)
            process.wait(120)
        finally:
            process.kill()
            process.wait(10)
    assert process.returncode == 2, (tmp_path / "output").read_text()[-4000:]
    assert farm.lab.held_in_the_end() == [], (tmp_path / "output").read_text()[-4000:]
    results = json.loads((tmp_path / "results" / "latest" / "results.json").read_text())
    assert results["schema"]
