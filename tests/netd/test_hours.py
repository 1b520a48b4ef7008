"""Hours of the clock under random load, and nothing is left of them: no control block, buffer, packet or frame."""

from __future__ import annotations

import pytest

from tests.netd.neighbourhood import LEASE_SECONDS, Neighbourhood

HOURS = 8


@pytest.mark.parametrize("hours", [0.25, pytest.param(HOURS, marks=pytest.mark.soak)])
def test_hours_of_random_load_leave_nothing(stack, hours):
    stack.reset(configured=False)
    rest = stack.command("connections")
    around = Neighbourhood(stack, seed=1)
    around.play(hours * 3600)
    counters = stack.counters()
    print(f"{hours} h:", dict(around.did), {name: count for name, count in counters.items() if count})
    around.leave()
    assert stack.command("connections") == rest, "the services listen, and nothing else is there"
    assert stack.command("audit") == "whole"
    assert stack.command("lent") == "0"
    assert stack.step() is None, "no timer runs"
    # It was load that left nothing, not silence.
    assert around.did["renewed"] > hours * 3600 / LEASE_SECONDS / 2
    assert min(counters["tcp_accepted"], counters["tcp_opened"], counters["arp_requests"]) > 60 * hours
    assert min(counters["tcp_retransmitted"], counters["reassembly_timeout"], counters["udp_in"]) > 10 * hours
