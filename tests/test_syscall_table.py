"""The table of answers in docs/syscall-abi.md is the one that the suites hold the kernel to, and has every call."""

from __future__ import annotations

import re
from pathlib import Path

from keuos_hil.oracle.syscalls import DOCUMENTED, ELSEWHERE, ENDS

ROOT = Path(__file__).resolve().parents[1]


def _documented() -> dict[str, tuple[set[str], str]]:
    page = (ROOT / "docs" / "syscall-abi.md").read_text().split("## What each call answers")[1]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| ?(.*?) ?\|$", page, re.MULTILINE)
    return {call.lower(): (set(answers.lower().split()) - {"never", "returns"}, ends) for call, answers, ends in rows}


def test_the_page_and_the_suites_agree() -> None:
    page = _documented()
    assert {call: answers for call, (answers, _) in page.items()} == {c: set(a) for c, a in DOCUMENTED.items()}
    assert {call for call, (_, ends) in page.items() if ends} == {call for call in ENDS if " " not in call}


def test_every_call_of_the_header_stands_in_the_table_and_every_answer_is_an_error() -> None:
    header = (ROOT / "kernel" / "include" / "keuos" / "syscall.h").read_text()
    calls = {name.lower() for name in re.findall(r"KEUOS_SYS_(\w+) =\s", header)} - {"count"}
    errors = {name.lower() for name in re.findall(r"KEUOS_(E[A-Z]+) = \d", header)}
    assert set(DOCUMENTED) == calls
    assert set().union(*DOCUMENTED.values()) - {"ok"} == errors
    assert all(answer in DOCUMENTED[call] for call, answer in ELSEWHERE)
