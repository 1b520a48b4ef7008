"""Round trips: two processes, a message in private memory at both ends, and every way that the kernel offers."""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .programs import RoundTrips, round_trips

SIZES = (8, 56, 64, 256, 1500, 4096)
WARM_UP = 200
#: (path, wait): what a channel's mode and a receiver's habit can be.
WAYS = (
    ("data", "poll"),
    ("data", "wake"),
    ("receiver-proof", "poll"),
    ("receiver-proof", "wake"),
    ("notify", "poll"),
    ("notify", "wake"),
    ("notify_and_wait", "wake"),
)


def _record(record: Recorder, found: RoundTrips, params: dict[str, object], *, exact: bool) -> None:
    record.add("ring.round_trip", params, samples=found.trips)
    record.add("ring.traps", params, "per round trip", value=int(found.ping.batch_traps) / found.count)
    if params["wait"] == "poll":
        record.add("ring.empty_polls", params, "per round trip", value=found.polls)
        if exact:  # elsewhere an empty poll costs what the machine's other work makes of it
            record.add("ring.round_trip_without_empty_polls", params, value=found.batch_without_polls)


@pytest.mark.needs("agent", "channels")
@pytest.mark.parametrize("cores", ["same", pytest.param("cross", marks=pytest.mark.needs("smp"))])
@pytest.mark.parametrize(("path", "wait"), WAYS)
@pytest.mark.parametrize("size", SIZES)
def test_round_trip_brings_every_message_back(
    fresh_target: LiveTarget, agent: Agent, record: Recorder, size: int, path: str, wait: str, cores: str
) -> None:
    found = round_trips(agent, path=path, size=size, wait=wait, cores=cores, warm_up=WARM_UP)
    assert found.ping.wrong == 0, f"{found.ping.wrong} of {found.count} answers differ from what was sent"
    if wait == "poll" and cores == "cross" and path in ("data", "receiver-proof"):
        assert found.ping.batch_traps == 0, f"the polled path took {found.ping.batch_traps} traps at ring_ping"
    assert found.pong.answered == 2 * found.count + WARM_UP, f"ring_pong answered {found.pong.answered} trips"
    params: dict[str, object] = {"size": size, "path": path, "wait": wait, "cores": cores}
    _record(record, found, params, exact=fresh_target.timebase.name == "instructions")
