"""The network suites notice: a fault is put between Linux and the peer, and a case has to fail for it.

A few with the cases that are meant to notice them; every one against the whole suite is a soak (`make tcp-mutants`).
"""

from __future__ import annotations

import pytest

from keuos_hil.net.faults import FAULTS

#: A fault, and where it has to be noticed.
QUICK = {
    "no-mss-option": ("test_handshake.py", "offers_an_mss"),
    "window-never-zero": ("test_data.py", "closed or full"),
    "reset-in-the-window-accepted": ("test_matrix.py", "ESTABLISHED-R"),
    "timeout-constant": ("test_congestion.py", "timeout_doubles"),
}


def _run(pytester: pytest.Pytester, root: str, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(
        *("-p", "keuos_hil.net.fault_plugin", "-p", "no:cacheprovider", "-q", "-x", "--target=linux"),
        *("--rootdir", root, f"--results={pytester.path / 'results'}", "-c", f"{root}/pyproject.toml"),
        *arguments,
        timeout=550,
    )


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_is_noticed_by_the_cases_that_are_about_it(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, name: str
) -> None:
    root = str(request.config.rootpath)
    file, words = QUICK[name]
    result = _run(pytester, root, f"{root}/suites/tcp/{file}", "-k", words, f"--link-fault={name}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "failed" in result.stdout.str()


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_is_noticed_by_the_suite(pytester: pytest.Pytester, request: pytest.FixtureRequest, name: str) -> None:
    root = str(request.config.rootpath)
    result = _run(pytester, root, f"{root}/suites/tcp", f"--link-fault={name}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED, f"{name}: {FAULTS[name].__doc__} No case noticed."


def test_an_unknown_fault_lists_the_known_ones(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("-p", "keuos_hil.net.fault_plugin", "--link-fault=none-such", timeout=120)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "no-mss-option" in result.stderr.str()
