"""The report: whole, self-contained, nothing of a run's text taken for markup, no word on a browser's console."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from keuos_hil import cli
from keuos_hil.baseline import Growth, Judgement
from keuos_hil.compare import Change, Verdict
from keuos_hil.environment import host_environment
from keuos_hil.executed import Grown
from keuos_hil.record import Recorder
from keuos_hil.report import render
from keuos_hil.results import add_judgement
from tests.browser import CHROMIUM, Browser
from tests.row_results import recorded

VOID = {"meta", "link", "br", "path", "use", "image"}
#: What the keyboard has to reach: links, what opens and closes, what is pressed, and what scrolls.
INTERACTIVE = "main a[href], nav a[href], summary, button, input, select, textarea, [tabindex]"


class Page(HTMLParser):
    """Collects what links to what, and insists that every element is closed by its own end."""

    def __init__(self, text):
        super().__init__()
        self.ids: list[str | None] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.add(tag)
        if "id" in found:
            self.ids.append(found["id"])
        for name in ("href", "xlink:href"):
            if name in found:
                (self.loads if tag == "link" else self.links).append(found[name])
        if "src" in found:
            self.loads.append(found["src"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture
def filled():
    results = recorded()
    record = Recorder(results, "qemu-x86", "instructions")
    functions = {"kernel": {f"function_{i:02}": 20.0 - i for i in range(18)} | {"syscall_entry": 31.5}}
    more = {"executed": functions}
    record.add("syscall.null", {}, value=58, at_most=60, beside={"seL4, null system call": 96}, more=more)
    record.add("boot.to_prompt", {}, "ms", samples=[70, 75, 80], timebase="host")
    record.add("net.syscalls", {"load": "echo", "mode": "shared"}, "1/1000 packets", value=987)
    record.reference("Mach IPC, there and back", 2_000, "cycles", "published")
    record.gate("tag", 10)
    record.close("passed")
    record.gate("mmu")
    record.close("failed")
    record.requirement("RFC9293-1", "passed", 2)
    failure = [
        ("failure", "assert 1 == 2"),
        ("console of qemu-x86 during this test", "<script>alert(1)</script> & more"),
    ]
    results.add_test("gates/test_x.py::test_a[qemu-x86]", "qemu-x86", "failed", 0.5, "", failure)
    results.add_test("boot/test_y.py::test_b[qemu-x86]", "qemu-x86", "passed", 0.25)
    return results


def judgement():
    verdicts = [Verdict("syscall.null q instructions", 1.036, None, None, 1.036, 1, True),
                Verdict("linux.round_trip row=ring-56", 1.004, 0.991, 1.018, 0.987, 5, False)]  # fmt: skip
    changes = [Change("syscall.null q instructions", 56, 58, [Grown("kernel", "syscall_entry", 29.5, 31.5)]),
               Change("ring.wake q instructions", 9, 10, None)]  # fmt: skip
    return Judgement(verdicts, changes, [Growth("q/release/kernel", "wake<T>", 100, 116)], ["only in the old: x"])


@pytest.fixture
def folder(filled, tmp_path):
    environment = {"seed": 7, "timebases": {}, "commands": {"qemu-x86": "qemu -m 1"}}
    add_judgement(filled.write(tmp_path, host_environment() | environment), judgement().to_document("kept/base.json"))
    return tmp_path


def text_of(folder):
    assert cli.main(["report", str(folder)]) == 0
    return (folder / "report.html").read_text()


def test_everything_that_a_run_has_is_in_it(folder):
    text = text_of(folder)
    for part in ("ring-56:pause", "1.060 [1.039..1.081]", "Function not implemented", "58", "at most 60", "tag", "mmu",
                 "RFC9293-1", "assert 1 == 2", "console of qemu-x86", "boot.to_prompt", "qemu -m 1",
                 "echo shared (qemu-x86)", "~3,500 cycles", "Mach IPC", "Published by others"):  # fmt: skip
        assert part in text, part
    assert text.count("<svg") == 1


def test_which_board_ran_a_test_and_what_its_line_did_stand_in_it(filled, tmp_path):
    filled.add_test("boot/test_y.py::test_b[farm]", "farm", "passed", 0.25, "north")
    lines = {"farm": {"repeated_requests": 3, "damaged_frames": 1}}
    filled.write(tmp_path, host_environment() | {"seed": 7, "timebases": {}, "commands": {}, "lines": lines})
    text = text_of(tmp_path)
    assert '<td>boot/test_y.py::test_b[farm]</td><td>north</td><td class="passed">' in text
    assert "3 requests repeated, 1 damaged frame" in text


def test_what_a_baseline_says_stands_in_it(folder):
    text = text_of(folder)
    for part in ("baseline kept/base.json: 2 rows compared, 1 slower", "over 1.02",
                 "syscall.null q instructions: 56, now 58; executed for each operation",
                 '<td>syscall_entry</td><td class="n">29.5</td><td class="n">31.5</td><td class="n">+2.0</td>',
                 "with --executed; not of: ring.wake q instructions",
                 "q/release/kernel: wake&lt;T&gt; was 100 bytes, now 116", "only in the old: x"):  # fmt: skip
        assert part in text, part
    slower, _, compared = text.partition('id="baseline"')[2].partition("All rows that were compared")
    assert "0.991..1.018" not in slower
    assert "0.991..1.018" in compared


def test_functions_of_a_row_of_instructions_are_folded_with_the_rest_summed(folder):
    text = text_of(folder)
    (details,) = re.findall(r'id="executed".*?<details>(.*?)</details>', text, re.DOTALL)
    assert "<summary>syscall.null qemu-x86: 58 ticks, 238.5 instructions by function</summary>" in details
    lines = re.findall(r'<tr><td>(.*?)</td><td>(.*?)</td><td class="n">(.*?)</td></tr>', details)
    assert lines[0] == ("kernel", "syscall_entry", "31.5")
    assert lines[14] == ("kernel", "function_13", "7")
    assert lines[15:] == [("", "4 more", "18")]


def test_it_loads_nothing_runs_nothing_and_every_link_ends_somewhere(folder):
    page = Page(text_of(folder).partition(">")[2])
    assert [load for load in page.loads if not load.startswith("data:")] == []
    assert "script" not in page.tags
    assert len(set(page.ids)) == len(page.ids)
    assert [link for link in page.links if link[1:] not in page.ids or link[0] != "#"] == []
    assert not re.findall(r"url\((?!#)", text_of(folder))


def test_what_a_kernel_prints_is_text(folder):
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text_of(folder)


def test_results_without_rows_or_samples_have_a_report_too(filled, folder):
    (folder / "samples.npz").unlink()
    assert "<svg" not in text_of(folder)
    document = json.loads((folder / "results.json").read_text())
    for name in ("measurements", "tests", "missing", "fuzz"):
        document[name] = []
    for name in ("gates", "requirements"):
        document[name] = {}
    Page(render(document, {}).partition(">")[2])


def test_the_report_of_a_run_as_long_as_any_is_small(folder, capsys):
    """As many rows and samples as eight launches of all rows leave, and the tests of all suites."""
    document = json.loads((folder / "results.json").read_text())
    row = next(row for row in document["measurements"] if row["name"] == "linux.round_trip")
    samples, rows = {}, []
    for number in range(45):
        key = f"s{number}"
        samples[key] = np.random.default_rng(number).lognormal(6 + number / 9, 0.2, 80_000).astype(np.float32)
        params = row["params"] | {"row": f"row-{number}", "cores": ("none", "cross", "same")[number % 3]}
        rows.append(row | {"params": params, "samples": {"file": "samples.npz", "key": key}})
    test = document["tests"][1]
    document["measurements"] += rows
    document["tests"] += [test | {"id": f"tcp/test_some.py::test_case[{number}]"} for number in range(8_000)]
    np.savez_compressed(folder / "samples.npz", **samples)  # type: ignore[arg-type]
    (folder / "results.json").write_text(json.dumps(document))
    assert cli.main(["report", str(folder)]) == 0
    size = (folder / "report.html").stat().st_size
    assert 1_000_000 < size < 5_000_000
    assert re.fullmatch(rf"{folder}/report.html: {size / 1e6:.1f} MB, made in \d+\.\d s\n", capsys.readouterr().out)


def test_what_is_no_run_gets_one_line(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == cli.EXIT_USAGE
    assert "is not the results.json of a run" in capsys.readouterr().err


def test_a_damaged_archive_of_samples_gets_one_line(folder, capsys):
    (folder / "samples.npz").write_bytes(b"not an archive")
    assert cli.main(["report", str(folder)]) == cli.EXIT_USAGE
    assert "samples.npz can't be read" in capsys.readouterr().err


#: Of all text, the least contrast to what is behind it, as WCAG 2.2 (1.4.3 and its "contrast ratio") has it, and where.
LEAST_CONTRAST = """(() => {
    const parts = colour => colour.match(/[0-9.]+/g).map(Number);
    const linear = v => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const found = parts(getComputedStyle(element).backgroundColor);
            if (found.length < 4 || found[3] === 1) return found;
        }
        return [255, 255, 255];
    };
    const worst = {ratio: 99, of: ""};
    for (const element of document.querySelectorAll("body :not(style, title)")) {
        if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
        const style = getComputedStyle(element);
        const drawn = element instanceof SVGElement ? style.fill : style.color;
        const [a, b] = [luminance(parts(drawn)), luminance(behind(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < worst.ratio) Object.assign(worst, {ratio, of: element.localName + "." + element.className});
    }
    return worst;
})()"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; Debian: chromium")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_without_a_word_on_its_console(folder, tmp_path, width, scheme):
    text_of(folder)
    with Browser(folder / "report.html", tmp_path / "profile", width, scheme) as browser:
        assert browser.evaluate("innerWidth") == width
        # A page that is wider than the window has to be scrolled sideways.
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        dark = browser.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark is (scheme == "dark")
        worst = browser.evaluate(LEAST_CONTRAST)
        assert worst["ratio"] >= 4.5, worst
        assert browser.console == []


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; Debian: chromium")
def test_what_a_page_says_on_the_console_is_heard(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<script>console.error('an error')</script><img src='missing.png'><script>nothing.at.all</script>")
    with Browser(page, tmp_path / "profile", 390) as browser:
        said = json.dumps(browser.console)
        for part in ("an error", "net::ERR_FILE_NOT_FOUND", "nothing is not defined"):
            assert part in said


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; Debian: chromium")
def test_the_keyboard_reaches_everything_in_the_page_s_order_and_opens_what_is_folded(folder, tmp_path):
    text_of(folder)
    with Browser(folder / "report.html", tmp_path / "profile") as browser:
        browser.evaluate(f"window.wanted = [...document.querySelectorAll({json.dumps(INTERACTIVE)})]")
        kinds = browser.evaluate("wanted.map(element => element.localName)")
        assert {"a", "summary", "figure", "div", "pre"} <= set(kinds)
        opened = 0
        for place, kind in enumerate(kinds):
            browser.press("Tab")
            assert browser.evaluate("wanted.indexOf(document.activeElement)") == place, (place, kind)
            assert browser.evaluate(
                "(e => e.matches(':focus-visible') && getComputedStyle(e).outlineStyle === 'solid' && "
                "e.getBoundingClientRect().top < innerHeight && e.getBoundingClientRect().bottom > 0)"
                "(document.activeElement)"
            ), f"{kind}, number {place}, does not show that it has the focus"
            if kind == "summary" and not browser.evaluate("document.activeElement.parentElement.open"):
                browser.press("Enter")
                assert browser.evaluate("document.activeElement.parentElement.open"), place
                opened += 1
        assert opened >= 3, "the baseline's rows, the functions of a row, and the tests are folded"
        browser.press("Tab")
        assert browser.evaluate("wanted.indexOf(document.activeElement)") in (-1, 0), "nothing else takes the focus"
