"""The virtio-net driver (netd/drivers) against a device that lies: cases.c holds the cases, model.c the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import host_cases

HERE = Path(__file__).resolve().parent
CASES = host_cases.cases_of(HERE / "cases.c")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cases, compiled."""
    sources = ("netd/drivers/virtio_net.c", "kernel/user/lib/virtio.c", "kernel/user/lib/virtio_queue.c")
    return host_cases.build(
        tmp_path_factory.mktemp("virtio_net"), HERE, sources, headers=("virtio.h", "virtio_queue.h")
    )


def test_every_case_of_the_source_is_run_here(program: Path) -> None:
    assert host_cases.listed(program) == CASES


@pytest.mark.parametrize("case", CASES)
def test_the_driver_believes_no_device(program: Path, case: str) -> None:
    host_cases.run(program, case)
