"""The ring on this machine itself, beside what Linux and others offer two processes, and what none of them beats.

Nothing here asserts a time: every message must come back as it was sent, and the figures go to the results.
"""

from __future__ import annotations

from typing import Any

import pytest

from keuos_hil.baseline import CONFIRMING, Baseline
from keuos_hil.compare import JUDGED_ROWS
from keuos_hil.environment import host_environment
from keuos_hil.parts import RowMeter
from keuos_hil.progress import Progress
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget
from keuos_hil.rounds import Estimate
from keuos_hil.rows import Figures, Name, Session

pytestmark = pytest.mark.needs("native-rows")

#: What the article that KeuOS follows says of its rows, in cycles of another machine: cited, never compared with.
ARTICLE = {
    "call": 12,
    "ring-56": 150,
    "ring-proof-48": 175,
    "pipe": 610,
    "eventfd+signalfd": 1_040,
    "unix-dgram": 1_280,
    "copy-4096": 200,
}
#: Of kernels that this machine does not run: what, how many, of what, and who says so.
SEL4 = "seL4, commit 1326364bc, in QEMU under -icount shift=0 (docs/measuring.md)"
REFERENCES = (
    ("Mach IPC, there and back", 2_000, "cycles, about", "the article: published, 1989 era"),
    ("seL4 call and reply_recv, empty, by the fastpath", 426, "instructions of x86-64", SEL4),
    ("seL4 call and reply_recv, 32 bytes each way", 468, "instructions of x86-64", SEL4),
    ("seL4 call and reply_recv, 64 bytes each way: not by the fastpath", 1_625, "instructions of x86-64", SEL4),
    ("seL4 null system call", 96, "instructions of x86-64", SEL4),
    ("seL4 call and reply_recv, empty, by the fastpath", 410, "instructions of arm64", SEL4),
    ("seL4 null system call", 91, "instructions of arm64", SEL4),
)
#: What is asked of the ring's round trip, by its floor; and of its peers, by it.
RING, RING_TWO_LINES = Name("ring-56", "pause", "cross", "pause"), Name("ring-64", "pause", "cross", "pause")
FLOOR_MOST = {RING: 1.1, RING_TWO_LINES: 1.2}
STREAM = Name("stream-64-batch", "pause", "cross", "pause")
#: Calls for many on both sides: boost's queue of as many messages as the ring has slots, and one of as much memory.
STREAM_LEAST = {
    Name("boost-stream-64-batch", "pause", "cross", "pause"): 2.0,
    Name("boost-stream-64-batch-64k", "pause", "cross", "pause"): 1.0,
}
KERNEL_ROWS = ("pipe", "eventfd", "eventfd+signalfd", "futex", "unix-dgram", "mq")


def _record_row(record: Recorder, found: Figures, medians: list[float]) -> dict[str, Any] | None:
    name, judged = found.name, found.judged
    params = {"row": name.row, "how": name.how, "cores": name.cores, "stratum": judged.stratum}
    stream = "stream" in name.row
    quantity, unit = ("linux.stream", "ticks per message") if stream else ("linux.round_trip", "ticks")
    if judged.ratio is None or judged.floor is None:
        record.missing(quantity, params, judged.missing)
        return None
    more: dict[str, Any] = {"rejected": dict(judged.rejected), "floor": judged.floor}
    if not stream:
        more["ratio"] = judged.ratio.to_dict() | {"medians": medians}
        more["tails"] = {tail: estimate.to_dict() for tail, estimate in found.tails.items()}
    cited = {"the article": ARTICLE[name.row]} if name.row in ARTICLE and name.how != "busy" else None
    return record.add(quantity, params, unit, samples=found.samples, beside=cited, more=more)


def _record_ratio(
    record: Recorder, row: Name, to: str, found: dict[str, Estimate], rejected: dict[str, int], **limit: float
) -> None:
    params = {"row": row.row, "how": row.how, "cores": row.cores, "to": to}
    if not found:
        why = ", ".join(f"{reason} ({count})" for reason, count in rejected.items()) or "measured on no floor of both"
        record.missing("linux.ratio", params, f"too few rounds in which both were accepted: {why}")
    for stratum, estimate in found.items():
        interval = None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)
        more = {"ratio": estimate.to_dict(), "rejected": rejected}
        record.add(
            "linux.ratio",
            params | {"stratum": stratum},
            "ratio",
            value=estimate.value,
            ci95=interval,
            ci_of="value",
            more=more,
            **limit,  # type: ignore[arg-type]
        )


def _measure(meter: RowMeter, seed: int, progress: Progress, rows: tuple[str, ...] = ()) -> Session:
    launches = []
    with progress("launches", meter.launches) as advance:
        for number in range(meter.launches):
            launches.append(meter.launch(seed + number, rows=rows))
            advance(1)
    return Session(launches, seed)


def _confirm(rows: list[dict[str, Any]], session: Session) -> None:
    """Put the medians of a second set of launches beside those of the first."""
    by_name = {(name.row, name.how, name.cores, stratum): m for (name, stratum), m in session.medians().items()}
    for row in rows:
        params = row["params"]
        again = by_name.get((params["row"], params["how"], params["cores"], params["stratum"]), {})
        if "ratio" in row and again:
            row["ratio"][CONFIRMING] = [median for median, _ in again.values()]


def test_messages_between_two_processes_of_this_machine(
    fresh_target: LiveTarget, record: Recorder, seed: int, progress: Progress, baseline: Baseline | None
) -> None:
    meter = fresh_target.rows
    record.build_options(meter.options)
    session = _measure(meter, seed, progress)
    assert not session.wrong, f"answers differ from what was sent: {session.wrong}"
    figures = session.figures()
    medians = session.medians()
    for reference in REFERENCES:
        record.reference(*reference)
    rows = []
    for found in figures:
        of_launches = medians.get((found.name, found.judged.stratum), {})
        row = _record_row(record, found, [median for median, _ in of_launches.values()])
        rows += [row] if row is not None else []
    if baseline is not None and baseline.suspects(rows, host_environment()):
        _confirm(rows, _measure(meter, seed + meter.launches, progress, rows=JUDGED_ROWS))
    for row_name, how, cores, reason in session.missing:
        record.missing("linux.round_trip", {"row": row_name, "how": how, "cores": cores}, reason)
    for name, most in FLOOR_MOST.items():
        of_floor = {f.judged.stratum: f.judged.ratio for f in figures if f.name == name and f.judged.ratio is not None}
        _record_ratio(record, name, "floor", of_floor, {}, at_most=most)
    for name in dict.fromkeys(f.name for f in figures):
        if (name.row in KERNEL_ROWS or name.row == "boost-56") and name.floor == RING.floor:
            _record_ratio(record, name, RING.row, *session.ratio(name, RING), at_least=1)
    for name, least in STREAM_LEAST.items():
        _record_ratio(record, name, STREAM.row, *session.ratio(name, STREAM), at_least=least)
