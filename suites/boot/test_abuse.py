"""Sequences of calls that are each allowed, and what a hostile program could make of them: the kernel survives all.

The abuse program (kernel/user/abuse) does them; what it could not have is in its results, in its end and in the event
record. That nothing is left over is checked behind every test, like everywhere.
"""

from __future__ import annotations

from typing import Any

import pytest

from keuos_hil.agent import Agent, Exit, Process
from keuos_hil.dwarf import Record
from keuos_hil.rig import LiveTarget

from ..waiting import until

pytestmark = pytest.mark.needs("agent", "channels")

#: Seconds, in the target's pace, that a program may take which does thousands of calls.
LONG_S = 120.0
#: A quota that a program of one process doesn't exhaust by living, and one for families.
PAGES, FAMILY_PAGES = 200, 4000
#: Pages of a child that does nothing: its program, its stack, its tables.
CHILD_PAGES = 64


def abuse(agent: Agent, op: str, *, child_op: str | None = None, quotas: dict[str, int], **parameters: int) -> Process:
    """An abuse program under way."""
    pages, channels, processes = (quotas.get(name) for name in ("pages", "channels", "processes"))
    process = agent.spawn(
        "abuse", core=0, priority=1, suspended=True, pages=pages, channels=channels, processes=processes
    )
    constant = process.elf.layouts.constant
    if child_op is not None:
        parameters["child_op"] = constant("ABUSE_" + child_op.upper())
    process.write_struct("params", op=constant("ABUSE_" + op.upper()), **parameters)
    process.start()
    return process


def attempt(
    agent: Agent, op: str, *, child_op: str | None = None, quotas: dict[str, int] | None = None, **parameters: int
) -> tuple[Exit, Any]:
    """Run an abuse to its end: how that was, and struct abuse_results. The kernel must answer afterwards."""
    process = abuse(agent, op, child_op=child_op, quotas={"pages": PAGES, **(quotas or {})}, **parameters)
    end = process.wait_exit(LONG_S)
    agent.ping()
    results = process.read_struct("results")
    process.drop()
    return end, results


def survived(
    agent: Agent, op: str, *, child_op: str | None = None, quotas: dict[str, int] | None = None, **parameters: int
) -> Any:
    """Run an abuse that comes to its own end: struct abuse_results."""
    end, results = attempt(agent, op, child_op=child_op, quotas=quotas, **parameters)
    assert end.ok, f"{end}\nresults: {results}"
    return results


def error_name(agent: Agent, results: Any) -> str:
    """The enum keuos_error that ended the abuse, without its prefix and in lower case."""
    return agent.name_of("keuos_error", "KEUOS_", results.error) if results.error else "none"


def names_alive(agent: Agent) -> list[str]:
    """The names of the processes that are not dead."""
    dead = agent.image.constant("KEUOS_PROCESS_DEAD")
    return [process.name for process in agent.processes() if process.state != dead]


def wait_done(target: LiveTarget, process: Process) -> None:
    """Wait until a process that stays alive has come to the end of its operation."""
    done = process.elf.layouts.constant("ABUSE_DONE")

    def at_end() -> bool:
        info = process.info()
        assert not info.exit_reason, f"{process} ended: {info}\nresults: {process.read_struct('results')}"
        return bool(process.read_struct("results").stage == done)

    until(target, f"{process} to finish its operation", at_end)


def first_process(agent: Agent) -> Record:
    """struct keuos_process_info of the process that all others descend from."""
    return min(agent.processes(), key=lambda process: int(process.pid))


# Instructions ---------------------------------------------------------------------------------------------------------


def test_an_alignment_check_stops_at_most_its_process(agent: Agent) -> None:
    """Where the machine does not implement the check, the access goes through."""
    process = agent.spawn("probe", suspended=True)
    process.write_struct("params", op=process.elf.layouts.constant("PROBE_ALIGNMENT_CHECK"))
    process.start()
    end = process.wait_exit()
    assert end.ok or end.name == "alignment", end
    agent.ping()


