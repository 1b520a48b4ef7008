"""gate_sender and gate_receiver over one verified channel, with the oracle's view of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keuos_hil.agent import Agent, ChannelHandle, Exit, Process
from keuos_hil.dwarf import Record
from keuos_hil.image import Image
from keuos_hil.oracle import Channel, Descriptor, GateAbi, Shadow, Template
from keuos_hil.rig import LiveTarget

#: The data ring: 2^ORDER pages.
ORDER = 2
#: Of every descriptor made here.
COOKIE = (0x1122334455667788, 0x99AABBCCDDEEFF00)


@dataclass
class Ends:
    """Two suspended processes and the channel between them; nothing is known of its key.

    Attributes:
        events_from: the event record's next sequence number when the channel was bound.
    """

    agent: Agent
    sender: Process
    receiver: Process
    events_from: int

    def constant(self, name: str) -> int:
        """An enumerator of the sender's program."""
        return self.sender.elf.layouts.constant(name)

    def run(self, timeout: float = 15.0) -> tuple[Exit, Exit]:
        """Start both and wait until both have ended: (sender's end, receiver's end)."""
        self.receiver.start()
        self.sender.start()
        return self.sender.wait_exit(timeout), self.receiver.wait_exit(timeout)


@dataclass
class Pair(Ends):
    """The same, and what is known of the channel without asking the kernel.

    Attributes:
        facts: what the gates must go by.
    """

    handle: ChannelHandle
    facts: Channel

    def literal(self, descriptor: Descriptor) -> Record:
        """The descriptor as a value for the sender's params."""
        return Record.of(self.facts.abi.descriptor, descriptor.packed(self.facts.abi))

    def valid(self, shadow: Shadow, length: int, *, template: int = 0, offset: int | None = None) -> Descriptor:
        """The descriptor that an honest sender would write next; the cookies tell it from an empty slot."""
        return self.facts.valid(shadow, length, template=template, offset=offset, cookie=COOKIE)

    def events(self, kind: str) -> list[Record]:
        """What was recorded of this channel since it was bound; kind: an enum keuos_event_kind without prefix."""
        wanted = self.agent.image.constant("KEUOS_EVENT_" + kind.upper())
        return [
            event
            for event in self.agent.events(self.events_from)
            if event.kind == wanted and (event.channel, event.generation) == (self.facts.channel, self.facts.generation)
        ]


def key_of(words: Iterable[Any]) -> bytes:
    """The key of a struct channel, in SipHash's byte order."""
    return b"".join(int(word).to_bytes(8, "little") for word in words)


def bind_known(
    target: LiveTarget, agent: Agent, sender: Process, receiver: Process, *, mode: str = "verified", order: int | None
) -> tuple[ChannelHandle, Channel]:
    """Bind a channel, and find out of it what the gates must go by: from the kernel's record and the two programs."""
    image = target.image
    before = {(info.channel, info.generation) for info in agent.channels()}
    handle = agent.bind(sender, receiver, mode, order=order)
    [info] = [i for i in agent.channels() if (i.channel, i.generation) not in before]
    record = target.kernel.read_element("channels", info.channel - 1)
    facts = Channel.bound(
        GateAbi.of(image),
        info.channel,
        info.generation,
        key_of(record.key),
        info.data_bytes,
        [Template.of(t) for t in image.templates(sender.name)],
        [Template.of(t) for t in image.templates(receiver.name, ".keuos.interface")],
    )
    return handle, facts


def _spawn(agent: Agent, sender: str) -> tuple[Process, Process]:
    producer = agent.spawn(sender, core=1 if agent.info().cores > 1 else 0, suspended=True)
    return producer, agent.spawn("gate_receiver", core=0, suspended=True)


def make_ends(agent: Agent, *, sender: str = "gate_sender") -> Ends:
    """Spawn and bind a verified channel; nothing runs yet. sender: the program that is the producer."""
    events_from = agent.next_event()
    producer, receiver = _spawn(agent, sender)
    agent.bind(producer, receiver, "verified", order=ORDER)
    return Ends(agent, producer, receiver, events_from)


def make_pair(
    target: LiveTarget,
    agent: Agent,
    image: Image,
    *,
    sender: str = "gate_sender",
    mode: str = "verified",
    order: int | None = ORDER,
) -> Pair:
    """The same, and with a target whose memory can be read from outside, the channel's key."""
    events_from = agent.next_event()
    producer, receiver = _spawn(agent, sender)
    handle, facts = bind_known(target, agent, producer, receiver, mode=mode, order=order)
    return Pair(agent, producer, receiver, events_from, handle, facts)
