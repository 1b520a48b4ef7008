"""No word of a slot is read twice: each is changed behind the kernel's first read of it, and nobody notices.

The race in test_hostile_races.py has to be met; here the machine is stopped behind each read, whatever its timing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from keuos_hil.agent import Agent
from keuos_hil.dwarf import Record
from keuos_hil.image import Image
from keuos_hil.oracle import Shadow
from keuos_hil.rig import LiveTarget

from .pair import make_pair

pytestmark = pytest.mark.needs("agent", "channels", "debug", "watch")

#: Valid descriptors, a notification each, and then one that is refused.
GOOD = 3
LENGTH = 64
WORD = 8
#: Seconds without a read after which, all words having been read, the sender must have ended.
QUIET_S = 0.5
#: Nobody waits longer for the next word.
HANG_S = 60.0
U64 = 0xFFFF_FFFF_FFFF_FFFF


def test_what_is_judged_delivered_and_recorded_was_read_once(target: LiveTarget, agent: Agent, image: Image) -> None:
    pair = make_pair(target, agent, image)
    shadow = Shadow(GOOD, GOOD * LENGTH)
    valid = pair.valid(shadow, LENGTH)
    refused = replace(valid, sealed=replace(valid.sealed, tag=valid.sealed.tag ^ 1))
    pair.sender.write_struct(
        "params",
        good=GOOD,
        length=LENGTH,
        action=pair.constant("GATE_LITERAL"),
        descriptor=pair.literal(refused),
    )
    record = target.kernel.read_element("channels", pair.handle.number - 1)
    frame, size = int(record.frames[0]), image.struct("keuos_descriptor").itemsize
    words = range(0, (GOOD + 1) * size, WORD)
    written: dict[int, bytes] = {}
    pair.receiver.start()
    # The agent may be stopped before it has answered: somebody else has to wait for that.
    with ThreadPoolExecutor(1) as pool, target.watch_reads([int(record.slots) + at for at in words], WORD) as watch:
        started = pool.submit(pair.sender.start)
        while (address := watch.next_read(QUIET_S if len(written) == len(words) else HANG_S)) is not None:
            at = address - int(record.slots)
            assert at not in written, f"word {at % size // WORD} of slot {at // size} is read twice"
            written[at] = target.debug.read_physical(frame + at, WORD)
            spoilt = int.from_bytes(written[at], "little") ^ U64
            target.debug.write_physical(frame + at, spoilt.to_bytes(WORD, "little"))
    assert len(written) == len(words), f"of {len(words)} words these were read: {sorted(written)}"
    started.result()
    end, _ = pair.sender.wait_exit(), pair.receiver.wait_exit()
    assert (end.name, end.detail) == ("gate", image.constant("KEUOS_VERDICT_TAG"))
    slots = b"".join(written[at] for at in words)
    assert slots[GOOD * size :] == refused.packed(pair.facts.abi)
    mailbox = record.frames[image.constant("KEUOS_OFFSET_MAILBOX") // image.constant("KEUOS_PAGE_BYTES")]
    assert target.debug.read_physical(int(mailbox), GOOD * size) == slots[: GOOD * size]
    [event] = pair.events("gate")
    assert Record.of(pair.facts.abi.descriptor, slots[GOOD * size :]) == event.descriptor
