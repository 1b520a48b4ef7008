"""The pytest plugin's part about requirements: the marker, `--requirement ID`, and verdicts in the results.

A test says by `@pytest.mark.requirement("9293:MUST-35", ...)` what it shows; how it did is how the requirement did. Of
several tests that show one the worst counts. A test that was skipped shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from . import requirements
from .bench import bench_key, suite_relative
from .errors import UsageError


def add_requirement_options(add: Callable[..., None]) -> None:
    """What `pytest --help` shows."""
    add("--requirement", dest="keuos_requirement", action="append", metavar="ID", default=None,
        help="run only tests that show this requirement, such as 9293:MUST-35; may be repeated")  # fmt: skip


def ids_of(item: pytest.Item) -> list[str]:
    """The requirements that a test shows, each once."""
    return list(dict.fromkeys(name for marker in item.iter_markers("requirement") for name in marker.args))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse ids that are in no row; leave out what was not asked for."""
    try:
        for item in items:
            requirements.require(ids_of(item), item.nodeid)
        wanted = set(requirements.require(config.getoption("keuos_requirement") or (), "--requirement"))
    except UsageError as error:
        raise pytest.UsageError(f"keuos-hil: {error}") from None
    if wanted:
        others = [item for item in items if not wanted & set(ids_of(item))]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if wanted & set(ids_of(item))]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a test says of its requirements."""
    report = yield
    names = ids_of(item)
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    target = parameters.get("keuos_target_name")
    if not names or target is None:
        return report
    verdict = _verdict(report)
    results = item.config.stash[bench_key].results
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        for name in names:
            results.add_skip(name, target, str(report.longrepr[2]).removeprefix("Skipped: "))
    if verdict:
        reason = str(getattr(report, "wasxfail", "")) if verdict == "xfailed" else ""
        for name in names:
            results.add_evidence(name, target, suite_relative(item.nodeid), verdict, reason.removeprefix("reason: "))
    return report


def _verdict(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and getattr(report, "keuos_kind", "") != "bench":
        return "failed"
    return "passed" if report.passed and report.when == "call" else ""