# Capabilities ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["grant_chain", "grant_fan"])
def test_revoking_takes_back_every_copy_however_they_were_made(agent: Agent, op: str) -> None:
    for _ in range(3):
        results = survived(agent, op)
        assert error_name(agent, results) == "equota"
        assert results.count > 1, "no copies of copies: nothing is shown"
        assert results.value == 0, "revoking failed"
        assert results.after == results.before, f"copies are left: {results}"


def test_grants_deeper_than_eight_are_refused(agent: Agent) -> None:
    """Revoking follows them on the kernel's stack, so their depth is bounded; the fan beside shows it is not room."""
    assert survived(agent, "grant_chain").count == 8
    assert survived(agent, "grant_fan").count > 100


def test_a_new_capability_takes_no_notification_of_another_with_the_same_bit(agent: Agent) -> None:
    results = survived(agent, "alias", quotas={"channels": 2})
    assert results.index == results.made + 64, f"the two do not share a bit: {results}"
    assert results.value == 1 << (results.made % 64), f"the doorbell of end {results.index} was lost"


# Quotas ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spare", [0, 1, 3, 5])
def test_page_tables_count_against_the_pages_quota(agent: Agent, spare: int) -> None:
    """Each object's window lies in tables of its own; all but a few pages are spent before the first is mapped."""
    results = survived(agent, "page_tables", quotas={"pages": 120}, spare=spare)
    assert results.before > spare + 1, f"too few objects to need more tables than there are pages: {results}"
    assert results.pages <= results.pages_max == 120
    assert results.count < results.before, "every object was mapped: tables were not paid for"
    assert error_name(agent, results) in ("equota", "enomem")


def test_page_tables_of_channels_count_against_the_pages_quota(agent: Agent) -> None:
    results = survived(agent, "windows", quotas={"pages": 120, "channels": 60}, spare=60)
    assert results.count > 0
    assert results.pages <= results.pages_max == 120
    assert error_name(agent, results) in ("equota", "enomem")


def test_a_channel_counts_against_its_binder_until_its_record_is_free(agent: Agent) -> None:
    results = survived(agent, "hoard", quotas={"channels": 6})
    assert (results.count, error_name(agent, results)) == (6, "equota"), f"records kept beyond the quota: {results}"
    assert results.value == 6
    assert results.after == results.before == 0
    assert results.second < 1 << 32, "no channel could be bound although all were given back"


def test_a_family_has_no_more_processes_than_its_first_parent_was_given(agent: Agent) -> None:
    for quota in (1, 2, 5):
        results = survived(agent, "chain", quotas={"pages": FAMILY_PAGES, "processes": quota}, processes=quota)
        assert results.failed == 0, f"a process of the chain failed: {results}"
        assert (results.count, error_name(agent, results)) == (quota, "equota"), f"of a quota of {quota}: {results}"


@pytest.mark.parametrize("wanted", [100, 400, 0], ids=["some", "most", "default"])
def test_a_childs_pages_are_taken_out_of_its_parents(agent: Agent, wanted: int) -> None:
    results = survived(agent, "claim", quotas={"pages": 600, "processes": 16}, pages=wanted, count=16)
    assert results.count > 0, f"no child could be made: {results}"
    assert error_name(agent, results) == "equota"
    assert results.value < 600, f"the children got {results.value} pages, their parent 600"
    assert results.pages <= 600


def test_quotas_come_back_when_a_child_is_dropped(agent: Agent) -> None:
    results = survived(agent, "turnover", quotas={"pages": 600, "processes": 3}, count=50)
    assert results.count == 50
    assert (results.before, results.value) == (results.after, results.second)


