"""What a kernel says of itself, line by line; `--expect-tests FILE` makes an item of each line that has to be there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keuos_hil.printed import NO_LINE, Line, times
from keuos_hil.printed_plugin import Run


def test_every_line_that_the_kernel_prints_is_a_pass(
    printed_run: Run, printed_check: Callable[[Line | None, str], None], subtests: pytest.Subtests
) -> None:
    for line, count in printed_run.printed.counted().items():
        with subtests.test(msg=line.id + times(count)):
            printed_check(line, line.id)
    for mark, count in printed_run.printed.partial().items():
        with subtests.test(msg=f"{mark.name or mark.suite}: PARTIAL{times(count)}"):
            pytest.fail(f"{mark.name or 'the suite'} in {mark.suite} ended with PARTIAL {mark.text}")
    if not printed_run.printed.lines:
        pytest.fail(NO_LINE)


def test_the_kernel_comes_to_an_orderly_end(printed_run: Run) -> None:
    printed_run.require_orderly_end()


def test_an_expected_line_is_a_pass(
    printed_run: Run, expected_line: str, printed_check: Callable[[Line | None, str], None]
) -> None:
    printed_check(printed_run.printed.find(expected_line), expected_line)
