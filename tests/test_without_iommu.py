"""A machine without an IOMMU: no driver gets the NIC, what needs it is skipped with the reason, and NetD says so."""

from __future__ import annotations

import pytest

_SOURCE = """
import re


def test_netd_tells_why_it_does_not_start(target, console):
    console.expect("without an IOMMU nobody gets them", 60)
    console.expect("keuos> ", 60)
    console.write("spawn netd ip=192.0.2.2/24\\r")
    console.expect("this machine has no IOMMU, so no driver may have the NIC", 60)
    console.expect(re.compile(rb"netd: exit 3"), 60)
"""
_SUITES = ("test_dma_gate.py", "test_dma_audit.py", "test_netd.py", "test_sockets.py")
_REASON = "to get it: a machine with an IOMMU: --qemu-iommu=yes"


def _run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(
        *("-p", "no:cacheprovider", "-q", "-rs", "--target=qemu-x86", "--qemu-iommu=no"),
        f"--results={pytester.path / 'results'}",
        *arguments,
        timeout=240,
    )


def test_netd_tells_what_is_missing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(_SOURCE)
    _run(pytester).assert_outcomes(passed=1)


def test_the_network_suites_are_skipped_with_the_reason(
    pytester: pytest.Pytester, request: pytest.FixtureRequest
) -> None:
    root = request.config.rootpath
    suites = [str(root / "suites" / "net" / name) for name in _SUITES]
    result = _run(pytester, "--rootdir", str(root), "-c", str(root / "pyproject.toml"), *suites)
    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"skipped", "deselected"}, outcomes
    assert outcomes["skipped"] > 50
    reasons = [line for line in result.outlines if line.startswith("SKIPPED")]
    assert reasons
    assert [line for line in reasons if _REASON not in line] == []
