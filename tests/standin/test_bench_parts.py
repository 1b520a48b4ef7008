"""Parts of a bench on stand-ins that no suite needs: consoles over the network, boards that start by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from keuos_hil.plugins.arm64_image import flat_image

from keuos_hil import bundled

from .bench import Bench
from .conftest import Run
from .port_server import PortServer
from .test_boards import suite

LOOKS = """
def test_looks(target, agent):
    with agent.spawn("hello") as process:
        assert process.wait_exit().ok
"""
LOOKS_FROM_OUTSIDE = """
def test_looks_from_outside(target, agent):
    assert target.kernel.read("cpu_count") == agent.info().cores
"""


@pytest.mark.parametrize("protocol", ["rfc2217", "socket"])
def test_a_console_may_be_on_a_port_server(
    lasting_bench: Bench, run: Callable[..., Run], tmp_path: Path, protocol: str
) -> None:
    bench = lasting_bench
    looks_inside = protocol == "rfc2217"
    place = suite(tmp_path, "looks", LOOKS + LOOKS_FROM_OUTSIDE * looks_inside)
    with PortServer(bench.tty, rfc2217=looks_inside) as server:
        configuration = bench.configuration("arm", console=server.url, debug=looks_inside)
        done = run(configuration, "--target=board", *(["--require=debug"] if looks_inside else []), str(place))
        assert server.clients, "the board was spoken to through it"
    assert done.status == 0, done.output[-4000:]
    assert list(done.verdicts.values()) == ["passed"] * (1 + looks_inside)


def test_a_board_may_start_by_itself_what_lies_on_it(
    make_bench: Callable[..., Bench], run: Callable[..., Run], tmp_path: Path
) -> None:
    found = bundled.snapshot("arm64", "release", tmp_path / "lies-there")
    assert found.initrd is not None
    bench = make_bench("preloaded", files={"kernel": flat_image(found.kernel, tmp_path), "initrd": found.initrd})
    place = suite(tmp_path, "looks", LOOKS)
    configuration = bench.configuration("arm", load="preloaded", debug=False)
    done = run(configuration, "--target=board", str(place))
    assert done.status == 0, done.output[-4000:]
    assert list(done.verdicts.values()) == ["passed"]
