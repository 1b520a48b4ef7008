"""Results of rows as a run on this machine would leave them, made up."""

from __future__ import annotations

from typing import Any

import numpy as np

from keuos_hil.record import Recorder
from keuos_hil.results import Results


def estimate(value, low=None, high=None):
    ci95 = None if low is None else [low, high]
    return {"value": value, "ci95": ci95, "rounds": 30, "launches": 5}


def recorded():
    results = Results()
    record = Recorder(results, "linux", "emulated")
    generator = np.random.default_rng(1)
    for row, ticks, ratio, cited in (("pipe", 80_000, 300.0, {"the article": 610}), ("ring-56", 270, 1.06, None)):
        more = {
            "ratio": estimate(ratio, ratio * 0.98, ratio * 1.02),
            "floor": 262.0,
            "rejected": {"floors around it differ": 2},
            "tails": {"p99": estimate(ticks * 1.2, ticks * 1.1, ticks * 1.3), "p999": estimate(ticks * 2)},
        }
        params = {"row": row, "how": "pause", "cores": "cross", "stratum": "near"}
        samples = ticks * generator.lognormal(0, 0.1, 500)
        record.add("linux.round_trip", params, samples=samples, timebase="silicon", beside=cited, more=more)
    record.missing("linux.round_trip", {"row": "mq", "how": "sleep", "cores": "same"}, "Function not implemented")
    record.missing("linux.round_trip", {"row": "mq", "how": "busy", "cores": "same"}, "Function not implemented")
    return results


def whole(document):
    """A document with what else a results.json has to have, so that it can be read as one."""
    environment: dict[str, Any] = {
        "time": "2026-01-01",
        "host": {"system": "s", "cpu": "c", "cores": 1},
        "python": "3",
        "seed": 1,
    }
    environment |= {"timebases": {}, "commands": {}} | document["environment"]
    machine = dict.fromkeys(("hypervisor", "frequency_policy", "boost", "smt", "clocksource", "tsc", "distance"), "x")
    if "machine" in environment:
        environment["machine"] = machine | {"mitigations": {}, "load": 0, "stolen": 0} | environment["machine"]
    rows = [{"n": 1, "ci95": None, "ci_of": None, "samples": None} | row for row in document["measurements"]]
    empty: dict[str, Any] = {"build_id": {}, "tests": [], "gates": {}, "requirements": {}}
    return empty | document | {"environment": environment, "measurements": rows}
