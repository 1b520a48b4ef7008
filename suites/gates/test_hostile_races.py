"""A descriptor rewritten while the kernel looks at it: what is delivered is what was judged, or the record shows it.

A process has one thread, so it is the host that writes the slots, in the guest's memory, while the process notifies.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from keuos_hil.agent import Agent
from keuos_hil.dwarf import Record
from keuos_hil.oracle import Channel, Descriptor, Shadow, check
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .honest import honest_beside
from .hostile import hostile, wait_stage
from .pair import ORDER, bind_known

pytestmark = pytest.mark.needs("agent", "channels", "debug", "live-debug", "smp")

LENGTH = 64
#: Senders in a case, at most: each may meet the race up to a mailbox full of times, and ends with the first it loses.
LIVES, SOAK_LIVES = 60, 400
#: How often what the host wrote must have been seen, before a default run is content.
HITS = 3
#: Seconds after which the writer hands over to the thread that speaks with the agent.
HANDOVER_S = 0.0002
#: Reads that the writer does between two pulses, so that the good descriptor stands for most of the time.
REST = 1


@dataclass(frozen=True)
class Flip:
    """What the host writes over the good descriptor, for a moment.

    Attributes:
        other: makes it.
        good: whether it would be accepted as well.
    """

    other: Callable[[Channel, Descriptor], Descriptor]
    good: bool = False


FLIPS = {
    "length": Flip(lambda c, d: replace(d, length=0xFFFF_FFC0)),
    "offset": Flip(lambda c, d: replace(d, offset=(d.offset - 1024) % 2**32)),
    "tag": Flip(lambda c, d: replace(d, sealed=replace(d.sealed, tag=d.sealed.tag ^ 1 << 40))),
    "max_length": Flip(lambda c, d: replace(d, sealed=replace(d.sealed, max_length=d.sealed.max_length ^ 1 << 20))),
    "generation": Flip(lambda c, d: replace(d, sealed=replace(d.sealed, generation=d.sealed.generation - 1))),
    "sequence": Flip(lambda c, d: replace(d, word=d.word + (1 << 32))),
    "two_templates": Flip(
        lambda c, d: replace(d, word=d.word & ~0xFFFF | 1, sealed=c.granted[1]), good=True
    ),
}  # fmt: skip


class _Writer(threading.Thread):
    """Pulses one page of guest memory between two contents until it is stopped; it leaves the first."""

    def __init__(self, target: LiveTarget, page: int, rest: bytes, pulse: bytes) -> None:
        super().__init__(name="slot writer", daemon=True)
        self._debug, self._page, self._rest, self._pulse = target.debug, page, rest, pulse
        self._told = threading.Event()
        self.pulses = 0

    def run(self) -> None:
        """See threading.Thread."""
        write, read, page, stopped = (
            self._debug.write_physical,
            self._debug.read_physical,
            self._page,
            self._told.is_set,
        )
        while not stopped():
            write(page, self._pulse)
            write(page, self._rest)
            self.pulses += 1
            for _ in range(REST):
                read(page, 8)

    def stop(self) -> None:
        """Return when the last write is done."""
        self._told.set()
        self.join()


def _slots(facts: Channel, first: Descriptor, count: int) -> list[Descriptor]:
    """What the sender has written, slot by slot."""
    return [
        replace(first, word=first.word + (at << 32), offset=first.offset + at * LENGTH) for at in range(count)
    ]  # fmt: skip


def _life(target: LiveTarget, agent: Agent, flip: Flip, seed: int) -> Counter[str]:
    """One sender: how often the good whole was delivered, how often the other one, and what the record shows."""
    constant, image = target.image.constant, target.image
    first_event = agent.next_event()
    receiver, sender = hostile(agent, "nothing", core=0), hostile(agent, "race", seed=seed, pauses=10, length=LENGTH)
    handle, facts = bind_known(target, agent, sender, receiver, order=ORDER)
    slots, page_bytes = constant("KEUOS_SLOTS"), constant("KEUOS_PAGE_BYTES")
    good = _slots(facts, facts.valid(Shadow(), LENGTH, template=0), slots)
    other = [flip.other(facts, descriptor) for descriptor in good]
    sender.write_struct("params", descriptor=Record.of(facts.abi.descriptor, good[0].packed(facts.abi)))
    receiver.start()
    sender.start()
    wait_stage(target, sender, "at_it")

    record = target.kernel.read_element("channels", handle.number - 1)
    frames = [int(frame) for frame in record.frames]
    rest = b"".join(descriptor.packed(facts.abi) for descriptor in good)
    pulse = b"".join(descriptor.packed(facts.abi) for descriptor in other)
    assert target.debug.read_physical(frames[0], page_bytes) == rest, "the slots are not as the sender was told"
    writer = _Writer(target, frames[0], rest, pulse)
    writer.start()
    try:
        sender.write_struct("params", go=1)
        end = sender.wait_exit(120.0)
    finally:
        writer.stop()

    seen: Counter[str] = Counter(pulses=writer.pulses)
    accepted = int(sender.read_struct("results").accepted)
    mailbox = target.debug.read_physical(frames[constant("KEUOS_OFFSET_MAILBOX") // page_bytes], page_bytes)
    size = image.struct("keuos_descriptor").itemsize
    for at in range(slots):
        mail = mailbox[at * size : (at + 1) * size]
        if at >= accepted:
            assert not any(mail), f"slot {at} was delivered, though the kernel answered {accepted}"
            continue
        wholes = {"delivered": good[at].packed(facts.abi)}
        if flip.good:
            wholes["other delivered"] = other[at].packed(facts.abi)
        which = [name for name, whole in wholes.items() if whole == mail]
        assert which, f"slot {at} holds what no gate may pass: {Descriptor.parse(facts.abi, mail)}"
        seen[which[0]] += 1
    shadow = Shadow(accepted, accepted * LENGTH)
    after = target.kernel.read_element("channels", handle.number - 1)
    assert (after.shadow_head, after.shadow_data) == (shadow.head, shadow.data), "the kernel counted something else"

    gate = constant("KEUOS_EVENT_GATE")
    events = [event for event in agent.events(first_event) if event.kind == gate and event.pid == sender.pid]
    if end.ok:
        assert not events
        assert accepted == slots
    else:
        [event] = events
        judged = Descriptor.parse(facts.abi, bytes(event.descriptor))
        verdict = agent.name_of("keuos_verdict", "KEUOS_VERDICT_", event.verdict)
        assert (end.name, end.detail) == ("gate", event.verdict), end
        assert check(facts, shadow, judged) == verdict, f"killed for {verdict}, but the record shows {judged}"
        if not flip.good:
            assert judged == other[accepted], f"the record shows neither of the two: {judged}"
        seen["refused"] += 1
    for process in (sender, receiver):
        process.close()
    handle.drop()
    return seen


def _race(target: LiveTarget, agent: Agent, name: str, seed: int, lives: int, hits: int, record: Recorder) -> None:
    seen: Counter[str] = Counter()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(HANDOVER_S)
    try:
        with honest_beside(agent):
            for life in range(lives):
                seen += _life(target, agent, FLIPS[name], seed + life)
                if hits and seen["refused"] + seen["other delivered"] >= hits <= seen["delivered"]:
                    break
    finally:
        sys.setswitchinterval(interval)
    met = seen["refused"] + seen["other delivered"]
    assert met >= hits, f"what the host wrote was hardly ever seen: {dict(seen)}"
    assert seen["delivered"] >= hits, f"hardly anything was delivered: {dict(seen)}"
    record.add("fuzz.race_hits", {"field": name}, "count", value=met, timebase="host")


@pytest.mark.parametrize("name", ["length", "tag", "sequence", "two_templates"])
def test_what_is_delivered_is_what_was_judged(
    target: LiveTarget, agent: Agent, seed: int, record: Recorder, name: str
) -> None:
    _race(target, agent, name, seed, LIVES, HITS, record)


@pytest.mark.soak
@pytest.mark.parametrize("name", FLIPS)
def test_what_is_delivered_is_what_was_judged_a_thousand_times(
    target: LiveTarget, agent: Agent, seed: int, record: Recorder, name: str
) -> None:
    _race(target, agent, name, seed, SOAK_LIVES, 0, record)
