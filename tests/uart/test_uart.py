"""The driver of UARTs on arm64 (kernel/arch/arm64/uart.c): cases.c holds the cases, model.c the devices.

QEMU's board has a PL011, and an 8250 can be put on its bus; the other two are emulated by no machine here.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import host_cases

HERE = Path(__file__).resolve().parent
CASES = host_cases.cases_of(HERE / "cases.c")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cases, compiled."""
    folder = tmp_path_factory.mktemp("uart")
    driver = "kernel/arch/arm64/uart.c"
    return host_cases.build(folder, HERE, [driver], searched=["kernel/arch/arm64"], top=HERE.parents[1])


def test_every_case_of_the_source_is_run_here(program: Path) -> None:
    assert host_cases.listed(program) == CASES


@pytest.mark.parametrize("case", CASES)
def test_a_uart_is_driven_by_its_manual(program: Path, case: str) -> None:
    host_cases.run(program, case)
