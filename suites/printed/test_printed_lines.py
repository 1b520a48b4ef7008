"""What a kernel says of itself, line by line; `--expect-tests FILE` makes an item of each line that has to be there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keuos_hil.printed import Line
from keuos_hil.printed_plugin import Run


def test_every_line_that_the_kernel_prints_is_a_pass(
    printed_run: Run, printed_check: Callable[[Line | None, str], None], subtests: pytest.Subtests
) -> None:
    for line in printed_run.printed.lines:
        with subtests.test(msg=line.id):
            printed_check(line, line.id)
    for mark in printed_run.printed.marks:
        if mark.mark == "PARTIAL":
            with subtests.test(msg=f"{mark.suite}: PARTIAL"):
                pytest.fail(f"suite {mark.suite} ended with PARTIAL {mark.text}")
    if not printed_run.printed.lines:
        pytest.fail("the kernel printed no line of the form TEST:suite:name:PASS")


def test_the_kernel_comes_to_an_orderly_end(printed_run: Run) -> None:
    printed_run.require_orderly_end()


def test_an_expected_line_is_a_pass(
    printed_run: Run, expected_line: str, printed_check: Callable[[Line | None, str], None]
) -> None:
    printed_check(printed_run.printed.find(expected_line), expected_line)