@pytest.mark.parametrize(("will", "quota", "has"), [("memory_will", "pages", 600), ("channel_will", "channels", 3)])
def test_what_dead_children_left_to_their_parent_stays_within_its_quota(
    agent: Agent, will: str, quota: str, has: int
) -> None:
    """A child's quota comes back to its parent when it is gone, but not what was bought with it and is still held."""
    quotas = {"pages": 600, "channels": 3, "processes": 1}
    results = survived(agent, "inherit", child_op=will, quotas=quotas, count=12, pages=100, spare=CHILD_PAGES)
    assert results.count > 0, f"no child came to leave anything: {results}"
    assert results.value <= has, f"it holds {results.value} {quota} with a quota of {has}"


def test_inherited_memory_objects_count_against_the_limit_of_a_process(agent: Agent) -> None:
    """Each of more children than a process may have objects leaves one: it may not make another then."""
    limit = 16
    quotas = {"pages": FAMILY_PAGES, "processes": 1, "channels": 2}
    few = survived(agent, "inherit", child_op="memory_will", quotas=quotas, count=3, pages=1, spare=CHILD_PAGES)
    assert (few.count, few.second) == (3, limit - 3)
    many = survived(
        agent, "inherit", child_op="memory_will", quotas=quotas, count=limit + 1, pages=1, spare=CHILD_PAGES
    )
    assert (many.count, many.second) == (limit + 1, 0), f"{many.second} objects beyond the limit of {limit}"


@pytest.mark.parametrize("will", ["memory_will", "channel_will"])
def test_what_a_grandchild_paid_for_outlives_its_dead_parent(agent: Agent, will: str) -> None:
    """Whoever pays must live: a dead parent that is still held can be freed before what its child left to it."""
    quotas = {"pages": FAMILY_PAGES, "processes": 2, "channels": 4}
    for _ in range(3):
        results = survived(agent, "grandparent", child_op=will, quotas=quotas, pages=9, spare=3 * CHILD_PAGES)
        assert results.count == 1
        paid = int(results.third) - int(results.second)
        assert paid > 5, f"nobody pays for what is left: {results}"
        assert results.third - results.after == paid, f"what was given back is not what was paid for: {results}"


@pytest.mark.needs("smp")
@pytest.mark.parametrize("child_op", ["wait", "spin"])
@pytest.mark.parametrize("core", [0, 1])
def test_quotas_come_back_to_the_first_process_whoever_of_a_family_ends_first(
    target: LiveTarget, agent: Agent, core: int, child_op: str
) -> None:
    """A parent can be gone from the tables while a child of its still runs on another core."""
    before = first_process(agent)
    for _ in range(5):
        quotas = {"pages": FAMILY_PAGES, "processes": 7, "channels": 3}
        parent = abuse(
            agent, "family", child_op=child_op, quotas=quotas, count=2, core=core, pages=8 * CHILD_PAGES,
            grandchildren=2,
        )  # fmt: skip
        wait_done(target, parent)
        parent.close()
        until(target, "the family to end", lambda: "abuse" not in names_alive(agent))
    after = until(target, "every record to be free", lambda: len(agent.processes()) == 1 and first_process(agent))
    for name in ("pages_max", "processes_max", "channels_max", "processes"):
        assert getattr(after, name) == getattr(before, name), f"{name} of the first process did not come back"


# Processes ------------------------------------------------------------------------------------------------------------


@pytest.mark.needs("smp")
@pytest.mark.parametrize("child_op", ["wait", "spin"])
@pytest.mark.parametrize("core", [0, 1])
def test_the_children_of_a_process_end_with_it(target: LiveTarget, agent: Agent, core: int, child_op: str) -> None:
    first = agent.next_event()
    quotas = {"pages": FAMILY_PAGES, "processes": 9}
    parent = abuse(
        agent, "family", child_op=child_op, quotas=quotas, count=3, core=core, pages=8 * CHILD_PAGES, grandchildren=2
    )
    wait_done(target, parent)
    assert names_alive(agent).count("abuse") == 10, "the family is not complete"
    parent.kill()
    until(target, "the family to end", lambda: "abuse" not in names_alive(agent))
    ended = agent.image.constant("KEUOS_EVENT_EXIT")
    killed = agent.image.constant("KEUOS_EXIT_KILLED")
    ends = [event for event in agent.events(first) if event.kind == ended]
    assert len(ends) == len({event.pid for event in ends}) == 10, "each of them ended, and once"
    assert {event.verdict for event in ends} == {killed}


