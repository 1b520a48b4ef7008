"""Lines of kernels that only print, also with another core's debug characters between them."""

from __future__ import annotations

import os
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keuos_hil.errors import InfraError
from keuos_hil.printed import BenchLine, Line, Mark, junit, parse, parse_expected
from keuos_hil.printed_plugin import write_document

TEXT = """\
booting ...
TEST:spsc:BEGIN
TEST:spsc:init:PASS
TEST:spsc:wrap:FAIL expected 1, got 2: at ring.c:17
TEST:spsc:numa:SKIP one node only
TEST:spsc:depth:VALUE 0x40
TEST:spsc:part two:BEGIN
TEST:spsc:PARTIAL 3 of 4
BENCH:ipc:avg=174 min=1.5e2, unit=cycles
"""


def test_a_full_disk_is_the_bench_s_fault_and_leaves_the_junit_document_as_it_was(tmp_path):
    path = tmp_path / "lines-t.xml"
    path.write_text("old")
    (tmp_path / f".{path.name}.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(InfraError, match=r"what the lines said can't be written to .*lines-t.xml: No space left"):
        write_document(path, "<testsuites/>")
    assert path.read_text() == "old"


def test_every_form_of_line_is_understood():
    found = parse(TEXT)
    assert found.lines == [
        Line("spsc", "init", "PASS"),
        Line("spsc", "wrap", "FAIL", "expected 1, got 2: at ring.c:17"),
        Line("spsc", "numa", "SKIP", "one node only"),
        Line("spsc", "depth", "VALUE", "0x40", 64.0),
    ]
    assert found.marks == [
        Mark("spsc", "", "BEGIN"), Mark("spsc", "part two", "BEGIN"), Mark("spsc", "", "PARTIAL", "3 of 4"),
    ]  # fmt: skip
    assert found.benches == [BenchLine("ipc", {"avg": 174.0, "min": 150.0, "unit": "cycles"})]
    assert found.finished()


def test_text_that_only_looks_alike_is_no_result():
    assert not parse("TESTING: all PASS\nTEST:\nTEST:a\nTEST:a:b\nTEST:a:b:PASSING\nBENCH:\nCONTEST of PASS").lines


@given(st.sampled_from(["TEST:spsc:init:PASS", "TEST:spsc:init:FAIL broken"]), st.sampled_from("AB.*#3"), st.data())
def test_a_stray_character_anywhere_loses_no_line(line, stray, data):
    at = data.draw(st.integers(0, len("TEST:spsc:init:") + 4))
    found = parse(line[:at] + stray + line[at:]).find("spsc:init")
    assert found is not None
    assert found.verdict == ("PASS" if "PASS" in line else "FAIL")


def test_a_name_of_its_own_is_not_taken_for_another_with_strays():
    found = parse("TEST:s:ab:PASS\nTEST:s:abc:FAIL x")
    assert found.find("s:ab") == Line("s", "ab", "PASS")
    assert found.find("s:abc") == Line("s", "abc", "FAIL", "x")
    assert found.find("s:zz") is None


def test_a_missing_line_is_not_made_up_by_another_expected_one_with_a_longer_name():
    found = parse("TEST:s:test_10:PASS\nTEST:s:tes*t_2:PASS", ["s:test_1", "s:test_2", "s:test_10"])
    assert found.missing() == ["s:test_1"]
    assert not found.finished()
    assert parse("TEST:s:test_1:PASS", ["s:test_1"]).finished()


def test_the_end_of_a_part_is_not_that_of_its_suite():
    parts = "TEST:s:BEGIN\nTEST:s:one:BEGIN\nTEST:s:one:ALL_PASS\n"
    assert not parse(parts).finished()
    assert parse(parts + "TEST:s:PARTIAL 1 of 2").finished()


@pytest.mark.parametrize("huge", ["1e999", "0x" + "f" * 300])
def test_a_number_that_is_none_stays_text(huge):
    found = parse(f"BENCH:ipc:avg={huge}\nTEST:s:depth:VALUE {huge}")
    assert found.benches == [BenchLine("ipc", {"avg": huge})]
    assert found.lines == [Line("s", "depth", "VALUE", huge)]


def test_expected_tests_are_one_a_line():
    assert parse_expected("# all\nspsc:init\n\nspsc:wrap around # both ways\n") == ["spsc:init", "spsc:wrap around"]
    with pytest.raises(ValueError, match="line 2: expected suite:name, found 'spsc'"):
        parse_expected("a:b\nspsc\n")


def test_the_junit_document_has_every_line_and_every_missing_one():
    root = ElementTree.fromstring(
        junit(parse(TEXT + "TEST:odd:ctrl\x07:FAIL \x1b[31m", ["spsc:gone"]), "k.elf").encode()
    )

    def attributes(path):
        element = root.find(path)
        assert element is not None, path
        return element.attrib

    spsc = attributes("testsuite[@name='spsc']")
    assert (spsc["tests"], spsc["failures"], spsc["skipped"]) == ("6", "3", "1")
    assert attributes(".//testcase[@name='gone']/failure")["message"] == "the kernel printed no such line"
    assert attributes(".//testcase[@name='ctrl?']/failure")["message"] == "?[31m"
    assert attributes(".//testcase[@name='spsc: PARTIAL']/failure")["message"] == "ended with PARTIAL 3 of 4"
    assert attributes("testsuite[@name='(kernel)']")["failures"] == "0"


def failures(text, *end):
    root = ElementTree.fromstring(junit(parse(text), "k.elf", *end).encode())
    return [
        (case.get("name"), case.findtext("failure")) for case in root.iter("testcase") if len(case.findall("failure"))
    ]


def test_a_kernel_that_dies_behind_its_passes_is_no_green_document():
    passes = "".join(f"TEST:s:{name}:PASS\n" for name in "abc")
    assert failures(passes) == []
    assert failures(passes, "power off: by itself", False) == []
    assert failures(passes, "kernel panic: broke\nlast lines", True) == [
        ("comes to an orderly end", "kernel panic: broke\nlast lines")
    ]
    assert [name for name, _ in failures("nothing to see")] == ["prints results"]


def test_lines_that_a_kernel_repeats_are_one_result_with_a_count():
    found = parse("TEST:s:a:PASS\nTEST:s:b:FAIL x\n" * 1000 + "TEST:s:b:FAIL y\nTEST:s:PARTIAL 1\nTEST:s:PARTIAL 1")
    assert found.counted() == {
        Line("s", "a", "PASS"): 1000, Line("s", "b", "FAIL", "x"): 1000, Line("s", "b", "FAIL", "y"): 1,
    }  # fmt: skip
    assert found.partial() == {Mark("s", "", "PARTIAL", "1"): 2}
    root = ElementTree.fromstring(junit(found, "k.elf").encode())
    assert [failure.get("message") for failure in root.iter("failure")] == [
        "x (printed 1000 times)", "y", "ended with PARTIAL 1 (printed 2 times)",
    ]  # fmt: skip


@given(st.text())
def test_no_text_breaks_parser_or_document(text):
    found = parse(text)
    ElementTree.fromstring(junit(found, text, text, True).encode())
