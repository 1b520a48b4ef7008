"""Results that a kernel prints as lines. Pure: text in, records out.

    TEST:suite:name:PASS | FAIL text | SKIP text | VALUE n
    TEST:suite:[name:]BEGIN | ALL_PASS | PARTIAL text
    BENCH:name:key=value key=value ...

Another core may write single debug characters between those of a line, so a line is searched for, and a keyword
may have one stray character between any two of its own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.etree import ElementTree

#: Said of a kernel without results.
NO_LINE = "the kernel printed no line of the form TEST:suite:name:PASS"
_STRAY = "[^:]?"
#: Characters that a seen name may have too many to be still taken for an expected one.
_STRAYS_IN_NAME = 3


def _tolerant(word: str) -> str:
    return _STRAY.join(map(re.escape, word))


_VERDICTS = ("PASS", "FAIL", "SKIP", "VALUE")
_MARKS = ("BEGIN", "ALL_PASS", "PARTIAL")
_TEST = re.compile(rf"{_tolerant('TEST')}{_STRAY}:(?P<rest>.*)")
_BENCH = re.compile(rf"{_tolerant('BENCH')}{_STRAY}:(?P<name>[^:]+):(?P<values>.*)")
_OUTCOME = re.compile(
    "(?:" + "|".join(f"(?P<{word}>{_STRAY}{_tolerant(word)})" for word in (*_MARKS, *_VERDICTS)) + ")(?![A-Za-z]{2})"
)
_PAIR = re.compile(r"([^\s=]+)=(\S+)")
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")


@dataclass(frozen=True)
class Line:
    """One test's line. `verdict` is "PASS", "FAIL", "SKIP" or "VALUE"; `number` is the value of the last."""

    suite: str
    name: str
    verdict: str
    text: str = ""
    number: float | None = None

    @property
    def id(self) -> str:
        """`suite:name`, as --expect-tests names it."""
        return f"{self.suite}:{self.name}"


@dataclass(frozen=True)
class Mark:
    """A line about a whole suite, or a part of it: "BEGIN", "ALL_PASS" or "PARTIAL"."""

    suite: str
    name: str
    mark: str
    text: str = ""


@dataclass(frozen=True)
class BenchLine:
    """Figures: numbers where the text is one, else the text."""

    name: str
    values: dict[str, float | str]


@dataclass
class Printed:
    """All that a kernel has printed, in its order. `expected` are the tests (`suite:name`) that it should have."""

    expected: frozenset[str] = frozenset()
    lines: list[Line] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    benches: list[BenchLine] = field(default_factory=list)

    def find(self, wanted: str) -> Line | None:
        """The last line of test `wanted` (`suite:name`), stray characters in its name allowed for.

        A line that is another expected one to the letter is not this one with strays: `s:test_10` is no `s:test_1`.
        """
        exact = [line for line in self.lines if line.id == wanted]
        others = (line for line in self.lines if line.id not in self.expected)
        near = exact or [line for line in others if _is_with_strays(line.id, wanted)]
        return near[-1] if near else None

    def counted(self) -> dict[Line, int]:
        """How often each different line came, in the order of their first: a kernel may repeat itself without end."""
        return dict(Counter(self.lines))

    def partial(self) -> dict[Mark, int]:
        """How often each different PARTIAL came: suites, or parts of them, that did not get through."""
        return dict(Counter(mark for mark in self.marks if mark.mark == "PARTIAL"))

    def missing(self) -> list[str]:
        """The expected tests that have no line."""
        return sorted(wanted for wanted in self.expected if self.find(wanted) is None)

    def finished(self) -> bool:
        """Whether all that has to come has: every expected line, or the end of each suite and part that has begun.

        The end of a suite is that of its parts.
        """
        if self.expected:
            return not self.missing()
        begun = {(mark.suite, mark.name) for mark in self.marks if mark.mark == "BEGIN"}
        ended = {(mark.suite, mark.name) for mark in self.marks if mark.mark != "BEGIN"}
        return bool(begun) and all((suite, name) in ended or (suite, "") in ended for suite, name in begun)


def parse(text: str, expected: Iterable[str] = ()) -> Printed:
    """What stands in the console's text."""
    found = Printed(frozenset(expected))
    for row in text.splitlines():
        bench = _BENCH.search(row)
        if bench is not None:
            values = {key: _number(value) for key, value in _PAIR.findall(bench["values"])}
            found.benches.append(BenchLine(bench["name"].strip(), values))
            continue
        test = _TEST.search(row)
        if test is not None:
            _parse_test(test["rest"], found)
    return found


