"""The MMU gate on a channel's pages: who may read, write and execute what, by touching it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from keuos_hil.agent import Agent
from keuos_hil.image import Image
from keuos_hil.record import Recorder

from .pair import ORDER, Ends, make_ends

pytestmark = pytest.mark.needs("agent", "channels")

#: Pages of a channel that keuos/channel.h lets a producer write, and those it lets it read; by name of their offset.
WRITABLE = ("slots", "head", "data")
READABLE = (*WRITABLE, "tail", "status", "tags")
PAGES = (*READABLE, "mailbox")


@dataclass(frozen=True)
class Touch:
    """One access by the sender: how, and where from the channel's first page."""

    action: str
    page: str
    offset: int = 0


def _touch(ends: Ends, action: str, address: int, *, relative: bool) -> None:
    ends.sender.write_struct(
        "params",
        good=1,
        length=64,
        action=ends.constant(f"GATE_{action.upper()}"),
        relative=int(relative),
        address=address,
    )
    ends.receiver.write_struct("params", drain=1)


def _expect_fault(ends: Ends, access: str, address: int | None) -> None:
    sender, receiver = ends.run()
    assert sender.name == f"fault_{access}", f"expected a fault on {access}: {sender}"
    base = ends.sender.read_struct("results").end.base
    if address is not None:
        assert sender.detail == base + address, f"the fault is at {sender.detail:#x}, not at {base + address:#x}"
    told = ends.receiver.read_struct("results")
    assert receiver.ok, f"the receiver did not learn of the end: {receiver}"
    assert told.reason == ends.constant("KEUOS_CLOSE_PRODUCER_DIED")
    assert told.received == 1
    [event] = [
        event
        for event in ends.agent.events(ends.events_from)
        if event.kind == ends.agent.image.constant("KEUOS_EVENT_FAULT") and event.pid == ends.sender.pid
    ]
    assert event.detail == sender.detail
    ends.agent.ping()


def _offset(image: Image, page: str) -> int:
    return image.constant(f"KEUOS_OFFSET_{page.upper()}")


@pytest.mark.parametrize("page", PAGES)
def test_producer_writes_its_own_pages_only(agent: Agent, image: Image, record: Recorder, page: str) -> None:
    record.gate("mmu-write")
    ends = make_ends(agent)
    last = image.constant("KEUOS_PAGE_BYTES") - 8  # behind the counters: what is there matters to nobody
    address = _offset(image, page) + last
    _touch(ends, "store", address, relative=True)
    if page in WRITABLE:
        sender, receiver = ends.run()
        assert sender.ok, f"a producer may write its {page} page: {sender}"
        assert receiver.ok, receiver
    else:
        _expect_fault(ends, "write", address)


@pytest.mark.parametrize("page", PAGES)
def test_producer_reads_everything_but_the_mailbox(agent: Agent, image: Image, record: Recorder, page: str) -> None:
    record.gate("mmu-read")
    ends = make_ends(agent)
    _touch(ends, "load", _offset(image, page), relative=True)
    if page in READABLE:
        sender, receiver = ends.run()
        assert sender.ok, f"a producer may read the {page} page: {sender}"
        assert receiver.ok, receiver
    else:
        _expect_fault(ends, "read", _offset(image, page))


@pytest.mark.needs("nx")
@pytest.mark.parametrize("page", READABLE)
def test_no_ring_page_can_be_executed(agent: Agent, image: Image, record: Recorder, page: str) -> None:
    record.gate("mmu-execute")
    ends = make_ends(agent)
    _touch(ends, "call", _offset(image, page), relative=True)
    _expect_fault(ends, "execute", _offset(image, page))


@pytest.mark.parametrize("end", ["before", "behind"])
@pytest.mark.parametrize("action", ["load", "store"])
def test_guards_around_a_channel_are_unmapped(
    agent: Agent, image: Image, record: Recorder, end: str, action: str
) -> None:
    record.gate("mmu-guard")
    ends = make_ends(agent)
    data_end = _offset(image, "data") + (image.constant("KEUOS_PAGE_BYTES") << ORDER)
    address = -8 if end == "before" else data_end
    _touch(ends, action, address % 2**64, relative=True)
    _expect_fault(ends, "read" if action == "load" else "write", address)


@pytest.mark.parametrize(("action", "access"), [("load", "read"), ("store", "write"), ("call", "execute")])
@pytest.mark.parametrize("what", ["data", "code"])
def test_kernel_memory_is_out_of_reach(
    agent: Agent, image: Image, record: Recorder, what: str, action: str, access: str
) -> None:
    record.gate("mmu-kernel")
    ends = make_ends(agent)
    functions = (symbol.address for symbol in image.kernel.symbols.values() if symbol.kind == "func")
    address = image.kernel.symbol("channels").address if what == "data" else max(functions)
    _touch(ends, action, address, relative=False)
    _expect_fault(ends, access, None)
    assert ends.sender.wait_exit().detail == address
