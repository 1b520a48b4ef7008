"""`reader` as a Python object: an application that reads one connection by standing credit, when it is told to."""

from __future__ import annotations

from typing import Any

from keuos_hil.net.host import Host
from keuos_hil.net.netd import Netd
from keuos_hil.net.tcp import Conversation

from .programs import until

#: READER_PORT, unless it is told another.
PORT = 5003


class Reader:
    """The program `reader`, with a connection to us that it has accepted.

    Args:
        alone: it has the NIC to itself, in direct mode.
        port: where it listens.
    """

    def __init__(self, host: Host, netd: Netd, *, alone: bool = False, port: int = PORT) -> None:
        self.process = netd.agent.spawn("reader", str(port))
        netd.bind(self.process, alone=alone)
        until("reader to listen", lambda: self.results, lambda r: r.listening)
        self.peer = Conversation(host, port, 4900)
        self.peer.tx("S")
        self.peer.rx("SA", ack=self.peer.snd)
        self.peer.tx("A")
        until("the connection to be accepted", lambda: self.results, lambda r: r.accepted)

    def constant(self, name: str) -> int:
        """An enumerator of the program."""
        return self.process.elf.layouts.constant(name)

    @property
    def results(self) -> Any:
        """What it counts."""
        return self.process.read_struct("results")

    def credit(self, size: int) -> None:
        """Have it give so much, and wait until it has."""
        wanted = int(self.results.credits) + 1
        self.process.write_struct("params", bytes=size)
        self.process.write_struct("params", credits=wanted)
        until("the credit to be given", lambda: int(self.results.credits), lambda given: given == wanted)

    def ask(self, questions: int, *, sockets: bool = False) -> None:
        """Have it ask so many times more whether its connection is ready, or for sockets, as its ring takes them."""
        self.process.write_struct("params", asks=int(self.results.asked) + questions, open=int(sockets))

    def answers(self) -> Any:
        """Its results when all that it asked is answered."""
        asks = int(self.process.read_struct("params").asks)
        return until("every answer, in order", lambda: self.results, lambda r: r.answered == asks)

    def asked_at_rest(self) -> int:
        """How much it has asked, if two turns add nothing; else 0."""
        asked = int(self.results.asked)
        self.turn()
        return asked if self.results.asked == asked else 0

    def hold(self, stop: bool) -> None:
        """Have it take nothing out of its ring, from its next turn on, which is waited for; or go on."""
        self.process.write_struct("params", hold=int(stop))
        if stop:
            self.turn()

    def stop_at(self, message: int) -> None:
        """Have it go on, take this message with data, counted from 1, and not read its bytes; wait until it has."""
        self.process.write_struct("params", stop_at=message)
        self.hold(False)
        until(f"message {message} to be taken", lambda: self.results, lambda r: r.stopped_at == message)

    def go_on(self) -> None:
        """Have it read what it has taken, and all that comes."""
        self.process.write_struct("params", stop_at=0)
        self.hold(False)

    def turn(self) -> None:
        """Wait until it has looked at its ring once more, from beginning to end."""
        now = int(self.results.turns)
        until("two turns", lambda: int(self.results.turns), lambda turns: turns >= now + 2)

    def received(self, count: int) -> Any:
        """Wait until it has so many bytes; then no more come by themselves."""
        until(f"{count} bytes", lambda: int(self.results.received), lambda n: n >= count)
        self.peer.host.fence()
        self.turn()
        results = self.results
        assert (results.received, results.bad, results.after) == (count, -1, 0)
        return results
