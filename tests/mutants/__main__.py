"""`make mutants`: every fault built, its tests run, and a table of what noticed it.

Exit status: 0 if every fault was killed by the tests that should, 1 if one was not, 2 if the run says nothing (a fault
that does not fit the sources or does not build, suites that fail without any, a wrong argument).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from queue import SimpleQueue

from rich.console import Console
from rich.table import Column, Table

from keuos_hil.errors import HilError, InfraError
from keuos_hil.locks import file_lock

from .bounded import Bounded
from .catalogue import Fault, by_product, choose, load, shared, together
from .products import PRODUCTS
from .trial import Verdict, confirmed, require_sound, try_fault
from .workshop import ROOT, Workshop

PLACE = ROOT / "build" / "mutants"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mutants", description="Put faults into the kernel and NetD and see which test notices."
    )
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="faults by name (default: all)")
    parser.add_argument(
        "--product",
        choices=sorted(PRODUCTS),
        help="only what is put into this; kernel-arm64: faults of code that it shares, too (default: the catalogue)",
    )
    parser.add_argument("--list", action="store_true", help="list the faults and the tests that must notice them")
    parser.add_argument("-j", "--jobs", type=int, default=2, metavar="N", help="faults at a time (default: 2)")
    return parser.parse_args(argv)


def _try_all(faults: Sequence[Fault], jobs: int, bounded: Bounded, console: Console) -> list[Verdict]:
    workshops: SimpleQueue[Workshop] = SimpleQueue()
    for number in range(jobs):
        workshops.put(Workshop(PLACE / f"workshop-{number}", bounded))

    def sound() -> None:
        workshop = workshops.get()
        for product, some in by_product(faults).items():
            console.print(f"the tests without a fault in {product} ...")
            require_sound(workshop.sound(product), together(some), PLACE / "sound" / product, bounded)
        workshops.put(workshop)

    def attempt(fault: Fault) -> Verdict:
        workshop = workshops.get()
        begun = time.monotonic()
        try:
            with workshop.fault(fault) as built:
                verdict = try_fault(fault.name, built, fault.selections(), PLACE / "trials" / fault.name, bounded)
            verdict = confirmed(
                verdict,
                partial(workshop.sound, fault.product),
                fault.selections(),
                PLACE / "trials" / fault.name,
                bounded,
            )
        except InfraError as error:
            verdict = Verdict(fault.name, trouble=str(error))
        finally:
            workshops.put(workshop)
        verdict = replace(verdict, seconds=round(time.monotonic() - begun, 1))
        console.print(f"{verdict.word:16} {fault.name}  ({verdict.seconds:g} s)")
        return verdict

    sound()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(attempt, faults))
        except BaseException:  # before the pool waits for what it has begun
            bounded.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _table(faults: Sequence[Fault], verdicts: Sequence[Verdict]) -> Table:
    # A name that is longer than its column goes on in the next line.
    columns = [
        Column(title, overflow="fold") for title in ("fault", "what it does", "violates", "verdict", "noticed by")
    ]
    table = Table(*columns, box=None, pad_edge=False)
    for fault, verdict in zip(faults, verdicts, strict=True):
        noticed = [o.noticed for o in (*verdict.outcomes, verdict.elsewhere) if o.noticed]
        violates = " ".join(fault.requirements)
        table.add_row(fault.name, fault.harm, violates, verdict.word, verdict.trouble or "\n".join(noticed))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """See the module's first words."""
    arguments = _arguments(argv)
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False, markup=False)
    bounded = Bounded()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        known = [fault for fault in load() if arguments.product in (None, fault.product)]
        if arguments.product == "kernel-arm64":
            known += shared(load())
        faults = choose(known, arguments.faults)
        if arguments.list:
            for fault in faults:
                console.print(f"{fault.name}: {fault.harm}\n    {'; '.join(fault.tests)}")
            return 0
        with file_lock(PLACE / "lock", 5, lambda who: console.print(f"waiting for {who}, who has {PLACE / 'lock'}")):
            verdicts = _try_all(faults, max(1, arguments.jobs), bounded, console)
    except HilError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        bounded.stop()
        print("mutants: interrupted; nothing is left running", file=sys.stderr)
        return 130
    console.print(_table(faults, verdicts))
    report = PLACE / "report.json"
    report.write_text(json.dumps([asdict(v) | {"verdict": v.word} for v in verdicts], indent=1) + "\n")
    killed = sum(verdict.killed for verdict in verdicts)
    console.print(f"{killed} of {len(verdicts)} faults killed; {report}")
    return 2 if any(v.trouble for v in verdicts) else int(killed < len(verdicts))


if __name__ == "__main__":
    sys.exit(main())