def test_suspended_children_can_not_hold_themselves_or_each_other(agent: Agent) -> None:
    """Nobody could start or end such a one any more, and dropping a chain of them would go as deep as it is long."""
    estate = agent.image.constant("KEUOS_ESTATE")
    for _ in range(3):
        results = survived(
            agent, "suspended", quotas={"pages": FAMILY_PAGES, "processes": 40}, count=40, pages=CHILD_PAGES
        )
        assert results.count == 40
        assert results.refused[estate] == 2 * 40, f"a capability went into a suspended process: {results}"
        assert (results.after, results.value) == (results.before, 0), "not all were given back"


def test_a_process_that_nobody_holds_is_killed_by_a_gate_like_any_other(target: LiveTarget, agent: Agent) -> None:
    """It is its own consumer, so the one that is blamed is the caller, with no other reference to it."""
    tail = agent.image.constant("KEUOS_VERDICT_TAIL")
    by_gate, gate, ended = (
        agent.image.constant(name) for name in ("KEUOS_EXIT_GATE", "KEUOS_EVENT_GATE", "KEUOS_EVENT_EXIT")
    )
    first = agent.next_event()
    quotas = {"pages": FAMILY_PAGES, "processes": 1, "channels": 4}
    parent = abuse(agent, "orphan", child_op="self_tail", quotas=quotas, pages=PAGES)
    wait_done(target, parent)
    pid = parent.read_struct("results").pids[0]

    def its_end() -> list[Record]:
        return [event for event in agent.events(first) if event.kind == ended and event.pid == pid]

    [end] = until(target, f"the orphan {pid} to end", its_end)
    assert (end.verdict, end.detail) == (by_gate, tail)
    verdicts = [event.verdict for event in agent.events(first) if event.kind == gate and event.pid == pid]
    assert verdicts == [tail]
    assert pid not in [process.pid for process in agent.processes()], "nobody holds it, and still it is there"


@pytest.mark.needs("smp")
def test_a_condemned_process_can_not_hide_the_verdict_by_leaving_first(agent: Agent) -> None:
    """The consumer runs on another core and leaves as soon as the status page tells it that it has been found out.

    The moment in which it could get away with that is short: it takes many to meet it.
    """
    turns = 150
    results = survived(
        agent,
        "condemned",
        quotas={"pages": FAMILY_PAGES, "processes": 1, "channels": 4},
        count=turns,
        core=1,
        pages=PAGES,
    )
    reasons = {agent.name_of("keuos_exit_reason", "KEUOS_EXIT_", i): n for i, n in enumerate(results.reasons) if n}
    assert reasons == {"gate": turns}
    assert results.count == turns, "the verdict is not the tail"


# Channels -------------------------------------------------------------------------------------------------------------


def test_a_notification_that_was_accepted_in_part_takes_no_pending_bits(agent: Agent) -> None:
    results = survived(agent, "partial", quotas={"channels": 2})
    assert (results.value, results.second) == (-agent.image.constant("KEUOS_EAGAIN"), 1)
    assert results.third == results.index != 0, "the bit that was pending is gone"


@pytest.mark.parametrize("times", [1, 5])
def test_a_channel_is_revoked_once(agent: Agent, times: int) -> None:
    first = agent.next_event()
    results = survived(agent, "revoke", quotas={"channels": 2}, count=times)
    revoked = agent.image.constant("KEUOS_EVENT_REVOKE")
    events = [
        event
        for event in agent.events(first)
        if event.kind == revoked and (event.channel, event.generation) == (results.index, results.made)
    ]
    assert len(events) == 1, f"one record is due, whether revoked once or {times} times"