def _parse_test(rest: str, found: Printed) -> None:
    fields = rest.split(":")
    for at in (1, 2):  # TEST:suite:OUTCOME or TEST:suite:name:OUTCOME; a text may have colons of its own
        if at >= len(fields):
            return
        tail = ":".join(fields[at:])
        outcome = _OUTCOME.match(tail)
        if outcome is None:
            continue
        word = str(outcome.lastgroup)
        name = fields[1].strip() if at == 2 else ""
        suite, text = fields[0].strip(), tail[outcome.end() :].strip()
        if word in _MARKS:
            found.marks.append(Mark(suite, name, word, text))
            return
        if name:
            number = _NUMBER.search(text) if word == "VALUE" else None
            value = None if number is None else _number(number.group())
            found.lines.append(Line(suite, name, word, text, value if isinstance(value, float) else None))
            return


def _number(text: str) -> float | str:
    bare = text.rstrip(",;")
    if not _NUMBER.fullmatch(bare):
        return text
    try:
        number = float(int(bare, 16)) if "x" in bare.lower() else float(bare)
    except OverflowError:
        return text
    return number if math.isfinite(number) else text


def _is_with_strays(seen: str, wanted: str) -> bool:
    if not 0 < len(seen) - len(wanted) <= _STRAYS_IN_NAME:
        return False
    characters = iter(seen)
    return all(character in characters for character in wanted)


def parse_expected(text: str) -> list[str]:
    """The tests of an --expect-tests file: `suite:name`, one a line; `#` begins a comment.

    Raises:
        ValueError: a line that names no suite and test.
    """
    wanted = []
    for number, row in enumerate(text.splitlines(), 1):
        entry = row.partition("#")[0].strip()
        if not entry:
            continue
        if not re.fullmatch(r"[^:]+:[^:]+", entry):
            raise ValueError(f"line {number}: expected suite:name, found {entry!r}")
        wanted.append(entry)
    return wanted


def times(count: int) -> str:
    """What is added to a line that came more often than once."""
    return f" (printed {count} times)" if count > 1 else ""


#: The suite of what is said of the kernel as a whole, in the JUnit document.
KERNEL_SUITE = "(kernel)"


def junit(found: Printed, kernel: str, end: str = "", died: bool = False) -> str:
    """The lines as a JUnit document, a suite for each of theirs.

    Failures are lines that say so, expected ones that are missing, each PARTIAL, a kernel that printed no line at all,
    and one that died.

    Args:
        end: how the kernel ended, in words; "" if it was ended.
        died: whether that was against its will.
    """
    root = ElementTree.Element("testsuites", name=_xml(kernel))
    suites: dict[str, ElementTree.Element] = {}

    def case(suite: str, name: str) -> ElementTree.Element:
        if suite not in suites:
            suites[suite] = ElementTree.SubElement(root, "testsuite", name=_xml(suite))
        return ElementTree.SubElement(suites[suite], "testcase", classname=_xml(suite), name=_xml(name))

    def fail(element: ElementTree.Element, text: str) -> None:
        message = text.partition("\n")[0]
        failure = ElementTree.SubElement(element, "failure", message=_xml(message))
        if message != text:
            failure.text = _xml(text)

    for line, count in found.counted().items():
        element = case(line.suite, line.name)
        text = line.text + times(count)
        if line.verdict == "FAIL":
            fail(element, text)
        elif line.verdict == "SKIP":
            ElementTree.SubElement(element, "skipped", message=_xml(text))
        elif line.verdict == "VALUE" or count > 1:
            ElementTree.SubElement(element, "system-out").text = _xml(text.strip())
    for wanted in found.missing():
        suite, _, name = wanted.partition(":")
        fail(case(suite, name), "the kernel printed no such line")
    for mark, count in found.partial().items():
        fail(case(mark.suite, f"{mark.name or mark.suite}: PARTIAL"), f"ended with PARTIAL {mark.text}{times(count)}")
    if not found.lines:
        fail(case(KERNEL_SUITE, "prints results"), NO_LINE)
    last = case(KERNEL_SUITE, "comes to an orderly end")
    if died:
        fail(last, end)
    else:
        ElementTree.SubElement(last, "system-out").text = _xml(end or "ended by the bench")
    for element in suites.values():
        element.set("tests", str(len(element)))
        element.set("failures", str(len(element.findall("testcase/failure"))))
        element.set("skipped", str(len(element.findall("testcase/skipped"))))
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def _xml(text: str) -> str:
    """XML has no way to write control characters."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd]", "?", text)
